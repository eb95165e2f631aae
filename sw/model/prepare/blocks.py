# SPDX-License-Identifier: Apache-2.0
"""Row blocks: large tensors cut into parts, each prepared and encoded as a tensor of its own.

So memory follows the blocks, not the tensor, and all cores work on one tensor. What concerns the
tensor as a whole is found before, by reading it a block at a time: its own mask, and the magnitude
from which on weights are kept.
"""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from xorloom.sw.base.workers import mapping
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.container import JoinedTensor
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.tensors import prune
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.checkpoint.model import Place, rows_of

from .biases import bias_of

__all__ = ["BLOCK_WEIGHTS", "CutModel", "block_places", "block_shapes", "block_sizes", "cut_model"]

BLOCK_WEIGHTS = 1 << 22
"""Most weights of a block by default."""


@dataclass(frozen=True)
class CutModel:
    """Model of which large tensors are cut into blocks, with all that is asked for them.

    Parameters
    ----------
    model : mapping of name to ModelTensor
        In the original's order, blocks in place of their tensor.
    plans : mapping of name to TensorPlan
    given : UserArrays
    cuts : mapping of name to Cut
        What blocks keep that are pruned by magnitude, all those of a tensor together.
    joined : mapping of name to JoinedTensor
        Tensors that are cut.
    """

    model: Mapping[str, ModelTensor]
    plans: Mapping[str, TensorPlan]
    given: UserArrays
    cuts: Mapping[str, prune.Cut] = field(default_factory=dict)
    joined: Mapping[str, JoinedTensor] = field(default_factory=dict)

    def names(self, name: str) -> tuple[str, ...]:
        """Return the blocks of a tensor, or itself."""
        return self.joined[name].blocks if name in self.joined else (name,)

    @property
    def last(self) -> dict[str, str]:
        """The last block of every tensor that is cut, and the tensor."""
        return {info.blocks[-1]: name for name, info in self.joined.items()}

    @property
    def owners(self) -> dict[str, str]:
        """Every block's tensor."""
        return {block: name for name, info in self.joined.items() for block in info.blocks}


def block_shapes(
    model: Mapping[str, ModelTensor],
    plans: Mapping[str, TensorPlan],
    given: UserArrays,
    most: int,
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the tensors that are cut, as :func:`block_places`, with the shape of each block."""
    return {
        name: {block: _shape(place, model[name].shape) for block, place in found.items()}
        for name, found in block_places(model, plans, given, most).items()
    }


def block_sizes(
    model: Mapping[str, ModelTensor],
    plans: Mapping[str, TensorPlan],
    given: UserArrays,
    most: int,
) -> dict[str, dict[str, int]]:
    """Return the same with the weights of each block."""
    return {
        name: {block: math.prod(shape) for block, shape in found.items()}
        for name, found in block_shapes(model, plans, given, most).items()
    }


def block_places(
    model: Mapping[str, ModelTensor],
    plans: Mapping[str, TensorPlan],
    given: UserArrays,
    most: int,
) -> dict[str, dict[str, Place]]:
    """Return the tensors that are cut, each with the places of its blocks by name.

    A tensor is cut if it has more than three times ``most`` weights (0: none is), if its
    rows can be read by themselves, and if nothing that the user brings holds it together: choices,
    seeds and saliencies do, and a bias that takes up the mean error of a calibrated matrix. A block
    is named as the part that it is, with a ``~`` behind where a tensor has that name.
    """
    found = {}
    taken = {*model, *getattr(model, "ties", {})}
    for name, plan in plans.items():
        tensor = model[name]
        if not most or tensor.size <= 3 * most or not tensor.by_rows:
            continue
        if name in given.quantized or name in given.saliency or given.choice(name) is not None:
            continue
        calibrated = plan.config.chooses_values and given.calibration is not None
        if calibrated and bias_of(model, plans, name) is not None:
            continue
        places = _places(tensor.shape, most)
        if plan.scope == "row" and len(places[0]) > 1:
            continue
        found[name] = {_free(f"{name}[{_text(place)}]", taken): place for place in places}
    return found


def _free(name: str, taken: Container[str]) -> str:
    """Return a name that no tensor has."""
    while name in taken:
        name += "~"
    return name


def _places(shape: tuple[int, ...], most: int) -> list[Place]:
    """Return runs of one dimension, the first of which a single index is no larger than a block."""
    axis = 0
    while axis < len(shape) - 1 and math.prod(shape[axis + 1 :]) > most:
        axis += 1
    inner = math.prod(shape[axis + 1 :])
    count = -(-shape[axis] * inner // most)
    step = -(-shape[axis] // count)
    return [
        (*map(int, before), slice(start, min(start + step, shape[axis])))
        for before in np.ndindex(shape[:axis])
        for start in range(0, shape[axis], step)
    ]


def _text(place: Place) -> str:
    return ",".join(f"{i.start}:{i.stop}" if isinstance(i, slice) else str(i) for i in place)


def cut_model(
    model: Mapping[str, ModelTensor],
    plans: Mapping[str, TensorPlan],
    given: UserArrays,
    most: int = BLOCK_WEIGHTS,
    threads: int | None = None,
) -> CutModel:
    """Cut large tensors into row blocks, see :func:`block_places`.

    With so many threads, by default all cores, each of which holds one block.

    Raises
    ------
    ConfigError
        If a weight is not finite.
    """
    cut = block_places(model, plans, given, most)
    if not cut:
        return CutModel(model, plans, given)
    tensors: dict[str, ModelTensor] = {}
    joined, cuts, new_plans = {}, {}, dict(plans)
    masks, codes = dict(given.masks), dict(given.codes)
    moments = dict(given.calibration or {})
    for name, tensor in model.items():
        if name not in cut:
            tensors[name] = tensor
            continue
        blocks = {block: _block(tensor, block, place) for block, place in cut[name].items()}
        plan, own, found = _whole(blocks, new_plans.pop(name), given, name, threads)
        for block, cut_of in found.items():
            size = blocks[block].size
            if plan.chooses:  # its index meets the density that the cut gives
                kept = max(1, cut_of.kept)
                new_plans[block] = replace(plan, sparsity=1 - kept / size)
            else:
                cuts[block] = cut_of
        for block, place in cut[name].items():
            tensors[block] = replace(blocks[block], pruned=True) if own else blocks[block]
            new_plans.setdefault(block, plan)
            for arrays in (masks, codes):
                if name in arrays:
                    arrays[block] = rows_of(np.asarray(arrays[name]), place)
            if name in moments:
                moments[block] = moments[name]
        masks.pop(name, None)
        codes.pop(name, None)
        joined[name] = JoinedTensor(tensor.shape, tuple(blocks))
    if given.calibration is not None:
        given = replace(given, calibration=Calibration(moments, given.calibration.where))
    given = replace(given, masks=masks, codes=codes)
    return CutModel(tensors, new_plans, given, cuts, joined)


def _shape(place: Place, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a block."""
    run = place[-1]
    assert isinstance(run, slice)
    return (1,) * (len(place) - 1) + (run.stop - run.start,) + shape[len(place) :]


def _block(tensor: ModelTensor, name: str, place: Place) -> ModelTensor:
    """Return a block as a tensor."""
    return replace(
        tensor,
        name=name,
        shape=_shape(place, tensor.shape),
        span=None,
        load=lambda: rows_of(tensor.load(), place),
        origin=tensor.origin and replace(tensor.origin, place=place),
    )


def _whole(
    blocks: Mapping[str, ModelTensor],
    plan: TensorPlan,
    given: UserArrays,
    name: str,
    threads: int | None,
) -> tuple[TensorPlan, bool, dict[str, prune.Cut]]:
    """Find what concerns a tensor as a whole.

    Returns
    -------
    (plan, own, cuts)
        The plan, with the sparsity that was found; whether the tensor keeps a mask of its own, in
        its zeros; and what each block keeps, if they are pruned together by magnitude.
    """
    keeps_all = plan.config.chooses_values or (plan.index is not None and plan.index.keeps_all)
    if keeps_all or given.mask(name) is not None:
        return plan, False, {}
    if plan.sparsity is None:
        with mapping(threads) as each:
            kept = sum(each(_kept, blocks.values()))
        size = sum(block.size for block in blocks.values())
        if any(block.pruned for block in blocks.values()) or 2 * kept <= size:
            return plan, True, {}
        plan = replace(plan, sparsity=plan.pruned)
    if plan.scope != "tensor":
        return plan, False, {}
    loads = [partial(_weights, block) for block in blocks.values()]
    cuts = prune.global_cuts(loads, plan.pruned, threads)
    return plan, False, dict(zip(blocks, cuts, strict=True))


def _weights(block: ModelTensor) -> np.ndarray:
    return prune.check_weights(block.weights(), block.label)


def _kept(block: ModelTensor) -> int:
    return int(np.count_nonzero(block.weights()))
