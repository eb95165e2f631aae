# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the direct codec's search: the seeds whose weights come nearest (Viterbi).

A *path* is a string of seed bits. Paths that end in the same window go on alike, so of each window
the cheapest is kept. A window is a number, the newest seed bit in bit 0. Metrics are bytes, or
words of 16 bits, that stop at their largest number, in units of an error that is small beside a
weight's own; the least is taken off as they grow. What is beyond has lost.
"""

from typing import NamedTuple

import numpy as np
from xorloom.sw.bits.jit import njit

from .costs import CODES, fill_tables, group_costs, most_of
from .vector import HAS_VECTORS, STEPS, add_costs

__all__ = ["VECTORS", "Code", "Work", "plain_add", "plain_step", "search_run"]

VECTORS = HAS_VECTORS
"""Whether this processor runs the vector kernels."""
_STEP_1, _STEP_2, _STEP_3, _STEP_4 = STEPS


class Code(NamedTuple):
    """A network as the search looks it up: weights in *groups*, of which each is one look-up.

    ``shifts`` (groups,) int64: by how many bits the window moves before a group; ``firsts``
    (groups + 1,) int64: phase of its first weight; ``codes`` (groups * windows,) uint8: codes of
    all its weights for every window, the first weight's lowest; ``planes``: bits of a code;
    ``seed_bits``, ``period``: seed bits of a period, and its weights; ``window``: bits of a window,
    at least 6 more than any shift.
    """

    shifts: np.ndarray
    firsts: np.ndarray
    codes: np.ndarray
    planes: int
    seed_bits: int
    period: int
    window: int


class Work(NamedTuple):
    """Work space.

    ``metric`` (2 * windows,) uint8 or uint16; ``few`` (2, windows) int32: metrics at the start;
    ``won`` (steps * bytes,) uint8: which paths won, a bit for every two that met; ``moved``
    (steps,) int64: shifts of those steps, a power of two of them; ``costs`` (128,) int32;
    ``tables`` (groups * 64,) of the metrics' dtype: costs of the next groups.
    """

    metric: np.ndarray
    few: np.ndarray
    won: np.ndarray
    moved: np.ndarray
    costs: np.ndarray
    tables: np.ndarray


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


@njit(nogil=True, cache=True, inline="always")
def _set_bits(seeds: np.ndarray, end: int, value: int, count: int, since: int, limit: int) -> None:
    """Set the seed bits before bit ``end`` that are within the limits; bit 0 is the newest."""
    for i in range(count):
        at = end - 1 - i
        if since <= at < limit:
            seeds[at >> 6] |= np.uint64(value >> i & 1) << np.uint64(at & 63)


@njit(nogil=True, cache=True, entry=False)
def _trace(
    work: Work,
    value: int,
    newest: int,
    count: int,
    end: int,
    since: int,
    limit: int,
    seeds: np.ndarray,
) -> tuple[int, int]:
    """Go back ``count`` steps from the window after step ``newest``, and write their seed bits.

    Returns
    -------
    (window, end)
        Before those steps; ``end`` is the seed bit that comes next.
    """
    won, moved, last, size = work.won, work.moved, work.moved.size - 1, work.metric.size >> 1
    row_bytes = won.size // moved.size
    for t in range(newest, newest - count, -1):
        shift = moved[t & last]
        _set_bits(seeds, end, value, shift, since, limit)
        end -= shift
        place = value >> shift
        pair_bytes = size >> shift >> 3
        at, bit = (t & last) * row_bytes + (place >> 3), np.uint8(place & 7)
        first, node = (1 << shift) - 2, 0  # the last round is a single pair, and stands last
        for r in range(shift):
            node = 2 * node + int(won[at + (first + node) * pair_bytes] >> bit & 1)
            first -= 2 << r
        value = place | node * (size >> shift)
    return value, end


@njit(nogil=True, cache=True, entry=False)
def _first_of(metric: np.ndarray, at: int, least: int) -> int:
    """Return the first window of the least metric."""
    best = 0
    while metric[at + best] != least:
        best += 1
    return best


@njit(nogil=True, cache=True, entry=False)
def _fan_out(
    few: np.ndarray,
    head: int,
    shift: int,
    state: int,
    codes: np.ndarray,
    codes_at: int,
    mask: int,
    costs: np.ndarray,
) -> None:
    """Extend paths that began in one window ``head`` bits ago, all of them."""
    for j in range(1 << head):
        few[1, j] = few[0, j]
    base = state << (head + shift)
    for j in range(1 << (head + shift)):
        few[0, j] = few[1, j >> shift] + costs[codes[codes_at + ((base | j) & mask)]]


@njit(nogil=True, cache=True, entry=False)
def _meet(few: np.ndarray, head: int, base: int, metric: np.ndarray) -> None:
    """Go on from those paths to metrics of all windows; other windows cost most."""
    most = most_of(metric)
    metric[:] = most
    least = few[0, 0]
    for j in range(1, 1 << head):
        least = min(least, few[0, j])
    for j in range(1 << head):
        metric[base | j] = min(few[0, j] - least, most - 1)


@njit(nogil=True, cache=True)
def search_run(
    x: np.ndarray,
    importance: np.ndarray,
    levels: np.ndarray,
    per_unit: np.float32,
    code: Code,
    work: Work,
    vectors: bool,
    first: int,
    state: int,
    since: int,
    limit: int,
    seeds: np.ndarray,
) -> int:
    """Find the seeds of a run of weights; return the window that it ends with.

    Paths are cut when the steps of ``work`` are used up, a quarter of them back, where all paths
    agree for practical purposes.

    Parameters
    ----------
    x : (weights,) float32
        In units of the levels.
    importance : (weights,) or (0,) float32
        What a squared error counts; empty: 1.
    levels : (2**planes,) float32
    per_unit : float32
        Units of the metrics in a squared error of 1.
    code : Code
    work : Work
    vectors : bool
        The kernel; both find the same.
    first : int
        Number of the first weight in its stream.
    state : int
        Window before the run; -1: any, and ``first`` is a multiple of the period.
    since, limit : int
        First seed bit of the stream that is written, and the one after the last.
    seeds : (words,) uint64
        Packed seed bits of the stream, zero where they are written.
    """
    metric, won, moved, tables = work.metric, work.won, work.moved, work.tables
    units, costs = work.costs[CODES:], work.costs[:CODES]
    shifts, firsts, codes = code.shifts, code.firsts, code.codes
    size, ring = metric.size >> 1, moved.size
    look, mask, row_bytes = ring >> 2, size - 1, won.size // ring
    phase = first % code.period
    end = first // code.period * code.seed_bits + -(-phase * code.seed_bits // code.period)
    group = int(np.searchsorted(firsts, phase, side="right")) - 1
    at, i, head, head_end = 0, 0, 0, end
    if state >= 0:
        # Paths begin in one window: no two of them meet before a whole window has passed.
        work.few[0, 0] = 0
        while i < x.size:
            skip = phase - firsts[group]
            shift = 0 if skip else shifts[group]
            if head + shift > code.window:
                break
            there = min(firsts[group + 1] - phase, x.size - i)
            absent = firsts[group + 1] - phase - there
            group_costs(
                x, importance, levels, per_unit, i, there, skip, absent, code.planes, units, costs
            )
            _fan_out(work.few, head, shift, state, codes, group * size, mask, costs)
            i, phase, head, group = i + there, phase + there, head + shift, group + 1
            if group == shifts.size:
                phase, group = 0, 0
        head_end += head
        end = head_end
        if i == x.size:
            best = int(np.argmin(work.few[0, : 1 << head]))
            _set_bits(seeds, end, best, head, since, limit)
            return (state << head | best) & mask
        _meet(work.few, head, state << head & mask, metric)
    else:
        metric[:] = 0
    t, traced, offset = 0, 0, 0
    while i < x.size:
        count = fill_tables(
            x, importance, levels, per_unit, firsts, code.planes, i, group, units, costs, tables
        )
        for b in range(count):
            shift, codes_at, table_at = shifts[group], group * size, b * CODES
            if shift:
                row = (t & (ring - 1)) * row_bytes
                moved[t & (ring - 1)] = shift
                to = size - at
                # Spelled out: a call of a function would count references to all arrays.
                if not vectors:
                    offset = plain_step(
                        metric,
                        at,
                        to,
                        size,
                        codes,
                        codes_at,
                        tables,
                        table_at,
                        offset,
                        won,
                        row,
                        shift,
                    )
                elif shift == 1:
                    offset = _STEP_1(
                        metric, at, to, size, codes, codes_at, tables, table_at, offset, won, row
                    )
                elif shift == 2:
                    offset = _STEP_2(
                        metric, at, to, size, codes, codes_at, tables, table_at, offset, won, row
                    )
                elif shift == 3:
                    offset = _STEP_3(
                        metric, at, to, size, codes, codes_at, tables, table_at, offset, won, row
                    )
                else:
                    offset = _STEP_4(
                        metric, at, to, size, codes, codes_at, tables, table_at, offset, won, row
                    )
                at, t, end = to, t + 1, end + shift
            elif vectors:
                offset = add_costs(metric, at, size, codes, codes_at, tables, table_at)
            else:
                offset = plain_add(metric, at, size, codes, codes_at, tables, table_at)
            i += firsts[group + 1] - firsts[group]
            group += 1
            if group == shifts.size:
                group = 0
            # A step's further groups belong to it: cut before the next one.
            if t - traced == ring and shifts[group]:
                best = _first_of(metric, at, offset)
                best, cut = _trace(work, best, t - 1, look, end, 0, 0, seeds)
                best, _ = _trace(work, best, t - 1 - look, ring - look, cut, since, limit, seeds)
                if traced == 0:
                    _set_bits(seeds, head_end, best, head, since, limit)
                traced = t - look
    found = _first_of(metric, at, offset)
    best, _ = _trace(work, found, t - 1, t - traced, end, since, limit, seeds)
    if traced == 0:
        _set_bits(seeds, head_end, best, head, since, limit)
    return found
