# SPDX-License-Identifier: Apache-2.0
"""Whole models back: compressed file to plain weights."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.tensors.quantize import dequantize
from xorloom.sw.tensors.safetensors_file import DTYPES, header_bytes, write_tensors

from .container import MASK, Container, read_container
from .verify import verify_tensor

__all__ = ["FOREIGN_KEY", "decompress_model", "plain_metadata"]

FOREIGN_KEY = "xorloom.foreign"
"""Key of a plain file's metadata: JSON text, dtype, shape and encoding of tensors kept as bytes."""


def decompress_model(
    path: Path, out: Path, progress: Progress = no_progress
) -> dict[str, tuple[int, ...]]:
    """Write a plain safetensors file of dequantized weights in their original dtype and order.

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
    for name in container.order:
        info = container.tensors.get(name)
        if info is None:
            entries[name] = container.entry(name)
            continue
        size = math.prod(info.shape)
        entries[name] = (info.dtype, info.shape, size * DTYPES[info.dtype].itemsize)
        if info.quantizer is None:
            entries[name + MASK] = ("BOOL", info.shape, size)

    def buffers() -> Iterator[bytes]:
        for name in container.order:
            info = container.tensors.get(name)
            if info is None:
                yield container.raw(name)
                continue
            decoded = verify_tensor(container, name)
            if info.quantizer is None:
                yield decoded.codes.tobytes()
                yield decoded.mask.tobytes()
            else:
                weights = dequantize(decoded, info.quantizer)
                yield weights.astype(DTYPES[info.dtype]).tobytes()
            progress("decode", name)

    write_tensors(out, header_bytes(entries, plain_metadata(container)), buffers())
    return {name: info.shape for name, info in container.tensors.items()}


def plain_metadata(container: Container) -> dict[str, str]:
    """Return the metadata of a plain file: the original's, and what only the manifest tells.

    Other names of a tensor stand as ``safetensors.torch.save_model`` writes them: the name that is
    left out, with the name that is there. Dtypes of foreign tensors stand under
    :data:`FOREIGN_KEY`.
    """
    metadata = dict(container.metadata) | dict(container.ties)
    if container.foreign:
        metadata[FOREIGN_KEY] = json.dumps({n: asdict(f) for n, f in container.foreign.items()})
    return metadata
