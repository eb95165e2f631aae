# SPDX-License-Identifier: Apache-2.0
"""Whole models: one walk over the tensors that prunes, quantizes, encodes and writes each.

Memory holds one tensor at a time, and the sample of a search. Nothing is decoded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from xorloom.sw.base.host import spool_beside
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.weight_format import Decoder, index_for
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.quantize import Quantized
from xorloom.sw.tensors.safetensors_file import dtype_name
from xorloom.sw.value.search import Plane, cut_sample, search_block, search_window, window_for

from .codec import encode_tensor
from .container import INDEX, SCALE, STREAM, CompressedTensor, StoredTensor, write_container
from .metrics import TensorBits
from .prepare import Part, PutAside, part_maker
from .selection import UserArrays, select
from .spec import CompressSpec

__all__ = ["compress_model"]


def compress_model(
    model: Mapping[str, ModelTensor],
    out: Path,
    spec: CompressSpec,
    *,
    names: Sequence[str] | None = None,
    given: UserArrays | None = None,
    progress: Progress = no_progress,
    done: Callable[[str, Quantized, TensorBits], None] = lambda name, quantized, bits: None,
) -> tuple[ValueConfig, dict[str, TensorBits]]:
    """Compress a model into one file; everything that is not compressed passes through unchanged.

    Parameters
    ----------
    model : mapping of name to ModelTensor
    out : Path
    spec : CompressSpec
    names : sequence of str, optional
        What :func:`xorloom.sw.model.selection.select` chose, if it was asked already.
    given : UserArrays, optional
        The user's own masks, codes and saliencies.
    progress : callable
        Called with a stage, ``search`` or ``encode``, and a name for every tensor in it.
    done : callable
        Called with every encoded tensor and its bits, for reports that need mask or codes.

    Returns
    -------
    (config, bits)
        The decoder that reads the file, and every tensor's bits.

    Raises
    ------
    ConfigError, FormatError, CapacityError
        If the input or a parameter does not fit.
    OSError
        If the file cannot be written; nothing is left behind.
    """
    given = given or UserArrays()
    chosen = select(model, spec.include, spec.min_size) if names is None else names
    given.check(model, chosen, spec)
    part_of = part_maker(model, chosen, spec, given)
    bits: dict[str, TensorBits] = {}

    def tensors(decoder: Decoder) -> Iterator[StoredTensor]:
        for name, tensor in model.items():
            if name not in chosen:
                yield StoredTensor(name, {"": (tensor.dtype, tensor.shape, tensor.raw())})
                continue
            part = part_of(name)
            own = name in given.codes
            stored, bits[name] = _encode(name, tensor.dtype, part, spec, decoder, own)
            done(name, part.quantized, bits[name])
            del part  # before the next one is made
            yield stored
            progress("encode", name)

    with ExitStack() as stack:
        config = spec.config
        if spec.search and spec.chooses and isinstance(config, WindowConfig):
            config = window_for(1 - spec.sparsity, config)  # the density is known
        elif spec.search:
            aside = PutAside(part_of, stack.enter_context(spool_beside(out)))
            part_of = aside.take
            total = sum(model[name].size for name in chosen)
            sample: list[Plane] = []
            for name in chosen:
                q = (aside.take if name in given.codes else aside.put)(name).quantized
                sample += cut_sample((q.mask, q.codes, spec.quantizer.planes), total)
                progress("search", name)
            config = _search(sample, config)
            del q, sample
        index = spec.index or index_for(config, spec.quantizer.planes)
        write_container(out, tensors(Decoder(config, index)))
    return config, bits


def _search(sample: Sequence[Plane], config: ValueConfig) -> ValueConfig:
    """Choose the value decoder's free parameters for a sample of all tensors."""
    if isinstance(config, BlockConfig):
        return search_block(sample, config).config
    return search_window(sample, config)


def _encode(
    name: str,
    dtype: str,
    part: Part,
    spec: CompressSpec,
    decoder: Decoder,
    own_codes: bool,
) -> tuple[StoredTensor, TensorBits]:
    """Encode a tensor; the user's own codes have no scales."""
    planes, scales = spec.quantizer.planes, part.quantized.scales
    encoded = encode_tensor(
        part.quantized,
        planes,
        decoder,
        order=part.order,
        slices_per_stream=part.slices_per_stream,
        chosen=part.chosen,
        has_scales=not own_codes,
    )
    stored = {
        STREAM: ("U8", (len(encoded.stream),), encoded.stream),
        INDEX: ("U8", (len(encoded.index),), encoded.index),
    }
    if not own_codes:
        stored[SCALE] = (dtype_name(scales.dtype), scales.shape, scales.tobytes())
    facts = CompressedTensor(
        part.quantized.mask.shape,
        "U8" if own_codes else dtype,
        planes,
        encoded.content_crc32,
        None if own_codes else spec.quantizer,
        decoder,
        encoded.layout,
    )
    return StoredTensor(name, stored, facts), encoded.bits
