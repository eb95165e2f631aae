# SPDX-License-Identifier: Apache-2.0
"""Whole models back: compressed file to plain weights."""

from collections.abc import Iterator
from pathlib import Path

from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.tensors.safetensors_file import write_tensors

from .container import plain_header, read_container
from .verify import plain_bytes

__all__ = ["decompress_model"]


def decompress_model(
    path: Path,
    out: Path,
    progress: Progress = no_progress,
    *,
    max_weights: int | None = None,
) -> dict[str, tuple[int, ...]]:
    """Write a plain safetensors file of dequantized weights in their original dtype and order.

    Tensors whose codes the user brought come back as ``NAME`` (codes) and ``NAME.mask``.

    Parameters
    ----------
    path, out : Path
    progress : callable
        Called with ``decode`` and the name of every compressed tensor.
    max_weights : int, optional
        See :func:`xorloom.sw.model.container.reader.read_container`.

    Returns
    -------
    dict
        Shape of every decoded tensor.

    Raises
    ------
    ConfigError, FormatError
        If the file is missing or damaged.
    CapacityError
        If it has more weights than are decoded unasked.
    OSError
        If the output cannot be written; nothing is left behind.
    """
    container = read_container(path, max_weights)
    container.check_weights()

    def buffers() -> Iterator[bytes | memoryview]:
        for name in container.order:
            yield from plain_bytes(container, name)
            if name in container.tensors:
                progress("decode", name)

    write_tensors(out, plain_header(container), buffers())
    return {name: info.shape for name, info in container.tensors.items()}
