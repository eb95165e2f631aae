# SPDX-License-Identifier: Apache-2.0
"""Pruned weights of a module: found again, and made plain parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.utils import parametrize
from xorloom.sw.base.errors import ConfigError

from .coding import Coded, Coding

__all__ = ["Pruned", "bake", "pruned"]


@dataclass(frozen=True)
class Pruned:
    """Pruned weight of a module.

    Parameters
    ----------
    names : tuple of str
        As in the state dict of the module before it was pruned; several where it is tied.
    places : tuple of (module, str)
        The modules that own it and what they call it, one for each name.
    coding : Coding
    latent : torch.nn.Parameter
        What a trainer moves.
    """

    names: tuple[str, ...]
    places: tuple[tuple[Any, str], ...]
    coding: Coding
    latent: Any

    @property
    def name(self) -> str:
        """Name in a file."""
        return self.names[0]

    def coded(self) -> Coded:
        """Return what goes into the file."""
        return self.coding.coded(self.latent.detach())

    def decoded(self) -> torch.Tensor:
        """Return the decoded weight, without gradients."""
        with torch.no_grad():
            return self.coding(self.latent)


def pruned(module: Any) -> list[Pruned]:
    """Return the pruned weights of a module, each once, in the order of the state dict.

    Raises
    ------
    ConfigError
        If a pruned weight has another parametrization as well.
    """
    found: dict[int, Pruned] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        if not parametrize.is_parametrized(part):
            continue
        for own, chain in part.parametrizations.items():
            if not any(isinstance(step, Coding) for step in chain):
                continue
            name = f"{prefix}.{own}" if prefix else own
            if len(chain) != 1:
                raise ConfigError(f"{name}: a pruned weight can have no other parametrization")
            known = found.get(id(chain.original))
            if known is None:
                found[id(chain.original)] = Pruned(
                    (name,), ((part, own),), chain[0], chain.original
                )
            else:
                found[id(chain.original)] = replace(
                    known, names=(*known.names, name), places=(*known.places, (part, own))
                )
    return list(found.values())


def bake(module: Any) -> None:
    """Make all pruned weights plain parameters that hold the decoded weights; ties stay."""
    for weight in pruned(module):
        plain = torch.nn.Parameter(weight.decoded(), requires_grad=weight.latent.requires_grad)
        done: set[tuple[int, str]] = set()
        for part, own in weight.places:
            if (id(part), own) not in done:  # a module can stand in several places
                parametrize.remove_parametrizations(part, own)
                setattr(part, own, plain)
            done.add((id(part), own))
