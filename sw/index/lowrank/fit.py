# SPDX-License-Identifier: Apache-2.0
"""Fit of the factors of all low-rank tiles of a tensor to a number of kept weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from xorloom.sw.base.workers import ThreadsMap

from . import kernels
from .heuristic import heuristic
from .kernels import Tiles

__all__ = ["TOLERANCE", "Fit", "fit_price", "tile_sizes"]

TOLERANCE = 0.003
"""The price fits when the density is met within this share; single factor bits do the rest."""
_SAMPLE_TILES = 256
_SPAN = 64
"""Changes of a tile's count by one factor bit that are told apart."""


@dataclass
class Fit:
    """Fit at work: the factors so far, and how the kernels are called on all tiles."""

    x: np.ndarray
    tiles: Tiles
    each: ThreadsMap
    threads: int
    seed: int

    def __post_init__(self) -> None:
        rows = self.tiles.first.size - 1
        self.lane = np.zeros((rows, self.x.shape[1]), np.uint32)
        self.beat = np.zeros((self.x.shape[0], self.tiles.across), np.uint32)
        self.counts = np.zeros(rows * self.tiles.across, np.int64)

    @property
    def count(self) -> int:
        """Weights kept."""
        return int(self.counts.sum())

    def _all(self, job: Callable[[int, int], Any], every: int = 1) -> None:
        self.each(lambda k: job(k * every, self.threads * every), range(self.threads))

    def ascend(self, price: float, tries: int, every: int = 1) -> None:
        """Local search in all or every n-th tile."""

        def job(low: int, step: int) -> None:
            kernels.local_search(
                self.x, self.tiles, price, tries, self.seed, self.lane, self.beat, low, step,
                self.counts,
            )  # fmt: skip

        self._all(job, every)

    def factorize(self, cut: float, goals: np.ndarray) -> None:
        """Heuristic in all tiles."""

        def job(low: int, step: int) -> None:
            heuristic(
                self.x, self.tiles, cut, 0.5 * cut, goals, self.seed, self.lane, self.beat, low,
                step, self.counts,
            )  # fmt: skip

        self._all(job)

    def _invert(self, tile: int, place: int) -> None:
        """Invert a factor bit as :func:`xorloom.sw.index.lowrank.kernels.toggles` names it."""
        row, column = divmod(tile, self.tiles.across)
        at, factor = divmod(int(place), self.tiles.rank)
        if at < self.tiles.lanes:
            self.lane[row, column * self.tiles.lanes + at] ^= np.uint32(1 << factor)
        else:
            slice_ = self.tiles.first[row] + at - self.tiles.lanes
            self.beat[slice_, column] ^= np.uint32(1 << factor)

    def meet(self, goal: int, price: float) -> int:
        """Invert single factor bits until ``goal`` weights are kept; return what is missing."""
        shape = (self.counts.size, 2 * _SPAN + 1)
        gains, places = np.empty(shape, np.float32), np.empty(shape, np.int32)
        missing = goal - self.count

        def job(low: int, step: int) -> None:
            kernels.toggles(
                self.x, self.tiles, price, self.lane, self.beat, low, step, gains, places
            )

        while missing:
            self._all(job)
            picks = _picks(gains, missing)
            if not picks:
                break
            for tile, change in picks:
                self._invert(tile, places[tile, change + _SPAN])
                self.counts[tile] += change
                missing -= change
        return missing


def _picks(gains: np.ndarray, missing: int) -> list[tuple[int, int]]:
    """Choose (tile, change) pairs that bring the count nearer.

    Changes the right way that lose least per weight, at most one per tile; without any, two that
    sum up to what is missing.
    """
    sign = 1 if missing > 0 else -1
    sizes = np.arange(1, min(_SPAN, abs(missing)) + 1)
    loss = -gains[:, _SPAN + sign * sizes] / sizes
    best = np.argmin(loss, axis=1)
    cost = loss[np.arange(best.size), best]
    picks = []
    left = abs(missing)
    for tile in np.argsort(cost, kind="stable"):
        size = int(sizes[best[tile]])
        if size <= left and np.isfinite(cost[tile]):
            picks.append((int(tile), sign * size))
            left -= size
    if picks:
        return picks
    top = np.argsort(-gains, axis=0, kind="stable")[:2]  # the two best tiles of every change
    pairs = []
    for first in range(-_SPAN, _SPAN + 1):
        second = missing - first
        if abs(second) > _SPAN:
            continue
        for i in top[:, first + _SPAN]:
            for j in top[:, second + _SPAN]:
                gain = gains[i, first + _SPAN] + gains[j, second + _SPAN]
                if i != j and np.isfinite(gain):
                    pairs.append((float(gain), int(i), first, int(j), second))
    if not pairs:
        return []
    _, i, first, j, second = max(pairs)
    return [(i, first), (j, second)]


def tile_sizes(tiles: Tiles, shape: tuple[int, int]) -> np.ndarray:
    """Weights of every tile."""
    live = (np.arange(shape[0] * shape[1]) < tiles.live).reshape(shape)
    by_row = np.add.reduceat(live, tiles.first[:-1], axis=0, dtype=np.int64)
    edges = np.arange(0, shape[1], tiles.lanes)
    return np.add.reduceat(by_row, edges, axis=1).reshape(-1)


def fit_price(fit: Fit, sizes: np.ndarray, density: float, goal: int, tries: int) -> float:
    """Find the price of a weight at which the local search keeps ``goal``; factors are left so."""
    every = max(1, fit.counts.size // _SAMPLE_TILES)
    start = fit.lane.copy(), fit.beat.copy()
    low, high = 0.0, float(fit.x.max()) + 1.0  # no price at which a zero gains
    wanted = density * float(sizes[::every].sum())
    for _ in range(12):
        price = 0.5 * (low + high)
        fit.lane[:], fit.beat[:] = start
        fit.ascend(price, 8, every)
        low, high = (price, high) if fit.counts[::every].sum() > wanted else (low, price)
    fit.lane[:], fit.beat[:] = start
    price, before = 0.5 * (low + high), None
    low, high = 0.0, float(fit.x.max()) + 1.0
    for turn in range(12):
        fit.ascend(price, tries if turn == 0 else tries // 4)
        error = float(np.log(max(fit.count, 0.5) / goal))
        if abs(error) <= TOLERANCE:
            break
        low, high = (price, high) if error > 0 else (low, price)
        slope = 2.0  # of -error over price; about that of a Gaussian at 9 %
        if before is not None and (before[1] - error) * (price - before[0]) > 0:
            slope = (before[1] - error) / (price - before[0])
        before = price, error
        price += error / slope
        if not low < price < high:
            price = 0.5 * (low + high)
    return price
