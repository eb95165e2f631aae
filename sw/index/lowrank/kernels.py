# SPDX-License-Identifier: Apache-2.0
"""Kernels of the low-rank index codec: search of the binary factors, tile by tile.

A tile is ``n_slices`` slices by ``n_lanes`` lanes. Bit ``r`` of ``lane[j]`` is A[j, r], bit
``r`` of ``beat[e]`` is B[r, e]; the mask is ``(lane[j] & beat[e]) != 0``. All kernels are
deterministic: random numbers depend on the seed and on the tile's number only.
"""

from typing import NamedTuple

import numpy as np
from xorloom.sw.bits.jit import njit

__all__ = [
    "EXACT_RANK",
    "Tiles",
    "boolean_product",
    "load_tile",
    "local_search",
    "random",
    "random_state",
    "toggles",
]

EXACT_RANK = 5
"""Up to this rank a lane's best set of factors is found by trying all ``2**rank`` of them."""


class Tiles(NamedTuple):
    """The tiles of a tensor: tile ``i`` is in tile row ``i // across``.

    Tile row ``t`` is slices ``first[t]`` to ``first[t + 1] - 1``, tile column ``j`` is lanes
    ``j * lanes`` to ``min(n_out, (j + 1) * lanes) - 1``.
    """

    first: np.ndarray
    """(tile rows + 1,) int64."""
    lanes: int
    across: int
    rank: int
    live: int
    """Places that hold a weight, in C order of (slices, n_out)."""


@njit(nogil=True, cache=True)
def random(state: np.ndarray, below: int) -> np.int64:
    """Return a number from 0 to ``below - 1`` and step the state (SplitMix64)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.int64((z >> np.uint64(32)) * np.uint64(below) >> np.uint64(32))


@njit(nogil=True, cache=True, entry=False)
def random_state(seed: int, tile: int) -> np.ndarray:
    """Return the state of a tile's own random numbers."""
    state = np.empty(1, np.uint64)
    state[0] = np.uint64(seed) + np.uint64(tile) * np.uint64(0xD1342543DE82EF95)
    return state


@njit(nogil=True, cache=True)
def boolean_product(
    lane: np.ndarray, beat: np.ndarray, first: np.ndarray, lanes: int, mask: np.ndarray
) -> None:
    """Write the mask of all tiles.

    Parameters
    ----------
    lane : (tile rows, n_out) uint32
    beat : (slices, tile columns) uint32
    first : (tile rows + 1,) int64
    mask : (slices, n_out) bool, out
    """
    for t in range(first.size - 1):
        for e in range(first[t], first[t + 1]):
            for j in range(mask.shape[1]):
                mask[e, j] = (lane[t, j] & beat[e, j // lanes]) != 0


@njit(nogil=True, cache=True, entry=False)
def load_tile(
    x: np.ndarray, tiles: Tiles, tile: int, price: float, by_slice: np.ndarray, by_lane: np.ndarray
) -> tuple[int, int, int, int]:
    """Copy a tile's ``x - price``, 0 where there is no weight, both ways round.

    Returns (first slice, slices, first lane, lanes).
    """
    row, column = tile // tiles.across, tile % tiles.across
    e0, l0 = tiles.first[row], column * tiles.lanes
    n_slices = tiles.first[row + 1] - e0
    n_lanes = min(tiles.lanes, x.shape[1] - l0)
    for e in range(n_slices):
        for j in range(n_lanes):
            gain = np.float32(0)
            if (e0 + e) * x.shape[1] + l0 + j < tiles.live:
                gain = np.float32(x[e0 + e, l0 + j] - price)
            by_slice[e, j] = gain
            by_lane[j, e] = gain
    return e0, n_slices, l0, n_lanes


@njit(nogil=True, cache=True, entry=False)
def _best_sets(
    gain: np.ndarray,
    known: np.ndarray,
    n_known: int,
    sets: np.ndarray,
    n_sets: int,
    rank: int,
    sums: np.ndarray,
) -> float:
    """Choose the best factor set of every lane while the slices' stay (or the other way round).

    Parameters
    ----------
    gain : (>= n_known, >= n_sets) float32
    known : (>= n_known,) uint32
    sets : (>= n_sets,) uint32, out
    sums : (2**min(rank, EXACT_RANK), >= n_sets) float32, work space

    Returns
    -------
    float
        Sum of the gains that the product covers.
    """
    total = 0.0
    if rank > EXACT_RANK:
        for r in range(rank):
            bit = np.uint32(1 << r)
            for j in range(n_sets):
                sums[0, j] = 0
                sets[j] &= ~bit
            for i in range(n_known):
                if known[i] & bit:
                    for j in range(n_sets):
                        if not (known[i] & sets[j]):
                            sums[0, j] += gain[i, j]
            for j in range(n_sets):
                if sums[0, j] > 0:
                    sets[j] |= bit
        for i in range(n_known):
            if known[i]:
                for j in range(n_sets):
                    if known[i] & sets[j]:
                        total += gain[i, j]
        return total
    n_classes = 1 << rank
    for c in range(n_classes):
        for j in range(n_sets):
            sums[c, j] = 0
    for i in range(n_known):
        c = known[i]
        if c:
            for j in range(n_sets):
                sums[c, j] += gain[i, j]
    for r in range(rank):  # sums over all classes that are subsets of c
        for c in range(n_classes):
            if c >> r & 1:
                for j in range(n_sets):
                    sums[c, j] += sums[c ^ (1 << r), j]
    every = n_classes - 1
    for j in range(n_sets):
        most = sums[every, j]
        least, best = most, 0
        for chosen in range(1, n_classes):
            missed = sums[every ^ chosen, j]
            if missed < least:
                least, best = missed, chosen
        sets[j] = best
        total += most - least
    return total


@njit(nogil=True, cache=True, entry=False)
def _ascend(
    by_slice: np.ndarray,
    by_lane: np.ndarray,
    lane: np.ndarray,
    n_lanes: int,
    beat: np.ndarray,
    n_slices: int,
    rank: int,
    sums: np.ndarray,
) -> float:
    """Improve lanes and slices in turn, from the slices' sets on, until nothing changes."""
    before = -1.0
    while True:
        _best_sets(by_slice, beat, n_slices, lane, n_lanes, rank, sums)
        value = _best_sets(by_lane, lane, n_lanes, beat, n_slices, rank, sums)
        if value <= before + 1e-6 * abs(before):
            return value
        before = value


@njit(nogil=True, cache=True)
def local_search(
    x: np.ndarray,
    tiles: Tiles,
    price: float,
    tries: int,
    seed: int,
    lane: np.ndarray,
    beat: np.ndarray,
    low: int,
    step: int,
    counts: np.ndarray,
) -> None:
    """Maximize, in tiles ``low``, ``low + step``, ..., the sum of ``x - price`` over the mask.

    Begins with the factors that are there. Then ``tries`` times: one factor begins anew with the
    gains' signs of a random lane or slice, everything is improved, and the better one stays.

    Parameters
    ----------
    lane, beat : in and out
        As in :func:`boolean_product`.
    counts : (tiles,) int64, out
        Weights kept in every tile.
    """
    rank = tiles.rank
    tall = 1
    for t in range(tiles.first.size - 1):
        tall = max(tall, tiles.first[t + 1] - tiles.first[t])
    wide = max(tall, tiles.lanes)
    by_slice = np.empty((tall, tiles.lanes), np.float32)
    by_lane = np.empty((tiles.lanes, tall), np.float32)
    sums = np.empty((1 << min(rank, EXACT_RANK), wide), np.float32)
    a, best_a = np.empty(tiles.lanes, np.uint32), np.empty(tiles.lanes, np.uint32)
    b, best_b = np.empty(tall, np.uint32), np.empty(tall, np.uint32)
    for tile in range(low, counts.size, step):
        row, column = tile // tiles.across, tile % tiles.across
        e0, n_slices, l0, n_lanes = load_tile(x, tiles, tile, price, by_slice, by_lane)
        state = random_state(seed, tile)
        best_a[:n_lanes] = lane[row, l0 : l0 + n_lanes]
        best_b[:n_slices] = beat[e0 : e0 + n_slices, column]
        best = _ascend(by_slice, by_lane, best_a, n_lanes, best_b, n_slices, rank, sums)
        for attempt in range(tries):
            a[:n_lanes] = best_a[:n_lanes]
            b[:n_slices] = best_b[:n_slices]
            bit = np.uint32(1 << random(state, rank))
            if attempt & 1:
                pick = random(state, n_lanes)
                for e in range(n_slices):
                    b[e] = b[e] | bit if by_slice[e, pick] > 0 else b[e] & ~bit
            else:
                pick = random(state, n_slices)
                for j in range(n_lanes):
                    a[j] = a[j] | bit if by_slice[pick, j] > 0 else a[j] & ~bit
                _best_sets(by_lane, a, n_lanes, b, n_slices, rank, sums)
            value = _ascend(by_slice, by_lane, a, n_lanes, b, n_slices, rank, sums)
            if value > best:
                best = value
                best_a[:n_lanes] = a[:n_lanes]
                best_b[:n_slices] = b[:n_slices]
        lane[row, l0 : l0 + n_lanes] = best_a[:n_lanes]
        beat[e0 : e0 + n_slices, column] = best_b[:n_slices]
        count = 0
        for e in range(n_slices):
            most = min(n_lanes, tiles.live - (e0 + e) * x.shape[1] - l0)
            for j in range(most):
                count += (best_a[j] & best_b[e]) != 0
        counts[tile] = count


@njit(nogil=True, cache=True, entry=False)
def _note(
    delta: int, gain: float, place: int, span: int, gains: np.ndarray, places: np.ndarray
) -> None:
    if delta and -span <= delta <= span and gain > gains[delta + span]:
        gains[delta + span] = gain
        places[delta + span] = place


@njit(nogil=True, cache=True)
def toggles(
    x: np.ndarray,
    tiles: Tiles,
    price: float,
    lane: np.ndarray,
    beat: np.ndarray,
    low: int,
    step: int,
    gains: np.ndarray,
    places: np.ndarray,
) -> None:
    """Find the best single factor bit to invert for every change of a tile's count.

    Parameters
    ----------
    gains : (tiles, 2 * span + 1) float32, out
        By change + span: the largest change of the sum of ``x - price``, or -inf.
    places : (tiles, 2 * span + 1) int32, out
        The bit: rank * (tile's lane, or lanes + tile's slice) + factor.
    """
    rank, span = tiles.rank, gains.shape[1] // 2
    tall = 1
    for t in range(tiles.first.size - 1):
        tall = max(tall, tiles.first[t + 1] - tiles.first[t])
    by_slice = np.empty((tall, tiles.lanes), np.float32)
    by_lane = np.empty((tiles.lanes, tall), np.float32)
    gains[low::step] = -np.inf
    for tile in range(low, gains.shape[0], step):
        row, column = tile // tiles.across, tile % tiles.across
        e0, n_slices, l0, n_lanes = load_tile(x, tiles, tile, price, by_slice, by_lane)
        deltas = np.zeros((tiles.lanes + tall, rank), np.int64)
        change = np.zeros((tiles.lanes + tall, rank), np.float32)
        for e in range(n_slices):
            most = min(n_lanes, tiles.live - (e0 + e) * x.shape[1] - l0)
            for j in range(most):
                a, b = lane[row, l0 + j], beat[e0 + e, column]
                both = a & b
                for r in range(rank):
                    bit = np.uint32(1 << r)
                    if both == bit:  # covered by this factor alone: either bit takes it away
                        deltas[j, r] -= 1
                        change[j, r] -= by_slice[e, j]
                        deltas[tiles.lanes + e, r] -= 1
                        change[tiles.lanes + e, r] -= by_slice[e, j]
                    elif both == 0 and b & bit:
                        deltas[j, r] += 1
                        change[j, r] += by_slice[e, j]
                    elif both == 0 and a & bit:
                        deltas[tiles.lanes + e, r] += 1
                        change[tiles.lanes + e, r] += by_slice[e, j]
        for i in range(tiles.lanes + tall):
            for r in range(rank):
                _note(deltas[i, r], change[i, r], i * rank + r, span, gains[tile], places[tile])
