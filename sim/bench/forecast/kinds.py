# SPDX-License-Identifier: Apache-2.0
"""Kinds of work: tensors and row blocks that take as long for each weight, as they are alike."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from xorloom.sw.model.plan.estimate import tensor_bits
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.model.prepare import block_shapes
from xorloom.sw.spec.config import ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.weight_format import index_for
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.prune import own_mask
from xorloom.sw.value.search import window_for

__all__ = ["Kind", "Unit", "estimated_bits", "kept_share", "settled", "units_of"]


@dataclass(frozen=True)
class Kind:
    """What makes units alike.

    Parameters
    ----------
    plan : TensorPlan
    dtype : str
        Safetensors name.
    own : bool
        Whether they keep a mask of their own, in their zeros.
    in_blocks : bool
        Whether they are row blocks that are pruned: that is quicker than to prune a tensor.
    """

    plan: TensorPlan
    dtype: str
    own: bool
    in_blocks: bool

    @property
    def keeps_all(self) -> bool:
        """Whether all weights are kept, so that none must be compared with all others."""
        return _keeps_all(self.plan)


@dataclass(frozen=True)
class Unit:
    """Tensor or row block, which one thread compresses.

    Parameters
    ----------
    tensor : str
        Name of the tensor that it is, or a part of.
    shape : tuple of int
    kind : Kind
    kept : float
        Share of weights that will be kept.
    cut : bool
        Whether it is a row block.
    """

    tensor: str
    shape: tuple[int, ...]
    kind: Kind
    kept: float
    cut: bool

    @property
    def weights(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def is_compared(self) -> bool:
        """Whether it is read before the work, to compare its weights with all of its tensor's."""
        return self.cut and not self.kind.keeps_all

    @property
    def scale_bits(self) -> int:
        """Bits of its scales."""
        return self.kind.plan.quantizer.scale_bits(self.shape)


def _keeps_all(plan: TensorPlan) -> bool:
    return plan.config.chooses_values or (plan.index is not None and plan.index.keeps_all)


def kept_share(tensor: ModelTensor, plan: TensorPlan) -> tuple[float, bool]:
    """Return the share of weights that a tensor keeps, and whether its own zeros tell it."""
    if _keeps_all(plan):
        return 1.0, False
    if plan.sparsity is None:
        own = own_mask(tensor.weights(), pruned=tensor.pruned)
        if own is not None:
            return float(np.count_nonzero(own)) / max(1, own.size), True
    return 1 - plan.pruned, False


def settled(
    model: Mapping[str, ModelTensor],
    plans: Mapping[str, TensorPlan],
    kept: Mapping[str, float],
) -> dict[str, TensorPlan]:
    """Return plans whose ``n_in`` is that of all tensors with the same codecs together."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, plan in plans.items():
        wanted = (plan.config, plan.searches, plan.quantizer.planes, plan.index)
        groups.setdefault(wanted, []).append(name)
    found = dict(plans)
    for names in groups.values():
        first = plans[names[0]]
        alike = len({(plans[name], round(kept[name], 6)) for name in names}) == 1
        if alike or not first.searches or not isinstance(first.config, WindowConfig):
            continue
        total = sum(model[name].size for name in names)
        mean = sum(kept[name] * model[name].size for name in names) / max(1, total)
        config = window_for(mean, first.config)
        found |= {name: replace(plans[name], config=config, search=False) for name in names}
    return found


def units_of(
    model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan], most: int
) -> list[Unit]:
    """Return what threads will compress, in order.

    Parameters
    ----------
    model : mapping of name to ModelTensor
        May be a :func:`xorloom.sim.bench.forecast.parts.sketch`.
    plans : mapping of name to TensorPlan
    most : int
        Most weights of a row block.
    """
    shares = {name: kept_share(model[name], plan) for name, plan in plans.items()}
    plans = settled(model, plans, {name: share for name, (share, _) in shares.items()})
    blocks = block_shapes(model, plans, UserArrays(), most)
    units = []
    for name, plan in plans.items():
        share, own = shares[name]
        cut = name in blocks
        in_blocks = cut and not _keeps_all(plan) and not plan.chooses
        kind = Kind(plan, model[name].dtype, own, in_blocks)
        shapes = blocks[name].values() if cut else (model[name].shape,)
        units += [Unit(name, shape, kind, share, cut) for shape in shapes]
    return units


@lru_cache(maxsize=4096)
def estimated_bits(weights: int, kept: float, plan: TensorPlan) -> float:
    """Return the bits of value and index streams, see :mod:`xorloom.sw.model.plan.estimate`."""
    value: ValueConfig = plan.config
    planes = plan.quantizer.planes
    if plan.searches and isinstance(value, WindowConfig):
        value = window_for(kept, value)
    index: IndexConfig = plan.index or index_for(value, planes)
    return tensor_bits(weights, round(weights * kept), planes, value, index)
