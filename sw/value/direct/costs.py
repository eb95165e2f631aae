# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the direct codec's search: what the codes of weights cost.

Costs are squared errors in units of the search's metrics, see
:mod:`xorloom.sw.value.direct.viterbi`.
"""

import numpy as np
from xorloom.sw.bits.jit import njit

__all__ = ["CODES", "fill_tables", "group_costs", "most_of"]

CODES = 64
"""Entries of a table of costs: the codes of as many weights of a step as six bits hold."""
_LIMIT = 1 << 22
"""Cost that no weight exceeds, so that sums stay far from overflow."""


@njit(nogil=True, cache=True, inline="always")
def most_of(metric: np.ndarray) -> int:
    """Return the largest number of an array of bytes or of 16-bit words."""
    return 255 if metric.itemsize == 1 else 65535


@njit(nogil=True, cache=True, inline="always")
def _errors(value: np.float32, scale: np.float32, levels: np.ndarray, units: np.ndarray) -> int:
    """Set the squared errors of all codes of a weight, in units; return the least."""
    least = np.int32(_LIMIT)
    for c in range(levels.size):
        d = value - levels[c]
        error = d * d * scale
        units[c] = np.int32(min(error, np.float32(_LIMIT)) + np.float32(0.5))
        least = min(least, units[c])
    if least == _LIMIT:  # too far to be counted: then only the code next to it will do
        near = min(max(value, levels.min()), levels.max())
        units[np.argmin(np.abs(levels - near))] = least = np.int32(0)
    return int(least)


@njit(nogil=True, cache=True)
def group_costs(
    x: np.ndarray,
    importance: np.ndarray,
    levels: np.ndarray,
    per_unit: np.float32,
    first: int,
    count: int,
    skip: int,
    absent: int,
    planes: int,
    units: np.ndarray,
    costs: np.ndarray,
) -> int:
    """Set what all codes of a group cost; return how many codes there are.

    The group's weights are ``skip`` that are not there, ``count`` from ``first`` on, and ``absent``
    that are not there; the codes of those cost nothing. The cheapest code of every weight costs
    nothing: all paths pay for it.
    """
    size = 1 << (planes * skip)
    for c in range(size):
        costs[c] = 0
    for i in range(first, first + count):
        scale = per_unit * importance[i] if importance.size else per_unit
        least = _errors(x[i], scale, levels, units)
        for c in range(levels.size - 1, -1, -1):
            for k in range(size):
                costs[c * size + k] = costs[k] + units[c] - least
        size *= levels.size
    for c in range(size, size << (planes * absent)):
        costs[c] = costs[c & (size - 1)]
    return size << (planes * absent)


@njit(nogil=True, cache=True, entry=False)
def fill_tables(
    x: np.ndarray,
    importance: np.ndarray,
    levels: np.ndarray,
    per_unit: np.float32,
    firsts: np.ndarray,
    planes: int,
    first: int,
    group: int,
    units: np.ndarray,
    costs: np.ndarray,
    tables: np.ndarray,
) -> int:
    """Set the tables of the next whole groups, from weight ``first`` on; return how many."""
    count, most = 0, most_of(tables)
    while first < x.size and count < tables.size // CODES:
        at = count * CODES
        size = firsts[group + 1] - firsts[group]
        if size == 1:
            scale = per_unit * importance[first] if importance.size else per_unit
            least = _errors(x[first], scale, levels, units)
            for c in range(levels.size):
                tables[at + c] = min(units[c] - least, most)
        else:
            there = min(size, x.size - first)
            entries = group_costs(
                x,
                importance,
                levels,
                per_unit,
                first,
                there,
                0,
                size - there,
                planes,
                units,
                costs,
            )
            for c in range(entries):
                tables[at + c] = min(costs[c], most)
        count, first, group = count + 1, first + size, group + 1
        if group == firsts.size - 1:
            group = 0
    return count
