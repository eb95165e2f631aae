# SPDX-License-Identifier: Apache-2.0
"""Preparation: a tensor's mask and codes, made once, and put aside where they must wait."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.choice import best_order
from xorloom.sw.index.plane import EncodedIndex, choose_index
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.tensors import prune
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.quantize import Quantized, quantize
from xorloom.sw.value.window.codec import stream_slices

from .selection import UserArrays
from .spec import CompressSpec

__all__ = ["Part", "PutAside", "part_maker"]


@dataclass(frozen=True)
class Part:
    """Tensor before it is encoded.

    Parameters
    ----------
    quantized : Quantized
    order : str
        Weight order, or ``auto``.
    slices_per_stream : int, optional
    chosen : EncodedIndex, optional
        Both only where the index chose the mask.
    """

    quantized: Quantized
    order: str
    slices_per_stream: int | None = None
    chosen: EncodedIndex | None = None


def part_maker(
    model: Mapping[str, ModelTensor],
    names: Sequence[str],
    spec: CompressSpec,
    given: UserArrays,
) -> Callable[[str], Part]:
    """Return the function that prunes and quantizes the tensor of a name.

    Raises
    ------
    ConfigError
        If a weight is not finite (also what is returned raises it).
    """
    mask_of = None if spec.chooses else _mask_maker(model, names, spec, given.masks)

    def part(name: str) -> Part:
        if name in given.codes and mask_of is not None:
            codes = given.codes[name]
            scales = np.zeros((0, 0), np.float16)
            return Part(Quantized(mask_of(name, codes), codes, scales), spec.order)
        weights = _weights(model, name)
        if mask_of is not None:
            return Part(quantize(weights, mask_of(name, weights), spec.quantizer), spec.order)
        assert spec.index is not None
        importance = given.saliency.get(name)
        if importance is None:
            importance = _importance(weights, spec)
        return _choose(weights, importance, spec.index, spec)

    return part


def _weights(model: Mapping[str, ModelTensor], name: str) -> np.ndarray:
    weights = model[name].weights()
    prune.check_weights(weights, name)
    return weights


def _mask_maker(
    model: Mapping[str, ModelTensor],
    names: Sequence[str],
    spec: CompressSpec,
    given: Mapping[str, np.ndarray],
) -> Callable[[str, np.ndarray], np.ndarray]:
    """Return the function that makes a tensor's mask; the user's own mask goes first."""
    cuts: dict[str, prune.Cut] = {}
    if spec.scope == "global":
        free = [name for name in names if name not in given]

        def magnitudes() -> Iterator[np.ndarray]:
            for name in free:
                yield np.abs(_weights(model, name))

        # No tensor's mask is known before all magnitudes were seen: they are read ahead of the
        # walk, one tensor at a time, and only counts of them are kept.
        cuts = dict(zip(free, prune.global_cuts(magnitudes, spec.sparsity), strict=True))
    prune_one = prune.prune_rows if spec.scope == "row" else prune.prune_tensor

    def mask_of(name: str, weights: np.ndarray) -> np.ndarray:
        if name in given:
            return given[name] != 0
        return cuts[name].mask(weights) if name in cuts else prune_one(weights, spec.sparsity)

    return mask_of


def _importance(weights: np.ndarray, spec: CompressSpec) -> np.ndarray:
    """Return what keeping each weight is worth, float32."""
    magnitude = np.abs(weights).astype(np.float32)
    return magnitude * magnitude if spec.importance == "energy" else magnitude


def _choose(
    weights: np.ndarray, importance: np.ndarray, index: IndexConfig, spec: CompressSpec
) -> Part:
    """Let the index choose a tensor's mask, then quantize what is kept."""
    config, planes = spec.config, spec.quantizer.planes
    if not isinstance(config, WindowConfig):
        raise ConfigError(f"the {index.codec} index goes with the window value codec")
    density = 1 - spec.sparsity
    kept_bits = round(weights.size * density) * planes
    size = stream_slices(weights.size, kept_bits, planes, config, index.slice_multiple)
    order = spec.order if spec.order != "auto" else best_order(importance, density, index)
    chosen = choose_index(importance, density, index, order, size)
    quantized = quantize(weights, chosen.mask, spec.quantizer, fixed_mask=True)
    return Part(quantized, order, size, chosen)


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in a file, and what its bytes do not tell."""

    start: int
    shape: tuple[int, ...]
    kept: int
    scales: tuple[int, ...]
    dtype: np.dtype
    order: str


class PutAside:
    """Quantized tensors in a file: packed mask, kept codes, scales.

    A search must see a sample of all tensors before the first one is encoded. Until then they lie
    here, in a fraction of their size, so that none is pruned and quantized twice and memory never
    holds more than one.

    Parameters
    ----------
    make : callable
        Prunes and quantizes a tensor, see :func:`part_maker`; for an index that stores a given
        mask.
    file : file object
        Open to be written and read.
    """

    def __init__(self, make: Callable[[str], Part], file: IO[bytes]) -> None:
        self._make, self._file = make, file
        self._places: dict[str, _Place] = {}

    def put(self, name: str) -> Part:
        """Make a tensor, and put it aside."""
        part = self._make(name)
        mask, scales = part.quantized.mask, part.quantized.scales
        kept = part.quantized.codes[mask]
        place = _Place(
            self._file.seek(0, 2), mask.shape, kept.size, scales.shape, scales.dtype, part.order
        )
        for array in (np.packbits(mask), kept, scales):
            self._file.write(array.tobytes())
        self._places[name] = place
        return part

    def take(self, name: str) -> Part:
        """Return a tensor; it is made if it was not put aside."""
        place = self._places.get(name)
        return self._make(name) if place is None else self._read(place)

    def _read(self, place: _Place) -> Part:
        size = math.prod(place.shape)
        self._file.seek(place.start)
        packed = self._array(-(-size // 8), np.dtype(np.uint8))
        mask = np.unpackbits(packed, count=size).astype(np.bool_).reshape(place.shape)
        codes = np.zeros(place.shape, np.uint8)
        codes[mask] = self._array(place.kept, np.dtype(np.uint8))
        scales = self._array(math.prod(place.scales), place.dtype).reshape(place.scales)
        return Part(Quantized(mask, codes, scales), place.order)

    def _array(self, count: int, dtype: np.dtype) -> np.ndarray:
        return np.frombuffer(self._file.read(count * dtype.itemsize), dtype)
