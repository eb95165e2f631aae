# SPDX-License-Identifier: Apache-2.0
"""Pruning of a module: its weights become what a file decodes to, and stay trainable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.nn import Parameter
from torch.nn.utils import parametrize
from xorloom.sw.base.errors import ConfigError

from .coding import Coded, Coding, coding_of
from .plan import LayerPlan, Plans, Weight, resolve

__all__ = ["Handle", "install", "prune"]


class Handle:
    """Pruned weights of a module.

    Parameters
    ----------
    module : torch.nn.Module
    weights : mapping of name to Weight
    plans : mapping of name to LayerPlan

    Attributes
    ----------
    codings : dict of name to Coding
    """

    def __init__(
        self, module: Any, weights: Mapping[str, Weight], plans: Mapping[str, LayerPlan]
    ) -> None:
        self.module, self.plans = module, dict(plans)
        self._weights = dict(weights)
        self.codings: dict[str, Coding] = {
            name: getattr(weight.places[0][0].parametrizations, weight.places[0][1])[0]
            for name, weight in weights.items()
        }

    @property
    def names(self) -> list[str]:
        """Names of the weights, as in the state dict of the module before it was pruned."""
        return list(self._weights)

    def latent(self, name: str) -> Any:
        """Return the parameter that a trainer moves."""
        part, own = self._weights[name].places[0]
        return getattr(part.parametrizations, own).original

    def weight(self, name: str) -> Any:
        """Return the decoded weight."""
        part, own = self._weights[name].places[0]
        return getattr(part, own)

    def coded(self, name: str) -> Coded:
        """Return what goes into the file for a weight."""
        return self.codings[name].coded(self.latent(name))


def prune(module: Any, plan: Plans, importance: Mapping[str, np.ndarray] | None = None) -> Handle:
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

    Raises
    ------
    ConfigError
        If the plan names no weight or does not fit one, a weight is pruned already, or an
        importance belongs to no weight or has another shape. The module is then as it was.
    """
    found = resolve(module, plan)
    importance = importance or {}
    names = [weight.name for weight, _ in found]
    for name in importance:
        if name not in names:
            raise ConfigError(f"importance {name!r} belongs to no weight that the plan names")
    codings = [
        coding_of(own).of(
            weight.parameter, own, name=weight.name, importance=importance.get(weight.name)
        )
        for weight, own in found
    ]
    for (weight, _), coding in zip(found, codings, strict=True):
        install(weight, coding)
    return Handle(
        module,
        {weight.name: weight for weight, _ in found},
        {weight.name: own for weight, own in found},
    )


def install(weight: Weight, coding: Coding) -> None:
    """Register a coding at every place of a weight; all places share the latent weight."""
    latent: Parameter | None = None
    for part, own in weight.places:
        parametrize.register_parametrization(part, own, coding)
        pair = getattr(part.parametrizations, own)
        if latent is None:
            latent = pair.original
            latent.requires_grad_(weight.parameter.requires_grad)
        pair.original = latent
