# SPDX-License-Identifier: Apache-2.0
"""Quantized tensors that wait until a search has seen a sample of all."""

import math
from dataclasses import dataclass, replace
from threading import Lock
from typing import IO

import numpy as np
from xorloom.sw.bits.byte_arrays import kept_bytes, put_bytes
from xorloom.sw.tensors.quantize import Quantized

from .part import Part

__all__ = ["PackedPart", "PutAside"]

_NOTHING = Quantized(np.zeros(0, np.bool_), np.zeros(0, np.uint8), np.zeros((0, 0), np.float16))


@dataclass(frozen=True)
class PackedPart:
    """Part in a fraction of its size: packed mask, kept codes, scales.

    Parameters
    ----------
    part : Part
        All but these.
    shape : tuple of int
    mask : uint8 array
        One bit per weight, row-major.
    codes : uint8 array
        One per kept weight.
    scales : float array
    """

    part: Part
    shape: tuple[int, ...]
    mask: np.ndarray
    codes: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, part: Part) -> "PackedPart":
        """Pack a part whose index stores a given mask."""
        found = part.quantized
        rest = replace(part, quantized=replace(_NOTHING, notes=found.notes))
        codes = kept_bytes(found.codes, found.mask)
        return cls(rest, found.mask.shape, np.packbits(found.mask), codes, found.scales)

    def whole(self) -> Part:
        """Return the part; codes of pruned weights are 0."""
        size = math.prod(self.shape)
        mask = np.unpackbits(self.mask, count=size).view(np.bool_).reshape(self.shape)
        codes = put_bytes(self.codes, mask)
        quantized = replace(self.part.quantized, mask=mask, codes=codes, scales=self.scales)
        return replace(self.part, quantized=quantized)


@dataclass(frozen=True)
class _Place:
    """Where a part lies in a file, and what its bytes do not tell."""

    start: int
    packed: PackedPart
    arrays: tuple[tuple[tuple[int, ...], np.dtype], ...]


class PutAside:
    """Packed parts in a file, by name.

    A search must see a sample of all tensors before the first one is encoded. Until then they lie
    here, so that none is pruned and quantized twice and memory never holds more than one for each
    thread.

    Parameters
    ----------
    file : file object
        Open to be written and read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: dict[str, _Place] = {}
        self._lock = Lock()  # of the file's position

    def put(self, name: str, packed: PackedPart) -> None:
        """Put a part aside."""
        arrays = (packed.mask, packed.codes, packed.scales)
        nothing = np.zeros(0, np.uint8)
        rest = replace(packed, mask=nothing, codes=nothing, scales=nothing)
        with self._lock:
            start = self._file.seek(0, 2)
            self._places[name] = _Place(start, rest, tuple((a.shape, a.dtype) for a in arrays))
            for array in arrays:
                self._file.write(array.tobytes())

    def take(self, name: str) -> PackedPart | None:
        """Return a part, ``None`` if it was not put aside."""
        place = self._places.get(name)
        if place is None:
            return None
        with self._lock:
            self._file.seek(place.start)
            mask, codes, scales = (self._array(shape, dtype) for shape, dtype in place.arrays)
        return replace(place.packed, mask=mask, codes=codes, scales=scales)

    def _array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return np.frombuffer(self._file.read(math.prod(shape) * dtype.itemsize), dtype).reshape(
            shape
        )
