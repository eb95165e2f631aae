# SPDX-License-Identifier: Apache-2.0
"""Whole models: prune, quantize, encode, write."""

import fnmatch
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.index.choice import best_order
from xorloom.sw.index.plane import EncodedIndex, choose_index, encode_index
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.weight_format import check_index, index_for
from xorloom.sw.tensors import prune
from xorloom.sw.tensors.model_io import ModelTensor
from xorloom.sw.tensors.quantize import Quantized, Quantizer, quantize
from xorloom.sw.value.plane import ValueLayout, encode_value
from xorloom.sw.value.search import Plane, cut_sample, search_block, search_window, window_for
from xorloom.sw.value.window.codec import stream_slices

from .container import INDEX, SCALE, STREAM, CompressedTensor, write_container
from .metrics import TensorBits

__all__ = [
    "MASK",
    "CompressSpec",
    "EncodedTensor",
    "compress_model",
    "content_crc32",
    "encode_tensor",
    "select",
]

SCOPES = ("tensor", "row", "global")
IMPORTANCE = ("magnitude", "energy")
MASK = ".mask"
"""Suffix of the mask that comes back beside the user's own codes."""

"""Called with a stage and what was finished in it."""


@dataclass(frozen=True)
class CompressSpec:
    """What to compress and how.

    Parameters
    ----------
    sparsity : float in [0, 1)
    scope : str
        ``tensor``, ``row`` or ``global`` magnitude pruning.
    quantizer : Quantizer
    config : WindowConfig or BlockConfig
        The value codec.
    order : str
        Weight order of the window codec, see :func:`xorloom.sw.value.window.codec.encode`; with an
        index that chooses the mask ``auto`` is what keeps most.
    search : bool
        Let :func:`xorloom.sw.value.search.search_block` choose ``n_out`` and ``block_groups``, or
        :func:`xorloom.sw.value.search.search_window` ``n_in``.
    include : tuple of str
        Names of tensors, or glob patterns over those that qualify; empty: all that qualify.
    min_size : int
        Fewest elements of a tensor that qualifies; it also has two or more dimensions.
    index : IndexConfig, optional
        The index codec; a bitmap by default. One that chooses the mask itself needs ``scope``
        ``tensor``.
    importance : str
        What such a codec keeps most of: ``magnitude`` or ``energy`` (its square).

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    sparsity: float = 0.9
    scope: str = "tensor"
    quantizer: Quantizer = field(default_factory=Quantizer)
    config: ValueConfig = field(default_factory=WindowConfig)
    order: str = "auto"
    search: bool = True
    include: tuple[str, ...] = ()
    min_size: int = 4096
    index: IndexConfig | None = None
    importance: str = "magnitude"

    def __post_init__(self) -> None:
        prune.check_sparsity(self.sparsity)
        if self.scope not in SCOPES:
            raise ConfigError(f"scope must be one of {', '.join(SCOPES)}, not {self.scope!r}")
        if self.importance not in IMPORTANCE:
            raise ConfigError(
                f"importance must be one of {', '.join(IMPORTANCE)}, not {self.importance!r}"
            )
        if self.index is not None:
            check_index(self.index, self.config, self.quantizer.planes)
        if self.chooses and self.scope != "tensor":
            raise ConfigError(
                f"the {self.index and self.index.codec} index chooses every tensor's mask: scope "
                f"must be tensor, not {self.scope}"
            )
        if self.chooses and self.quantizer.method == "ternary":
            raise ConfigError(
                "the ternary quantizer clears weights that the mask keeps: an index that chooses "
                "the mask goes with binary, alternating or uniform"
            )

    @property
    def chooses(self) -> bool:
        """Whether the index codec chooses the masks."""
        return self.index is not None and self.index.chooses_mask


@dataclass(frozen=True)
class EncodedTensor:
    """One tensor as it is stored."""

    stream: bytes
    index: bytes
    scale: np.ndarray | None
    bits: TensorBits
    content_crc32: int
    planes: int
    layout: ValueLayout


def content_crc32(mask: np.ndarray, codes: np.ndarray) -> int:
    """CRC-32 of what must survive: the packed row-major mask, then the kept codes, a byte each."""
    packed = np.packbits(mask.reshape(-1), bitorder="little")
    return zlib.crc32(codes[mask].tobytes(), zlib.crc32(packed.tobytes()))


def select(model: Mapping[str, ModelTensor], include: Sequence[str], min_size: int) -> list[str]:
    """Return the names of the tensors to compress, in file order.

    Raises
    ------
    ConfigError
        If a pattern matches nothing, or names a tensor that cannot be quantized.
    """
    qualified = {
        name
        for name, t in model.items()
        if t.is_float and len(t.shape) >= 2 and t.size >= max(1, min_size)
    }
    names: set[str] = set()
    for pattern in include:
        if pattern in model:
            if not model[pattern].is_float:
                raise ConfigError(
                    f"tensor {pattern!r} is {model[pattern].dtype}, not floating point"
                )
            if not model[pattern].size:
                raise ConfigError(f"tensor {pattern!r} of shape {model[pattern].shape} is empty")
            names.add(pattern)
            continue
        found = {name for name in qualified if fnmatch.fnmatchcase(name, pattern)}
        if not found:
            known = ", ".join(sorted(qualified)[:3])
            raise ConfigError(f"no matrix matches {pattern!r} (the model has: {known} ...)")
        names |= found
    if not include:
        names = qualified
    if not names:
        raise ConfigError(f"no tensor has two dimensions and {min_size} elements (lower min_size)")
    return [name for name in model if name in names]


def _masks(
    model: Mapping[str, ModelTensor],
    names: Sequence[str],
    spec: CompressSpec,
    given: Mapping[str, np.ndarray],
) -> Callable[[str, np.ndarray], np.ndarray]:
    """Return the function that makes a tensor's mask; the user's own mask goes first."""
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ConfigError(f"mask {unknown[0]!r} belongs to no tensor that is compressed")
    if spec.scope == "global":
        free = [name for name in names if name not in given]
        masks = prune.prune_global([model[name].weights() for name in free], spec.sparsity)
        found = dict(zip(free, masks, strict=True))
    prune_one = prune.prune_rows if spec.scope == "row" else prune.prune_tensor

    def mask_of(name: str, weights: np.ndarray) -> np.ndarray:
        if name in given:
            mask = given[name]
            if mask.shape != weights.shape:
                raise ConfigError(
                    f"mask of {name!r} is {mask.shape}, must be {weights.shape} like the tensor"
                )
            return mask != 0
        if spec.scope == "global":
            return found[name]
        return prune_one(weights, spec.sparsity)

    return mask_of


def encode_tensor(
    quantized: Quantized,
    planes: int,
    config: ValueConfig,
    index: IndexConfig,
    *,
    order: str = "auto",
    slices_per_stream: int | None = None,
    chosen: EncodedIndex | None = None,
    has_scales: bool = True,
) -> EncodedTensor:
    """Encode one quantized tensor.

    Parameters
    ----------
    index : IndexConfig
    slices_per_stream : int, optional
        See :func:`xorloom.sw.value.window.codec.stream_slices`.
    chosen : EncodedIndex, optional
        Index of a chosen mask; made from the mask by default.

    Raises
    ------
    ConfigError
        If mask, codes and planes do not fit together.
    CapacityError
        If the tensor is too large for one stream.
    """
    mask, codes = quantized.mask, quantized.codes
    value, bits, layout = encode_value(
        mask, codes, planes, config, order, slices_per_stream=slices_per_stream
    )
    found = chosen or encode_index(mask, index, layout.order, layout.slices_per_stream)
    scale = quantized.scales if has_scales else None
    count = TensorBits.of(
        mask,
        codes,
        planes,
        bits,
        len(found.streams) * 8,
        found.overhead_bits,
        quantized.scales.nbytes * 8 if has_scales else 0,
    )
    crc = content_crc32(mask, codes)
    return EncodedTensor(value, found.streams, scale, count, crc, planes, layout)


def importance_of(weights: np.ndarray, spec: CompressSpec) -> np.ndarray:
    """Return what keeping each weight is worth, float32."""
    magnitude = np.abs(weights).astype(np.float32)
    return magnitude * magnitude if spec.importance == "energy" else magnitude


@dataclass(frozen=True)
class _Part:
    """A tensor before it is encoded; the last two only where the index chose the mask."""

    quantized: Quantized
    order: str
    slices_per_stream: int | None = None
    chosen: EncodedIndex | None = None


def _choose(
    weights: np.ndarray, importance: np.ndarray, index: IndexConfig, spec: CompressSpec
) -> _Part:
    """Let the index choose a tensor's mask, then quantize what is kept."""
    config, planes = spec.config, spec.quantizer.planes
    if not isinstance(config, WindowConfig):
        raise ConfigError(f"the {index.codec} index goes with the window value codec")
    density = 1 - spec.sparsity
    kept_bits = round(weights.size * density) * planes
    size = stream_slices(weights.size, kept_bits, planes, config, index.slice_multiple)
    order = spec.order if spec.order != "auto" else best_order(importance, density, index)
    chosen = choose_index(importance, density, index, order, size)
    quantized = quantize(weights, chosen.mask, spec.quantizer)
    return _Part(quantized, order, size, chosen)


def _check_arrays(
    model: Mapping[str, ModelTensor],
    names: Sequence[str],
    spec: CompressSpec,
    masks: Mapping[str, np.ndarray],
    codes: Mapping[str, np.ndarray],
    saliency: Mapping[str, np.ndarray],
) -> None:
    """Check what the user brought before anything is computed."""
    for name in names:
        suffixes = (STREAM, INDEX, SCALE, *([MASK] if name in codes else []))
        for taken in (name + suffix for suffix in suffixes):
            if taken in model:
                raise ConfigError(
                    f"tensor {taken!r} is in the way of what {name!r} becomes: rename it"
                )
    for name, given in codes.items():
        if name not in names or name not in masks:
            raise ConfigError(f"codes of {name!r} need a compressed tensor and a mask of that name")
        _check_shape("codes", name, given, model[name])
    if masks and spec.chooses and spec.index is not None:
        raise ConfigError(
            f"the {spec.index.codec} index chooses the mask and cannot keep that of "
            f"{next(iter(masks))!r} exactly: use the bitmap or entropy index"
        )
    for name, given in saliency.items():
        if not spec.chooses:
            raise ConfigError("a saliency needs an index that chooses the mask: trellis or lowrank")
        if name not in names:
            raise ConfigError(f"saliency {name!r} belongs to no tensor that is compressed")
        _check_shape("saliency", name, given, model[name])


def _check_shape(what: str, name: str, array: np.ndarray, tensor: ModelTensor) -> None:
    if array.shape != tensor.shape:
        raise ConfigError(
            f"{what} of {name!r} are {array.shape}, must be {tensor.shape} like the tensor"
        )


def compress_model(
    model: Mapping[str, ModelTensor],
    out: Path,
    spec: CompressSpec,
    *,
    masks: Mapping[str, np.ndarray] | None = None,
    codes: Mapping[str, np.ndarray] | None = None,
    saliency: Mapping[str, np.ndarray] | None = None,
    progress: Progress = no_progress,
) -> tuple[ValueConfig, dict[str, TensorBits]]:
    """Compress a model into one file; everything that is not compressed passes through unchanged.

    Parameters
    ----------
    model : mapping of name to ModelTensor
    out : Path
    spec : CompressSpec
    masks : mapping of name to array, optional
        The user's own masks (non-zero = kept), instead of pruning.
    codes : mapping of name to uint8 array, optional
        The user's own codes below ``2**planes``, instead of quantizing; stored as they are,
        without scales. Need a mask.
    saliency : mapping of name to array, optional
        What keeping each weight is worth, not negative, for an index that chooses the mask.
    progress : callable

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
    names = select(model, spec.include, spec.min_size)
    own_codes, own_saliency = codes or {}, saliency or {}
    _check_arrays(model, names, spec, masks or {}, own_codes, own_saliency)
    mask_of = None if spec.chooses else _masks(model, names, spec, masks or {})

    def parts(stage: str) -> Iterator[tuple[str, _Part]]:
        for name in names:
            if name in own_codes and mask_of is not None:
                given = own_codes[name]
                scales = np.zeros((0, 0), np.float16)
                yield name, _Part(Quantized(mask_of(name, given), given, scales), spec.order)
            else:
                weights = model[name].weights()
                prune.check_weights(weights, name)
                if mask_of is not None:
                    quantized = quantize(weights, mask_of(name, weights), spec.quantizer)
                    yield name, _Part(quantized, spec.order)
                elif spec.index is not None:
                    importance = own_saliency.get(name)
                    if importance is None:
                        importance = importance_of(weights, spec)
                    yield name, _choose(weights, importance, spec.index, spec)
            progress(stage, name)

    config = spec.config
    if spec.search:
        config = _search(parts, sum(model[name].size for name in names), spec)
    index = spec.index or index_for(config, spec.quantizer.planes)
    tensors: dict[str, CompressedTensor] = {}
    bits: dict[str, TensorBits] = {}
    data: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    for name, part in parts("encode"):
        own, q = name in own_codes, part.quantized
        encoded = encode_tensor(
            q,
            spec.quantizer.planes,
            config,
            index,
            order=part.order,
            slices_per_stream=part.slices_per_stream,
            chosen=part.chosen,
            has_scales=not own,
        )
        data[name + STREAM] = ("U8", (len(encoded.stream),), encoded.stream)
        data[name + INDEX] = ("U8", (len(encoded.index),), encoded.index)
        if not own:
            dtype = "F16" if q.scales.dtype == np.float16 else "F32"
            data[name + SCALE] = (dtype, q.scales.shape, q.scales.tobytes())
        tensors[name] = CompressedTensor(
            q.mask.shape,
            model[name].dtype,
            spec.quantizer.planes,
            encoded.content_crc32,
            None if own else spec.quantizer,
            encoded.layout,
        )
        bits[name] = encoded.bits
    for name, tensor in model.items():
        if name not in tensors:
            data[name] = (tensor.dtype, tensor.shape, tensor.raw())
    write_container(out, config, index, tensors, data)
    return config, bits


def _search(
    parts: Callable[[str], Iterator[tuple[str, _Part]]], total: int, spec: CompressSpec
) -> ValueConfig:
    """Choose the value decoder's free parameters for the tensors."""
    if spec.chooses and isinstance(spec.config, WindowConfig):
        return window_for(1 - spec.sparsity, spec.config)  # the density is known
    sample: list[Plane] = []
    for _, part in parts("search"):
        q = part.quantized
        sample += cut_sample((q.mask, q.codes, spec.quantizer.planes), total)
    if isinstance(spec.config, BlockConfig):
        return search_block(sample, spec.config).config
    return search_window(sample, spec.config)
