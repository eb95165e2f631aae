# SPDX-License-Identifier: Apache-2.0
"""Models of torch: calibration by forward passes, training through the code. Needs ``torch``."""

from importlib import import_module
from typing import Any

from xorloom.sw.base.extras import require

from .budget import plan_for, stored_bits
from .collect import collect
from .plan import LayerPlan

_HOMES = {
    "Compressed": "compression",
    "Handle": "pruning",
    "Schedule": "schedule",
    "Teacher": "train",
    "TensorBatches": "train",
    "bake": "pruned",
    "compress": "compression",
    "decoded_state": "files",
    "distil": "healing.distil",
    "export": "files",
    "fit": "train",
    "freeze": "healing.freezing",
    "heal": "healing.distil",
    "load": "files",
    "load_compressed": "decoding",
    "load_frozen": "healing.freezing",
    "optimizer_groups": "train",
    "prune": "pruning",
}
"""Module of every name that is imported on demand, since it imports torch. No module may have the
name of a function of the package: importing one would hide the other."""

__all__ = ["LayerPlan", "collect", "plan_for", "stored_bits", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("torch")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
