# SPDX-License-Identifier: Apache-2.0
"""Whole models: prune, quantize, encode, write; read, decode, check."""

import fnmatch
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import prune, stream
from .config import BlockConfig, WindowConfig
from .container import (
    INDEX,
    SCALE,
    STREAM,
    CompressedTensor,
    Container,
    read_container,
    write_container,
)
from .errors import ConfigError, FormatError
from .metrics import TensorBits
from .model_io import ModelTensor
from .quantize import Quantized, Quantizer, dequantize, quantize
from .safetensors_file import DTYPES, write_tensors
from .search import Plane, cut_sample, search_block, search_window
from .value_plane import Config, ValueLayout, decode_value, encode_value, value_bits, value_frames

__all__ = [
    "CompressSpec",
    "EncodedTensor",
    "compress_model",
    "content_crc32",
    "decode_tensor",
    "decompress_model",
    "encode_tensor",
    "select",
    "tensor_bits",
    "tensor_frames",
    "tensor_steps",
    "verify_tensor",
]

SCOPES = ("tensor", "row", "global")
MASK = ".mask"
"""Suffix of the mask that comes back beside the user's own codes."""

Progress = Callable[[str, str], None]
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
        Weight order of the window codec, see :func:`xorloom.sw.window_codec.encode`.
    search : bool
        Let :func:`xorloom.sw.search.search_block` choose ``n_out`` and ``block_groups``, or
        :func:`xorloom.sw.search.search_window` ``n_in``.
    include : tuple of str
        Names of tensors, or glob patterns over those that qualify; empty: all that qualify.
    min_size : int
        Fewest elements of a tensor that qualifies; it also has two or more dimensions.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    sparsity: float = 0.9
    scope: str = "tensor"
    quantizer: Quantizer = field(default_factory=Quantizer)
    config: Config = field(default_factory=WindowConfig)
    order: str = "auto"
    search: bool = True
    include: tuple[str, ...] = ()
    min_size: int = 4096

    def __post_init__(self) -> None:
        prune.check_sparsity(self.sparsity)
        if self.scope not in SCOPES:
            raise ConfigError(f"scope must be one of {', '.join(SCOPES)}, not {self.scope!r}")


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
    config: Config,
    *,
    order: str = "auto",
    has_scales: bool = True,
) -> EncodedTensor:
    """Encode one quantized tensor.

    Raises
    ------
    ConfigError
        If mask, codes and planes do not fit together.
    CapacityError
        If the tensor is too large for one stream.
    """
    mask, codes = quantized.mask, quantized.codes
    value, bits, layout = encode_value(mask, codes, planes, config, order)
    index = stream.pack_bitmap(mask, config.bus_bits)
    scale_bits = quantized.scales.nbytes * 8 if has_scales else 0
    count = TensorBits.of(mask, codes, planes, bits, len(index) * 8, scale_bits)
    scale = quantized.scales if has_scales else None
    return EncodedTensor(value, index, scale, count, content_crc32(mask, codes), planes, layout)


def compress_model(
    model: Mapping[str, ModelTensor],
    out: Path,
    spec: CompressSpec,
    *,
    masks: Mapping[str, np.ndarray] | None = None,
    codes: Mapping[str, np.ndarray] | None = None,
    progress: Progress = lambda stage, what: None,
) -> tuple[Config, dict[str, TensorBits]]:
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
    own_codes = codes or {}
    for name in names:
        suffixes = (STREAM, INDEX, SCALE, *([MASK] if name in own_codes else []))
        for taken in (name + suffix for suffix in suffixes):
            if taken in model:
                raise ConfigError(
                    f"tensor {taken!r} is in the way of what {name!r} becomes: rename it"
                )
    for name in own_codes:
        if name not in names or name not in (masks or {}):
            raise ConfigError(f"codes of {name!r} need a compressed tensor and a mask of that name")
    mask_of = _masks(model, names, spec, masks or {})

    def quantized(stage: str) -> Iterator[tuple[str, Quantized]]:
        for name in names:
            if name in own_codes:
                given = own_codes[name]
                if given.shape != model[name].shape:
                    raise ConfigError(
                        f"codes of {name!r} are {given.shape}, must be {model[name].shape} "
                        "like the tensor"
                    )
                mask = mask_of(name, given)
                yield name, Quantized(mask, given, np.zeros((0, 0), np.float16))
            else:
                weights = model[name].weights()
                prune.check_weights(weights, name)
                yield name, quantize(weights, mask_of(name, weights), spec.quantizer)
            progress(stage, name)

    config = spec.config
    if spec.search:
        total = sum(model[name].size for name in names)
        sample: list[Plane] = []
        for _, q in quantized("search"):
            sample += cut_sample((q.mask, q.codes, spec.quantizer.planes), total)
        if isinstance(config, BlockConfig):
            config = search_block(sample, config).config
        else:
            config = search_window(sample, config)
    tensors: dict[str, CompressedTensor] = {}
    bits: dict[str, TensorBits] = {}
    data: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    for name, q in quantized("encode"):
        own = name in own_codes
        encoded = encode_tensor(
            q, spec.quantizer.planes, config, order=spec.order, has_scales=not own
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
    write_container(out, config, tensors, data)
    return config, bits


def decode_tensor(container: Container, name: str) -> Quantized:
    """Decode one compressed tensor with the fast decoder.

    Raises
    ------
    ConfigError
        If there is no such tensor.
    FormatError
        If its data is damaged.
    """
    info = container.tensor(name)
    config, where = container.config, f"{container.path}: {name}"
    mask = stream.unpack_bitmap(container.raw(name + INDEX), info.shape, config.bus_bits, where)
    data = container.raw(name + STREAM)
    codes = decode_value(data, mask, info.planes, config, info.layout, where)
    scales = container.array(name + SCALE) if info.quantizer else np.zeros((0, 0), np.float16)
    return Quantized(mask, codes, scales)


def verify_tensor(container: Container, name: str) -> Quantized:
    """Decode a tensor and check it against what was compressed.

    Raises
    ------
    FormatError
        If mask or codes are not those that were compressed.
    """
    decoded = decode_tensor(container, name)
    found, expected = (
        content_crc32(decoded.mask, decoded.codes),
        container.tensor(name).content_crc32,
    )
    if found != expected:
        raise FormatError(
            f"{container.path}: {name}: mask and codes must have CRC-32 {expected:08x}, "
            f"decoded {found:08x}"
        )
    return decoded


def tensor_bits(container: Container, name: str) -> TensorBits:
    """Count the bits of one tensor of a file."""
    info, config = container.tensor(name), container.config
    decoded = verify_tensor(container, name)
    data = container.raw(name + STREAM)
    bits = value_bits(data, decoded.mask.size, info.planes, config, info.layout, name)
    index_bits = container.entry(name + INDEX)[2] * 8
    scale_bits = container.entry(name + SCALE)[2] * 8 if info.quantizer else 0
    return TensorBits.of(decoded.mask, decoded.codes, info.planes, bits, index_bits, scale_bits)


def tensor_steps(container: Container, name: str) -> int:
    """Count the decoder steps of one tensor, that is, cycles when memory never waits."""
    info = container.tensor(name)
    weights = int(np.prod(info.shape, dtype=np.int64))
    data = container.raw(name + STREAM)
    return value_bits(data, weights, info.planes, container.config, info.layout, name).steps


def tensor_frames(container: Container, name: str) -> dict[str, Any] | None:
    """Tell the frames' rates of one tensor, see :func:`xorloom.sw.value_plane.value_frames`."""
    info = container.tensor(name)
    weights = int(np.prod(info.shape, dtype=np.int64))
    data = container.raw(name + STREAM)
    return value_frames(data, weights, info.planes, container.config, info.layout, name)


def decompress_model(
    path: Path, out: Path, progress: Progress = lambda stage, what: None
) -> dict[str, tuple[int, ...]]:
    """Write a plain safetensors file of dequantized weights in their original dtype.

    Tensors whose codes the user brought come back as ``NAME`` (uint8 codes) and ``NAME.mask``.

    Returns
    -------
    dict
        Shape of every decoded tensor.

    Raises
    ------
    ConfigError, FormatError
        If the file is missing or damaged.
    OSError
        If the output cannot be written; nothing is left behind.
    """
    container = read_container(path)
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for name in container.untouched:
        entries[name] = container.entry(name)
    for name, info in container.tensors.items():
        size = int(np.prod(info.shape, dtype=np.int64))
        if info.quantizer is None:
            entries[name] = ("U8", info.shape, size)
            entries[name + MASK] = ("BOOL", info.shape, size)
        else:
            entries[name] = (info.dtype, info.shape, size * DTYPES[info.dtype].itemsize)

    def buffers() -> Iterator[bytes]:
        for name in container.untouched:
            yield container.raw(name)
        for name, info in container.tensors.items():
            decoded = verify_tensor(container, name)
            if info.quantizer is None:
                yield decoded.codes.tobytes()
                yield decoded.mask.tobytes()
            else:
                weights = dequantize(decoded, info.quantizer)
                yield weights.astype(DTYPES[info.dtype]).tobytes()
            progress("decode", name)

    write_tensors(out, entries, buffers(), {})
    return {name: info.shape for name, info in container.tensors.items()}
