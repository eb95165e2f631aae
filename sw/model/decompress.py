# SPDX-License-Identifier: Apache-2.0
"""Whole models back: read, decode, check, count."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import index_overhead
from xorloom.sw.index.plane import decode_index
from xorloom.sw.tensors.quantize import Quantized, dequantize
from xorloom.sw.tensors.safetensors_file import DTYPES, write_tensors
from xorloom.sw.value.plane import decode_value, value_bits, value_frames

from .compress import MASK, Progress, content_crc32
from .container import INDEX, SCALE, STREAM, Container, read_container
from .metrics import TensorBits

__all__ = [
    "decode_tensor",
    "decompress_model",
    "tensor_bits",
    "tensor_frames",
    "tensor_steps",
    "verify_tensor",
]


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
    layout = info.layout
    mask = decode_index(
        container.raw(name + INDEX),
        info.shape,
        container.index,
        layout.order,
        layout.slices_per_stream,
        where,
    )
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
    headers = index_overhead(container.raw(name + INDEX), config.bus_bytes, name)
    scale_bits = container.entry(name + SCALE)[2] * 8 if info.quantizer else 0
    return TensorBits.of(
        decoded.mask, decoded.codes, info.planes, bits, index_bits, headers, scale_bits
    )


def tensor_steps(container: Container, name: str) -> int:
    """Count the decoder steps of one tensor, that is, cycles when memory never waits."""
    info = container.tensor(name)
    weights = int(np.prod(info.shape, dtype=np.int64))
    data = container.raw(name + STREAM)
    return value_bits(data, weights, info.planes, container.config, info.layout, name).steps


def tensor_frames(container: Container, name: str) -> dict[str, Any] | None:
    """Tell the frames' rates of one tensor, see :func:`xorloom.sw.value.plane.value_frames`."""
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
