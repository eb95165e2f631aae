# SPDX-License-Identifier: Apache-2.0
"""Magnitude pruning: weights to care masks that meet a sparsity, and never keep an exact zero.

No code of any quantizer is a zero, so a zero that is kept would come back as plus or minus a scale.
All magnitudes are single precision, as decoded weights are: what is zero there is a zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.workers import mapping
from xorloom.sw.bits.jit import njit

__all__ = [
    "Cut",
    "check_sparsity",
    "check_weights",
    "global_cuts",
    "own_mask",
    "prune_pattern",
    "prune_rows",
    "prune_tensor",
    "scaled",
]

_LARGEST = float(np.finfo(np.float32).max)


def check_sparsity(sparsity: float) -> float:
    """Return ``sparsity`` as float if it is in [0, 1).

    Raises
    ------
    ConfigError
        If it is not.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ConfigError(f"sparsity must be in [0, 1), not {sparsity!r} (a fraction, not percent)")
    return float(sparsity)


def check_weights(weights: np.ndarray, name: str = "weights") -> np.ndarray:
    """Return weights as float32, if all are finite and none is beyond it.

    Raises
    ------
    ConfigError
        With the first position of a NaN, an infinity or a number that float32 cannot hold; if the
        weights are no real numbers.
    """
    if weights.dtype.kind in "cOSUmM":
        raise ConfigError(f"{name}: weights must be real numbers, not {weights.dtype}")
    with np.errstate(over="ignore"):
        single = weights.astype(np.float32, copy=False)
    finite = np.isfinite(single)
    if not finite.all():
        at = np.unravel_index(int(np.argmin(finite)), weights.shape)
        place = tuple(int(i) for i in at)
        if np.isfinite(weights[at]):
            raise ConfigError(
                f"{name}: weight at {place} is {weights[at]}, beyond float32, whose largest is "
                f"{_LARGEST:.3g} (scale the tensor down)"
            )
        raise ConfigError(f"{name}: weight at {place} is {weights[at]}, must be finite")
    return single


def scaled(magnitude: np.ndarray) -> np.ndarray:
    """Return magnitudes by the power of two that makes the largest less than 1, at least 0.5.

    Their ratios stay, and no square or sum of them is beyond float32.
    """
    _, exponent = np.frexp(magnitude.max(initial=0))
    return np.ldexp(magnitude, -exponent)


def own_mask(weights: np.ndarray, *, pruned: bool = False) -> np.ndarray | None:
    """Return the mask of a tensor that is pruned already, or None.

    A tensor counts as pruned if at least half of it is exactly zero: trained weights have next to
    no zeros, and models of 2 of 4 weights have exactly half.

    Parameters
    ----------
    weights : float array of any shape
    pruned : bool
        Whether the file tells that zeros are a mask: then any number of them is one.

    Returns
    -------
    bool array of the same shape, True where a weight is not zero; or None.

    Raises
    ------
    ConfigError
        If a weight is not finite.
    """
    mask = check_weights(weights) != 0
    if pruned:
        return mask
    return mask if 0 < mask.size <= 2 * (mask.size - np.count_nonzero(mask)) else None


def _keep_largest(magnitude: np.ndarray, count: int) -> np.ndarray:
    """Return a flat mask of the ``count`` largest entries; of equal ones, the first; no zeros."""
    if count >= magnitude.size:
        return magnitude > 0
    if count == 0:
        return np.zeros(magnitude.size, np.bool_)
    cut = np.partition(magnitude, magnitude.size - count)[magnitude.size - count]
    keep = magnitude > cut
    if cut > 0:
        equal = np.flatnonzero(magnitude == cut)
        keep[equal[: count - int(np.count_nonzero(keep))]] = True
    return keep


def _kept(size: int, sparsity: float) -> int:
    return size - round(sparsity * size)


def prune_tensor(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Keep the largest magnitudes of one tensor.

    Parameters
    ----------
    weights : float array of any shape
    sparsity : float in [0, 1)
        ``round(sparsity * size)`` weights are pruned; more, if more are zero.

    Returns
    -------
    bool array of the same shape, True where kept.

    Raises
    ------
    ConfigError
        If the sparsity is out of range or a weight is not finite.
    """
    check_sparsity(sparsity)
    magnitude = np.abs(check_weights(weights)).reshape(-1)
    return _keep_largest(magnitude, _kept(magnitude.size, sparsity)).reshape(weights.shape)


def prune_rows(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Like :func:`prune_tensor`, for every row (first axis) on its own."""
    check_sparsity(sparsity)
    if weights.ndim < 2 or weights.size == 0:
        return prune_tensor(weights, sparsity)
    flat = np.abs(check_weights(weights)).reshape(weights.shape[0], -1)
    count = _kept(flat.shape[1], sparsity)
    return np.stack([_keep_largest(row, count) for row in flat]).reshape(weights.shape)


def prune_pattern(weights: np.ndarray, kept: int, of: int) -> np.ndarray:
    """Keep the largest ``kept`` of every ``of`` weights that follow each other in a row (N:M).

    A row is what belongs to one index of the first dimension. Of a rest of ``r`` weights at its end
    ``kept * r // of`` are kept.

    Parameters
    ----------
    weights : float array of any shape
    kept, of : int

    Returns
    -------
    bool array of the same shape, True where kept.

    Raises
    ------
    ConfigError
        If a weight is not finite.
    """
    magnitude = np.abs(check_weights(weights))
    rows = magnitude.reshape(len(weights), -1) if weights.ndim > 1 else magnitude.reshape(1, -1)
    mask = np.zeros(rows.shape, np.bool_)
    whole = rows.shape[1] // of * of
    for part, place, count in (
        (rows[:, :whole].reshape(-1, of), slice(0, whole), kept),
        (rows[:, whole:], slice(whole, None), kept * (rows.shape[1] - whole) // of),
    ):
        if part.size:
            rank = np.argsort(np.argsort(-part, axis=1, kind="stable"), axis=1, kind="stable")
            mask[:, place] = ((rank < count) & (part > 0)).reshape(len(rows), -1)
    return mask.reshape(weights.shape)


@dataclass(frozen=True)
class Cut:
    """What a tensor keeps: all magnitudes above ``cut``, and the first ``equal`` that equal it.

    ``kept`` is how many weights that are.
    """

    cut: np.float32
    equal: int
    kept: int

    def mask(self, weights: np.ndarray) -> np.ndarray:
        """Return the mask of the tensor, bool of its shape."""
        magnitude = np.abs(weights.astype(np.float32, copy=False)).reshape(-1)
        keep = magnitude > self.cut
        keep[np.flatnonzero(magnitude == self.cut)[: self.equal]] = True
        return keep.reshape(weights.shape)


def global_cuts(
    loads: Sequence[Callable[[], np.ndarray]], sparsity: float, threads: int | None = None
) -> list[Cut]:
    """Keep the largest magnitudes over all tensors together: find what each of them keeps.

    Bits of a magnitude order like an integer, so the cut is found as its upper, then its lower 16
    bits by counting: exact, and without an array of all magnitudes.

    Parameters
    ----------
    loads : sequence of callables
        They return the tensors' weights, of any float dtype; each is called twice.
    sparsity : float in [0, 1)
        ``round(sparsity * size)`` of all weights are pruned; more, if more are zero.
    threads : int, optional
        Each holds one tensor. All available cores by default.

    Raises
    ------
    ConfigError
        If the sparsity is out of range.
    """
    check_sparsity(sparsity)
    counts, lock = np.zeros(1 << 16, np.int64), Lock()

    def upper_half(load: Callable[[], np.ndarray]) -> tuple[int, int]:
        bits, own = _bits(load()), np.zeros(1 << 16, np.int64)
        zeros = _count_upper(bits, own)
        with lock:
            counts[:] += own
        return zeros, bits.size

    def lower_half(load: Callable[[], np.ndarray]) -> tuple[int, np.ndarray, np.ndarray]:
        own = np.zeros(1 << 16, np.int64)
        above = _count_lower(_bits(load()), upper, own)
        of_cut = np.flatnonzero(own)
        return above, of_cut, own[of_cut]

    with mapping(threads) as each:
        seen = each(upper_half, loads)
        size = sum(weights for _, weights in seen)
        wanted = min(_kept(size, sparsity), size - sum(zeros for zeros, _ in seen))
        upper, left = _nth_largest(counts, wanted)
        found = each(lower_half, loads)
    counts[:] = 0
    for _, lower, of_lower in found:
        counts[lower] += of_lower
    lower_cut, left = _nth_largest(counts, left)
    cut = np.uint32(upper << 16 | lower_cut).view(np.float32)
    cuts = []
    for above, lower, of_lower in found:
        equal = min(left, int(of_lower[lower == lower_cut].sum()))
        kept = above + int(of_lower[lower > lower_cut].sum()) + equal
        cuts.append(Cut(cut, equal, kept))
        left -= equal
    return cuts


def _bits(weights: np.ndarray) -> np.ndarray:
    """Return the magnitudes' bits, flat uint32."""
    return np.abs(weights.astype(np.float32, copy=False)).reshape(-1).view(np.uint32)


@njit(nogil=True, cache=True)
def _count_upper(bits: np.ndarray, counts: np.ndarray) -> int:
    """Count upper halves of (weights,) uint32 into (65536,) int64; return how many are zeros."""
    zeros = 0
    for n in bits:
        counts[n >> 16] += 1
        zeros += n == 0
    return zeros


@njit(nogil=True, cache=True)
def _count_lower(bits: np.ndarray, upper: int, counts: np.ndarray) -> int:
    """Count lower halves of those of an upper half; return how many have a larger one."""
    above = 0
    for n in bits:
        half = np.int64(n >> 16)
        if half > upper:
            above += 1
        elif half == upper:
            counts[n & 0xFFFF] += 1
    return above


def _nth_largest(counts: np.ndarray, n: int) -> tuple[int, int]:
    """Return the ``n``-th largest of 16-bit numbers, and how many of that number are in the ``n``.

    The largest number if ``n`` is 0: in a magnitude that is NaN, and no weight is as large.
    """
    above = np.cumsum(counts[::-1])
    place = int(np.searchsorted(above, n))
    number = counts.size - 1 - place
    return number, n - int(above[place] - counts[number])
