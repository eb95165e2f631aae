# SPDX-License-Identifier: Apache-2.0
"""Pareto fronts: which rows no other row beats in everything."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from xorloom.sw.base.errors import ConfigError

__all__ = ["OBJECTIVES", "check_objectives", "pareto"]

OBJECTIVES = {
    "bits_per_weight": -1,
    "kept": 1,
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
    """Return what is to be large; a missing value is worse than any."""
    return tuple(
        -math.inf if row.get(name) is None else OBJECTIVES[name] * float(row[name])
        for name in names
    )


def pareto(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[bool]:
    """Tell of every row whether it is on the front.

    A row is if no other is at least as good in all objectives and better in one; rows that are
    equal in all of them are on it together. An objective that no row has a value of (no Fmax was
    measured) does not count; where only some have, a missing value is worse than any.

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
    # Whoever beats a score comes before it in this order, and the front's own beat for the rest.
    for score in sorted(set(scores), reverse=True):
        if not any(all(a >= b for a, b in zip(best, score, strict=True)) for best in front):
            front.append(score)
    on_it = set(front)
    return [score in on_it for score in scores]
