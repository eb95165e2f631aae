# SPDX-License-Identifier: Apache-2.0
"""Codings of weights, and which one a plan asks for."""

from importlib import import_module

from xorloom.sw.torch.plan import LayerPlan

from .base import Coded, Coding

__all__ = ["CODINGS", "Coded", "Coding", "coding_of"]

CODINGS = {
    "window": ("masked", "MaskedCoding"),
    "block": ("masked", "MaskedCoding"),
    "direct": ("seeds", "SeedCoding"),
}
"""Module and class of the coding, by the value codec of a plan."""


def coding_of(plan: LayerPlan) -> type[Coding]:
    """Return the class of a plan's coding."""
    module, name = CODINGS[plan.value]
    found: type[Coding] = getattr(import_module(f".{module}", __name__), name)
    return found
