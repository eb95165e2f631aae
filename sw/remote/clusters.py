# SPDX-License-Identifier: Apache-2.0
"""Clusters by their address: one that runs already, one on this machine, jobs of a batch system."""

import logging
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from xorloom.sw.base.errors import ConfigError, ToolError, check_range
from xorloom.sw.base.extras import require

from .dask_workers import DaskWorkers

if TYPE_CHECKING:
    from dask_jobqueue.core import JobQueueCluster
    from distributed import Client

__all__ = ["check_address", "job_cluster", "workers_at"]

_log = logging.getLogger(__name__)
_FORM = re.compile(r"(?P<kind>local|slurm|lsf):(?P<count>\d+)|[a-z][a-z0-9+.-]*://\S+")
_CONNECT_S = 10
"""Seconds in which a scheduler must answer."""
_PATIENCE_S = 60
"""Seconds for which a cluster may be without a worker, if no batch system has jobs in a queue."""
_COUNT_MAX = 1 << 12
_SUBMITS = {"slurm": "sbatch", "lsf": "bsub"}
_JOB: dict[str, Any] = {"cores": 1, "processes": 1, "memory": "2 GiB"}
"""A job of one worker, where Dask's configuration tells nothing else."""


def check_address(address: str) -> tuple[str | None, int]:
    """Check the address of a cluster, and that the packages for it are there.

    Returns
    -------
    (kind, count)
        ``local``, ``slurm`` or ``lsf`` and the number of workers or jobs; ``None`` and 1 of a
        scheduler's address.

    Raises
    ------
    ConfigError
        If it is no address.
    ToolError
        If a package is missing.
    """
    found = _FORM.fullmatch(address)
    if found is None:
        raise ConfigError(
            f"cluster must be tcp://HOST:PORT (of a Dask scheduler), local:N, slurm:N or lsf:N, "
            f"not {address!r}"
        )
    require("distributed")
    if found["kind"] in _SUBMITS:
        require("dask_jobqueue")
    count = check_range("workers of a cluster", int(found["count"] or 1), 1, _COUNT_MAX)
    return found["kind"], count


@contextmanager
def workers_at(address: str, tell: Callable[[str], None] = _log.info) -> Iterator[DaskWorkers]:
    """Connect to a cluster, or start one that ends with the block.

    Parameters
    ----------
    address : str
        ``tcp://HOST:PORT`` of a Dask scheduler; ``local:N``: N processes on this machine;
        ``slurm:N`` and ``lsf:N``: N jobs, whose queue, memory and the like are those of
        dask-jobqueue's configuration, ``jobqueue.yaml``.
    tell : callable
        Called with lines for the user: where the dashboard is, what is waited for.

    Raises
    ------
    ConfigError
        If it is no address.
    ToolError
        If no scheduler answers, no worker comes, or a package or program is missing.
    """
    kind, count = check_address(address)
    with ExitStack() as stack:
        stack.enter_context(_settings())
        if kind is None:
            client = stack.enter_context(_connected(address))
            with _waited(address):
                client.wait_for_workers(1, timeout=_PATIENCE_S)
            count = sum(client.nthreads().values())
        elif kind == "local":
            client = stack.enter_context(_local(count))
        else:
            client, count = stack.enter_context(_jobs(kind, count))
        tell(_dashboard(client))
        if kind in _SUBMITS:
            tell(f"{address}: jobs are submitted; work begins with the first that runs")
            client.wait_for_workers(1)
        yield DaskWorkers(client, count, patience_s=None if kind in _SUBMITS else _PATIENCE_S)


def job_cluster(kind: str, **more: Any) -> "JobQueueCluster":
    """Return a cluster of jobs, none of which is submitted yet.

    Parameters
    ----------
    kind : str
        ``slurm`` or ``lsf``.
    more : keywords
        Of dask-jobqueue's class; what is not given is that of its configuration.
    """
    import dask
    import dask_jobqueue

    known = dask.config.get(f"jobqueue.{kind}", {})
    job = {key: value for key, value in _JOB.items() if known.get(key) is None}
    classes = {"slurm": dask_jobqueue.SLURMCluster, "lsf": dask_jobqueue.LSFCluster}
    with _any_port():
        return classes[kind](**(job | more))


@contextmanager
def _any_port() -> Iterator[None]:
    """Let the dashboard have another port than its usual one, which another cluster may have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        yield


@contextmanager
def _settings() -> Iterator[None]:
    """Set what Dask must not do by itself: warn of long tasks, log what errors tell anyway."""
    import dask
    import distributed  # gives its loggers levels

    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = {name: logging.getLogger(name).level for name in names}
    assert distributed.__name__ in levels
    settings = {
        "distributed.admin.large-graph-warning-threshold": "1 TB",
        "distributed.comm.timeouts.connect": f"{_CONNECT_S}s",
        # What Dask does beside the work, many times a second, in every process that starts here.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
    }
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with dask.config.set(settings):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _connected(address: Any) -> Iterator["Client"]:
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ToolError(
            f"no Dask scheduler answers at {address} within {_CONNECT_S} s ({error}): is it "
            "running, and the address the one that dask scheduler prints?"
        ) from error
    with client:
        yield client


@contextmanager
def _waited(address: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ToolError(
            f"the Dask cluster at {address} has no worker: start some (dask worker {address})"
        ) from error


@contextmanager
def _local(count: int) -> Iterator["Client"]:
    from distributed import LocalCluster

    with _any_port():
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            silence_logs=logging.CRITICAL,
            preload=["xorloom.sw.remote.work"],
        )
    with cluster, _connected(cluster) as client:
        yield client


@contextmanager
def _jobs(kind: str, count: int) -> Iterator[tuple["Client", int]]:
    if shutil.which(_SUBMITS[kind]) is None:
        raise ToolError(
            f"{_SUBMITS[kind]} is not here: {kind}:{count} submits jobs, so run it where they are "
            "submitted, such as a login node"
        )
    from distributed.core import Status

    with job_cluster(kind) as cluster, _connected(cluster) as client:
        _log.info("%s", cluster.job_script())
        for _ in range(count):
            cluster.worker_spec.update(cluster.new_worker_spec())
        try:
            cluster.sync(cluster._correct_state)  # as at its start: scale() drops errors
        except RuntimeError as error:
            for name in [n for n, job in cluster.workers.items() if job.job_id is None]:
                cluster.workers.pop(name).status = Status.closed  # there is nothing to cancel
            why = " ".join(str(error).rpartition("stderr:")[2].split())
            raise ToolError(
                f"{_SUBMITS[kind]} refuses the job: {why} (dask-jobqueue's configuration, "
                "jobqueue.yaml, says what is asked for; -v shows the script)"
            ) from error
        cluster.adapt(minimum_jobs=count, maximum_jobs=count)  # one that ends is replaced
        job = cluster._dummy_job
        yield client, count * job.worker_processes * job.worker_process_threads


def _dashboard(client: "Client") -> str:
    if find_spec("bokeh") is None:
        return "no dashboard: bokeh is not installed (make setup EXTRAS=cluster)"
    return f"dashboard: {client.dashboard_link}"
