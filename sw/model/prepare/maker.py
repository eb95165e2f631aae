# SPDX-License-Identifier: Apache-2.0
"""Maker of parts: prunes and quantizes a tensor, or lets codecs choose its mask or its values."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from xorloom.sw.base.errors import ConfigError, DensityError
from xorloom.sw.index.choice import best_order, stored_index
from xorloom.sw.index.plane import choose_index
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.tensors import prune
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.codes import unsigned_codes
from xorloom.sw.tensors.loss import Suggestion, relative_error, worse_than
from xorloom.sw.tensors.quantize import Quantized, quantize
from xorloom.sw.value.window.codec import stream_slices

from .part import Part
from .values import bias_of, valued

__all__ = ["part_maker", "wanted_count"]

_NO_SCALES = np.zeros((0, 0), np.float16)


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
        if plan.config.chooses_values:
            mask = _own_mask(tensor, weights)
            zeros = 0 if mask is None else mask.size - int(np.count_nonzero(mask))
            has_bias = bias_of(model, plans, name) is not None
            return valued(tensor, weights, plan, given, zeros=zeros, has_bias=has_bias)
        free = plan.sparsity is None and name not in given.masks and name not in given.saliency
        own = _own_mask(tensor, weights) if free else None
        if plan.chooses and own is not None:
            why = f"the {plan.index and plan.index.codec} index cannot keep it"
            return _stored(tensor, weights, own, plan, "own", why)
        if plan.chooses:
            importance = _importance(weights, plan, given.saliency.get(name))
            return _choose(tensor, weights, importance, plan)
        dense = plan.index is not None and plan.index.keeps_all
        if name in given.masks:
            mask, origin = given.masks[name] != 0, "given"
        elif dense:
            mask, origin = np.ones(weights.shape, np.bool_), "all"
        elif own is not None:
            mask, origin = own, "own"
        elif name in cuts:
            mask, origin = cuts[name].mask(weights), "pruned"
        else:
            prune_one = prune.prune_rows if plan.scope == "row" else prune.prune_tensor
            mask, origin = prune_one(weights, plan.pruned), "pruned"
        made = _quantized(tensor, weights, mask, plan, fixed_mask=dense)
        return Part(*made, plan.order, origin)

    return part


def _weights(model: Mapping[str, ModelTensor], name: str) -> np.ndarray:
    tensor = model[name]
    return prune.check_weights(tensor.weights(), tensor.label)


def _own_mask(tensor: ModelTensor, weights: np.ndarray) -> np.ndarray | None:
    """Return the mask that a tensor came with, in its zeros, if it has one."""
    return prune.own_mask(weights, pruned=tensor.pruned)


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
    quantized, loss, better = _quantized(tensor, weights, chosen.mask, plan, fixed_mask=True)
    lost = int(np.count_nonzero(~chosen.mask & ~zero))
    if lost and _own_mask(tensor, weights) is not None:
        note = f"{lost:,} weights of its own mask are pruned: the {index.codec} mask is another one"
        quantized = replace(quantized, notes=(*quantized.notes, note))
    return Part(quantized, loss, better, order, "chosen", zeros, size, chosen)


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
