# SPDX-License-Identifier: Apache-2.0
"""Notes on what a model became: what was chosen, changed or missed, a line each."""

from collections.abc import Mapping, Sequence

from xorloom.sw.model.metrics import TensorReport
from xorloom.sw.tensors.checkpoint.model import listed

from .settings import Settings

__all__ = ["report_notes"]

_LINES = 3
"""Tensors of one kind that get a line each; more of them share one."""
_NEAR = 0.02
"""Share by which a density or a rate may miss what was asked for without a word."""


def report_notes(
    reports: Mapping[str, TensorReport], settings: Mapping[str, Settings]
) -> list[str]:
    """Return what a user should hear of tensors that were compressed.

    Parameters
    ----------
    reports : mapping of name to TensorReport
    settings : mapping of name to Settings
        What was asked for.
    """
    return [
        *_own_masks(reports),
        *_tensor_notes(reports),
        *_worse(reports),
        *_misses(reports, settings),
        *_budgets(reports, settings),
    ]


def _told(found: Mapping[str, str], many: str) -> list[str]:
    """Return a line for each tensor, or one for all if they are many."""
    if len(found) <= _LINES:
        return [f"{name}: {text}" for name, text in found.items()]
    return [f"{len(found)} tensors {many}: {listed(list(found), 3)}"]


def _own_masks(reports: Mapping[str, TensorReport]) -> list[str]:
    found = {
        name: f"keeps its own mask, {r.bits.kept:,} of {r.bits.weights:,} weights that are not zero"
        for name, r in reports.items()
        if r.origin == "own"
    }
    return _told(found, "keep their own masks, what is not zero")


def _tensor_notes(reports: Mapping[str, TensorReport]) -> list[str]:
    return [f"{name}: {note}" for name, report in reports.items() for note in report.notes]


def _worse(reports: Mapping[str, TensorReport]) -> list[str]:
    found = {name: str(r.better) for name, r in reports.items() if r.better is not None}
    first = next(iter(found.values()), "")
    return _told(found, f"have more error than with fewer planes (the first: {first})")


def _misses(reports: Mapping[str, TensorReport], settings: Mapping[str, Settings]) -> list[str]:
    """Tell which densities and rates of chosen masks were not met."""
    lines = []
    for name, report in reports.items():
        bits = report.bits
        if not report.plan.chooses:
            continue
        asked, kept = 1 - report.plan.pruned, bits.kept / max(1, bits.weights)
        if abs(kept - asked) > _NEAR * asked:
            lines.append(f"{name}: density is {kept:.4f}, not {asked:.4f}")
        rate = settings[name].index_bits
        found = bits.index / max(1, bits.weights)
        if rate is not None and abs(found - rate) > _NEAR * rate:
            lines.append(f"{name}: index bits are {found:.4f} per weight, not {rate:.4f}")
    return lines


def _budgets(reports: Mapping[str, TensorReport], settings: Mapping[str, Settings]) -> list[str]:
    """Tell which budgets were not kept, everything counted."""
    groups: dict[Settings, list[str]] = {}
    for name, wanted in settings.items():
        if wanted.bits_per_weight is not None:
            groups.setdefault(wanted, []).append(name)
    lines = []
    for wanted, names in groups.items():
        assert wanted.bits_per_weight is not None
        found = _bits_per_weight(reports, names)
        if found > wanted.bits_per_weight:
            asked = f"{wanted.bits_per_weight:g}"
            lines.append(f"{listed(names, 3)}: {found:.4f} bits per weight in all, not {asked}")
    return lines


def _bits_per_weight(reports: Mapping[str, TensorReport], names: Sequence[str]) -> float:
    total = sum(reports[name].bits.total for name in names)
    return total / max(1, sum(reports[name].bits.weights for name in names))
