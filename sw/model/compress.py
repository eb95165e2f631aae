# SPDX-License-Identifier: Apache-2.0
"""Whole models: one walk over the tensors that prunes, quantizes, encodes and writes each.

Several threads do so, each with a tensor of its own, and the tensors are written in the model's
order. Memory holds one tensor for each thread, a few that are encoded and wait for their turn, and
the sample of a search; what passes through is copied piece by piece. Nothing is decoded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path

from xorloom.sw.base.errors import CapacityError, ConfigError, check_range
from xorloom.sw.base.host import spool_beside, threads_default
from xorloom.sw.base.outputs import check_outputs
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.base.workers import in_order
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.weight_format import Decoder, index_for
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.quantize import Quantized, stored_quantizer
from xorloom.sw.tensors.safetensors_file import dtype_name
from xorloom.sw.value.search import Plane, cut_sample, search_block, search_window, window_for

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
from .plan.given import UserArrays
from .plan.selection import select
from .plan.spec import CompressSpec, TensorPlan
from .prepare import Part, PutAside, bias_of, corrected, part_maker, wanted_count

__all__ = ["CompressedModel", "compress_model"]

_JOBS_MAX = 1 << 10
_Stored = dict[str, StoredTensor]


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
    shard_bytes: int | None = None,
    progress: Progress = no_progress,
    done: Callable[[str, Quantized, TensorBits], None] = lambda name, quantized, bits: None,
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
        Threads, at most one for each tensor; what is left of them goes to work within large
        tensors. All available cores by default; the file is the same.
    shard_bytes : int, optional
        See :func:`xorloom.sw.model.container.writer.write_container`; one file by default.
    progress : callable
        Called with a stage, ``search`` or ``encode``, and a name for every tensor in it.
    done : callable
        Called with every encoded tensor and its bits, for reports that need mask or codes: by the
        thread that encoded it, so in any order but with one job.

    Raises
    ------
    ConfigError, FormatError, CapacityError
        If the input or a parameter does not fit.
    OSError
        If the file cannot be written, which is looked at before the work; nothing is left behind.
    """
    check_outputs([out])
    jobs = check_range("jobs", threads_default() if jobs is None else jobs, 1, _JOBS_MAX)
    given = given or UserArrays()
    if isinstance(plans, CompressSpec):
        names = select(model, plans.include, plans.min_size, exclude=plans.exclude)
        plans = dict.fromkeys(names, plans)
    plans = given.planned(plans)
    given.check(model, plans)
    part_of = part_maker(model, plans, given)
    biases = _biases(model, plans, given)
    order = list(base.order if base else model)
    owners = [n for n in dict.fromkeys(biases.get(n, n) for n in order) if n in plans]
    threads = _shares([model[name].size for name in owners], jobs)
    reports: dict[str, TensorReport] = {}

    def made(name: str, decoder: Decoder, threads: int) -> tuple[str, TensorReport, _Stored]:
        """Encode a tensor; return it, and its bias if that changes."""
        dtype = dtype_name(given.codes[name].dtype) if name in given.codes else None
        with _naming(model[name]):
            part = part_of(name, threads)
            stored, report = _encode(model[name], part, plans[name], decoder, dtype, threads)
            found = {name: stored}
            for bias in (bias for bias, owner in biases.items() if owner == name):
                found[bias] = _corrected(model, name, bias, part.quantized, plans[name], given)
                note = "its bias takes up the mean of the outputs' error"
                report = replace(report, notes=(*report.notes, note))
        done(name, part.quantized, report.bits)
        return name, report, found

    def tensors(encoded: Iterator[tuple[str, TensorReport, _Stored]]) -> Iterator[StoredTensor]:
        ready: _Stored = {}  # a matrix waits if its bias comes first
        for name in order:
            if biases.get(name, name) in plans:
                if name not in ready:
                    owner, reports[owner], found = next(encoded)
                    ready |= found
                    progress("encode", owner)
                yield ready.pop(name)
            elif base is not None:
                yield base.stored(name)
            else:
                yield _untouched(model[name])

    with ExitStack() as stack:
        aside = None
        if any(plan.waits for plan in plans.values()):
            aside = PutAside(part_of, stack.enter_context(spool_beside(out)))
            part_of = aside.take
        decoders = _decoders(model, plans, given, aside, jobs, progress)
        tasks = [
            partial(made, name, decoders[name], share)
            for name, share in zip(owners, threads, strict=True)
        ]
        encoded = stack.enter_context(in_order(tasks, min(jobs, max(1, len(tasks)))))
        metadata = getattr(base or model, "metadata", {})
        ties = getattr(base or model, "ties", {})
        write_container(
            out, tensors(encoded), metadata=metadata, ties=ties, shard_bytes=shard_bytes
        )
    return CompressedModel(reports)


def _shares(sizes: Sequence[int], jobs: int) -> list[int]:
    """Return the threads of every tensor: its share of those at work beside it or after it."""
    before = list(accumulate(sizes, initial=0))
    beside = [before[-1] - before[max(0, at - jobs + 1)] for at in range(len(sizes))]
    return [
        max(1, round(jobs * size / max(1, total)))
        for size, total in zip(sizes, beside, strict=True)
    ]


def _decoders(
    model: Mapping[str, ModelTensor],
    plans: Mapping[str, TensorPlan],
    given: UserArrays,
    aside: PutAside | None,
    jobs: int,
    progress: Progress,
) -> dict[str, Decoder]:
    """Return the decoder of every tensor: one for all whose plans ask for the same codecs."""
    groups: dict[tuple[ValueConfig, bool, int, IndexConfig | None], list[str]] = {}
    for name, plan in plans.items():
        wanted = (plan.config, plan.searches, plan.quantizer.planes, plan.index)
        groups.setdefault(wanted, []).append(name)
    decoders: dict[str, Decoder] = {}
    for (config, search, planes, index), names in groups.items():
        total = sum(model[name].size for name in names)
        value = config
        if search and not plans[names[0]].waits:
            assert isinstance(config, WindowConfig)
            counts = [partial(wanted_count, model[n], plans[n], given) for n in names]
            with in_order(counts, jobs) as found:
                value = window_for(sum(found) / max(1, total), config)
        elif search:
            assert aside is not None
            cut = partial(_cut, model, given, aside, planes, total)
            sample: list[Plane] = []
            with in_order([partial(cut, name) for name in names], jobs) as cuts:
                for name, planes_of in zip(names, cuts, strict=True):
                    sample += planes_of
                    progress("search", name)
            value = _search(sample, config)
            del sample
        decoder = Decoder(value, index or index_for(value, planes))
        decoders |= dict.fromkeys(names, decoder)
    return decoders


def _cut(
    model: Mapping[str, ModelTensor],
    given: UserArrays,
    aside: PutAside,
    planes: int,
    total: int,
    name: str,
) -> list[Plane]:
    """Make a tensor and put it aside, but for the user's own; return its part of the sample."""
    with _naming(model[name]):
        here = name in given.codes or name in given.quantized
        q = (aside.take if here else aside.put)(name).quantized
    return cut_sample((q.mask, q.codes, planes), total)


def _biases(
    model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan], given: UserArrays
) -> dict[str, str]:
    """Return the matrix of every bias that takes up the mean of its outputs' error."""
    if given.calibration is None:
        return {}
    return {
        bias: name
        for name in given.searched(plans)
        if given.calibration[name].mean is not None
        if (bias := bias_of(model, plans, name)) is not None
    }


def _corrected(
    model: Mapping[str, ModelTensor],
    name: str,
    bias: str,
    quantized: Quantized,
    plan: TensorPlan,
    given: UserArrays,
) -> StoredTensor:
    """Return the changed bias of a matrix."""
    assert given.calibration is not None
    array = corrected(model, name, bias, quantized, plan, given.calibration)
    return StoredTensor(bias, {"": (model[bias].dtype, array.shape, array.tobytes())})


@contextmanager
def _naming(tensor: ModelTensor) -> Iterator[None]:
    """Name file and tensor in errors that do not."""
    try:
        yield
    except (ConfigError, CapacityError) as error:
        if tensor.label in str(error):
            raise
        raise type(error)(f"{tensor.label}: {error}") from error


def _search(sample: Sequence[Plane], config: ValueConfig) -> ValueConfig:
    """Choose the value decoder's free parameters for a sample of all tensors."""
    if isinstance(config, BlockConfig):
        return search_block(sample, config).config
    assert isinstance(config, WindowConfig)  # a codec that chooses the values has no search
    return search_window(sample, config)


def _untouched(tensor: ModelTensor) -> StoredTensor:
    """Return a tensor that passes through."""
    if not tensor.foreign:
        return StoredTensor(tensor.name, {"": (tensor.dtype, tensor.shape, tensor.pieces())})
    data = tensor.raw()
    facts = ForeignTensor(tensor.dtype, tensor.shape, tensor.foreign)
    return StoredTensor(tensor.name, {"": ("U8", (len(data),), data)}, facts)


def _encode(
    tensor: ModelTensor,
    part: Part,
    plan: TensorPlan,
    decoder: Decoder,
    codes: str | None,
    threads: int,
) -> tuple[StoredTensor, TensorReport]:
    """Encode a tensor; the user's own codes, of dtype ``codes``, have no scales."""
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
