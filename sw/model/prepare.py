# SPDX-License-Identifier: Apache-2.0
"""Preparation: a tensor's mask and codes, made once, and put aside where they must wait."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
from xorloom.sw.base.errors import ConfigError, DensityError
from xorloom.sw.index.choice import best_order, stored_index
from xorloom.sw.index.plane import EncodedIndex, choose_index
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.tensors import prune
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.codes import unsigned_codes
from xorloom.sw.tensors.loss import Suggestion, relative_error, worse_than
from xorloom.sw.tensors.quantize import Quantized, quantize
from xorloom.sw.value.window.codec import stream_slices

from .plan.given import UserArrays
from .plan.spec import TensorPlan

__all__ = ["Part", "PutAside", "part_maker", "wanted_count"]

_NO_SCALES = np.zeros((0, 0), np.float16)


@dataclass(frozen=True)
class Part:
    """Tensor before it is encoded.

    Parameters
    ----------
    quantized : Quantized
    error : float or None
        Relative squared error; ``None`` of the user's own codes.
    better : Suggestion or None
        Quantizer of fewer planes that has less error.
    order : str
        Weight order, or ``auto``.
    origin : str
        Where the mask comes from: ``given`` by the user, the tensor's ``own``, ``pruned`` by
        magnitude or ``chosen`` by the index.
    zeros : int
        Weights that are exactly zero although a chosen mask keeps them.
    slices_per_stream : int, optional
    chosen : EncodedIndex, optional
        Both only where the index chose the mask.
    index : IndexConfig, optional
        Index that stores the mask, where the one of the plan cannot.
    """

    quantized: Quantized
    error: float | None
    better: Suggestion | None
    order: str
    origin: str
    zeros: int = 0
    slices_per_stream: int | None = None
    chosen: EncodedIndex | None = None
    index: IndexConfig | None = None


def part_maker(
    model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan], given: UserArrays
) -> Callable[[str], Part]:
    """Return the function that prunes and quantizes the tensor of a name.

    Raises
    ------
    ConfigError
        If a weight is not finite (also what is returned raises it).
    """
    cuts = _global_cuts(model, plans, given)

    def part(name: str) -> Part:
        plan = plans[name]
        if name in given.codes:
            mask = given.masks[name] != 0
            codes = unsigned_codes(given.codes[name], plan.quantizer.planes, model[name].label)
            return Part(Quantized(mask, codes, _NO_SCALES), None, None, plan.order, "given")
        tensor, weights = model[name], _weights(model, name)
        free = plan.sparsity is None and name not in given.masks and name not in given.saliency
        own = _own_mask(tensor, weights) if free else None
        if plan.chooses and own is not None:
            why = f"the {plan.index and plan.index.codec} index cannot keep it"
            return _stored(tensor, weights, own, plan, "own", why)
        if plan.chooses:
            importance = _importance(weights, plan, given.saliency.get(name))
            return _choose(tensor, weights, importance, plan)
        if name in given.masks:
            mask, origin = given.masks[name] != 0, "given"
        elif own is not None:
            mask, origin = own, "own"
        elif name in cuts:
            mask, origin = cuts[name].mask(weights), "pruned"
        else:
            prune_one = prune.prune_rows if plan.scope == "row" else prune.prune_tensor
            mask, origin = prune_one(weights, plan.pruned), "pruned"
        return Part(*_quantized(tensor, weights, mask, plan), plan.order, origin)

    return part


def _weights(model: Mapping[str, ModelTensor], name: str) -> np.ndarray:
    tensor = model[name]
    return prune.check_weights(tensor.weights(), tensor.label)


def _own_mask(tensor: ModelTensor, weights: np.ndarray) -> np.ndarray | None:
    """Return the mask that a tensor came with, in its zeros, if it has one."""
    return weights != 0 if tensor.pruned else prune.own_mask(weights)


def _global_cuts(
    model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan], given: UserArrays
) -> dict[str, prune.Cut]:
    """Return the cuts of tensors that are pruned together: of scope global and equal sparsity.

    No tensor's mask is known before all magnitudes were seen: they are read ahead of the walk, one
    tensor at a time, and only counts of them are kept.
    """
    groups: dict[float, list[str]] = {}
    for name, plan in plans.items():
        if plan.scope == "global" and name not in given.masks:
            own = plan.sparsity is None and _own_mask(model[name], _weights(model, name))
            if own is None or own is False:
                groups.setdefault(plan.pruned, []).append(name)
    cuts: dict[str, prune.Cut] = {}
    for sparsity, names in groups.items():

        def magnitudes(names: list[str] = names) -> Iterator[np.ndarray]:
            for name in names:
                yield np.abs(_weights(model, name))

        cuts |= dict(zip(names, prune.global_cuts(magnitudes, sparsity), strict=True))
    return cuts


def _quantized(
    tensor: ModelTensor,
    weights: np.ndarray,
    mask: np.ndarray,
    plan: TensorPlan,
    *,
    fixed_mask: bool = False,
) -> tuple[Quantized, float, Suggestion | None]:
    """Quantize what a mask keeps; return it with its error, and fewer planes that have less."""
    quantized = quantize(
        weights,
        mask,
        plan.quantizer,
        fixed_mask=fixed_mask,
        name=tensor.label,
    )
    error = relative_error(weights, quantized, plan.quantizer, dtype=tensor.dtype)
    return quantized, error, worse_than(weights, mask, plan.quantizer)


def _importance(weights: np.ndarray, plan: TensorPlan, saliency: np.ndarray | None) -> np.ndarray:
    """Return what keeping each weight is worth, float32."""
    if saliency is not None:
        with np.errstate(over="ignore"):  # an infinity is refused by the index
            return saliency.astype(np.float32)
    magnitude = prune.scaled(np.abs(weights))
    return magnitude * magnitude if plan.importance == "energy" else magnitude


def _wanted(weights: np.ndarray, plan: TensorPlan) -> float:
    """Return how many weights a chosen mask should keep: no more than are not zero."""
    return min(weights.size * (1 - plan.pruned), float(np.count_nonzero(weights)))


def wanted_count(tensor: ModelTensor, plan: TensorPlan) -> float:
    """Return how many weights of a tensor are to be kept; it is read for that."""
    weights = tensor.weights()
    if plan.sparsity is None and (own := _own_mask(tensor, weights)) is not None:
        return float(np.count_nonzero(own))
    return _wanted(weights, plan)


def _choose(
    tensor: ModelTensor, weights: np.ndarray, importance: np.ndarray, plan: TensorPlan
) -> Part:
    """Let the index choose a tensor's mask, then quantize what is kept.

    No gain comes from a zero, and no more weights are asked for than are not zero.
    """
    config, planes, index = plan.config, plan.quantizer.planes, plan.index
    assert index is not None
    if not isinstance(config, WindowConfig):
        raise ConfigError(f"the {index.codec} index goes with the window value codec")
    zero = weights == 0
    density = _wanted(weights, plan) / max(1, weights.size)
    if zero.any():
        importance = np.where(zero, np.float32(0), importance)
    if not density:
        return _stored(tensor, weights, ~zero, plan, "pruned", "it is all zeros")
    kept_bits = round(weights.size * density) * planes
    size = stream_slices(weights.size, kept_bits, planes, config, index.slice_multiple)
    try:
        order = plan.order if plan.order != "auto" else best_order(importance, density, index)
        chosen = choose_index(importance, density, index, order, size)
    except DensityError as error:
        why = f"the {error.codec} index keeps {error.found:,} weights, not {error.wanted:,}"
        mask = prune.prune_tensor(importance, 1 - density)
        return _stored(tensor, weights, mask, plan, "pruned", why)
    zeros = int(np.count_nonzero(chosen.mask & zero))
    made = _quantized(tensor, weights, chosen.mask, plan, fixed_mask=True)
    return Part(*made, order, "chosen", zeros, size, chosen)


def _stored(
    tensor: ModelTensor,
    weights: np.ndarray,
    mask: np.ndarray,
    plan: TensorPlan,
    origin: str,
    why: str,
) -> Part:
    """Keep a mask that the plan's index cannot, with an index that stores any."""
    index = stored_index(plan.config, plan.quantizer.planes)
    part = Part(*_quantized(tensor, weights, mask, plan), plan.order, origin, index=index)
    notes = (f"the {index.codec} index stores its mask, as {why}", *part.quantized.notes)
    return replace(part, quantized=replace(part.quantized, notes=notes))


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


_NOTHING = Quantized(np.zeros(0, np.bool_), np.zeros(0, np.uint8), _NO_SCALES)


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
        mask, codes, scales = part.quantized.mask, part.quantized.codes, part.quantized.scales
        kept = codes[mask]
        self._places[name] = _Place(
            self._file.seek(0, 2),
            replace(part, quantized=replace(_NOTHING, notes=part.quantized.notes)),
            mask.shape,
            kept.size,
            codes.dtype,
            scales.shape,
            scales.dtype,
        )
        for array in (np.packbits(mask), kept, scales):
            self._file.write(array.tobytes())
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
        codes = np.zeros(place.shape, place.codes)
        codes[mask] = self._array(place.kept, place.codes)
        scales = self._array(math.prod(place.scales), place.dtype).reshape(place.scales)
        quantized = replace(place.part.quantized, mask=mask, codes=codes, scales=scales)
        return replace(place.part, quantized=quantized)

    def _array(self, count: int, dtype: np.dtype) -> np.ndarray:
        return np.frombuffer(self._file.read(count * dtype.itemsize), dtype)
