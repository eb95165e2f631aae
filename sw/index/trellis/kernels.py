# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the trellis index: patterns and Viterbi search.

A state is the last ``window - 1`` seed bits, the newest in bit 0; a window has one older bit on
top. A window's *pattern* is the mask bits of all lanes of a step, eight a byte.
"""

from typing import NamedTuple

import numpy as np
from xorloom.sw.bits.jit import njit

from .vector import LANES, add_compare_select, add_gains, set_gains

__all__ = [
    "LANES",
    "Trellis",
    "lane_tables",
    "search",
    "set_patterns",
]


class Trellis(NamedTuple):
    """A code and its patterns.

    ``first`` (n_in + 1,) int64: first lane of every step; ``patterns`` (n_in, bytes, 2**window)
    uint8, windows in the order of :func:`place_of`; ``window``: seed bits; ``lanes``: states that a
    vector advances, 0: plain kernel.
    """

    first: np.ndarray
    patterns: np.ndarray
    window: int
    lanes: int


@njit(nogil=True, cache=True, inline="always")
def place_of(value: int, window: int, lanes: int) -> int:
    """Where a window's pattern stands.

    Windows that lead from the first half of the states to even ones come first, then to odd ones,
    then those from the second half. Vectors look up runs of 16, of which the low and the high half
    go to different vectors.
    """
    half = 1 << (window - 2)
    at = (
        (value >> 1 & (half - 1))
        | (value & 1) << (window - 2)
        | value >> (window - 1) << (window - 1)
    )
    if lanes == 0:
        return at
    inner = at & (2 * lanes - 1)
    high = inner // lanes
    inner -= high * lanes
    return (at & ~(2 * lanes - 1)) | (inner & ~7) << 1 | high << 3 | (inner & 7)


@njit(nogil=True, cache=True)
def lane_tables(
    parities: np.ndarray,
    tables: np.ndarray,
    gates: np.ndarray,
    window: int,
    lanes: int,
    out: np.ndarray,
) -> None:
    """Work out what every lane makes of every window.

    Parameters
    ----------
    parities : (n_out, 4) uint32
        Window values whose bits a parity is the XOR of.
    tables : (n_out,) uint32
    gates : (n_out, 4) uint32
        Likewise for the gate: XOR of the first two entries, AND of the others. A single class has
        one entry, the others are 0.
    out : (n_out, 2**window) uint8, out
        Bit c is the mask bit in class c, windows in the order of :func:`place_of`.
    """
    single = not gates[:, 1:].any()
    for j in range(out.shape[0]):
        for value in range(1 << window):
            p = 0
            for k in range(4):
                p |= _parity(value & parities[j, k]) << k
            hit = (tables[j] >> np.uint32(p)) & np.uint32(1)
            bits = np.uint8(0)
            if hit:
                a = _parity(value & gates[j, 0])
                if single:
                    bits = np.uint8(a)
                else:
                    a ^= _parity(value & gates[j, 1])
                    b = _parity(value & gates[j, 2]) & _parity(value & gates[j, 3])
                    bits = np.uint8(1 | a << 1 | b << 2 | (a & b) << 3)
            out[j, place_of(value, window, lanes)] = bits


@njit(nogil=True, cache=True, inline="always")
def _parity(value: int) -> int:
    value ^= value >> 16
    value ^= value >> 8
    value ^= value >> 4
    return 0x6996 >> (value & 15) & 1


@njit(nogil=True, cache=True)
def set_patterns(
    lane_bits: np.ndarray, classes: np.ndarray, first: np.ndarray, patterns: np.ndarray
) -> None:
    """Make the patterns for the lanes' classes.

    Parameters
    ----------
    lane_bits : (n_out, 2**window) uint8
        See :func:`lane_tables`.
    classes : (n_out,) uint8
    first : (n_in + 1,) int64
    patterns : (n_in, bytes, 2**window) uint8, out
    """
    one = np.uint8(1)
    for u in range(patterns.shape[0]):
        patterns[u] = 0
        for j in range(first[u], first[u + 1]):
            bit = j - first[u]
            shift, up = classes[j], np.uint8(bit & 7)
            row, to = lane_bits[j], patterns[u, bit >> 3]
            for i in range(row.size):
                to[i] |= ((row[i] >> shift) & one) << up


@njit(nogil=True, cache=True, entry=False)
def _step_tables(gains: np.ndarray, tables: np.ndarray, sums: np.ndarray) -> None:
    """Worth of every four mask bits, as int16 ``sums`` (groups, 16) and as bytes for shuffles."""
    for group in range(sums.shape[0]):
        low = 4 * group
        sums[group, 0] = 0
        for i in range(4):
            gain = gains[low + i] if low + i < gains.size else np.int16(0)
            for k in range(1 << i):
                sums[group, k + (1 << i)] = sums[group, k] + gain
        for k in range(16):
            tables[group >> 1, (group & 1) * 32 + k] = np.uint8(sums[group, k] & 255)
            tables[group >> 1, (group & 1) * 32 + 16 + k] = np.uint8(sums[group, k] >> 8 & 255)


@njit(nogil=True, cache=True, entry=False)
def _worth(
    patterns: np.ndarray, tables: np.ndarray, sums: np.ndarray, lanes: int, worth: np.ndarray
) -> None:
    """What the mask bits of every window are worth."""
    if lanes:
        for i in range(0, worth.size, 2 * lanes):
            set_gains(worth, i, patterns[0], i, tables[0])
        for k in range(1, patterns.shape[0]):
            for i in range(0, worth.size, 2 * lanes):
                add_gains(worth, i, patterns[k], i, tables[k])
        return
    worth[:] = 0
    for k in range(patterns.shape[0]):
        for i in range(worth.size):
            byte = patterns[k, i]
            worth[i] += sums[2 * k, byte & 15] + sums[2 * k + 1, byte >> 4]


@njit(nogil=True, cache=True)
def _advance(
    cur: np.ndarray, new: np.ndarray, worth: np.ndarray, chosen: np.ndarray, at: int, lanes: int
) -> None:
    """Extend all paths by one seed bit; ``chosen[at:]`` tells which predecessor won."""
    half = cur.size >> 1
    if lanes:
        for t in range(0, half, lanes):
            add_compare_select(cur, new, worth, chosen, at, t, half)
        return
    for t in range(half):
        for odd in range(2):
            a = np.int16(cur[t] + worth[odd * half + t])
            b = np.int16(cur[half + t] + worth[(2 + odd) * half + t])
            won = np.int16(b - a) > 0
            new[2 * t + odd] = b if won else a
            place = odd * half + t
            byte, bit = at + (place >> 3), np.uint8(1 << (place & 7))
            if won:
                chosen[byte] |= bit
            else:
                chosen[byte] &= ~bit


@njit(nogil=True, cache=True, entry=False)
def _start(
    cur: np.ndarray, new: np.ndarray, worth: np.ndarray, chosen: np.ndarray, oldest: int
) -> None:
    """A step whose window's oldest bit lies before the search, and so is known."""
    half = cur.size >> 1
    before, even, odd = oldest * half, 2 * oldest * half, (2 * oldest + 1) * half
    for t in range(half):
        new[2 * t] = cur[before + t] + worth[even + t]
        new[2 * t + 1] = cur[before + t] + worth[odd + t]
    chosen[:] = np.uint8(-oldest & 255)


@njit(nogil=True, cache=True, entry=False)
def _trace(
    chosen: np.ndarray, state: int, newest: int, oldest: int, emit_to: int, seeds: np.ndarray
) -> int:
    """Follow a path back from step ``newest``; write the seed bits of steps up to ``emit_to``."""
    ring, half = chosen.shape[0], chosen.shape[1] * 4
    for t in range(newest, oldest - 1, -1):
        if t <= emit_to and state & 1:
            seeds[t >> 6] |= np.uint64(1) << np.uint64(t & 63)
        place = (state & 1) * half + (state >> 1)
        won = chosen[t % ring, place >> 3] >> np.uint8(place & 7) & 1
        state = state >> 1 | won * half
    return state


@njit(nogil=True, cache=True)
def search(
    gains: np.ndarray,
    trellis: Trellis,
    lane_bits: np.ndarray,
    classes: np.ndarray,
    period: int,
    segment: int,
    seeds: np.ndarray,
    begin: int,
) -> None:
    """Find the seed bits whose mask is worth most (Viterbi), from a slice of the stream on.

    Paths are cut every ``segment`` steps, at a depth where all of them agree for practical
    purposes. Metrics are 16 bit and wrap: the gains' magnitudes must not sum up to ``2**15`` over
    the lanes of any ``window`` consecutive steps.

    Parameters
    ----------
    gains : (slices - begin, n_out) int16
        What a set mask bit is worth.
    trellis : Trellis
        With several classes, ``patterns`` is work space.
    lane_bits : (n_out, 2**window) uint8
    classes : (periods, n_out) uint8
        Read only if there is more than one class.
    period : int
        Slices that share classes, 0: one class.
    segment : int
    seeds : (ceil(slices * n_in / 64),) uint64, in and out
        Those of the slices before ``begin`` are given, all others zeroed.
    begin : int
        Slice of the stream from which on seed bits are searched. If it is not the first, there
        are at least ``window`` steps behind it.
    """
    first, patterns, window, lanes = trellis
    n_in, n_bytes = patterns.shape[0], patterns.shape[1]
    states = 1 << (window - 1)
    cur, new = np.zeros(states, np.int16), np.zeros(states, np.int16)
    worth = np.zeros(2 * states, np.int16)
    tables, sums = np.zeros((n_bytes, 64), np.uint8), np.zeros((2 * n_bytes, 16), np.int16)
    look = 24 * window + 64
    ring = segment + look + 1
    chosen = np.zeros((ring, states // 8), np.uint8)
    row_bytes = states // 8
    flat = chosen.reshape(-1)
    start = t = begin * n_in
    done = start  # seed bits that are written
    for e in range(begin, begin + gains.shape[0]):
        if period and e % period == 0:
            set_patterns(lane_bits, classes[e // period], first, patterns)
        for u in range(n_in):
            _step_tables(gains[e - begin, first[u] : first[u + 1]], tables, sums)
            _worth(patterns[u], tables, sums, lanes, worth)
            if t - start < window - 1:
                oldest, old = np.int64(0), t - window + 1
                if old >= 0:
                    oldest = np.int64(seeds[old >> 6] >> np.uint64(old & 63) & np.uint64(1))
                _start(cur, new, worth, chosen[t % ring], oldest)
            else:
                _advance(cur, new, worth, flat, t % ring * row_bytes, lanes)
            cur, new = new, cur
            if t + 1 - done == ring:
                _trace(chosen, _best(cur), t, done, t - look, seeds)
                done = t - look + 1
            t += 1
    if t > start:
        reached = cur[: 1 << min(t, window - 1)]  # bits before the stream are zero
        _trace(chosen, _best(reached), t - 1, done, t - 1, seeds)


@njit(nogil=True, cache=True)
def _best(metric: np.ndarray) -> int:
    """Best state; metrics have wrapped."""
    best = 0
    for s in range(metric.size):
        if np.int16(metric[s] - metric[best]) > 0:
            best = s
    return best
