# SPDX-License-Identifier: Apache-2.0
"""Work done ahead of its turn, by threads of this process or by others, handed out in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

from .errors import check_range
from .host import threads_default

__all__ = ["Threads", "ThreadsMap", "Workers", "in_order", "mapping"]

T = TypeVar("T")
_AHEAD = 2
"""Tasks begun and not yet handed out, per thread: one at work, one that waits for its turn."""
_JOBS_MAX = 1 << 10


class ThreadsMap(Protocol):
    """As Python's ``map``, but at once."""

    def __call__(self, task: Callable[..., T], *given: Iterable[Any]) -> list[T]:
        """Return the results of all calls, in order; the first error comes out."""


@contextmanager
def mapping(threads: int | None) -> Iterator[ThreadsMap]:
    """Yield a map for work within a task, of so many threads; by default of all cores.

    One thread is the caller's own: to hand work over and to wait for it costs two cores up to a
    quarter of their speed, as whoever comes back from a kernel waits for the interpreter.
    """
    threads = threads or threads_default()
    if threads == 1:
        yield lambda task, *given: list(map(task, *given))
        return
    with ThreadPoolExecutor(threads) as pool:
        yield lambda task, *given: list(pool.map(task, *given))


class Workers(Protocol):
    """Where tasks run."""

    @property
    def jobs(self) -> int:
        """Calls of :meth:`run` at a time that keep all of them busy."""

    def shares(self, sizes: Sequence[int]) -> list[int]:
        """Return how many threads each of several tasks may use, by their sizes."""

    def run(self, task: Callable[..., T], *given: Any) -> T:
        """Call a function of a module and return what it returns; its errors come out as they are.

        Called by several threads.
        """

    def stop(self) -> None:
        """Let calls of :meth:`run` in other threads end soon: nobody wants their results."""


@dataclass(frozen=True)
class Threads:
    """Threads of this process: those that call do the work.

    Parameters
    ----------
    jobs : int

    Raises
    ------
    ConfigError
        If it is out of range.
    """

    jobs: int

    def __post_init__(self) -> None:
        check_range("jobs", self.jobs, 1, _JOBS_MAX)

    @classmethod
    def of(cls, jobs: int | None) -> "Threads":
        """Return so many threads; by default one for each available core."""
        return cls(threads_default() if jobs is None else jobs)

    def shares(self, sizes: Sequence[int]) -> list[int]:
        """Return the threads of every task: its share of those at work beside it or after it."""
        before = list(accumulate(sizes, initial=0))
        beside = [before[-1] - before[max(0, at - self.jobs + 1)] for at in range(len(sizes))]
        return [
            max(1, round(self.jobs * size / max(1, total)))
            for size, total in zip(sizes, beside, strict=True)
        ]

    def run(self, task: Callable[..., T], *given: Any) -> T:
        """Call the function."""
        return task(*given)

    def stop(self) -> None:
        """Nothing: a call in a thread cannot be stopped."""


@contextmanager
def in_order(tasks: Sequence[Callable[[], T]], workers: Workers) -> Iterator[Iterator[T]]:
    """Yield an iterator over the results of tasks, in the order of the tasks.

    An error of a task comes out when it is that task's turn, so it is the one that a single thread
    would have met. When the block ends, by an error or Ctrl-C as well, tasks that have not begun
    are dropped, and those at work are waited for. With one job, each task runs when its result is
    asked for, in the thread that asks.

    Parameters
    ----------
    tasks : sequence of callables
        They call :meth:`Workers.run`, or do the work themselves.
    workers : Workers
        As many threads call tasks as these have jobs. At most twice as many results are held.
    """
    jobs = min(workers.jobs, max(1, len(tasks)))
    if jobs == 1:
        yield (task() for task in tasks)
        return
    queue: _Queue = SimpleQueue()
    threads: list[Thread] = []
    try:
        for _ in range(jobs):
            thread = Thread(target=_work, args=(queue,), name="xorloom", daemon=True)
            thread.start()
            threads.append(thread)
        yield _results(tasks, queue, _AHEAD * jobs)
    finally:
        with suppress(Empty):
            while True:
                queue.get_nowait()
        for _ in threads:
            queue.put(None)
        workers.stop()
        for thread in threads:
            thread.join()


# Nothing here but queues in C. A signal's exception may come between any two steps of the main
# thread: in the standard library's pools and futures it can leave a lock held, for good.
_Answer = SimpleQueue[tuple[Any, BaseException | None]]
_Queue = SimpleQueue[tuple[Callable[[], Any], _Answer] | None]


def _work(queue: _Queue) -> None:
    while (asked := queue.get()) is not None:
        task, answer = asked
        try:
            answer.put((task(), None))
        except BaseException as error:
            answer.put((None, error))


def _results(tasks: Sequence[Callable[[], T]], queue: _Queue, most: int) -> Iterator[T]:
    begun: deque[_Answer] = deque()
    for task in tasks:
        answer: _Answer = SimpleQueue()
        queue.put((task, answer))
        begun.append(answer)
        if len(begun) == most:
            yield _result(begun.popleft())
    while begun:
        yield _result(begun.popleft())


def _result(answer: _Answer) -> Any:
    result, error = answer.get()
    if error is not None:
        raise error
    return result
