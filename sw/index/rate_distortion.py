# SPDX-License-Identifier: Apache-2.0
"""Rate-distortion bound: the most importance that a mask of some density and rate can keep.

Choosing a mask is a rate-distortion problem: of all masks of density d that R bits per weight can
tell apart, find the one that keeps most importance. For weights without memory the best is
P(keep | w) = 1 / (1 + exp(-(s w + a))), with a set by the density and the slope s by the rate.

Source: Cover and Thomas, Elements of Information Theory, chapter 10 (rate distortion).
"""

import math
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.byte_arrays import count_bytes, kept_bytes

__all__ = [
    "Kept",
    "binary_entropy",
    "code_entropy",
    "kept_share",
    "nm_energy",
    "nm_index_bits",
    "nm_mask",
    "nm_share",
    "rate_bound",
    "share_bound",
    "sign_error",
]

_BINS = 4096
"""Groups of equally many weights, by size, that stand for all."""
_STEPS = 60
"""Halvings of an interval."""


@dataclass(frozen=True)
class Kept:
    r"""What a mask keeps.

    Parameters
    ----------
    density : float
        Share of weights.
    magnitude, energy : float
        Sum of magnitudes and of squares over the kept weights, as a share of that over as many
        of the largest.
    energy_total : float
        Share of all weights' w**2.
    """

    density: float
    magnitude: float
    energy: float
    energy_total: float


def kept_share(weights: np.ndarray, mask: np.ndarray) -> Kept:
    """Measure a mask against the ideal one of its density.

    Parameters
    ----------
    weights : float array of any shape
    mask : bool array of that shape

    Raises
    ------
    ConfigError
        If the shapes differ.
    """
    if weights.shape != mask.shape:
        raise ConfigError(f"mask is {mask.shape}, must be {weights.shape} like the weights")
    magnitude = np.abs(weights).reshape(-1)
    kept = magnitude[mask.reshape(-1)]
    top = magnitude.size - kept.size
    largest = np.partition(magnitude, top)[top:] if kept.size else kept
    total = float(np.square(magnitude, dtype=np.float64).sum())
    energy = float(np.square(kept, dtype=np.float64).sum())
    return Kept(
        kept.size / max(1, mask.size),
        _share(float(kept.sum(dtype=np.float64)), float(largest.sum(dtype=np.float64))),
        _share(energy, float(np.square(largest, dtype=np.float64).sum())),
        _share(energy, total),
    )


def _share(part: float, of: float) -> float:
    """Return a share, 1 of nothing."""
    return part / of if of else 1.0


def _bins(importance: np.ndarray) -> np.ndarray:
    """Return the mean importance of groups of equally many weights, scaled to deviation 1."""
    flat = np.sort(np.asarray(importance, np.float64).reshape(-1))
    if not flat.size or not np.isfinite(flat[-1]) or flat[0] < 0:
        raise ConfigError("importance must be finite, not negative, and not empty")
    size = max(1, flat.size // _BINS)
    bins = flat[flat.size % size :].reshape(-1, size).mean(axis=1)
    return bins / (bins.std() or 1.0)


def _entropy(p: np.ndarray) -> np.ndarray:
    inner = np.clip(p, 1e-300, 1 - 1e-16)
    return -inner * np.log2(inner) - (1 - inner) * np.log2(1 - inner)


def _keep(bins: np.ndarray, slope: float, density: float, start: float) -> tuple[np.ndarray, float]:
    """Return P(keep) of every group, its mean being the density, and the ``a`` that makes it so.

    ``start`` is where to look for ``a`` first.
    """
    low, high = -slope * float(bins[-1]) - 60.0, 60.0
    middle = min(max(start, low), high)
    for _ in range(_STEPS):  # Newton's method, or halving where it leaves the interval
        p = 1 / (1 + np.exp(-np.clip(slope * bins + middle, -700, 700)))
        over = float(p.mean()) - density
        if abs(over) < 1e-13:
            break
        low, high = (low, middle) if over > 0 else (middle, high)
        middle -= over / max(float((p * (1 - p)).mean()), 1e-300)
        if not low < middle < high:
            middle = (low + high) / 2
    return p, middle


def _solve(bins: np.ndarray, density: float, rate: float | None, kept: float) -> np.ndarray:
    """Return P(keep) at a rate, or at a share of the ideal mask's importance."""
    if rate is not None and rate <= 0:
        return np.full(bins.size, density)
    ideal = _ideal(bins, density) or 1.0
    low, high = 0.0, math.inf
    below, above, side = -1.0, 0.0, 0
    start = math.log(density / (1 - density))
    slope = 1.0
    for _ in range(_STEPS):
        p, start = _keep(bins, slope, density, start)
        found = float((p * bins).mean()) / ideal if rate is None else _rate(p, density)
        miss = found - (kept if rate is None else rate)
        if abs(miss) < 1e-13 or high - low < 1e-12 * low or low >= 1e4:
            break
        # False position; an end that stays counts half (Dowell and Jarratt 1971, "Illinois").
        if miss < 0:
            low, below = slope, miss
            above, side = (above / 2 if side < 0 else above), -1
        else:
            high, above = slope, miss
            below, side = (below / 2 if side > 0 else below), 1
        slope = 2 * low
        if high < math.inf:
            slope = (low * above - high * below) / (above - below)
    return p


def _rate(p: np.ndarray, density: float) -> float:
    return float(_entropy(np.array([density]))[0] - _entropy(p).mean())


def _ideal(bins: np.ndarray, density: float) -> float:
    """Return the mean importance that the largest weights bring."""
    whole, part = divmod(density * bins.size, 1)
    top = bins[::-1]
    rest = part * top[int(whole)] if int(whole) < bins.size else 0.0
    return float(top[: int(whole)].sum() + rest) / bins.size


def share_bound(importance: np.ndarray, density: float, rate: float) -> float:
    """Return the most that a mask can keep, as a share of what the largest weights bring.

    Parameters
    ----------
    importance : array of any shape, not negative
    density : float in (0, 1)
    rate : float
        Index bits per weight.

    Raises
    ------
    ConfigError
        If the importance is not finite.
    """
    bins = _bins(importance)
    if rate >= _entropy(np.array([density]))[0]:
        return 1.0
    p, ideal = _solve(bins, density, rate, 0.0), _ideal(bins, density)
    return min(1.0, float((p * bins).mean()) / ideal) if ideal else 1.0


def sign_error(squares: np.ndarray, density: float, rate: float) -> float:
    """Return the least squared error that a mask, signs and one scale can leave.

    Relative to the sum of squares. The mask is the one that keeps most of the squares, see
    :func:`share_bound`; the scale is the mean magnitude of what it keeps.

    Parameters
    ----------
    squares : array of any shape
        Of the weights.
    density, rate : float
        As in :func:`share_bound`; a rate that is large enough tells any mask.

    Raises
    ------
    ConfigError
        If the squares are not finite.
    """
    bins = _bins(squares)
    if rate >= _entropy(np.array([density]))[0]:
        p = (np.arange(bins.size)[::-1] < density * bins.size).astype(np.float64)
    else:
        p = _solve(bins, density, rate, 0.0)
    total = float(bins.sum() * p.sum())
    return 1 - float(p @ np.sqrt(bins)) ** 2 / total if total else 0.0


def rate_bound(importance: np.ndarray, density: float, kept: float) -> float:
    """Return the fewest index bits per weight that keep a share, see :func:`share_bound`."""
    bins = _bins(importance)
    return max(0.0, _rate(_solve(bins, density, None, kept), density))


def nm_mask(weights: np.ndarray, n: int, m: int) -> tuple[np.ndarray, float]:
    """Keep the ``n`` largest of every ``m`` weights in a row (row-major order).

    Returns
    -------
    (mask, index bits per weight)
        The index in whole bits per group. Weights beyond the last whole group count as kept.

    Raises
    ------
    ConfigError
        If the pattern does not fit.
    """
    if not 0 < n < m or m > weights.size:
        raise ConfigError(f"n:m must be 0 < n < m <= {weights.size}, not {n}:{m}")
    flat = np.abs(weights.reshape(-1))
    whole = flat.size // m * m
    groups = flat[:whole].reshape(-1, m)
    mask = np.ones(flat.size, np.bool_)
    order = np.argpartition(groups, m - n, axis=1)[:, m - n :]
    chosen = np.zeros(groups.shape, np.bool_)
    np.put_along_axis(chosen, order, True, axis=1)
    mask[:whole] = chosen.reshape(-1)
    return mask.reshape(weights.shape), nm_index_bits(n, m)


def nm_index_bits(n: int, m: int) -> float:
    """Return the index bits per weight of ``n`` of every ``m``, in whole bits per group."""
    return math.ceil(math.log2(math.comb(m, n))) / m


def nm_energy(energy: np.ndarray, n: int, m: int) -> float:
    """Return the sum of the energies (weights,) that the mask of :func:`nm_mask` keeps."""
    whole = energy.size // m * m
    groups = energy[:whole].reshape(-1, m)
    top = groups.max(axis=1) if n == 1 else np.partition(groups, m - n, axis=1)[:, m - n :]
    return float(top.sum() + energy[whole:].sum())


def nm_share(weights: np.ndarray, n: int, m: int) -> tuple[Kept, float]:
    """Return what the mask of :func:`nm_mask` keeps, and its index bits per weight."""
    mask, bits = nm_mask(weights, n, m)
    return kept_share(weights, mask), bits


def binary_entropy(p: float) -> float:
    """H(p) in bits."""
    return 0.0 if p in (0.0, 1.0) else float(-p * np.log2(p) - (1 - p) * np.log2(1 - p))


def code_entropy(codes: np.ndarray, mask: np.ndarray) -> float:
    """Zero-order entropy of the kept codes, bits a kept weight."""
    counts = count_bytes(kept_bytes(codes, mask))
    p = counts[counts > 0] / max(1, counts.sum())
    return float(-(p * np.log2(p)).sum()) + 0.0
