# SPDX-License-Identifier: Apache-2.0
"""Workers of a Dask cluster: each of their threads encodes one tensor or row block at a time."""

import asyncio
import concurrent.futures
import secrets
import time
from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from xorloom.sw.base.errors import ToolError

from .sending import packed
from .work import build, work

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskWorkers"]

T = TypeVar("T")
_CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)
_LOOK_S = 2.0
"""How often a call that waits looks whether workers are left."""
_JOBS_MAX = 1 << 10
_AGAIN = "what --resume keeps is not lost: mend that, and run the same command once more"


class DaskWorkers:
    """Workers of a Dask cluster.

    A worker that dies is made up for: Dask gives its work to another one. What comes back is the
    same whichever worker made it.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    count : int
        Threads of all workers, or of those that are expected.
    patience_s : float, optional
        Seconds without any worker after which calls fail; without end by default.
    """

    def __init__(self, client: "Client", count: int, *, patience_s: float | None = None) -> None:
        self._client, self._count, self._patience_s = client, count, patience_s
        self._address = client.scheduler.address if client.scheduler else ""
        self._run, self._build = secrets.token_hex(8), build()
        self._lock = Lock()
        self._waiting: set[Future] = set()
        self._looked = self._seen = time.monotonic()

    @property
    def jobs(self) -> int:
        """Twice the workers' threads: a task waits for each, so that none is ever idle."""
        return min(2 * self._count, _JOBS_MAX)

    def shares(self, sizes: Sequence[int]) -> list[int]:
        """Return 1 for every task: the others of the machine have tasks of their own."""
        return [1] * len(sizes)

    def run(self, task: Callable[..., T], *given: Any) -> T:
        """Call a function of a module on a worker.

        Raises
        ------
        ToolError
            If the scheduler or all workers are gone, if workers die of the task, if they cannot see
            a file, or have another xorloom.
        Exception
            What the function raises.
        """
        data = np.frombuffer(packed(self._run, task, *given), np.uint8)  # bytes Dask copies
        try:
            future = self._client.submit(work, data, self._build, pure=False)
        except Exception as error:
            raise self._gone() from error
        with self._lock:
            self._waiting.add(future)
        try:
            self._wait(future)
            return self._result(future)
        finally:
            with self._lock:
                self._waiting.discard(future)
            future.release()

    def stop(self) -> None:
        """Let calls in other threads end: their tasks are dropped."""
        with self._lock:
            waiting = list(self._waiting)
        if waiting and self._client.status == "running":
            self._client.cancel(waiting, force=True)

    def _wait(self, future: "Future") -> None:
        ended = Event()
        future.add_done_callback(lambda _: ended.set())
        while not ended.wait(_LOOK_S):
            if self._client.status != "running":
                raise self._gone()  # Dask drops all that runs, even if it connects again
            self._look()

    def _look(self) -> None:
        """Check that there are workers, one thread at a time."""
        with self._lock:
            now = time.monotonic()
            if self._patience_s is None or now - self._looked < _LOOK_S:
                return
            self._looked = now
        if self._client.scheduler_info()["workers"]:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > self._patience_s:
            raise ToolError(
                f"no worker is left of the Dask cluster at {self._address}: start some (dask "
                f"worker {self._address}); {_AGAIN}"
            )

    def _gone(self) -> ToolError:
        return ToolError(f"the Dask scheduler at {self._address} has gone; {_AGAIN}")

    def _result(self, future: "Future") -> Any:
        from distributed.scheduler import KilledWorker

        try:
            return future.result()
        except (Exception, *_CANCELLED) as error:
            if future.status != "error":  # not the task's own
                raise self._gone() from error
            if isinstance(error, KilledWorker):
                raise ToolError(
                    f"{error.allowed_failures + 1} workers died of this work, the last one at "
                    f"{error.last_worker.address}: did they run out of memory (give them more, or "
                    f"smaller --block-weights), or lose the disk that the model is on? {_AGAIN}"
                ) from error
            if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("xorloom"):
                raise ToolError(
                    f"workers of the Dask cluster at {self._address} have no xorloom, or an older "
                    f"one: install {self._build.split(',')[0]} on all machines"
                ) from error
            raise
