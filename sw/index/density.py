# SPDX-License-Identifier: Apache-2.0
"""Density of a chosen mask: how many weights to keep, and when that is met."""

import numpy as np

__all__ = ["ENOUGH", "is_met", "wanted_count"]

ENOUGH = 0.02
"""Relative error within which a density is met."""


def wanted_count(importance: np.ndarray, density: float) -> int:
    """Return how many weights to keep: the density's share of all, but none without importance."""
    there = int(np.count_nonzero(importance))
    return min(max(1, round(density * importance.size)), there)


def is_met(found: int, wanted: int) -> bool:
    """Whether a number of kept weights is as near as is promised: 2 %, or one weight."""
    return abs(found - wanted) <= max(1.0, ENOUGH * wanted)
