# SPDX-License-Identifier: Apache-2.0
"""Sweep of decoders over a model's layers: encode, synthesize, and put both together."""

import hashlib
import json
import multiprocessing
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.hw.flow.export import tool_versions
from xorloom.hw.flow.place import check_family
from xorloom.hw.flow.synth import synthesize
from xorloom.hw.flow.targets import check_target
from xorloom.hw.units import generate_unit
from xorloom.sim.bandwidth.presets import memory as memory_named
from xorloom.sim.bandwidth.presets import model_cycles
from xorloom.sim.simulate.index import index_steps
from xorloom.sw.base.errors import CapacityError, ConfigError, ToolError, XorloomError
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import INDEX, STREAM, read_container
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.reports.inspect import tensor_steps
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import BitmapConfig, IndexConfig, NoneConfig
from xorloom.sw.tensors.checkpoint import ModelTensor, open_model
from xorloom.sw.tensors.quantize import Quantizer

from .grid import Point
from .pareto import pareto
from .store import Store

__all__ = ["Sweep", "count_jobs", "cut_rows", "data_facts", "run_sweep", "sweep_rows"]


@dataclass(frozen=True)
class Sweep:
    """Settings that all points of a sweep have in common.

    Parameters
    ----------
    weights : Path
        ``.npz`` of the matrices, see :func:`cut_rows`.
    density : float
    quantizer : Quantizer
        Its number of planes is replaced by each point's.
    target : str
        Of :func:`xorloom.hw.flow.synth.synthesize`.
    seeds : int
    memory : str
        See :func:`xorloom.sim.bandwidth.presets.memory`.
    clock_mhz : float, optional
        Upper limit of the clock; the clock itself where no Fmax was measured.
    """

    weights: Path
    density: float
    quantizer: Quantizer
    target: str
    seeds: int
    memory: str = "ideal"
    clock_mhz: float | None = None


@dataclass(frozen=True)
class _Job:
    """Job for a worker process: an encoding, or else a synthesis."""

    key: str
    sweep: Sweep
    value: ValueConfig | IndexConfig
    index: IndexConfig | None = None
    planes: int = 1


def cut_rows(
    model: Mapping[str, ModelTensor], names: Sequence[str], rows: int | None, path: Path
) -> str:
    """Write the first rows of matrices as ``.npz``; return a digest of them.

    Parameters
    ----------
    rows : int, optional
        Of each matrix, at least 1; by default all.
    """
    arrays = {name: model[name].weights()[:rows] for name in names}
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.shape} ".encode())
        digest.update(array.tobytes())
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return digest.hexdigest()[:24]


def data_facts(digest: str) -> dict[str, Any]:
    """Return what a store's results have in common: the weights and what made the results."""
    return {"weights": digest, "tools": tool_versions()}


def _key(kind: str, facts: object) -> str:
    text = json.dumps(facts, sort_keys=True)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _quantizer(sweep: Sweep, value: ValueConfig, planes: int) -> Quantizer:
    """Return how a codec's weights are quantized: it may choose the values itself."""
    method = "trellis" if value.chooses_values else sweep.quantizer.method
    return replace(sweep.quantizer, method=method, planes=planes)


def _sparsity(sweep: Sweep, value: ValueConfig) -> float | None:
    """Return what is pruned; a codec that chooses the values keeps every weight."""
    return None if value.chooses_values else 1 - sweep.density


def _encoding_job(point: Point, sweep: Sweep) -> _Job:
    q = _quantizer(sweep, point.value, point.planes)
    how = [_sparsity(sweep, point.value), *astuple(q)]
    configs = [(c.codec, c.to_dict()) for c in (point.value, point.index)]
    return _Job(_key("encoding", [how, configs]), sweep, point.value, point.index, point.planes)


def _synthesis_jobs(point: Point, sweep: Sweep) -> list[_Job]:
    """Return the parts of a decoder; a mask that is stored as it is, or none, needs no decoder."""
    parts: list[ValueConfig | IndexConfig] = [point.value]
    if not isinstance(point.index, BitmapConfig | NoneConfig):
        parts.append(point.index)
    return [
        _Job(
            _key("synthesis", [sweep.target, sweep.seeds, part.codec, part.to_dict()]), sweep, part
        )
        for part in parts
    ]


def _encode(job: _Job) -> dict[str, Any]:
    """Encode all matrices; count bits, bus words and steps, and what the masks keep."""
    model, sweep, value = open_model(job.sweep.weights), job.sweep, job.value
    assert job.index is not None
    assert isinstance(value, ValueConfig)
    spec = CompressSpec(
        sparsity=_sparsity(sweep, value),
        quantizer=_quantizer(sweep, value, job.planes),
        config=value,
        index=job.index,
        search=False,
        include=tuple(model),
        min_size=1,
    )
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        path = Path(name) / "point.safetensors"
        made = compress_model(model, path, spec)
        config, bits = made.config, made.bits
        container = read_container(path)
        kept = most = lost = energy = 0.0
        words = steps = cycles = 0
        for tensor in bits:
            mask = decode_tensor(container, tensor).mask.reshape(-1)
            magnitude = np.abs(model[tensor].weights()).reshape(-1).astype(np.float64)
            count = int(np.count_nonzero(mask))
            square = float(np.dot(magnitude, magnitude))
            lost += square * (made.tensors[tensor].error or 0.0)
            energy += square
            kept += float(magnitude[mask].sum())
            most += float(np.partition(magnitude, mask.size - count)[mask.size - count :].sum())
            stored = len(container.raw(tensor + STREAM)) + len(container.raw(tensor + INDEX))
            words += stored // config.bus_bytes
            steps += tensor_steps(container, tensor)
            cycles += index_steps(job.index, -(-mask.size // job.index.n_out))
    return {
        "weights": sum(b.weights for b in bits.values()),
        "bits": sum(b.total for b in bits.values()),
        "kept": kept / most if most else 1.0,
        # Not "error", which in a result tells why there is none.
        "loss": lost / energy if energy else 0.0,
        "words": words,
        "steps": max(steps, cycles),
    }


def _synthesize(job: _Job) -> dict[str, Any]:
    """Synthesize a value decoder or the core of an index decoder."""
    units = {"window": "value", "direct": "value", "block": "decoder"}
    unit = units.get(job.value.codec, "core")
    verilog = generate_unit(unit, job.value)
    sweep = job.sweep
    return synthesize(verilog.text, verilog.name, sweep.target, seeds=sweep.seeds).to_dict()


def _measure(job: _Job) -> dict[str, Any]:
    """Do a job; return its result, or why it cannot be done or failed."""
    try:
        return {"key": job.key} | (_encode(job) if job.index is not None else _synthesize(job))
    except (ConfigError, CapacityError) as error:
        return {"key": job.key, "skipped": str(error)}
    except (XorloomError, OSError) as error:
        return {"key": job.key, "error": str(error)}


def _own_group() -> None:
    """Ignore Ctrl-C in a worker: the sweep gets it, and ends its workers and their tools."""
    os.setsid()


@contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes; if the sweep is interrupted, they and their tools end at once."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_own_group)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            with suppress(ProcessLookupError):
                # A worker that has no group of its own yet is in ours.
                if process.pid and os.getpgid(process.pid) == process.pid:
                    os.killpg(process.pid, signal.SIGTERM)
        raise
    pool.shutdown()


def _jobs(points: Sequence[Point], sweep: Sweep, store: Store) -> dict[str, _Job]:
    """Return the jobs whose results the store lacks, by key."""
    jobs: dict[str, _Job] = {}
    for point in points:
        for job in (_encoding_job(point, sweep), *_synthesis_jobs(point, sweep)):
            if job.key not in store.results:
                jobs.setdefault(job.key, job)
    return jobs


def count_jobs(points: Sequence[Point], sweep: Sweep, store: Store) -> int:
    """Return how many results the store lacks."""
    return len(_jobs(points, sweep, store))


def run_sweep(
    points: Sequence[Point],
    sweep: Sweep,
    store: Store,
    *,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> None:
    """Measure what the store does not have yet; each result is stored as soon as it is there.

    Points share work: those with the same stream share an encoding, those with the same value
    decoder or index core a synthesis.

    Parameters
    ----------
    workers : int, optional
        Processes; by default as many as cores.
    progress : callable
        Called after every result.

    Raises
    ------
    ToolError
        If nextpnr is missing, or a worker process dies. An error that a worker reports is a result
        with ``error`` instead.
    """
    family = check_target(sweep.target).family
    if family is not None and sweep.seeds:
        check_family(family)
    jobs = _jobs(points, sweep, store)
    if not jobs:
        return
    count = min(len(jobs), workers or len(os.sched_getaffinity(0)))
    with _workers(count) as pool:
        for future in as_completed([pool.submit(_measure, job) for job in jobs.values()]):
            try:
                record = future.result()
            except BrokenProcessPool as error:
                raise ToolError(
                    "a process of the sweep died, perhaps for want of memory: run the command "
                    "again with fewer --workers, it goes on where it was"
                ) from error
            store.add(record)
            stage, _, what = record["key"].partition("-")
            progress(stage, what)


def _speed(encoding: dict[str, Any], bus_bits: int, clock: float, memory: str) -> float:
    """Return millions of weights per second: what memory or decoder allows."""
    rate = memory_named(memory).words_per_cycle(clock, bus_bits)
    cycles = model_cycles(encoding["words"], encoding["steps"], rate).total
    return float(encoding["weights"] / cycles * clock)


def _row(
    point: Point, sweep: Sweep, encoding: dict[str, Any], parts: list[dict[str, Any]]
) -> dict[str, Any]:
    luts = [part["lut"] for part in parts if part["lut"] is not None]
    clocks = [part["fmax_mhz"] for part in parts if part["fmax_mhz"] is not None]
    lut = sum(luts) if luts else None
    fmax = min(clocks) if clocks else None
    clock = min([c for c in (fmax, sweep.clock_mhz) if c is not None], default=None)
    per_cycle = encoding["weights"] / max(encoding["words"], encoding["steps"])
    nand2 = [part["nand2"] for part in parts if part["nand2"] is not None]
    return point.parameters | {
        "bits_per_weight": encoding["bits"] / encoding["weights"],
        "kept": encoding["kept"],
        "error": encoding["loss"],
        "lut": lut,
        "ff": sum(part["ff"] for part in parts),
        "nand2": sum(nand2) if nand2 else None,
        "fmax_mhz": fmax,
        "weights_per_cycle": per_cycle,
        "mweights_per_s": (
            None if clock is None else _speed(encoding, point.value.bus_bits, clock, sweep.memory)
        ),
        "lut_per_weight": None if lut is None else lut / per_cycle,
    }


def sweep_rows(
    points: Sequence[Point], sweep: Sweep, store: Store, objectives: Sequence[str]
) -> tuple[list[dict[str, Any]], Counter[str], int]:
    """Return a row per measured point, why others were skipped, and how many are missing.

    A row has the point's parameters, ``bits_per_weight`` (everything stored), ``kept`` (magnitude,
    as a share of that of as many of the largest weights), ``error`` (squared, by the sum of
    squares: what is pruned counts), ``lut``, ``ff``, ``nand2`` and ``fmax_mhz`` of value decoder
    and index core, ``weights_per_cycle`` of an ideal memory,
    ``mweights_per_s``, ``lut_per_weight`` (LUTs per weight per cycle) and ``pareto``. What was not
    measured is ``None``.
    """
    rows: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    missing = 0
    for point in points:
        keys = [_encoding_job(point, sweep).key]
        keys += [job.key for job in _synthesis_jobs(point, sweep)]
        found = [store.results.get(key) for key in keys]
        reasons = [record["skipped"] for record in found if record and "skipped" in record]
        if reasons:
            skipped[reasons[0]] += 1
            continue
        records = [record for record in found if record]
        if len(records) < len(found):
            missing += 1
            continue
        rows.append(_row(point, sweep, records[0], records[1:]))
    for row, front in zip(rows, pareto(rows, objectives), strict=True):
        row["pareto"] = front
    return rows, skipped, missing
