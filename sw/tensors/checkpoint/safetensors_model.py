# SPDX-License-Identifier: Apache-2.0
"""Safetensors files, read by memory map."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.tensors.safetensors_file import DTYPE_NAMES, DTYPES, read_header

from .model import Checkpoint, ModelTensor, Span, reader

__all__ = ["open_safetensors"]


def open_safetensors(path: Path) -> Checkpoint:
    """Open a safetensors file.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    entries, metadata, _, start = read_header(path)

    def read(entry: dict[str, Any]) -> Callable[[], np.ndarray]:
        (low, high), shape = entry["data_offsets"], tuple(entry["shape"])
        dtype = DTYPES.get(entry["dtype"])
        if dtype is None:
            dtype, shape = np.dtype(np.uint8), (high - low,)

        def load() -> np.ndarray:
            if low == high:
                return np.zeros(shape, dtype)
            mapped = np.memmap(path, dtype, "r", start + low, shape or (1,))
            return np.asarray(mapped).reshape(shape)

        return load

    def tensor(name: str, entry: dict[str, Any]) -> ModelTensor:
        load = reader(f"{path}: tensor {name!r}", read(entry))
        foreign = "" if entry["dtype"] in DTYPE_NAMES else "safetensors"
        shape = tuple(entry["shape"])
        low, high = entry["data_offsets"]
        return ModelTensor(
            name,
            entry["dtype"],
            shape,
            load,
            foreign=foreign,
            source=str(path),
            span=Span(path, start + low, high - low),
            by_rows=not foreign,
        )

    return Checkpoint({n: tensor(n, entry) for n, entry in entries.items()}, path, metadata)
