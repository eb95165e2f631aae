# SPDX-License-Identifier: Apache-2.0
"""Whole models back: compressed file to plain weights."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.tensors.quantize import dequantize
from xorloom.sw.tensors.safetensors_file import DTYPES, header_bytes, write_tensors

from .container import MASK, read_container
from .verify import verify_tensor

__all__ = ["decompress_model"]


def decompress_model(
    path: Path, out: Path, progress: Progress = no_progress
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

    write_tensors(out, header_bytes(entries, {}), buffers())
    return {name: info.shape for name, info in container.tensors.items()}
