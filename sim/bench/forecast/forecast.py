# SPDX-License-Identifier: Apache-2.0
"""Forecast of a compression: size, time and memory, by layer and in all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xorloom.sw.base.errors import check_range
from xorloom.sw.base.workers import Threads
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.plans import plan_source
from xorloom.sw.model.plan.recipe import Recipe
from xorloom.sw.model.plan.source import Source
from xorloom.sw.model.prepare import BLOCK_WEIGHTS
from xorloom.sw.tensors.checkpoint.model import Checkpoint, ModelTensor
from xorloom.sw.tensors.safetensors_file import DTYPES

from .kinds import Kind, Unit, estimated_bits, units_of
from .layers import Layer, pattern_of, stem_of, words_of
from .parts import normal_rows, sketch, stored_rows
from .rates import Rates, measure_rates, processor, start_seconds

__all__ = ["Forecast", "forecast"]

_ENTRY_BYTES = 100
"""Of a file's header, for a tensor that passes through."""


@dataclass(frozen=True)
class Forecast:
    """What a compression will take.

    Parameters
    ----------
    layers : tuple of Layer
        In the model's order.
    jobs : int
        Threads.
    cpu : float
        CPU seconds, of all threads.
    seconds : float
        Seconds on the clock of a machine that does nothing else.
    decode : float
        CPU seconds of a decompression, which has one thread.
    memory : float
        Bytes at most.
    file, source : float
        Bytes of the compressed file, and of all tensors as they are.
    notes : tuple of str
        What was assumed, a line each.
    """

    layers: tuple[Layer, ...]
    jobs: int
    cpu: float
    seconds: float
    decode: float
    memory: float
    file: float
    source: float
    notes: tuple[str, ...]

    @property
    def compressed(self) -> list[Layer]:
        """Layers that do not pass through."""
        return [layer for layer in self.layers if layer.becomes]

    @property
    def weights(self) -> int:
        """Weights that are compressed."""
        return sum(layer.weights for layer in self.compressed)

    @property
    def bits_per_weight(self) -> float:
        """Stored bits for each of them, scales and all else of the streams included."""
        return 8 * sum(layer.stored for layer in self.compressed) / max(1, self.weights)


def forecast(
    model: Checkpoint,
    wanted: Recipe,
    *,
    weights: bool,
    jobs: int | None = None,
    block_weights: int = BLOCK_WEIGHTS,
    use_cache: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> Forecast:
    """Tell what the compression of a model will take.

    Parameters
    ----------
    model : Checkpoint
        Of a checkpoint, or of :func:`xorloom.sim.bench.forecast.shapes.read_shapes`.
    wanted : Recipe
        All that the user asks for.
    weights : bool
        Whether the model has weights. If not, its tensors are taken to be normal.
    jobs : int, optional
        Threads; all available cores by default.
    block_weights : int
        As in :func:`xorloom.sw.model.compress.compress_model`.
    use_cache : bool
        Whether rates that were measured before may do.
    note : callable
        Called with a line for each choice.

    Raises
    ------
    ConfigError, FormatError, CapacityError
        As the compression itself, if what is asked for does not fit.
    """
    jobs = Threads.of(jobs).jobs
    check_range("block_weights", block_weights, 0, 1 << 32)
    rows = stored_rows if weights else normal_rows
    some = sketch(model, rows)
    plans, _ = plan_source(Source(some), wanted, UserArrays(), note=note)
    units = units_of(some, plans, block_weights)
    by_kind: dict[Kind, list[Unit]] = {}
    for unit in units:
        by_kind.setdefault(unit.kind, []).append(unit)
    content = _content(model) if weights else "normal"
    rates = {
        kind: measure_rates(kind, found, model, rows, content, use_cache=use_cache, note=note)
        for kind, found in by_kind.items()
    }
    layers = tuple(_layers(model, units, rates))
    passed = sum(layer.stored for layer in layers if not layer.becomes)
    codecs = {(kind.plan.config.codec, kind.plan.index): kind for kind in rates}
    start = max(start_seconds(kind, use_cache=use_cache) for kind in codecs.values())
    copied = passed * max(found.copy for found in rates.values())
    whole = sum(_whole(unit, rates[unit.kind]) for unit in units)
    work = sum(rates[unit.kind].at("cpu", unit.weights) for unit in units)
    peaks = sorted(rates[unit.kind].at("peak", unit.weights) for unit in units)
    beside = max(found.header for found in rates.values())
    beside += sum(rates[unit.kind].beside for unit in units)
    beside += _ENTRY_BYTES * (len(model) - len(plans))
    return Forecast(
        layers,
        jobs,
        cpu=start + copied + whole + work,
        seconds=start + copied + whole + work / max(1, min(jobs, len(units))),
        decode=start + copied + sum(layer.decode for layer in layers),
        memory=max(found.base for found in rates.values()) + sum(peaks[-jobs:]),
        file=sum(layer.stored for layer in layers) + beside,
        source=sum(_bytes(tensor) for tensor in model.values()),
        notes=tuple(_notes(units, rates, weights)),
    )


def _whole(unit: Unit, rates: Rates) -> float:
    """Return the CPU seconds of looking at a row block before the work."""
    return rates.at("whole", unit.weights) if unit.is_compared else 0.0


def _bytes(tensor: ModelTensor) -> int:
    """Return the bytes of a tensor as it is."""
    if tensor.span is not None:
        return tensor.span.size
    known = DTYPES.get(tensor.dtype)
    return len(tensor.raw()) if known is None else tensor.size * known.itemsize


def _content(model: Checkpoint) -> str:
    """Return what tells a model's weights from others without reading them."""
    found = []
    for path in dict.fromkeys(model.files):
        facts = path.stat()
        found.append(f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}")
    return "\n".join(found)


def _layers(model: Checkpoint, units: Sequence[Unit], rates: Mapping[Kind, Rates]) -> list[Layer]:
    parts: dict[str, list[Unit]] = {}
    for unit in units:
        parts.setdefault(unit.tensor, []).append(unit)
    groups: dict[object, list[str]] = {}
    for name, tensor in model.items():
        kind = parts[name][0].kind if name in parts else None
        groups.setdefault((stem_of(name), tensor.shape, tensor.dtype, kind), []).append(name)
    return [_layer(model, names, parts, rates) for names in groups.values()]


def _layer(
    model: Checkpoint,
    names: Sequence[str],
    parts: Mapping[str, Sequence[Unit]],
    rates: Mapping[Kind, Rates],
) -> Layer:
    found = [unit for name in names for unit in parts.get(name, ())]
    tensor = model[names[0]]
    weights = len(names) * tensor.size
    facts = (pattern_of(names), len(names))
    if not found:
        stored = sum(_bytes(model[name]) for name in names)
        return Layer(*facts, 0, tensor.shape, tensor.dtype, "", weights, weights, stored, 0, 0, 0)
    of = rates[found[0].kind]
    plan = found[0].kind.plan
    kept = sum(unit.kept * unit.weights for unit in found)
    bits = sum(
        of.at("ratio", unit.weights) * estimated_bits(unit.weights, unit.kept, plan)
        + unit.scale_bits
        for unit in found
    )
    return Layer(
        *facts,
        blocks=len(found) if found[0].cut else 0,
        shape=tensor.shape,
        dtype=tensor.dtype,
        becomes=words_of(plan, kept / max(1, weights)),
        weights=weights,
        kept=kept,
        stored=bits / 8,
        cpu=sum(of.at("cpu", unit.weights) + _whole(unit, of) for unit in found),
        decode=sum(of.at("decode", unit.weights) for unit in found),
        memory=max(of.at("peak", unit.weights) for unit in found),
    )


def _notes(units: Sequence[Unit], rates: Mapping[Kind, Rates], weights: bool) -> list[str]:
    """Tell what was assumed."""
    most = max(found.points[-1].weights for found in rates.values())
    largest = max(unit.weights for unit in units)
    what = "parts of the model's own tensors" if weights else "normal weights, independent ones"
    beyond = f", beyond {most:,} weights by extension" if most < largest else ""
    notes = [
        f"rates: measured on this machine ({processor()}, one thread), on {what}{beyond}",
        "time: of a machine that does nothing else, and whose disk keeps up",
    ]
    if not weights:
        notes.append("real weights can take more time and other sizes: give the checkpoint")
    exact = {unit.kind for unit in units if unit.kind.plan.config.chooses_values}
    if len(exact) < len({unit.kind for unit in units}):
        notes.append("size: of window and block values, and the entropy index, by such samples")
    if len(exact) > 0:
        notes.append("size: of the direct codec exact")
    if any(unit.kind.plan.scope == "global" for unit in units):
        notes.append("scope global: every tensor is taken to keep the same share")
    own = [unit for unit in units if unit.kind.own]
    if own:
        tensors = len({unit.tensor for unit in own})
        notes.append(
            f"{tensors} tensors keep masks of their own, as dense as in some of their rows"
        )
    return notes
