# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the direct codec's search: a step of all paths, without vectors.

:mod:`xorloom.sw.value.direct.vector` does the same, bit by bit, 64 windows at once.
"""

import numpy as np
from xorloom.sw.bits.jit import njit

from .costs import most_of

__all__ = ["plain_add", "plain_step"]


@njit(nogil=True, cache=True)
def plain_step(
    metric: np.ndarray,
    at: int,
    to: int,
    size: int,
    codes: np.ndarray,
    codes_at: int,
    tables: np.ndarray,
    table_at: int,
    offset: int,
    won: np.ndarray,
    row: int,
    shift: int,
) -> int:
    """Extend all paths by ``shift`` seed bits and a code; return the least metric.

    ``metric[at:]`` has the ``size`` windows of before, ``metric[to:]`` gets the new ones, less
    ``offset`` and with the cost of their codes, ``codes[codes_at:]``, in ``tables[table_at:]``.

    Windows that differ in their oldest ``shift`` bits meet in pairs, first those that differ in the
    newest of these only; of equal paths the one with a 0 there wins. Round by round, pair by pair,
    ``won[row:]`` gets a bit for every new window without its newest bits.
    """
    groups = size >> shift
    row_bytes = groups >> 3
    won[row : row + ((1 << shift) - 1) * row_bytes] = 0
    paths = np.zeros(16, np.int64)
    most = most_of(metric)
    least = most
    for b in range(groups):
        for h in range(1 << shift):
            paths[h] = metric[at + h * groups + b]
        count, byte = 1 << shift, row + (b >> 3)
        while count > 1:
            count >>= 1
            for i in range(count):
                is_less = paths[2 * i + 1] < paths[2 * i]
                won[byte] |= np.uint8(is_less) << np.uint8(b & 7)
                paths[i] = paths[2 * i + is_less]
                byte += row_bytes
        best = max(0, paths[0] - offset)
        for w in range(b << shift, (b + 1) << shift):
            total = min(most, best + tables[table_at + codes[codes_at + w]])
            least = min(least, total)
            metric[to + w] = total
    return least


@njit(nogil=True, cache=True)
def plain_add(
    metric: np.ndarray,
    at: int,
    size: int,
    codes: np.ndarray,
    codes_at: int,
    tables: np.ndarray,
    table_at: int,
) -> int:
    """Add what the codes of one more group of the same step cost, in place; return the least."""
    most = most_of(metric)
    least = most
    for w in range(size):
        cost = np.int64(tables[table_at + codes[codes_at + w]])
        total = min(most, metric[at + w] + cost)
        least = min(least, total)
        metric[at + w] = total
    return least
