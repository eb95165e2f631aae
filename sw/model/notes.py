# SPDX-License-Identifier: Apache-2.0
"""Notes on what a model became: what was chosen, changed or missed, a line each."""

from collections.abc import Callable, Mapping

from xorloom.sw.base.toml_text import toml_key
from xorloom.sw.tensors.checkpoint.model import listed

from .metrics import TensorReport, mean_error, note_kind
from .plan.settings import Settings

__all__ = ["loss_warning", "report_notes"]

_LINES = 3
"""Tensors of one kind that get a line each; more of them share one."""
_HOPELESS = 0.5
"""Relative squared error beyond which no network was found to work untrained."""
_Uses = tuple[str, Callable[[TensorReport], bool]]
_TRELLIS: _Uses = (
    "it goes with the trellis index",
    lambda report: report.plan.index is not None and report.plan.index.codec == "trellis",
)
_CODES: _Uses = ("your own codes are not quantized", lambda report: report.quantizer is not None)
_USES: dict[str, _Uses] = {
    "importance": (
        "it goes with an index that chooses the mask",
        lambda report: report.plan.chooses,
    ),
    "index_window": _TRELLIS,
    "index_classes": _TRELLIS,
    "group": ("it goes with scale group", lambda report: report.plan.quantizer.scale == "group"),
    "quantizer": _CODES,
    "scale": _CODES,
    "scale_dtype": _CODES,
}
"""Settings that say nothing for some tensors: why, and whether one is used for a tensor."""


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
        *_masks(reports),
        *_tensor_notes(reports),
        *_worse(reports),
        *_misses(reports, settings),
        *_budgets(reports, settings),
        *_unused(reports, settings),
    ]


def loss_warning(reports: Mapping[str, TensorReport], settings: Mapping[str, Settings]) -> str:
    """Return a line if so much was lost that the network needs training; empty if not.

    What the user brought masks or codes for, or says is trained, does not count.

    Parameters
    ----------
    reports : mapping of name to TensorReport
    settings : mapping of name to Settings
    """
    bits, errors = {}, {}
    for name, report in reports.items():
        if report.origin not in ("given", "choice") and not settings[name].trained:
            bits[name], errors[name] = report.bits, report.error
    error = mean_error(bits, errors)
    if error is None or error <= _HOPELESS:
        return ""
    return (
        f"the stored weights miss {error:.0%} of the original ones (squared error): the network "
        "will not work without training (docs/limits.md, Accuracy; --trained if it is trained)"
    )


def _told(found: Mapping[str, str], many: str) -> list[str]:
    """Return a line for each tensor, or one for all if they are many; ``{}`` is the first one's."""
    if len(found) <= _LINES:
        return [f"{name}: {text}" for name, text in found.items()]
    first = next(iter(found.values()))
    return [f"{len(found)} tensors {many.format(first)}: {listed(list(found), 3)}"]


def _masks(reports: Mapping[str, TensorReport]) -> list[str]:
    """Tell which tensors keep a mask that they came with, or that the user brought chosen."""
    own, chosen = {}, {}
    for name, report in reports.items():
        kept = f"{report.bits.kept:,} of {report.bits.weights:,} weights"
        if report.origin == "own":
            own[name] = f"keeps its own mask, {kept} that are not zero"
        elif report.origin == "choice":
            codec = report.decoder.index.codec
            chosen[name] = f"keeps the mask of its choice, {kept}, with its {codec} streams"
    return [
        *_told(own, "keep their own masks, what is not zero"),
        *_told(chosen, "keep the masks of their choices, with their streams"),
    ]


def _tensor_notes(reports: Mapping[str, TensorReport]) -> list[str]:
    """Tell what preparing and quantizing noted; tensors of one kind of note share a line."""
    kinds: dict[str, dict[str, str]] = {}
    for name, report in reports.items():
        for note in report.notes:
            kinds.setdefault(note_kind(note), {})[name] = note
    return [line for found in kinds.values() for line in _told(found, "(the first: {})")]


def _worse(reports: Mapping[str, TensorReport]) -> list[str]:
    found = {name: str(r.better) for name, r in reports.items() if r.better is not None}
    return _told(found, "have more error than with fewer planes (the first: {})")


def _misses(reports: Mapping[str, TensorReport], settings: Mapping[str, Settings]) -> list[str]:
    """Tell which densities and rates were not met.

    Neither where the ternary quantizer prunes further, nor of tensors that are pruned together.
    """
    kinds: list[dict[str, str]] = [{}, {}]
    for name, report in reports.items():
        plan = report.plan
        if plan.scope != "global" and plan.quantizer.method != "ternary":
            for line in settings[name].request.misses(1 - report.plan.pruned, report.bits):
                kinds["index bits" in line][name] = line
    return [line for found in kinds for line in _told(found, "(the first: {})")]


def _budgets(reports: Mapping[str, TensorReport], settings: Mapping[str, Settings]) -> list[str]:
    """Tell which budgets were not kept, everything counted."""
    groups: dict[Settings, list[str]] = {}
    for name in reports:
        groups.setdefault(settings[name], []).append(name)
    lines = []
    for wanted, names in groups.items():
        first, *rest = (reports[name].bits for name in names)
        miss = wanted.request.budget_miss(sum(rest, start=first))
        lines += [f"{listed(names, 3)}: {miss}"] if miss else []
    return lines


def _unused(reports: Mapping[str, TensorReport], settings: Mapping[str, Settings]) -> list[str]:
    """Tell which settings, other than the defaults, are used for no tensor."""
    used: dict[tuple[str, object], bool] = {}
    for name, report in reports.items():
        for key, (_, is_used) in _USES.items():
            value = getattr(settings[name], key)
            if value != getattr(Settings, key):
                used[key, value] = used.get((key, value), False) or is_used(report)
    return [
        f"{toml_key(key)} {value} is not used: {_USES[key][0]}"
        for (key, value), found in used.items()
        if not found
    ]
