# SPDX-License-Identifier: Apache-2.0
"""Magnitude pruning: weights to care masks that meet a sparsity exactly."""

from collections.abc import Sequence

import numpy as np
from xorloom.sw.base.errors import ConfigError

__all__ = ["check_sparsity", "check_weights", "prune_global", "prune_rows", "prune_tensor"]


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


def check_weights(weights: np.ndarray, name: str = "weights") -> None:
    """Check that all weights are finite.

    Raises
    ------
    ConfigError
        With the first position of a NaN or infinity.
    """
    finite = np.isfinite(weights)
    if not finite.all():
        at = np.unravel_index(int(np.argmin(finite)), weights.shape)
        place = tuple(int(i) for i in at)
        raise ConfigError(f"{name}: weight at {place} is {weights[at]}, must be finite")


def _keep_largest(magnitude: np.ndarray, count: int) -> np.ndarray:
    """Return a flat mask of the ``count`` largest entries; of equal ones, the first."""
    if count >= magnitude.size:
        return np.ones(magnitude.size, np.bool_)
    if count == 0:
        return np.zeros(magnitude.size, np.bool_)
    cut = np.partition(magnitude, magnitude.size - count)[magnitude.size - count]
    keep = magnitude > cut
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
        ``round(sparsity * size)`` weights are pruned.

    Returns
    -------
    bool array of the same shape, True where kept.

    Raises
    ------
    ConfigError
        If the sparsity is out of range or a weight is not finite.
    """
    check_sparsity(sparsity)
    check_weights(weights)
    magnitude = np.abs(weights).reshape(-1)
    return _keep_largest(magnitude, _kept(magnitude.size, sparsity)).reshape(weights.shape)


def prune_rows(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Like :func:`prune_tensor`, for every row (first axis) on its own."""
    check_sparsity(sparsity)
    check_weights(weights)
    if weights.ndim < 2 or weights.size == 0:
        return prune_tensor(weights, sparsity)
    flat = np.abs(weights).reshape(weights.shape[0], -1)
    count = _kept(flat.shape[1], sparsity)
    return np.stack([_keep_largest(row, count) for row in flat]).reshape(weights.shape)


def prune_global(tensors: Sequence[np.ndarray], sparsity: float) -> list[np.ndarray]:
    """Keep the largest magnitudes over all tensors together.

    Raises
    ------
    ConfigError
        If the sparsity is out of range or a weight is not finite.
    """
    check_sparsity(sparsity)
    if not tensors:
        return []
    for weights in tensors:
        check_weights(weights)
    magnitude = np.concatenate([np.abs(weights).reshape(-1) for weights in tensors])
    keep = _keep_largest(magnitude, _kept(magnitude.size, sparsity))
    parts = np.split(keep, np.cumsum([weights.size for weights in tensors])[:-1])
    return [part.reshape(weights.shape) for part, weights in zip(parts, tensors, strict=True)]
