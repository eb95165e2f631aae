# SPDX-License-Identifier: Apache-2.0
"""Pareto fronts: the rows that no other row dominates."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from xorloom.sw.base.errors import ConfigError

__all__ = ["OBJECTIVES", "check_objectives", "pareto"]

OBJECTIVES = {
    "bits_per_weight": -1,
    "kept": 1,
    "error": -1,
    "lut": -1,
    "lut_per_weight": -1,
    "fmax_mhz": 1,
    "mweights_per_s": 1,
}
"""Objectives, and whether more (1) or less (-1) is better."""


def check_objectives(names: Sequence[str]) -> None:
    """Check names of objectives.

    Raises
    ------
    ConfigError
        If one is unknown.
    """
    for name in names:
        if name not in OBJECTIVES:
            raise ConfigError(f"objective must be one of {', '.join(OBJECTIVES)}, not {name!r}")


def _score(row: Mapping[str, Any], names: Sequence[str]) -> tuple[float, ...]:
    """Return a row's values, signed so that more is better; a missing one is the worst."""
    return tuple(
        -math.inf if row.get(name) is None else OBJECTIVES[name] * float(row[name])
        for name in names
    )


def pareto(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[bool]:
    """Return for every row whether it is on the front.

    A row is on the front if no other row is at least as good in all objectives and better in one.
    Rows that are equal in all objectives are on it together. An objective without any value (no
    Fmax was measured) does not count; where only some rows have a value, a missing one is the
    worst.

    Parameters
    ----------
    rows : sequence of mapping
    names : sequence of str
        Some of :data:`OBJECTIVES`.

    Raises
    ------
    ConfigError
        If an objective is unknown.
    """
    check_objectives(names)
    scores = [_score(row, names) for row in rows]
    front: list[tuple[float, ...]] = []
    # In this order, a row that dominates another comes first: comparing with the front is enough.
    for score in sorted(set(scores), reverse=True):
        if not any(all(a >= b for a, b in zip(best, score, strict=True)) for best in front):
            front.append(score)
    on_it = set(front)
    return [score in on_it for score in scores]
