# SPDX-License-Identifier: Apache-2.0
"""Rates of this machine: what units of a kind take, measured on samples of growing size."""

import math
import platform
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from xorloom.sw.base.cache import cache_folder, cached, digest, remove
from xorloom.sw.base.errors import CapacityError
from xorloom.sw.tensors.checkpoint.model import Checkpoint, listed
from xorloom.sw.tensors.safetensors_file import header_bytes, write_tensors

from .kinds import Kind, Unit, estimated_bits
from .measure import Cost, measured, run_timed
from .parts import Rows, part_shape
from .shapes import normal_weights

__all__ = ["Point", "Rates", "measure_rates", "processor", "start_seconds"]

_LEAST, _MOST, _STEP = 1 << 12, 1 << 22, 4
"""Weights of the units of samples."""
_SAMPLE = 1 << 18
"""Weights of a sample that has several units."""
_UNITS = 8
"""Units of a sample at most."""
_BLOCKS = 4
"""Row blocks of a tensor in a sample; of fewer none is cut."""
_LIMIT = 2.0
"""CPU seconds that the largest sample of a kind may be expected to take."""
_COMPILES = 3.0
"""CPU seconds that a first run takes only if it compiles kernels."""
_COPIED = 1 << 24
"""Bytes that pass through, in the sample that tells what copying takes."""


@dataclass(frozen=True)
class Point:
    """What one unit of a size takes.

    Parameters
    ----------
    weights : int
    cpu, whole, decode : float
        CPU seconds of one thread: to compress it, to read it before that as a part of a tensor
        that is cut, and to decompress it.
    peak : float
        Bytes of memory.
    ratio : float
        Bits of its streams, relative to the estimate.
    """

    weights: int
    cpu: float
    whole: float
    decode: float
    peak: float
    ratio: float


@dataclass(frozen=True)
class Rates:
    """What units of a kind take on this machine.

    Parameters
    ----------
    points : tuple of Point
        Of growing size.
    base : int
        Bytes of memory of a process with next to no work.
    copy : float
        CPU seconds for a byte that passes through.
    beside : float
        Bytes of the file's header for a unit.
    header : float
        Bytes of all else in it.
    """

    points: tuple[Point, ...]
    base: int
    copy: float
    beside: float
    header: float

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Rates":
        """Return rates out of what ``asdict`` made of some."""
        points = tuple(Point(**point) for point in facts["points"])
        return cls(**{**facts, "points": points})

    def at(self, key: str, weights: int) -> float:
        """Return a figure of a unit: between the points on a line, beyond them on the last one."""
        sizes = [point.weights for point in self.points]
        values = [float(getattr(point, key)) for point in self.points]
        if weights <= sizes[-1] or key == "ratio":
            return float(np.interp(weights, sizes, values))
        slope = values[-1] / sizes[-1]
        if len(sizes) > 1:
            slope = max(0.0, (values[-1] - values[-2]) / (sizes[-1] - sizes[-2])) or slope
        return values[-1] + slope * (weights - sizes[-1])


def processor() -> str:
    """Return what this machine's processor is called."""
    name = platform.machine()
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            name = found[1].strip()
    return name


def measure_rates(
    kind: Kind,
    units: Sequence[Unit],
    model: Checkpoint,
    rows: Rows,
    weights: str,
    *,
    use_cache: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> Rates:
    """Return what units of a kind take, from the cache if it was measured on this machine.

    Parameters
    ----------
    kind : Kind
    units : sequence of Unit
        All of the kind.
    model : Checkpoint
    rows : callable
        Reads or makes parts of its tensors.
    weights : str
        Tells those weights from others; equal names give equal rates.
    use_cache : bool
    note : callable
        Called with a line if it has to be measured.

    Raises
    ------
    ConfigError, FormatError, CapacityError
        If a sample cannot be compressed as planned.
    """
    largest = max(unit.weights for unit in units)
    samples = [_sample(kind, units, model, size) for size in _sizes(largest)]
    form = [field.name for kept in (Rates, Point) for field in fields(kept)]
    key = digest(version("xorloom"), form, processor(), kind, samples, weights)

    def make() -> dict[str, Any]:
        names = list(dict.fromkeys(unit.tensor for unit in units))
        note(f"measuring rates of this machine, for {listed(names, 3)}")
        try:
            return asdict(_measure(kind, samples, model, rows))
        except BrokenProcessPool:
            raise CapacityError(
                "the process that measures rates was stopped from outside: was memory too little?"
            ) from None

    if not use_cache:
        remove(cache_folder() / "rates" / f"{key}.json")
    return Rates.of(cached("rates", key, make))


def start_seconds(kind: Kind, *, use_cache: bool = True) -> float:
    """Return the CPU seconds of a command with next to no work, from start to end.

    It loads what units of a kind need: kernels of their codecs.
    """
    plan = kind.plan
    words = ["--value", plan.config.codec]
    if plan.index is not None and not plan.config.chooses_values:
        words += ["--index", plan.index.codec]
    key = digest(version("xorloom"), processor(), "start", words)
    if not use_cache:
        remove(cache_folder() / "rates" / f"{key}.json")

    def make() -> float:
        with TemporaryDirectory(prefix="xorloom-rates-") as name:
            path, out = Path(name) / "one.safetensors", Path(name) / "c.safetensors"
            shape = (64, _LEAST // 64)
            data = normal_weights("w", shape, "F32").tobytes()
            write_tensors(path, header_bytes({"w": ("F32", shape, len(data))}, {}), [data])
            command = ["-m", "xorloom.sim.cli", "-q", "compress", str(path), "-o", str(out)]
            run_timed([*command, *words])  # may compile kernels
            return run_timed([*command, *words])[1]

    return float(cached("rates", key, make))


def _sizes(largest: int) -> list[int]:
    most = min(largest, _MOST)
    steps = math.ceil(math.log(_MOST / _LEAST, _STEP))
    found = [_LEAST * _STEP**k for k in range(steps) if _LEAST * _STEP**k < 0.7 * most]
    return [*found, most]


@dataclass(frozen=True)
class _Sample:
    """Parts of tensors: name, shape, from where on (0 to 1), share that is kept."""

    parts: tuple[tuple[str, tuple[int, ...], float, float], ...]
    blocks: int

    @property
    def weights(self) -> int:
        return sum(math.prod(shape) for _, shape, _, _ in self.parts)

    @property
    def units(self) -> int:
        return len(self.parts) * self.blocks

    @property
    def largest(self) -> int:
        return max(math.prod(shape) for _, shape, _, _ in self.parts)


def _sample(kind: Kind, units: Sequence[Unit], model: Checkpoint, size: int) -> _Sample:
    """Choose parts of about so many weights from tensors all over the model."""
    blocks = _BLOCKS if kind.in_blocks else 1
    count = min(_UNITS, max(1, _SAMPLE // (blocks * size)))
    large = [unit for unit in units if unit.weights >= size] or list(units)
    parts = []
    for k in range(count):
        unit = large[(2 * k + 1) * len(large) // (2 * count)]
        whole = model[unit.tensor].shape if kind.in_blocks else unit.shape
        at = (k + 0.5) / count
        parts.append((unit.tensor, part_shape(whole, blocks * size), at, unit.kept))
    return _Sample(tuple(parts), blocks)


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _process() -> ProcessPoolExecutor:
    """Return a process that begins with nothing: what it takes is what a command takes."""
    return ProcessPoolExecutor(1, get_context("spawn"), _ignore_interrupt)


def _measure(kind: Kind, samples: Sequence[_Sample], model: Checkpoint, rows: Rows) -> Rates:
    task = partial(measured, plan=kind.plan, own=kind.own)
    with TemporaryDirectory(prefix="xorloom-rates-") as folder:
        least = _Sample(samples[0].parts[:1], 1)
        one = _written(Path(folder) / "one.safetensors", least, model, rows)
        with ExitStack() as stack:
            process = stack.enter_context(_process())
            small = process.submit(task, one, ["0.weight"]).result()
            if small.first > _COMPILES:  # that takes memory as well: begin again
                process = stack.enter_context(_process())
                process.submit(task, one, ["0.weight"]).result()
            first: Cost = process.submit(task, one, ["0.weight"]).result()
            more = _written(Path(folder) / "more.safetensors", least, model, rows, _COPIED)
            copied: Cost = process.submit(task, more, ["0.weight"]).result()
            costs: list[tuple[_Sample, Cost]] = []
            for sample in samples:
                if costs:
                    before, cost = costs[-1]
                    if cost.cpu * sample.weights / before.weights > _LIMIT:
                        break
                path = _written(Path(folder) / "s.safetensors", sample, model, rows)
                names = [f"{k}.weight" for k in range(len(sample.parts))]
                cut = -(-sample.largest // _BLOCKS)
                how = partial(
                    task,
                    block_weights=cut if kind.in_blocks else 0,
                    whole_blocks=0 if kind.keeps_all else cut,
                )
                costs.append((sample, process.submit(how, path, names).result()))
    sample, cost = costs[0]
    fixed = _beside_units(first.cpu, cost.cpu, sample)
    header = _beside_units(first.beside, cost.beside, sample)
    points = [_point(kind, sample, cost, first, fixed) for sample, cost in costs]
    copy = max(0.0, copied.cpu - first.cpu) / _COPIED
    return Rates(tuple(points), first.peak, copy, first.beside - header, header)


def _beside_units(one: float, several: float, sample: _Sample) -> float:
    """Return what a run takes beside its units: of one unit, and of several, it takes so much."""
    return max(0.0, (one * sample.units - several) / (sample.units - 1)) if sample.units > 1 else 0


def _point(kind: Kind, sample: _Sample, cost: Cost, first: Cost, fixed: float) -> Point:
    units = sample.units
    estimate = 0.0
    for _, shape, _, kept in sample.parts:
        size = math.prod(shape) // sample.blocks
        estimate += sample.blocks * estimated_bits(size, kept, kind.plan)
    found = cost.cpu - fixed - (cost.whole if kind.in_blocks else 0)
    return Point(
        weights=sample.weights // units,
        cpu=max(0.0, found) / units,
        whole=cost.whole / units,
        decode=cost.decode / units,
        peak=max(0, cost.peak - first.peak),
        ratio=cost.bits / estimate,
    )


def _written(path: Path, sample: _Sample, model: Checkpoint, rows: Rows, copied: int = 0) -> Path:
    """Write a sample, and so many bytes that pass through."""
    arrays = {}
    for k, (name, shape, at, _) in enumerate(sample.parts):
        arrays[f"{k}.weight"] = (model[name].dtype, rows(model[name], shape, [at]))
    if copied:
        arrays["copied"] = ("U8", np.zeros(copied, np.uint8))
    entries = {name: (dtype, a.shape, a.nbytes) for name, (dtype, a) in arrays.items()}
    data = [array.tobytes() for _, array in arrays.values()]
    write_tensors(path, header_bytes(entries, {}), data)
    return path
