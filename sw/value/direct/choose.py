# SPDX-License-Identifier: Apache-2.0
"""Choice of a tensor's values by the direct codec: levels, scales and seeds for given weights."""

from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.orders import beats_of, check_order, flatten, lanes, slice_count
from xorloom.sw.tensors.prune import check_weights
from xorloom.sw.tensors.quantize import Quantizer, stored_scales

from .codec import DirectChoice, decode, order_of
from .levels import fit_levels, gaussian_levels, per_unit_of, stored_levels
from .search import search_stream
from .stream import DirectStreams, SeedString
from .stream import slices_per_stream as stream_size

__all__ = ["Scaled", "choose", "scaled", "sequence"]

_SAMPLE = 1 << 16
"""Weights that levels are fitted to."""
_RUN = 1 << 12
"""Weights that the sample takes in a row."""
_ROUNDS = 3
_NEAR = 6
"""Windows before and behind a weight that its importance is told by; 3 do as well."""
_FAR = 32.0
"""Weights beyond so many standard deviations count as being there; their best code stays so."""


@dataclass(frozen=True)
class Scaled:
    """Weights of a tensor in units of their scales.

    Parameters
    ----------
    x : float32 array in the tensor's shape
        Mean square about 1; 0 where the scale is 0.
    importance : float32 array in the tensor's shape
        What a squared error counts: the square of the scale, times what was given; mean 1.
    spread : (rows,) float64
        Root mean square of each row of scales.
    rows : intp array, flat
        The row of scales of each weight.
    """

    x: np.ndarray
    importance: np.ndarray
    spread: np.ndarray
    rows: np.ndarray


def scaled(
    weights: np.ndarray, quantizer: Quantizer, importance: np.ndarray | None, name: str
) -> Scaled:
    """Return weights in units of the root mean square of their rows of scales.

    Raises
    ------
    ConfigError
        If a weight or an importance is not finite, an importance is negative, or shapes differ.
    """
    flat = check_weights(weights, name).reshape(-1).astype(np.float64)
    if importance is None:
        worth = np.ones(flat.size)
    else:
        if importance.shape != weights.shape:
            raise ConfigError(
                f"{name}: importance must have the weights' shape {weights.shape}, not "
                f"{importance.shape}"
            )
        worth = importance.reshape(-1).astype(np.float64)
        if not (np.isfinite(worth).all() and worth.min(initial=0) >= 0):
            raise ConfigError(f"{name}: importance must be finite and not negative")
    rows = quantizer.rows_of(np.arange(flat.size), weights.shape)
    count = quantizer.scale_shape(weights.shape)[0]
    sizes = np.bincount(rows, minlength=count)
    power = np.bincount(rows, flat * flat, minlength=count)
    spread = np.sqrt(power / np.maximum(sizes, 1))
    per_spread = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    x = np.clip(flat * per_spread[rows], -_FAR, _FAR).astype(np.float32)
    top = float(spread.max(initial=0)) or 1.0
    worth = worth * (spread / top)[rows] ** 2
    mean = float(worth.mean()) if worth.size else 0.0
    worth = worth / mean if mean else np.ones_like(worth)
    shape = weights.shape
    return Scaled(x.reshape(shape), worth.astype(np.float32).reshape(shape), spread, rows)


def sequence(array: np.ndarray, order: str, config: DirectConfig) -> np.ndarray:
    """Return weights in the order in which the trellis runs: lane after lane, beat after beat."""
    flat = flatten(array, order)
    if order in ("row", "column"):
        return flat
    slices = np.zeros((slice_count(flat.size, config.lanes), config.lanes), flat.dtype)
    beats_of(flat, lanes(order, flat.size, config.lanes), 0, slices)
    return slices.reshape(-1)[: flat.size]


def _beside_neighbours(worth: np.ndarray, config: DirectConfig) -> np.ndarray:
    """Return importance by its mean nearby.

    Paths only compete over a few windows, where a common factor says nothing; but metrics are bytes
    that stop at 255, which a run of important weights would reach whatever its codes.
    """
    near = -(-_NEAR * config.window * config.period // config.rate.numerator)
    total = np.concatenate([[0], np.cumsum(worth, dtype=np.float64)])
    at = np.arange(worth.size)
    low, high = np.maximum(at - near, 0), np.minimum(at + near, worth.size)
    mean = (total[high] - total[low]) / (high - low)
    found = np.divide(worth, mean, out=np.ones(worth.size), where=mean > 0)
    return found.astype(np.float32)


def _sample(x: np.ndarray, worth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return evenly spread runs of weights."""
    if x.size <= _SAMPLE:
        return x, worth
    starts = np.linspace(0, x.size - _RUN, _SAMPLE // _RUN).astype(np.intp)
    at = (starts[:, None] + np.arange(_RUN)).reshape(-1)
    return x[at], worth[at]


def _refitted(
    target: np.ndarray, levels: np.ndarray, codes: np.ndarray, worth: np.ndarray, given: Scaled
) -> np.ndarray:
    """Return the scales of the least error, (rows,) float64; a row's own where that is none."""
    values = levels.astype(np.float64)[codes.reshape(-1)]
    count = given.spread.size
    power = np.bincount(given.rows, worth * values * values, minlength=count)
    product = np.bincount(given.rows, worth * values * target, minlength=count)
    # A negative scale would do, but scales are magnitudes.
    return np.divide(product, power, out=np.zeros(count), where=(power > 0) & (product > 0))


def choose(
    weights: np.ndarray,
    config: DirectConfig,
    quantizer: Quantizer,
    *,
    order: str = "auto",
    slices_per_stream: int | None = None,
    importance: np.ndarray | None = None,
    own_levels: bool = True,
    threads: int | None = None,
    name: str = "weights",
) -> DirectChoice:
    """Choose the values of a tensor that come nearest to its weights.

    Parameters
    ----------
    weights : float array of any shape
    config : DirectConfig
    quantizer : Quantizer
        Method ``trellis``; tells what a scale serves.
    order : str
        Weight order; ``auto``: by columns.
    slices_per_stream : int, optional
        Slices of all streams but the last; as many as a header can count by default.
    importance : float array of the weights' shape, optional
        What a squared error counts, not negative.
    own_levels : bool
        Fit levels to the weights; else those for Gaussian weights.
    threads : int, optional
        All available cores by default; the result is the same.
    name : str
        Of the tensor, for messages.

    Raises
    ------
    ConfigError
        If a weight or an importance is not finite, or parameters do not fit together.
    """
    config.check_planes(quantizer.planes)
    order = check_order(order_of(order))
    given = scaled(weights, quantizer, importance, name)
    x, worth = (sequence(a, order, config) for a in (given.x, given.importance))
    worth = _beside_neighbours(worth, config)
    levels = gaussian_levels(config)
    if own_levels and x.size:
        some, counts = _sample(x, worth)
        levels, _ = fit_levels(some, counts, levels, config, rounds=_ROUNDS, threads=threads)
    stored, unit = stored_levels(levels)
    levels = stored.astype(np.float32) * np.float32(unit)
    per_unit = per_unit_of(config, 1.0)
    size = slices_per_stream or stream_size(weights.size, config)
    streams = []
    for first in range(0, x.size, size * config.lanes):
        part = slice(first, first + size * config.lanes)
        seeds = search_stream(x[part], worth[part], levels, per_unit, config, threads=threads)
        streams.append(
            SeedString(_padded(seeds, x[part].size, config), x[part].size * config.planes)
        )
    encoded = DirectStreams(order, size, stored, tuple(streams))
    codes = decode(encoded, weights.shape, config)
    flat = weights.reshape(-1).astype(np.float64)
    own = np.ones(flat.size) if importance is None else importance.reshape(-1).astype(np.float64)
    fitted = _refitted(flat, stored, codes, own, given)
    fitted = np.where((fitted == 0) & (given.spread > 0), given.spread * unit, fitted)
    peaks = np.zeros(given.spread.size)
    np.maximum.at(peaks, given.rows, np.abs(flat))
    scales, _, notes = stored_scales(fitted[:, None], peaks, quantizer)
    zeros = int(np.count_nonzero((given.spread == 0)[: peaks.size]))
    if zeros:
        notes.append(f"{zeros} of {peaks.size} scale rows are all zeros: their scale is 0")
    return DirectChoice(encoded, codes, scales, tuple(notes))


def _padded(seeds: np.ndarray, weights: int, config: DirectConfig) -> np.ndarray:
    """Return seeds with zeros up to the last beat's end and two words more."""
    words = -(-slice_count(weights, config.lanes) * config.n_in // 64) + 2
    return np.concatenate([seeds, np.zeros(max(0, words - seeds.size), np.uint64)])
