# SPDX-License-Identifier: Apache-2.0
"""Clusters: workers die and are made up for; what cannot go on ends in one line, and is resumed."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError, ToolError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.model.prepare import UnitStore
from xorloom.sw.remote import clusters, dask_workers
from xorloom.sw.remote.clusters import job_cluster, workers_at
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.checkpoint.model import from_arrays

from tests.helpers.cli import refuses
from tests.helpers.full_disk import at_most_bytes

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")

VALUE = WindowConfig(n_out=64, window=64, n_in=16)
PLANS = {f"m{k}": TensorPlan(sparsity=0.8, config=VALUE, search=k % 2 == 0) for k in range(12)}


@pytest.fixture
def model(rng, tmp_path):
    arrays = {name: rng.standard_normal((96, 128)).astype("f") for name in PLANS}
    save_file(arrays | {"bias": np.zeros(3, "f")}, tmp_path / "m.safetensors")
    return open_model(tmp_path / "m.safetensors")


@pytest.mark.long
def test_a_worker_that_is_killed_is_made_up_for(model, tmp_path):
    """The whole of one cluster's life: it costs seconds, so one test has it."""
    heard, told = {"one": [], "two": []}, []

    def hear(key, kill=None):
        def step(*what):
            heard[key].append(what)
            if kill is not None and len(heard[key]) == 8:  # some are encoded, others at work
                os.kill(kill, signal.SIGKILL)

        return step

    compress_model(model, tmp_path / "one", PLANS, jobs=1, progress=hear("one"))
    with workers_at("local:2", told.append) as workers:
        (line,) = told
        assert line.startswith("dashboard: http://127.0.0.1:")
        assert (workers.jobs, workers.shares([5, 6])) == (4, [1, 1])
        pid = workers.run(os.getpid)
        assert pid != os.getpid()
        step = hear("two", pid)
        compress_model(model, tmp_path / "two", PLANS, workers=workers, progress=step)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert heard["two"] == heard["one"]
        assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()

        arrays = {name: tensor.load().copy() for name, tensor in model.items()}
        arrays["m3"][1, 2] = np.nan
        with pytest.raises(ConfigError, match=r"tensor 'm3': weight at \(1, 2\) is nan"):
            compress_model(from_arrays(arrays), tmp_path / "bad", PLANS, workers=workers)
        with (
            at_most_bytes(1000),
            pytest.raises(OSError, match=r"write .*bad: File too"),
        ):
            compress_model(model, tmp_path / "bad", PLANS, workers=workers)
        assert {path.name for path in tmp_path.iterdir()} == {"m.safetensors", "one", "two"}


CLUSTER = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False,
                           protocol="tcp", dashboard_address=None)
    print(cluster.scheduler_address, flush=True)
    time.sleep(120)
"""


@pytest.mark.long
def test_a_scheduler_that_dies_is_told_and_what_is_done_is_kept(model, tmp_path, monkeypatch):
    words = [sys.executable, "-c", CLUSTER]
    store, done = UnitStore.beside(tmp_path / "c"), []

    def step(stage, name):
        done.append((stage, name))
        if stage == "encode" and name == "m3":
            process.kill()

    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        with workers_at(address) as workers:
            began = time.monotonic()
            with pytest.raises(ToolError, match=f"the Dask scheduler at {address} has gone; what"):
                compress_model(
                    model, tmp_path / "c", PLANS, workers=workers, store=store, progress=step
                )
            assert time.monotonic() - began < 20
    assert len(list(store.folder.iterdir())) >= 4
    assert not (tmp_path / "c").exists()
    store = UnitStore.beside(tmp_path / "c")
    compress_model(model, tmp_path / "c", PLANS, jobs=1, store=store)
    assert len(store.found) >= 4
    compress_model(model, tmp_path / "one", PLANS, jobs=1)
    assert (tmp_path / "c").read_bytes() == (tmp_path / "one").read_bytes()
    # Now nobody is there.
    monkeypatch.setattr(clusters, "_CONNECT_S", 1)
    with pytest.raises(ToolError, match=f"no Dask scheduler answers at {address} within 1 s"):
        workers_at(address).__enter__()


class _Future:
    status = "error"

    def __init__(self, error):
        self._error = error

    def add_done_callback(self, call):
        call(self)

    def result(self):
        raise self._error

    def release(self):
        pass


class _Client:
    """A client all of whose work ends in an error."""

    status = "running"

    class scheduler:  # noqa: N801
        address = "tcp://there:1"

    def __init__(self, error, workers=()):
        self._error, self._workers = error, workers

    def submit(self, *_given, **_more):
        return _Future(self._error)

    def scheduler_info(self):
        return {"workers": self._workers}


def test_workers_that_die_of_a_task_are_told():
    from distributed.scheduler import KilledWorker

    class Last:
        address = "tcp://far:2"

    workers = dask_workers.DaskWorkers(_Client(KilledWorker("k", Last, 3)), 1)
    text = r"4 workers died of this work, the last one at tcp://far:2: .* smaller --block-weights"
    with pytest.raises(ToolError, match=text):
        workers.run(os.getpid)


def test_workers_without_xorloom_are_told():
    error = ModuleNotFoundError("No module named 'xorloom.sw.remote'", name="xorloom.sw.remote")
    workers = dask_workers.DaskWorkers(_Client(error), 1)
    with pytest.raises(ToolError, match=r"have no xorloom, or an older one: install \d"):
        workers.run(os.getpid)


def test_a_cluster_without_workers_is_told(monkeypatch):
    from distributed import Client, LocalCluster

    monkeypatch.setattr(dask_workers, "_LOOK_S", 0.05)
    monkeypatch.setattr(clusters, "_PATIENCE_S", 0.2)
    options = {"n_workers": 0, "processes": False, "protocol": "tcp", "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        address = cluster.scheduler_address
        workers = dask_workers.DaskWorkers(client, 1, patience_s=0.2)
        with pytest.raises(ToolError, match=f"no worker is left of the Dask cluster at {address}"):
            workers.run(os.getpid)
        with pytest.raises(ToolError, match=f"the Dask cluster at {address} has no worker: start"):
            workers_at(address).__enter__()


JOBQUEUE = {
    "cores": 2,
    "memory": "8 GB",
    "walltime": "01:30",
    "queue": "long",
    "job-script-prologue": ["module load python"],
}


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("slurm", ["#SBATCH -p long", "#SBATCH -t 01:30", "--cpus-per-task=2", "--mem=8G"]),
        ("lsf", ["#BSUB -q long", "#BSUB -W 01:30", "#BSUB -n 2", "#BSUB -M 8000"]),
    ],
)
def test_jobs_are_those_of_the_configuration(kind, wanted):
    pytest.importorskip("dask_jobqueue")  # brings the configuration that is added to
    known = dask.config.get(f"jobqueue.{kind}")
    with dask.config.set({f"jobqueue.{kind}": known | JOBQUEUE}), job_cluster(kind) as cluster:
        script = cluster.job_script()
    for line in (*wanted, "module load python", "distributed.cli.dask_worker tcp://"):
        assert line in script, script
    with job_cluster(kind) as cluster:
        script = cluster.job_script()
    assert "--nthreads 1 --memory-limit 2.00GiB" in script


@pytest.mark.parametrize(("kind", "program"), [("slurm", "sbatch"), ("lsf", "bsub")])
def test_jobs_need_the_program_that_submits_them(kind, program, model, tmp_path, monkeypatch):
    monkeypatch.setattr(clusters.shutil, "which", lambda _name: None)
    words = ["compress", model.path, "-o", tmp_path / "c.safetensors", "--cluster", f"{kind}:3"]
    refuses(f"{program} is not here: {kind}:3 submits jobs", *words, code=3)


def _program(folder, name, *lines):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(["#!/bin/bash", *lines, ""]))
    (folder / name).chmod(0o755)


def test_what_a_batch_system_says_is_told(model, tmp_path, monkeypatch):
    _program(tmp_path / "bin", "sbatch", 'echo "sbatch: error: no partition x" >&2', "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    words = ["compress", model.path, "-o", tmp_path / "c.safetensors", "--cluster", "slurm:2"]
    refuses("sbatch refuses the job: sbatch: error: no partition x (dask", *words, code=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["slurm", "lsf"])
def test_jobs_encode(kind, model, tmp_path, monkeypatch):
    """Programs in the place of a batch system's run every job at once, on this machine."""
    start = 'setsid bash "$script" > /dev/null 2>&1 &'
    _program(tmp_path / "bin", "sbatch", "script=${@: -1}", start, 'echo "Submitted batch job $!"')
    script = "script=$(mktemp -p " + str(tmp_path / "bin") + "); cat > $script"
    _program(tmp_path / "bin", "bsub", script, start, 'echo "Job <$!> is submitted."')
    for name in ("scancel", "bkill"):
        _program(tmp_path / "bin", name, "kill -- -$1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    compress_model(model, tmp_path / "one", PLANS, jobs=1)
    told = []
    with workers_at(f"{kind}:2", told.append) as workers:
        compress_model(model, tmp_path / "jobs", PLANS, workers=workers)
    assert (tmp_path / "jobs").read_bytes() == (tmp_path / "one").read_bytes()
    assert told[1] == f"{kind}:2: jobs are submitted; work begins with the first that runs"


def test_what_is_no_address_is_refused(model, tmp_path):
    words = ["compress", model.path, "-o", tmp_path / "c.safetensors", "--cluster"]
    for text in ("local", "local:x", "host:8786", "pbs:3", ""):
        refuses("cluster must be tcp://HOST:PORT (of a Dask scheduler), local:N", *words, text)
    refuses("workers of a cluster must be between 1 and 4096, not 0", *words, "local:0")
    refuses("with --cluster, leave it out", *words, "local:1", "--jobs", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_no_package_of_the_cluster_is_loaded_without_it():
    code = (
        "import sys, xorloom.sim.cli.main, xorloom.sw.model.compress, xorloom.sw.remote.clusters\n"
        "print(sorted({'dask', 'distributed', 'fsspec', 'bokeh'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
