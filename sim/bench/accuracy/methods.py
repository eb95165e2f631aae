# SPDX-License-Identifier: Apache-2.0
"""Methods of the accuracy laboratory: the plans that each may choose from at a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from xorloom.sw.index.choice import BudgetError
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.torch.budget import plan_for
from xorloom.sw.torch.plan import LayerPlan
from xorloom.sw.value.plane import encode_value
from xorloom.sw.value.search import search_block

__all__ = ["METHODS", "Method", "block_bits", "pattern_bits", "plan_at"]

_PATTERN_MAX = 256


@dataclass(frozen=True)
class Method:
    """A way to spend a budget of bits.

    Parameters
    ----------
    mask : str
        As of :class:`xorloom.sw.torch.plan.LayerPlan`, or ``direct``.
    planes : int
    shares : tuple of float or None
        Shares of the budget for values, one candidate each of the first that have a plan;
        ``None``: the budget leaves no choice.
    paper : bool
        Values are counted as the paper's block codec stores them.
    coding : str
        Module of ``xorloom.sw.torch.coding`` that trains it; with ``frozen`` codes are searched
        and stay.
    schedule : dict, optional
        Keywords of :class:`xorloom.sw.torch.schedule.Schedule`: masks come into force little by
        little, or change.
    distilled : bool
        The dense network is the teacher.
    """

    mask: str
    planes: int = 1
    shares: tuple[float | None, ...] = (None,)
    paper: bool = False
    coding: str = "masked"
    schedule: dict[str, Any] | None = None
    distilled: bool = False

    @property
    def usual(self) -> bool:
        """Whether it is trained as the others are."""
        return self.schedule is None and not self.distilled


_TRELLIS_2 = Method("trellis", 2, shares=(0.55, 0.75))
METHODS = {
    "paper": Method("lowrank", shares=(0.35, 0.55, 0.25), paper=True),
    "trellis": Method("trellis", shares=(0.55, 0.75)),
    "trellis-2": _TRELLIS_2,
    "entropy": Method("magnitude"),
    "hashed": Method("hashed"),
    "hashed-2": Method("hashed", 2),
    "direct": Method("direct", coding="seeds"),
    "direct-viterbi": Method("direct", coding="frozen"),
    "n:m": Method("n:m"),
    "dense": Method("all"),
    "trellis-2-ramp": replace(_TRELLIS_2, schedule={"ramp": 0.4}),
    "trellis-2-fade": replace(_TRELLIS_2, schedule={"fade": 0.4}),
    "trellis-2-anew": replace(_TRELLIS_2, schedule={"rechoices": 4}),
    "trellis-2-distilled": replace(_TRELLIS_2, distilled=True),
    "hashed-2-distilled": Method("hashed", 2, distilled=True),
}
"""By name; ``-2`` is of two planes, ``dense`` one bit for every weight,
``direct`` trained seeds, and ``direct-viterbi`` seeds that a search fits to the dense weights: they
stay, and all else is trained. The last ones are trained in another way, and measured by their
names only: the largest weights first and the mask when 40 % of the training is over; pruned
weights that fade out until then; masks that are chosen anew four times; the dense network as
teacher."""


def plan_at(
    method: Method, shapes: Sequence[tuple[int, ...]], budget: float, share: float | None
) -> LayerPlan:
    """Return the plan of a method that is expected to use a budget up.

    Dense weights of one bit take what they take: they are the reference at 1 bit.

    Parameters
    ----------
    method : Method
    shapes : sequence of tuple of int
        Of the compressed weights.
    budget : float
        Bits per weight of all of them, everything counted.
    share : float, optional
        One of the method's shares.

    Raises
    ------
    ConfigError
        If the method has no plan within the budget; says why.
    """
    if method.mask == "n:m":
        return _pattern_plan(shapes, budget)
    if method.mask == "all":
        return LayerPlan(mask="all", planes=method.planes)
    split: dict[str, float | int] = {"planes": method.planes}
    if share is not None:
        split["density"] = budget * share / method.planes
    return plan_for(shapes, budget, method.mask, **split)


def block_bits(mask: np.ndarray, codes: np.ndarray, planes: int) -> int:
    """Return the bits that the paper's block codec stores of a weight's codes, all counted."""
    flat, values = mask.reshape(-1), codes.reshape(-1)
    config = search_block([(flat, values, planes)], BlockConfig()).config
    return int(encode_value(flat, values, planes, config, "row")[1].total)


def pattern_bits(shape: tuple[int, ...], plan: LayerPlan) -> int:
    """Return the bits of a weight with an N:M mask as hardware stores it.

    Of every M weights N values, and the number of the pattern in ``ceil(log2 C(M, N))`` bits; a
    rest at a row's end as if it were whole; scales.
    """
    kept, of = plan.pattern
    rows = shape[0] if len(shape) > 1 else 1
    groups = rows * -(-math.prod(shape) // rows // of)
    scales = Quantizer(planes=plan.planes, scale=plan.scale).scale_bits(shape)
    return groups * (kept * plan.planes + (math.comb(of, kept) - 1).bit_length()) + scales


def _pattern_plan(shapes: Sequence[tuple[int, ...]], budget: float) -> LayerPlan:
    """Return the densest N:M pattern within a budget."""
    patterns = {(1, of) for of in range(2, _PATTERN_MAX + 1)}
    patterns |= {(kept, of) for of in range(2, 33) for kept in range(1, of)}
    weights = sum(map(math.prod, shapes))
    costs = {}
    for pattern in patterns:
        plan = LayerPlan(mask="n:m", pattern=pattern)
        costs[pattern] = sum(pattern_bits(shape, plan) for shape in shapes) / weights
    fitting = [pattern for pattern in patterns if costs[pattern] <= budget]
    if not fitting:
        raise BudgetError(budget, min(costs.values()))
    best = max(fitting, key=lambda pattern: (Fraction(*pattern), -costs[pattern], -pattern[1]))
    return LayerPlan(mask="n:m", pattern=best)
