# SPDX-License-Identifier: Apache-2.0
"""Quantized tensors that wait until a search has seen a sample of all."""

import math
from dataclasses import dataclass, replace
from threading import Lock
from typing import IO

import numpy as np
from xorloom.sw.tensors.quantize import Quantized

from .part import MakePart, Part

__all__ = ["PutAside"]


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in a file, and what its bytes do not tell."""

    start: int
    part: Part
    shape: tuple[int, ...]
    kept: int
    codes: np.dtype
    scales: tuple[int, ...]
    dtype: np.dtype


_NOTHING = Quantized(np.zeros(0, np.bool_), np.zeros(0, np.uint8), np.zeros((0, 0), np.float16))


class PutAside:
    """Quantized tensors in a file: packed mask, kept codes, scales.

    A search must see a sample of all tensors before the first one is encoded. Until then they lie
    here, in a fraction of their size, so that none is pruned and quantized twice and memory never
    holds more than one for each thread.

    Parameters
    ----------
    make : callable
        Prunes and quantizes a tensor, see :func:`xorloom.sw.model.prepare.maker.part_maker`; for
        an index that stores a given mask.
    file : file object
        Open to be written and read.
    """

    def __init__(self, make: MakePart, file: IO[bytes]) -> None:
        self._make, self._file = make, file
        self._places: dict[str, _Place] = {}
        self._lock = Lock()  # of the file's position

    def put(self, name: str) -> Part:
        """Make a tensor, and put it aside."""
        part = self._make(name)
        mask, codes, scales = part.quantized.mask, part.quantized.codes, part.quantized.scales
        packed, kept = np.packbits(mask), codes[mask]
        with self._lock:
            self._places[name] = _Place(
                self._file.seek(0, 2),
                replace(part, quantized=replace(_NOTHING, notes=part.quantized.notes)),
                mask.shape,
                kept.size,
                codes.dtype,
                scales.shape,
                scales.dtype,
            )
            for array in (packed, kept, scales):
                self._file.write(array.tobytes())
        return part

    def take(self, name: str, threads: int | None = None) -> Part:
        """Return a tensor; if it was not put aside, it is made with so many threads."""
        place = self._places.get(name)
        return self._make(name, threads) if place is None else self._read(place)

    def _read(self, place: _Place) -> Part:
        size = math.prod(place.shape)
        with self._lock:
            self._file.seek(place.start)
            packed = self._array(-(-size // 8), np.dtype(np.uint8))
            kept = self._array(place.kept, place.codes)
            scales = self._array(math.prod(place.scales), place.dtype).reshape(place.scales)
        mask = np.unpackbits(packed, count=size).astype(np.bool_).reshape(place.shape)
        codes = np.zeros(place.shape, place.codes)
        codes[mask] = kept
        quantized = replace(place.part.quantized, mask=mask, codes=codes, scales=scales)
        return replace(place.part, quantized=quantized)

    def _array(self, count: int, dtype: np.dtype) -> np.ndarray:
        return np.frombuffer(self._file.read(count * dtype.itemsize), dtype)
