# SPDX-License-Identifier: Apache-2.0
"""Whole models: one walk over the tensors that prunes, quantizes, encodes and writes each.

Several threads do so, each with a tensor of its own, or a block of a large one, or have workers do
it on other machines; what they make is written in the model's order. Memory holds one tensor or
block for each thread, a few that are encoded and wait for their turn, and the sample of a search;
what passes through is copied piece by piece. Nothing is decoded.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.base.host import spool_beside
from xorloom.sw.base.outputs import check_outputs
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.base.workers import Threads, Workers, in_order
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.quantize import Quantized, stored_quantizer
from xorloom.sw.tensors.safetensors_file import dtype_name

from .codec import encode_tensor
from .container import (
    INDEX,
    SCALE,
    STREAM,
    CompressedTensor,
    Container,
    ForeignTensor,
    StoredTensor,
    write_container,
)
from .metrics import TensorBits, TensorReport
from .metrics.joined import joined_report
from .plan.given import UserArrays
from .plan.selection import select
from .plan.spec import CompressSpec, TensorPlan
from .prepare import (
    BLOCK_WEIGHTS,
    PackedPart,
    Part,
    PutAside,
    Unit,
    UnitStore,
    corrected,
    cut_model,
    decoders_of,
    global_cuts,
    naming_errors,
    part_of,
    unit_key,
    units_of,
)

__all__ = ["CompressedModel", "EncodedUnit", "compress_model", "encode_unit"]

_Encoded = tuple[str, TensorReport, dict[str, StoredTensor]]


@dataclass(frozen=True)
class CompressedModel:
    """What a model became.

    Parameters
    ----------
    tensors : dict
        A report for each tensor that was compressed, by name, in the model's order.
    """

    tensors: dict[str, TensorReport]

    @property
    def bits(self) -> dict[str, TensorBits]:
        """Every tensor's bits."""
        return {name: report.bits for name, report in self.tensors.items()}

    @property
    def errors(self) -> dict[str, float | None]:
        """Every tensor's relative squared error; ``None`` of the user's own codes."""
        return {name: report.error for name, report in self.tensors.items()}

    @property
    def decoders(self) -> list[Decoder]:
        """Decoders of all tensors, each once."""
        return list(dict.fromkeys(report.decoder for report in self.tensors.values()))

    @property
    def config(self) -> ValueConfig:
        """The value decoder that reads all tensors.

        Raises
        ------
        ConfigError
            If there are several.
        """
        values = {decoder.value for decoder in self.decoders}
        if len(values) != 1:
            raise ConfigError(f"the tensors are for {len(values)} value decoders, not for one")
        return values.pop()


def compress_model(
    model: Mapping[str, ModelTensor],
    out: Path,
    plans: CompressSpec | Mapping[str, TensorPlan],
    *,
    given: UserArrays | None = None,
    base: Container | None = None,
    jobs: int | None = None,
    workers: Workers | None = None,
    block_weights: int = BLOCK_WEIGHTS,
    store: UnitStore | None = None,
    shard_bytes: int | None = None,
    progress: Progress = no_progress,
    done: Callable[[str, Quantized, TensorBits], None] | None = None,
) -> CompressedModel:
    """Compress a model into one file; everything that is not compressed passes through unchanged.

    But for biases, with a calibration: they take up the mean of their matrices' errors.

    Parameters
    ----------
    model : mapping of name to ModelTensor
        A :class:`xorloom.sw.tensors.checkpoint.model.Checkpoint` brings metadata and ties along.
    out : Path
    plans : CompressSpec or mapping of name to TensorPlan
        One plan for all tensors that qualify, or a plan for each that is compressed.
    given : UserArrays, optional
        The user's own masks, codes, seeds and saliencies.
    base : Container, optional
        Compressed file that ``model`` is the rest of, see
        :func:`xorloom.sw.model.plan.source.open_source`: what it holds compressed is copied.
    jobs : int, optional
        Threads, at most one for each tensor or block; what is left of them goes to work within
        large tensors. All available cores by default; the file is the same.
    workers : Workers, optional
        Where tensors and blocks are encoded, in the place of this process's threads, such as
        :class:`xorloom.sw.remote.dask_workers.DaskWorkers`; the file is the same.
    block_weights : int
        Most weights of a row block: tensors of much more are cut, see
        :func:`xorloom.sw.model.prepare.blocks.block_places`. 0: none is.
    store : UnitStore, optional
        Where encoded tensors and blocks are kept; those that are there are taken. To be removed
        when the output is where it should be.
    shard_bytes : int, optional
        See :func:`xorloom.sw.model.container.writer.write_container`; one file by default.
    progress : callable
        Called with a stage, ``search`` or ``encode``, and a name for every tensor or block in it.
    done : callable, optional
        Called with every encoded tensor or block and its bits, for reports that need mask or codes:
        by several threads, so in any order but with one job; not with those of a store.

    Raises
    ------
    ConfigError, FormatError, CapacityError
        If the input or a parameter does not fit.
    OSError
        If the file cannot be written, which is looked at before the work; nothing is left behind.
    """
    check_outputs([out])
    if jobs is not None and workers is not None:
        raise ConfigError("jobs are threads of this process: give jobs or workers, not both")
    workers = Threads.of(jobs) if workers is None else workers
    given = given or UserArrays()
    if isinstance(plans, CompressSpec):
        names = select(model, plans.include, plans.min_size, exclude=plans.exclude)
        plans = dict.fromkeys(names, plans)
    whole = plans = given.planned(plans)
    given.check(model, plans)
    most = check_range("block_weights", block_weights, 0, 1 << 32)
    cut = cut_model(model, plans, given, most, jobs)
    metadata, ties = (getattr(base or model, key, {}) for key in ("metadata", "ties"))
    order = [block for name in (base.order if base else model) for block in cut.names(name)]
    model, plans = cut.model, cut.plans
    units = units_of(cut, global_cuts(model, plans, cut.given, jobs))
    biases = {unit.bias.name: name for name, unit in units.items() if unit.bias is not None}
    names = [n for n in dict.fromkeys(biases.get(n, n) for n in order) if n in units]
    reports: dict[str, TensorReport] = {}
    found_reports: dict[str, TensorReport] = {}
    joined = {**(base.joined if base else {}), **cut.joined}

    def made(unit: Unit, decoder: Decoder, threads: int) -> _Encoded:
        """Have a unit encoded, or take it out of the store."""
        with naming_errors(unit.tensor):
            key = None
            if store is not None:
                key = unit_key(unit, decoder)
                kept = store.take(unit.name, key)
                if kept is not None:
                    facts = kept[1][unit.name].facts
                    assert isinstance(facts, CompressedTensor)
                    report = TensorReport.from_facts(kept[0], unit.plan, facts.decoder)
                    return unit.name, report, kept[1]
            packed = aside.take(unit.name) if aside is not None else None
            wanted = done is not None
            found = workers.run(encode_unit, unit, packed, decoder, threads, wanted)
        if done is not None:
            assert found.quantized is not None
            done(unit.name, found.quantized, found.report.bits)
        if store is not None:
            store.keep(unit.name, key, found.report.to_facts(), found.stored)
        return unit.name, found.report, found.stored

    def tensors(encoded: Iterator[_Encoded]) -> Iterator[StoredTensor]:
        ready: dict[str, StoredTensor] = {}  # a matrix waits if its bias comes first
        for name in order:
            if biases.get(name, name) in units:
                if name not in ready:
                    owner, reports[owner], found = next(encoded)
                    ready |= found
                    progress("encode", owner)
                if name in cut.last:
                    owner = cut.last[name]
                    blocks = [reports[block] for block in cut.names(owner)]
                    found_reports[owner] = joined_report(cut, owner, whole[owner], blocks)
                    joined[owner] = replace(cut.joined[owner], error=found_reports[owner].error)
                elif name in reports and not units[name].is_block:
                    found_reports[name] = reports[name]
                yield ready.pop(name)
            elif base is not None:
                yield from map(base.stored, base.blocks(name) or (name,))
            else:
                yield _untouched(model[name])

    with ExitStack() as stack:
        aside = None
        if any(plan.waits for plan in plans.values()):
            aside = PutAside(stack.enter_context(spool_beside(out)))
        decoders = decoders_of(units, aside, workers, progress)
        shares = workers.shares([units[name].tensor.size for name in names])
        tasks = [
            partial(made, units[name], decoders[name], share)
            for name, share in zip(names, shares, strict=True)
        ]
        encoded = stack.enter_context(in_order(tasks, workers))
        write_container(
            out,
            tensors(encoded),
            metadata=metadata,
            ties=ties,
            joined=joined,
            shard_bytes=shard_bytes,
        )
    return CompressedModel(found_reports)


def _untouched(tensor: ModelTensor) -> StoredTensor:
    """Return a tensor that passes through."""
    if not tensor.foreign:
        return StoredTensor(tensor.name, {"": (tensor.dtype, tensor.shape, tensor.pieces())})
    data = tensor.raw()
    facts = ForeignTensor(tensor.dtype, tensor.shape, tensor.foreign)
    return StoredTensor(tensor.name, {"": ("U8", (len(data),), data)}, facts)


@dataclass(frozen=True)
class EncodedUnit:
    """What a unit became.

    Parameters
    ----------
    report : TensorReport
    stored : dict
        The tensor, and its bias if that changes, by name.
    quantized : Quantized, optional
        Its mask and codes, if they are asked for.
    """

    report: TensorReport
    stored: dict[str, StoredTensor]
    quantized: Quantized | None


def encode_unit(
    unit: Unit, packed: PackedPart | None, decoder: Decoder, threads: int, wanted: bool
) -> EncodedUnit:
    """Encode a unit; with its bias, if that changes.

    Parameters
    ----------
    unit : Unit
    packed : PackedPart, optional
        Its part, if a search has made it already.
    decoder : Decoder
    threads : int
        What it may use; the bytes are the same.
    wanted : bool
        Whether mask and codes are asked for.

    Raises
    ------
    ConfigError, FormatError, CapacityError
        If the tensor cannot be read, or does not fit its plan.
    """
    part = part_of(unit, threads) if packed is None else packed.whole()
    stored, report = _encode(unit, part, decoder, threads)
    found = {unit.name: stored}
    if unit.bias is not None:
        array = corrected(unit, part.quantized)
        parts = {"": (unit.bias.dtype, array.shape, array.tobytes())}
        found[unit.bias.name] = StoredTensor(unit.bias.name, parts)
        note = "its bias takes up the mean of the outputs' error"
        report = replace(report, notes=(*report.notes, note))
    if unit.is_block and report.error is not None:
        squares = np.square(unit.tensor.weights(), dtype=np.float64)
        report = replace(report, energy=float(squares.sum()))
    return EncodedUnit(report, found, part.quantized if wanted else None)


def _encode(
    unit: Unit, part: Part, decoder: Decoder, threads: int
) -> tuple[StoredTensor, TensorReport]:
    """Encode a tensor; the user's own codes have no scales."""
    tensor, plan, codes = unit.tensor, unit.plan, None
    if tensor.name in unit.given.codes:
        codes = dtype_name(unit.given.codes[tensor.name].dtype)
    planes, quantized = plan.quantizer.planes, part.quantized
    decoder = decoder if part.index is None else Decoder(decoder.value, part.index)
    encoded = encode_tensor(
        quantized,
        planes,
        decoder,
        order=part.order,
        slices_per_stream=part.slices_per_stream,
        chosen=part.chosen,
        values=part.values,
        has_scales=codes is None,
        threads=threads,
    )
    stored = {
        STREAM: ("U8", (len(encoded.stream),), encoded.stream),
        INDEX: ("U8", (len(encoded.index),), encoded.index),
    }
    quantizer = None
    if codes is None:
        scales = quantized.scales
        stored[SCALE] = (dtype_name(scales.dtype), scales.shape, scales.tobytes())
        quantizer = stored_quantizer(plan.quantizer, quantized)
    facts = CompressedTensor(
        quantized.mask.shape,
        codes or tensor.dtype,
        planes,
        encoded.content_crc32,
        quantizer,
        decoder,
        encoded.layout,
        part.error,
        quantized.rotation,
    )
    report = TensorReport(
        encoded.bits,
        decoder,
        plan,
        quantizer,
        part.origin,
        part.zeros,
        part.error,
        part.better,
        quantized.notes,
    )
    return StoredTensor(tensor.name, stored, facts), report
