# SPDX-License-Identifier: Apache-2.0
"""Pruning of a module: its weights become what a file decodes to, and stay trainable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.nn import Parameter
from torch.nn.utils import parametrize
from xorloom.sw.base.errors import ConfigError

from .coding import Coded, Coding, coding_of
from .plan import LayerPlan, Plans, Weight, resolve
from .pruned import pruned
from .schedule import Change, Schedule, Timetable, dense_coding

__all__ = ["Handle", "install", "make_codings", "prune"]


class Handle:
    """Pruned weights of a module.

    Parameters
    ----------
    module : torch.nn.Module
    plans : mapping of name to LayerPlan
        Of the weights of this handle.
    schedule : Schedule, optional

    Attributes
    ----------
    changes : list of Change
        What the schedule has done.
    """

    def __init__(
        self, module: Any, plans: Mapping[str, LayerPlan], schedule: Schedule | None = None
    ) -> None:
        self.module, self.plans = module, dict(plans)
        self._weights = {weight.name: weight for weight in pruned(module) if weight.name in plans}
        self._timetable = (
            None if schedule is None else Timetable(schedule, list(self._weights.values()))
        )
        self.changes: list[Change] = []

    def step(self, progress: float) -> None:
        """Do what the schedule has for a progress in [0, 1]; call it before every training step.

        At 1 the weights are what a file can hold. Without a schedule they always are.

        Raises
        ------
        ConfigError
            If the progress is out of range.
        """
        if self._timetable is not None:
            self.changes += self._timetable.step(progress)

    @property
    def names(self) -> list[str]:
        """Names of the weights, as in the state dict of the module before it was pruned."""
        return list(self._weights)

    @property
    def codings(self) -> dict[str, Coding]:
        """Codings by name."""
        return {name: weight.coding for name, weight in self._weights.items()}

    def latent(self, name: str) -> Parameter:
        """Return the parameter that a trainer moves."""
        found: Parameter = self._weights[name].latent
        return found

    def weight(self, name: str) -> Any:
        """Return the decoded weight, without gradients."""
        return self._weights[name].decoded()

    def coded(self, name: str) -> Coded:
        """Return what goes into the file for a weight."""
        return self._weights[name].coded()


def prune(
    module: Any,
    plan: Plans,
    importance: Mapping[str, np.ndarray] | None = None,
    *,
    schedule: Schedule | None = None,
) -> Handle:
    """Prune a module: its weights become what a file decodes to, and stay trainable.

    Works in place, in the manner of ``torch.nn.utils.parametrize``. The parameter ``X.weight``
    becomes the latent weight ``X.parametrizations.weight.original``; ``X.weight`` is what the file
    will decode to. Tied weights stay tied. Training goes on from a saved state dict after the same
    plan: ``prune(fresh, plan)``, then ``load_state_dict``.

    Parameters
    ----------
    module : torch.nn.Module
    plan : LayerPlan or mapping of glob pattern to LayerPlan
        See :func:`xorloom.sw.torch.plan.resolve`.
    importance : mapping of name to array, optional
        What keeping each weight is worth, not negative; magnitudes by default.
    schedule : Schedule, optional
        Lets masks come into force little by little; :meth:`Handle.step` drives it.

    Raises
    ------
    ConfigError
        If the plan names no weight or does not fit one, a weight is pruned already, or an
        importance belongs to no weight or has another shape. The module is then as it was.
    """
    found = resolve(module, plan)
    codings = make_codings(found, importance or {}, schedule)
    for (weight, _), coding in zip(found, codings, strict=True):
        install(weight, coding)
    return Handle(module, {weight.name: own for weight, own in found}, schedule)


def make_codings(
    found: Sequence[tuple[Weight, LayerPlan]],
    importance: Mapping[str, np.ndarray],
    schedule: Schedule | None = None,
) -> list[Coding]:
    """Return the codings of weights by their plans; nothing is changed.

    Raises
    ------
    ConfigError
        As :func:`prune`.
    """
    names = [weight.name for weight, _ in found]
    for name in importance:
        if name not in names:
            raise ConfigError(f"importance {name!r} belongs to no weight that the plan names")
    if schedule is not None and schedule.ramp:
        if importance:
            raise ConfigError(
                "importance does not go with a ramp, which keeps the largest weights of the "
                "training (leave one of them out)"
            )
        return [dense_coding(weight.parameter, own, weight.name) for weight, own in found]
    return [
        coding_of(own).of(
            weight.parameter, own, name=weight.name, importance=importance.get(weight.name)
        )
        for weight, own in found
    ]


def install(weight: Weight, coding: Coding) -> None:
    """Register a coding at every place of a weight; all places share the latent weight."""
    latent: Parameter | None = None
    dense = weight.parameter.detach().clone()  # registering gives the parameter the latent's shape
    for part, own in weight.places:
        if latent is not None:
            setattr(part, own, Parameter(dense))
        parametrize.register_parametrization(part, own, coding)
        pair = getattr(part.parametrizations, own)
        if latent is None:
            latent = pair.original
            latent.requires_grad_(weight.parameter.requires_grad)
        pair.original = latent
