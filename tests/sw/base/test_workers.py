# SPDX-License-Identifier: Apache-2.0
"""Work done ahead of its turn: in order, bounded, and stopped by the first error."""

import threading
import time
from functools import partial

import pytest
from xorloom.sw.base.workers import Threads, in_order, mapping

JOBS = pytest.mark.parametrize("jobs", [1, 2, 5])


def late(k, seconds):
    time.sleep(seconds)
    return k


@JOBS
def test_results_come_in_the_order_of_the_tasks(jobs):
    tasks = [partial(late, k, 0.01 * (k % 3 == 0)) for k in range(20)]
    with in_order(tasks, Threads(jobs)) as results:
        assert list(results) == list(range(20))


def test_tasks_run_at_the_same_time():
    meet = threading.Barrier(2, timeout=10)
    with in_order([meet.wait, meet.wait], Threads(2)) as results:
        assert sorted(results) == [0, 1]


@JOBS
def test_few_results_wait_for_their_turn(jobs):
    done = []
    with in_order([partial(done.append, k) for k in range(50)], Threads(jobs)) as results:
        next(results)
        time.sleep(0.05)
        assert len(done) <= 2 * jobs


@JOBS
def test_the_error_is_that_of_the_first_task_that_fails(jobs):
    begun = []

    def task(k):
        begun.append(k)
        time.sleep(0.02 if k == 1 else 0)
        if k in (1, 2):
            raise ValueError(f"task {k}")
        return k

    def run():
        with in_order([partial(task, k) for k in range(100)], Threads(jobs)) as results:
            for result in results:
                assert result == 0

    with pytest.raises(ValueError, match="task 1"):
        run()
    assert len(begun) <= 2 + 2 * jobs


@JOBS
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_of_who_asks_drops_what_has_not_begun(jobs, error):
    begun = []

    def task(k):
        begun.append(k)
        time.sleep(0.01)

    def run():
        with in_order([partial(task, k) for k in range(100)], Threads(jobs)) as results:
            next(results)
            raise error

    with pytest.raises(error):
        run()
    count = len(begun)
    time.sleep(0.05)
    assert len(begun) == count <= 2 * jobs


def test_threads_go_where_the_weights_are():
    assert Threads(4).shares([]) == []
    assert Threads(4).shares([7]) == [4]
    assert Threads(4).shares([0]) == [1]
    assert Threads(2).shares([5] * 6) == [1] * 6
    assert Threads(4).shares([1, 1, 1, 97]) == [1, 1, 1, 4]
    assert Threads(3).shares([300, 1, 1]) == [3, 1, 1]


def test_one_thread_is_the_callers_own():
    with mapping(1) as each:
        assert each(lambda _: threading.get_ident(), range(3)) == [threading.get_ident()] * 3


@pytest.mark.parametrize("threads", [0, 1, 2, 5, None])
def test_a_map_keeps_the_order_and_tells_the_first_error(threads):
    with mapping(threads) as each:
        assert each(late, range(9), [0.01, 0, 0] * 3) == list(range(9))
        with pytest.raises(ZeroDivisionError):
            each(lambda k: 1 // (k - 1), range(3))


def test_a_map_of_two_threads_runs_two_at_a_time():
    meet = threading.Barrier(2, timeout=10)
    with mapping(2) as each:
        assert sorted(each(lambda _: meet.wait(), range(2))) == [0, 1]
