# SPDX-License-Identifier: Apache-2.0
"""Unit of work: a tensor or row block with all that is asked for it, by itself.

A unit needs nothing of the rest of the model, so any thread, process or machine can work on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.prune import Cut

from .biases import bias_of, biases_of
from .blocks import CutModel

__all__ = ["Unit", "units_of"]

T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """Tensor or row block, and what its bytes follow from; but for the decoder, which is searched.

    Parameters
    ----------
    tensor : ModelTensor
    plan : TensorPlan
    given : UserArrays
        What the user brings for it, and nothing else.
    cut : Cut, optional
        What it keeps, if it is pruned together with others.
    has_bias : bool
        Whether the model has a bias that goes with it.
    bias : ModelTensor, optional
        That bias, if it changes with the tensor.
    is_block : bool
        Whether it is a row block.
    """

    tensor: ModelTensor
    plan: TensorPlan
    given: UserArrays
    cut: Cut | None = None
    has_bias: bool = False
    bias: ModelTensor | None = None
    is_block: bool = False

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return self.tensor.name

    @property
    def is_given(self) -> bool:
        """Whether the user brings its codes."""
        return self.name in self.given.codes or self.name in self.given.quantized


def units_of(cut: CutModel, cuts: Mapping[str, Cut] | None = None) -> dict[str, Unit]:
    """Return the units of a model that is cut, by name, in the order of its plans.

    Parameters
    ----------
    cut : CutModel
    cuts : mapping of name to Cut
        What tensors keep that are pruned together, see
        :func:`xorloom.sw.model.prepare.maker.global_cuts`.
    """
    model, plans, given = cut.model, cut.plans, cut.given
    cuts, owners = {**cut.cuts, **(cuts or {})}, cut.owners
    changed = {name: model[bias] for bias, name in biases_of(model, plans, given).items()}
    return {
        name: Unit(
            model[name],
            plan,
            _only(given, name),
            cuts.get(name),
            bias_of(model, plans, name) is not None,
            changed.get(name),
            name in owners,
        )
        for name, plan in plans.items()
    }


def _only(given: UserArrays, name: str) -> UserArrays:
    """Return what the user brings for one tensor."""

    def own(arrays: Mapping[str, T]) -> dict[str, T]:
        return {name: arrays[name]} if name in arrays else {}

    found = given.calibration
    return UserArrays(
        own(given.masks),
        own(given.codes),
        own(given.saliency),
        None if found is None else replace(found, moments=own(found.moments)),
        own(given.quantized),
        own(given.seeds),
    )
