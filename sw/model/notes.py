# SPDX-License-Identifier: Apache-2.0
"""Notes on what a model became: what was chosen, changed or missed, a line each."""

import re
from collections.abc import Mapping, Sequence

from xorloom.sw.tensors.checkpoint.model import listed

from .metrics import TensorReport
from .plan.settings import Settings

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
    """Return a line for each tensor, or one for all if they are many; ``{}`` is the first one's."""
    if len(found) <= _LINES:
        return [f"{name}: {text}" for name, text in found.items()]
    first = next(iter(found.values()))
    return [f"{len(found)} tensors {many.format(first)}: {listed(list(found), 3)}"]


def _own_masks(reports: Mapping[str, TensorReport]) -> list[str]:
    found = {
        name: f"keeps its own mask, {r.bits.kept:,} of {r.bits.weights:,} weights that are not zero"
        for name, r in reports.items()
        if r.origin == "own"
    }
    return _told(found, "keep their own masks, what is not zero")


def _tensor_notes(reports: Mapping[str, TensorReport]) -> list[str]:
    """Tell what preparing and quantizing noted; tensors of one kind of note share a line."""
    kinds: dict[str, dict[str, str]] = {}
    for name, report in reports.items():
        for note in report.notes:
            kinds.setdefault(re.sub(r"[\d.e+-]+", "#", note), {})[name] = note
    return [line for found in kinds.values() for line in _told(found, "(the first: {})")]


def _worse(reports: Mapping[str, TensorReport]) -> list[str]:
    found = {name: str(r.better) for name, r in reports.items() if r.better is not None}
    return _told(found, "have more error than with fewer planes (the first: {})")


def _misses(reports: Mapping[str, TensorReport], settings: Mapping[str, Settings]) -> list[str]:
    """Tell which densities and rates of chosen masks were not met."""
    densities, rates = {}, {}
    for name, report in reports.items():
        if not report.plan.chooses:
            continue
        bits = report.bits
        asked, kept = 1 - report.plan.pruned, bits.kept / max(1, bits.weights)
        if abs(kept - asked) > _NEAR * asked:
            densities[name] = f"density is {kept:.4f}, not {asked:.4f}"
        rate, found = settings[name].index_bits, bits.index / max(1, bits.weights)
        if rate is not None and abs(found - rate) > _NEAR * rate:
            rates[name] = f"index bits are {found:.4f} per weight, not {rate:.4f}"
    return [
        *_told(densities, "miss their density (the first: {})"),
        *_told(rates, "miss their rate (the first: {})"),
    ]


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
