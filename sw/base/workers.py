# SPDX-License-Identifier: Apache-2.0
"""Work done by several threads ahead of its turn, handed out in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["in_order"]

T = TypeVar("T")
_AHEAD = 2
"""Tasks begun and not yet handed out, per thread: one at work, one that waits for its turn."""


@contextmanager
def in_order(tasks: Iterable[Callable[[], T]], jobs: int) -> Iterator[Iterator[T]]:
    """Yield an iterator over the results of tasks, in the order of the tasks.

    An error of a task comes out when it is that task's turn, so it is the one that a single thread
    would have met. When the block ends, by an error or Ctrl-C as well, tasks that have not begun
    are dropped, and those at work are waited for. With one job, each task runs when its result is
    asked for, in the thread that asks.

    Parameters
    ----------
    tasks : iterable of callables
    jobs : int
        Threads. At most twice as many results are held.
    """
    if jobs == 1:
        yield (task() for task in tasks)
        return
    pool = ThreadPoolExecutor(jobs, "xorloom")
    try:
        yield _results(iter(tasks), pool, _AHEAD * jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _results(tasks: Iterator[Callable[[], T]], pool: ThreadPoolExecutor, most: int) -> Iterator[T]:
    begun: deque[Future[T]] = deque()
    for task in tasks:
        begun.append(pool.submit(task))
        if len(begun) == most:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
