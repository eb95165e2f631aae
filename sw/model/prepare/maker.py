# SPDX-License-Identifier: Apache-2.0
"""Maker of parts: prunes and quantizes a tensor, or lets codecs choose its mask or its values."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, DensityError
from xorloom.sw.index.choice import stored_index
from xorloom.sw.index.masks import Choice, chosen_with, importance_of
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.tensors import prune
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.codes import unsigned_codes
from xorloom.sw.tensors.loss import Suggestion, relative_error, worse_than
from xorloom.sw.tensors.quantize import Quantized, quantize

from .part import Part
from .unit import Unit
from .values import valued

__all__ = ["global_cuts", "naming_errors", "part_of", "wanted_count"]

_NO_SCALES = np.zeros((0, 0), np.float16)


def part_of(unit: Unit, threads: int | None = None) -> Part:
    """Prune and quantize a tensor, with so many threads, by default with all cores.

    Raises
    ------
    ConfigError
        If a weight is not finite, or the tensor does not fit its plan.
    """
    tensor, plan, given = unit.tensor, unit.plan, unit.given
    name = tensor.name
    own_mask, choice = given.mask(name), given.choice(name)
    if name in given.codes:
        assert own_mask is not None
        codes = unsigned_codes(given.codes[name], plan.quantizer.planes, tensor.label)
        return Part(Quantized(own_mask, codes, _NO_SCALES), None, None, plan.order, "given")
    weights = _weights(tensor)
    if name in given.quantized:
        return _given(tensor, weights, plan, given)
    if plan.config.chooses_values:
        mask = _own_mask(tensor, weights)
        zeros = 0 if mask is None else mask.size - int(np.count_nonzero(mask))
        return valued(unit, weights, zeros=zeros, threads=threads)
    if choice is not None:
        return _with_choice(tensor, weights, choice, plan, "choice")
    free = plan.sparsity is None and own_mask is None and name not in given.saliency
    own = _own_mask(tensor, weights) if free else None
    if plan.chooses and own is not None:
        why = f"the {plan.index and plan.index.codec} index cannot keep it"
        return _stored(tensor, weights, own, plan, "own", why)
    if plan.chooses:
        return _choose(tensor, weights, given.saliency.get(name), plan, threads)
    dense = plan.index is not None and plan.index.keeps_all
    if own_mask is not None:
        mask, origin = own_mask, "given"
    elif dense:
        mask, origin = np.ones(weights.shape, np.bool_), "all"
    elif own is not None:
        mask, origin = own, "own"
    elif unit.cut is not None:
        mask, origin = unit.cut.mask(weights), "pruned"
    else:
        prune_one = prune.prune_rows if plan.scope == "row" else prune.prune_tensor
        mask, origin = prune_one(weights, plan.pruned), "pruned"
    made = _quantized(tensor, weights, mask, plan, fixed_mask=dense)
    return Part(*made, plan.order, origin)


def _weights(tensor: ModelTensor) -> np.ndarray:
    return prune.check_weights(tensor.weights(), tensor.label)


def _own_mask(tensor: ModelTensor, weights: np.ndarray) -> np.ndarray | None:
    """Return the mask that a tensor came with, in its zeros, if it has one."""
    return prune.own_mask(weights, pruned=tensor.pruned)


def global_cuts(
    model: Mapping[str, ModelTensor],
    plans: Mapping[str, TensorPlan],
    given: UserArrays,
    threads: int | None = None,
) -> dict[str, prune.Cut]:
    """Return the cuts of tensors that are pruned together: of scope global and equal sparsity.

    No tensor's mask is known before all magnitudes were seen: they are read ahead of the walk, one
    tensor at a time for each thread, and only counts of them are kept.
    """
    groups: dict[float, list[str]] = {}
    for name, plan in plans.items():
        if plan.scope == "global" and given.mask(name) is None:
            own = plan.sparsity is None and _own_mask(model[name], _weights(model[name]))
            if own is None or own is False:
                groups.setdefault(plan.pruned, []).append(name)
    cuts: dict[str, prune.Cut] = {}
    for sparsity, names in groups.items():
        loads = [lambda name=name: _weights(model[name]) for name in names]
        cuts |= dict(zip(names, prune.global_cuts(loads, sparsity, threads), strict=True))
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


@contextmanager
def naming_errors(tensor: ModelTensor) -> Iterator[None]:
    """Name file and tensor in errors that do not."""
    try:
        yield
    except (ConfigError, CapacityError) as error:
        if tensor.label in str(error):
            raise
        raise type(error)(f"{tensor.label}: {error}") from error


def wanted_count(unit: Unit) -> float:
    """Return how many weights of a tensor are to be kept; it is read for that."""
    choice = unit.given.choice(unit.name)
    if choice is not None:
        return float(choice.count)
    weights = unit.tensor.weights()
    if unit.plan.sparsity is None and (own := _own_mask(unit.tensor, weights)) is not None:
        return float(np.count_nonzero(own))
    return _wanted(weights, unit.plan)


def _wanted(weights: np.ndarray, plan: TensorPlan) -> float:
    """Return how many weights a chosen mask should keep: no more than are not zero."""
    return min(weights.size * (1 - plan.pruned), float(np.count_nonzero(weights)))


def _choose(
    tensor: ModelTensor,
    weights: np.ndarray,
    saliency: np.ndarray | None,
    plan: TensorPlan,
    threads: int | None,
) -> Part:
    """Let the index choose a tensor's mask, then quantize what is kept."""
    index = plan.index
    assert index is not None
    if not weights.any():
        return _stored(tensor, weights, weights != 0, plan, "pruned", "it is all zeros")
    worth = importance_of(weights, saliency, energy=plan.importance == "energy", name=tensor.label)
    try:
        choice = chosen_with(
            index,
            weights,
            worth,
            1 - plan.pruned,
            plan.config,
            plan.quantizer.planes,
            order=plan.order,
            threads=threads,
            name=tensor.label,
        )
    except DensityError as error:
        why = f"the {error.codec} index keeps {error.found:,} weights, not {error.wanted:,}"
        mask = prune.prune_tensor(worth, 1 - _wanted(weights, plan) / weights.size)
        return _stored(tensor, weights, mask, plan, "pruned", why)
    return _with_choice(tensor, weights, choice, plan, "chosen")


def _with_choice(
    tensor: ModelTensor, weights: np.ndarray, choice: Choice, plan: TensorPlan, origin: str
) -> Part:
    """Quantize what a chosen mask keeps."""
    quantized, loss, better = _quantized(tensor, weights, choice.mask, plan, fixed_mask=True)
    lost = int(np.count_nonzero(weights[~choice.mask]))
    if lost and _own_mask(tensor, weights) is not None:
        codec = choice.index.codec
        note = f"{lost:,} weights of its own mask are pruned: the {codec} mask is another one"
        quantized = replace(quantized, notes=(*quantized.notes, note))
    return _of_choice(Part(quantized, loss, better, choice.order, origin), weights, choice)


def _of_choice(part: Part, weights: np.ndarray, choice: Choice) -> Part:
    """Add a choice's streams to a part."""
    return replace(
        part,
        order=choice.order,
        zeros=int(np.count_nonzero(weights[choice.mask] == 0)),
        slices_per_stream=choice.slices_per_stream,
        chosen=choice.encoded,
    )


def _given(tensor: ModelTensor, weights: np.ndarray, plan: TensorPlan, given: UserArrays) -> Part:
    """Take mask, codes and scales, and what streams hold them, as the user brings them."""
    quantized, choice = given.quantized[tensor.name], given.choice(tensor.name)
    streams = given.seeds.get(tensor.name)
    what = "codes and scales" if streams is None else "seeds and scales"
    notes = (*quantized.notes, f"its {what} are given, and stored as they are")
    levels = None if streams is None else streams.levels
    quantized = replace(quantized, levels=levels, notes=notes)
    # Weights that were trained as they are stored have no original: their error is unknown.
    error = relative_error(weights, quantized, plan.quantizer, dtype=tensor.dtype) or None
    keeps_all = plan.config.chooses_values or (plan.index is not None and plan.index.keeps_all)
    origin = "all" if keeps_all else "given" if choice is None else "choice"
    part = Part(quantized, error, None, plan.order, origin, values=streams)
    return part if choice is None else _of_choice(part, weights, choice)


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
