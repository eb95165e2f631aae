# SPDX-License-Identifier: Apache-2.0
"""Kernel of the low-rank heuristic: thresholds on a non-negative factorization of every tile."""

import numpy as np
from xorloom.sw.bits.jit import njit

from .kernels import Tiles, load_tile, random, random_state

__all__ = ["heuristic"]

_ITERATIONS = 60
"""Of the non-negative factorization."""
_GRID = 11
"""Thresholds tried for the lanes' factor."""
_TINY = np.float32(1e-9)


@njit(nogil=True, cache=True, entry=False)
def _factorize(v: np.ndarray, w: np.ndarray, h: np.ndarray, gram: np.ndarray) -> None:
    """Non-negative factorization v = w.T @ h by hierarchical alternating least squares.

    Parameters
    ----------
    v : (n_lanes, n_slices) float32
    w : (rank, n_lanes) float32, in and out
    h : (rank, n_slices) float32, in and out
    gram : (rank,) float32, work space
    """
    rank, n_lanes = w.shape
    n_slices = h.shape[1]
    update = np.empty(max(n_lanes, n_slices), np.float32)
    for iteration in range(2 * _ITERATIONS):
        wide = iteration & 1  # in turn: the lanes' factor, the slices' factor
        mine, other = (h, w) if wide else (w, h)
        n_mine, n_other = mine.shape[1], other.shape[1]
        for r in range(rank):
            for q in range(rank):
                total = np.float32(0)
                for i in range(n_other):
                    total += other[r, i] * other[q, i]
                gram[q] = total
            for j in range(n_mine):
                update[j] = 0
            if wide:
                for i in range(n_other):
                    weight = other[r, i]
                    for j in range(n_mine):
                        update[j] += weight * v[i, j]
            else:
                for j in range(n_mine):
                    total = np.float32(0)
                    for i in range(n_other):
                        total += other[r, i] * v[j, i]
                    update[j] = total
            for q in range(rank):
                for j in range(n_mine):
                    update[j] -= gram[q] * mine[q, j]
            scale = np.float32(1) / max(gram[r], _TINY)
            for j in range(n_mine):
                mine[r, j] = max(_TINY, mine[r, j] + update[j] * scale)
    for r in range(rank):  # balance the scales, so that one threshold fits all ranks
        size_w, size_h = _TINY, _TINY
        for i in range(n_lanes):
            size_w += w[r, i] * w[r, i]
        for j in range(n_slices):
            size_h += h[r, j] * h[r, j]
        ratio = np.sqrt(np.sqrt(size_h / size_w))
        for i in range(n_lanes):
            w[r, i] *= ratio
        for j in range(n_slices):
            h[r, j] /= ratio


@njit(nogil=True, cache=True, entry=False)
def _descending(values: np.ndarray) -> np.ndarray:
    """Sort as ``np.argsort(-values)`` does, which takes Numba many seconds to compile."""
    order = np.arange(values.size)
    gap = 1
    while gap < values.size:
        gap = 3 * gap + 1
    while gap:
        for i in range(gap, values.size):
            moving, j = order[i], i
            while j >= gap and values[order[j - gap]] < values[moving]:
                order[j] = order[j - gap]
                j -= gap
            order[j] = moving
        gap //= 3
    return order


@njit(nogil=True, cache=True)
def heuristic(
    x: np.ndarray,
    tiles: Tiles,
    cut: float,
    price: float,
    goals: np.ndarray,
    seed: int,
    lane: np.ndarray,
    beat: np.ndarray,
    low: int,
    step: int,
    counts: np.ndarray,
) -> None:
    """Find factors by thresholds on a non-negative factorization, after arXiv 1905.05686.

    Every tile's importance is factorized as it is, squared, zeroed below ``cut``, and four times
    as large above it. Each of 11 thresholds on the lanes' factor is tried with the threshold on
    the slices' factor that meets the tile's goal best; what has the largest sum of ``x - price``
    stays.

    Parameters
    ----------
    cut : float
        What the ideal mask keeps at least.
    goals : (tiles,) int64
        Weights to keep in every tile.
    lane, beat, counts : out
        As in :func:`xorloom.sw.index.lowrank.kernels.local_search`.
    """
    rank = tiles.rank
    tall = 1
    for t in range(tiles.first.size - 1):
        tall = max(tall, tiles.first[t + 1] - tiles.first[t])
    by_slice = np.empty((tall, tiles.lanes), np.float32)
    by_lane = np.empty((tiles.lanes, tall), np.float32)
    gram = np.empty(rank, np.float32)
    a, b = np.empty(tiles.lanes, np.uint32), np.empty(tall, np.uint32)
    for tile in range(low, counts.size, step):
        row, column = tile // tiles.across, tile % tiles.across
        e0, n_slices, l0, n_lanes = load_tile(x, tiles, tile, 0.0, by_slice, by_lane)
        state = random_state(seed, tile)
        goal, best = goals[tile], -np.inf
        counts[tile] = 0
        lane[row, l0 : l0 + n_lanes] = 0
        beat[e0 : e0 + n_slices, column] = 0
        v = np.empty((n_lanes, n_slices), np.float32)
        w = np.empty((rank, n_lanes), np.float32)
        h = np.empty((rank, n_slices), np.float32)
        density = min(1.0, max(goal, 1) / (n_slices * n_lanes))
        for way in range(4 if goal else 0):
            for j in range(n_lanes):
                for e in range(n_slices):
                    value = by_lane[j, e]
                    if way == 1:
                        value *= value
                    elif way == 2 and value < cut:
                        value = 0
                    elif way == 3 and value >= cut:
                        value *= 4
                    v[j, e] = value
            for r in range(rank):
                for j in range(n_lanes):
                    w[r, j] = 0.1 + random(state, 1024) / 1024
                for e in range(n_slices):
                    h[r, e] = 0.1 + random(state, 1024) / 1024
            _factorize(v, w, h, gram)
            lanes_first, slices_first = _descending(w.ravel()), _descending(h.ravel())
            for point in range(_GRID):
                share = (density / rank) ** (point / _GRID)
                on = max(1, int(share * n_lanes * rank + 0.5))
                a[:n_lanes] = 0
                for place in lanes_first[:on]:
                    a[place % n_lanes] |= np.uint32(1 << (place // n_lanes))
                b[:n_slices] = 0
                count, value = 0, 0.0
                for place in slices_first:
                    e, bit = place % n_slices, np.uint32(1 << (place // n_slices))
                    most = min(n_lanes, tiles.live - (e0 + e) * x.shape[1] - l0)
                    more, gained = 0, 0.0
                    for j in range(most):
                        if a[j] & bit and not a[j] & b[e]:
                            more += 1
                            gained += by_slice[e, j]
                    if count + more - goal > goal - count:  # the goal is nearer without it
                        break
                    b[e] |= bit
                    count += more
                    value += gained
                    if count >= goal:
                        break
                if value - price * count > best:
                    best = value - price * count
                    counts[tile] = count
                    lane[row, l0 : l0 + n_lanes] = a[:n_lanes]
                    beat[e0 : e0 + n_slices, column] = b[:n_slices]
