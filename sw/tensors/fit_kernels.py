# SPDX-License-Identifier: Apache-2.0
"""Kernels of the fits: one pass over the values each, sums in the order of the values.

Values are (n,) float64, their groups (n,) integers below the number of groups.
"""

import numpy as np
from xorloom.sw.bits.jit import njit

__all__ = ["choose_codes", "clip_errors", "correlate", "take_off"]


@njit(nogil=True, cache=True)
def take_off(
    rest: np.ndarray, group: np.ndarray, scales: np.ndarray, codes: np.ndarray, term: int
) -> np.ndarray:
    """Take a term of greedy binary coding off what is left; return what is left by magnitude.

    Parameters
    ----------
    rest : (n,) float64, changed
    group : (n,) int64
    scales : (groups, terms) float64
        Those of ``term`` count.
    codes : (n,) uint8, changed
        Bit ``term`` becomes the sign.
    term : int

    Returns
    -------
    (groups,) float64
        Sum of what is left by magnitude, group by group.
    """
    left = np.zeros(scales.shape[0])
    bit = np.uint8(1 << term)
    for k in range(rest.size):
        g = group[k]
        if np.signbit(rest[k]):
            rest[k] += scales[g, term]
        else:
            rest[k] -= scales[g, term]
            codes[k] |= bit
        left[g] += abs(rest[k])
    return left


@njit(nogil=True, cache=True)
def clip_errors(
    magnitude: np.ndarray, group: np.ndarray, scales: np.ndarray, half: int
) -> np.ndarray:
    """Return the squared error of levels 1 to ``half`` times each of several scales.

    Parameters
    ----------
    magnitude : (n,) float64
    group
    scales : (groups, steps) float64
    half : int

    Returns
    -------
    (groups, steps) float64
    """
    total = np.zeros(scales.shape)
    for k in range(magnitude.size):
        g, value = group[k], magnitude[k]
        for step in range(scales.shape[1]):
            scale = scales[g, step]
            level = 1.0
            if scale > 0:
                level = min(max(np.rint(value / scale), 1.0), float(half))
            rest = value - level * scale
            total[g, step] += rest * rest
    return total


@njit(nogil=True, cache=True)
def choose_codes(
    values: np.ndarray,
    group: np.ndarray,
    between: np.ndarray,
    inverted: np.ndarray,
    code_at: np.ndarray,
    codes: np.ndarray,
    moving: np.ndarray,
) -> np.ndarray:
    """Choose the codes of the nearest levels, by bisection.

    Parameters
    ----------
    values, group
    between : (groups, pairs - 1) float64
        Middles between magnitudes of levels, ascending; pairs are a power of two.
    inverted : (groups, pairs) bool
        Whether the level of that magnitude whose code ``code_at`` tells is negative.
    code_at : (groups, pairs) uint8
        The complement, of ``2 * pairs - 1``, stands for the opposite level.
    codes : (n,) uint8, changed
    moving : (groups,) bool
        Groups whose codes are to be chosen.

    Returns
    -------
    (groups,) bool
        Those in which a code changed.
    """
    pairs = code_at.shape[1]
    every = np.uint8(2 * pairs - 1)
    changed = np.zeros(moving.size, np.bool_)
    for k in range(values.size):
        g = group[k]
        if not moving[g]:
            continue
        magnitude = abs(values[k])
        place, step = 0, pairs >> 1
        while step:
            place += step * (magnitude > between[g, place + step - 1])
            step >>= 1
        code = code_at[g, place]
        if inverted[g, place] != np.signbit(values[k]):
            code ^= every
        if code != codes[k]:
            codes[k] = code
            changed[g] = True
    return changed


@njit(nogil=True, cache=True)
def correlate(
    values: np.ndarray,
    group: np.ndarray,
    codes: np.ndarray,
    moving: np.ndarray,
    right: np.ndarray,
    dots: np.ndarray,
) -> None:
    """Sum up what a least-squares fit of scales needs, for the groups that move.

    Parameters
    ----------
    values, group
    codes : (n,) uint8
        Signs of the terms, bit by bit.
    moving : (groups,) bool
    right : (groups, terms) float64, out, zero where groups move
        Sums of signs times values.
    dots : (groups, terms, terms) float64, out, zero where groups move
        Sums of products of two terms' signs, the later one first.
    """
    terms = right.shape[1]
    for k in range(values.size):
        g = group[k]
        if not moving[g]:
            continue
        code, value = codes[k], values[k]
        for i in range(terms):
            own = code >> np.uint8(i) & np.uint8(1)
            right[g, i] += value if own else -value
            for j in range(i):
                dots[g, i, j] += 1.0 if code >> np.uint8(j) & np.uint8(1) == own else -1.0
