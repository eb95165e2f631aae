# SPDX-License-Identifier: Apache-2.0
"""Levels of the direct codec: what its codes mean."""

from functools import lru_cache
from statistics import NormalDist

import numpy as np
from xorloom.sw.spec.direct import DirectConfig

from .decoding import decode_seeds
from .search import error_scale, search_stream

__all__ = ["fit_levels", "gaussian_levels", "per_unit_of", "stored_levels"]

_SAMPLE = 1 << 16
_ROUNDS = 6
_LARGEST = 127


def per_unit_of(config: DirectConfig, power: float) -> float:
    """Return units of the metrics in a squared error of 1, for weights of a mean square."""
    rate = float(config.rate)
    return error_scale(rate) * 2 ** (2 * rate) / power


def fit_levels(
    x: np.ndarray,
    importance: np.ndarray | None,
    levels: np.ndarray,
    config: DirectConfig,
    *,
    rounds: int,
    threads: int | None = None,
) -> tuple[np.ndarray, float]:
    """Fit levels to weights of mean square 1: search, take the mean of every code's weights, again.

    Source: Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28, 1982.

    Parameters
    ----------
    x : (weights,) float32
    importance : (weights,) float32, optional
        What a squared error counts; its mean is about 1.
    levels : (2**planes,) float32
        To begin with.
    config : DirectConfig
    rounds : int
    threads : int, optional

    Returns
    -------
    (levels, error)
        The error is the mean square of the last search with the new levels, by importance.
    """
    worth = np.ones_like(x) if importance is None else importance
    error = 0.0
    per_unit = per_unit_of(config, 1.0)
    for _ in range(rounds):
        seeds = search_stream(x, importance, levels, per_unit, config, threads=threads)
        codes = decode_seeds(seeds, x.size, config)
        power = np.bincount(codes, worth, minlength=levels.size)
        total = np.bincount(codes, worth * x, minlength=levels.size)
        levels = np.divide(total, power, out=levels.astype(np.float64), where=power > 0).astype(
            np.float32
        )
        error = float(np.mean(worth * (x - levels[codes]) ** 2))
    return levels, error


def first_levels(config: DirectConfig) -> np.ndarray:
    """Return levels to begin with: even shares of a Gaussian of what a code can hold."""
    count = 1 << config.planes
    spread = (1 - 2.0 ** (-2 * float(config.rate))) ** 0.5
    shares = [NormalDist(0, spread).inv_cdf((c + 0.5) / count) for c in range(count)]
    return np.array(shares, np.float32)


def gaussian_levels(config: DirectConfig) -> np.ndarray:
    """Return levels (2**planes,) float32 fitted to Gaussian weights of variance 1."""
    return _gaussian(config.rate, config.planes, config.network.masks, config)


@lru_cache(maxsize=16)
def _gaussian(_rate: object, _planes: int, _masks: object, config: DirectConfig) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal(_SAMPLE, np.float32)
    levels, _ = fit_levels(x[: _SAMPLE // 8], None, first_levels(config), config, rounds=_ROUNDS)
    levels, _ = fit_levels(x, None, levels, config, rounds=2)
    return levels


def stored_levels(levels: np.ndarray) -> tuple[np.ndarray, float]:
    """Return levels as int8, the largest magnitude 127, and their unit."""
    unit = float(np.abs(levels).max()) / _LARGEST or 1.0
    return np.rint(levels / np.float32(unit)).astype(np.int8), unit
