# SPDX-License-Identifier: Apache-2.0
"""Run of the accuracy laboratory: jobs on worker processes, those that are done left out."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from xorloom.sw.base.cache import cache_folder
from xorloom.sw.base.errors import ToolError, XorloomError
from xorloom.sw.base.extras import require

from .jobs import Job, schedule_of
from .networks import NETWORKS, SENTENCES
from .store import Store

__all__ = ["WORKERS", "estimate", "run", "store"]

WORKERS = 2
"""Processes, each of one thread."""
_log = logging.getLogger(__name__)
Told = Callable[[str], None]


def store() -> Store:
    """Return the store of outcomes in the cache folder."""
    return Store(cache_folder() / "accuracy" / "outcomes.jsonl")


def estimate(jobs: Sequence[Job], workers: int = WORKERS) -> float:
    """Return how long jobs and their dense networks take, in seconds.

    By the times of a step in :data:`xorloom.sim.bench.accuracy.networks.NETWORKS`, on cores that
    have nothing else to do.
    """
    dense = 0.0
    for network, _data, quick in {(job.network, job.data, job.quick) for job in jobs}:
        dense += schedule_of(network, quick=quick).dense_s
    return (dense + sum(job.seconds for job in jobs)) / max(1, min(workers, len(jobs)))


def run(jobs: Sequence[Job], tell: Told, workers: int = WORKERS) -> tuple[list[dict], list[str]]:
    """Measure jobs, those left out whose outcome is in the store.

    Parameters
    ----------
    jobs : sequence of Job
    tell : callable
        Called with a line when a job is done.
    workers : int
        Processes; 0: this one.

    Returns
    -------
    rows : list of dict
        In the order of the jobs.
    failed : list of str
        What went wrong, a line each.

    Raises
    ------
    ToolError
        If torch is not installed, or what reads sentences where there are any to read.
    """
    kept = store()
    outcomes = kept.read()
    keys = {job: job.key for job in jobs}
    left = [job for job in jobs if keys[job] not in outcomes]
    failed: list[str] = []
    if any(job.network == SENTENCES for job in left):
        require("tokenizers")
    require("torch")
    if left:
        tell(f"{len(jobs) - len(left)} of {len(jobs)} are measured already")
    begin, total = time.monotonic(), sum(job.seconds for job in left)
    done = 0.0
    for number, (job, outcome) in enumerate(_outcomes(left, workers), 1):
        done += job.seconds
        name = f"{job.network} {job.data} {job.method} {job.budget:g}"
        if isinstance(outcome, str):
            failed.append(f"{name}: {outcome}")
        else:
            kept.add(keys[job], outcome)
            outcomes[keys[job]] = outcome
        rest = (time.monotonic() - begin) * (total - done) / done
        tell(f"{number} of {len(left)}: {name}: {_words(outcome)}; {rest / 60:.0f} min left")
    found = [outcomes[keys[job]] for job in jobs if keys[job] in outcomes]
    return [row for row in found if "reason" not in row], failed


def _words(outcome: dict[str, Any] | str) -> str:
    if isinstance(outcome, str):
        return outcome
    if "reason" in outcome:
        return f"no row: {outcome['reason']}"
    return f"{outcome['accuracy']:.2f} at {outcome['bits_per_weight']:.4f} bits per weight"


def _outcomes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, dict[str, Any] | str]]:
    """Yield outcomes, or what went wrong, as they come."""
    if not workers:
        yield from ((job, _outcome(job)) for job in jobs)
        return
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")
    with _one_thread(), ProcessPoolExecutor(workers, context, _start) as pool:
        # Dense networks first, the longest before the others: jobs would wait for them in pairs.
        tasks = sorted(
            {(job.network, job.data, job.quick) for job in jobs if job.network != SENTENCES},
            key=lambda task: -NETWORKS[task[0]].schedule.dense_s,
        )
        try:
            for made in [pool.submit(_dense, *task) for task in tasks]:
                made.result()
            futures: dict[Future[Any], Job] = {pool.submit(_outcome, job): job for job in jobs}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise ToolError(f"a worker process died, of too little memory maybe: {error}") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.kill()  # what is not done is done again; nothing of it is on the disk
            raise


def _outcome(job: Job) -> dict[str, Any] | str:
    from .measure import measure

    try:
        return measure(job)
    except XorloomError as error:
        return str(error)


def _dense(network: str, data: str, quick: bool) -> None:
    from .measure import subject

    subject(network, data, quick=quick)


def _start() -> None:
    """Prepare a worker: who stops the command stops it, and it goes when the command is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    logging.getLogger("xorloom").setLevel(logging.ERROR)


def _watch() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that are started compute on one thread each, and keep the memory they have.

    Arrays of a step are freed and allocated again in the next: to return them costs a fifth of it.
    """
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    kept = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    before = {name: os.environ.get(name) for name in (*threads, *kept)}
    os.environ.update({**dict.fromkeys(threads, "1"), **dict.fromkeys(kept, str(1 << 30))})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
