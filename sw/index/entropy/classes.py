# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the entropy index's table: classes of chunk values, and their states."""

import numpy as np
from xorloom.sw.bits.jit import njit

__all__ = ["UNIT_BITS", "best_classes", "best_table", "deal_states", "share_states"]

UNIT_BITS = 16


@njit(nogil=True, cache=True)
def best_classes(counts: np.ndarray, last: int, classes: int, widths: np.ndarray) -> np.ndarray:
    """Cut an ordered alphabet into runs of ``2**q`` symbols at the least cost.

    A symbol of a class costs the class's information and q bits.

    Parameters
    ----------
    counts : (256,) int64
    last : int
        Symbols that must be covered.
    classes : int
        Most classes.
    widths : (classes, classes) uint8, out
        Row k - 1: the q of k classes.

    Returns
    -------
    (classes,) float64
        Row k - 1: the cost of k classes, infinite if so many cannot cover the symbols.
    """
    total = np.zeros(257, np.float64)
    for i in range(256):
        total[i + 1] = total[i] + counts[i]
    # A run's information is the same however many classes stand before it.
    information = np.zeros((last, 9), np.float64)
    for i in range(last):
        for q in range(9):
            j = i + (1 << q)
            if j > 256:
                break
            n = total[j] - total[i]
            if n > 0:
                information[i, q] = n * np.log2(total[256] / n)
    cost = np.full((classes + 1, 257), np.inf)
    choice = np.zeros((classes + 1, 257), np.uint8)
    cost[0, 0] = 0.0
    for k in range(classes):
        for i in range(last):
            before = cost[k, i]
            if before == np.inf:
                continue
            for q in range(9):
                j = i + (1 << q)
                if j > 256:
                    break
                value = before + (total[j] - total[i]) * q + information[i, q]
                if value < cost[k + 1, j]:
                    cost[k + 1, j] = value
                    choice[k + 1, j] = q
    found = np.full(classes, np.inf)
    for k in range(1, classes + 1):
        end = last + int(np.argmin(cost[k, last:]))
        if cost[k, end] == np.inf:
            continue
        found[k - 1] = cost[k, end]
        for at in range(k, 0, -1):
            widths[k - 1, at - 1] = choice[at, end]
            end -= 1 << int(choice[at, end])
    return found


@njit(nogil=True, cache=True)
def share_states(weights: np.ndarray, gains: np.ndarray, freqs: np.ndarray) -> None:
    """Give every class its share of the states, at least one, at the least information.

    Each further state goes where it saves most, to the first class of equal ones.

    Parameters
    ----------
    weights : (classes,) float64
        Chunks of every class, above 0.
    gains : (states,) float64
        ``gains[f - 1]``: bits that a chunk of a class of f states saves by one more.
    freqs : (classes,) int64, out
    """
    freqs[:] = 1
    saved = weights * gains[0]
    for _ in range(gains.size - weights.size):
        c = 0
        for other in range(1, weights.size):
            if saved[other] > saved[c]:
                c = other
        freqs[c] += 1
        saved[c] = weights[c] * gains[freqs[c] - 1]


@njit(nogil=True, cache=True)
def best_table(
    counts: np.ndarray, lanes: int, state_bits: int, gains: np.ndarray, is_listed: bool,
    widths: np.ndarray, freqs: np.ndarray,
) -> tuple[float, int]:  # fmt: skip
    """Choose the number of classes, their widths and their states.

    Parameters
    ----------
    counts : (256,) int64
        Of the chunk values, in the order of the table.
    lanes, state_bits : int
        Lanes, and bits of a state.
    gains : (states,) float64
        See :func:`share_states`.
    is_listed : bool
        Whether the stream lists the values.
    widths, freqs : (classes,) uint8, int64, out
        The first so many are set.

    Returns
    -------
    (cost, classes) : tuple of float and int
        Bits of all chunks, table, states and about half of the lanes' last units.
    """
    most, states = widths.size, gains.size
    last = 1
    for i in range(256):
        if counts[i]:
            last = i + 1
    found = np.zeros((most, most), np.uint8)
    least = best_classes(counts, last, most, found)
    shares, weights = np.empty(most, np.int64), np.empty(most, np.float64)
    best, chosen = np.inf, 0
    for k in range(1, most + 1):
        fixed = UNIT_BITS * (1 + k) + (lanes * state_bits if k > 1 else 0)
        if least[k - 1] + fixed >= best:  # states are no better than fractions of them
            continue
        at = 0
        for c in range(k):
            total = 0
            for _ in range(1 << np.int64(found[k - 1, c])):
                total += counts[at] if at < 256 else 0
                at += 1
            weights[c] = max(float(total), 1e-9)
        share_states(weights[:k], gains, shares[:k])
        cost = float(fixed + (UNIT_BITS * ((at + 1) // 2) if is_listed else 0))
        need = np.int64(0)
        for c in range(k):
            size, f = np.int64(found[k - 1, c]), shares[c]
            while f < states:
                f <<= 1
                size += 1
            if size > need:
                need = size
            if weights[c] >= 1:
                cost += weights[c] * (found[k - 1, c] + np.log2(states / shares[c]))
        cost += lanes * need / 2
        if cost < best:
            best, chosen = cost, k
            widths[:k] = found[k - 1, :k]
            freqs[:k] = shares[:k]
    return best, chosen


@njit(nogil=True, cache=True)
def deal_states(freqs: np.ndarray, spread: np.ndarray, classes: np.ndarray, x: np.ndarray) -> None:
    """Tell what class every state is of.

    Parameters
    ----------
    freqs : (classes,) int64
        States of a class.
    spread : (states,) intp
        Where a state stands among those of all classes, class after class.
    classes, x : (states,) int64, out
        A state's class, and its number in the class, counted from the class's states on.
    """
    owner, number = np.empty(spread.size, np.int64), freqs.copy()
    start = 0
    for c in range(freqs.size):
        owner[start : start + freqs[c]] = c
        start += freqs[c]
    for state in range(spread.size):
        c = owner[spread[state]]
        classes[state], x[state] = c, number[c]
        number[c] += 1
