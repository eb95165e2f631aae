# SPDX-License-Identifier: Apache-2.0
"""Schemes beside the product's: scalar levels of Lloyd and Max, and N:M sparsity.

Nobody stores headers for them here: codes, scales, levels and indices are all that is counted.
"""

import numpy as np
from xorloom.sw.index.rate_distortion import nm_mask
from xorloom.sw.tensors.quantize import Quantizer, dequantize, quantize

from .points import Point
from .sources import Source

__all__ = ["lloyd_levels", "other_point"]

_SAMPLE = 1 << 20
_ROUNDS = 2000
_LEVEL_BITS = 16


def lloyd_levels(sample: np.ndarray, planes: int) -> np.ndarray:
    """Return the ``2**planes`` levels of least squared error for a sample, ascending.

    Every turn takes the means of the cells between them, until they stay.

    Source: Lloyd, IEEE Trans. Inf. Theory 28, 1982; Max, IRE Trans. Inf. Theory 6, 1960.
    """
    flat = np.sort(np.asarray(sample, np.float64).reshape(-1))
    sums = np.append(0.0, np.cumsum(flat))
    levels = np.quantile(flat, (np.arange(1 << planes) + 0.5) / (1 << planes))
    for _ in range(_ROUNDS):
        ends = np.searchsorted(flat, (levels[1:] + levels[:-1]) / 2)
        ends = np.concatenate(([0], ends, [flat.size]))
        counts = np.diff(ends)
        means = np.divide(np.diff(sums[ends]), counts, out=levels.copy(), where=counts > 0)
        if np.abs(means - levels).max() < 1e-6:
            break
        levels = means
    return levels


def _scales(source: Source, weights: np.ndarray) -> np.ndarray:
    """Return deviations in float16, of the rows or of all, to be broadcast."""
    deviation = weights.std(axis=-1, keepdims=True) if source.scale == "row" else weights.std()
    return np.asarray(deviation, np.float16).astype(np.float32)


def _scalar(source: Source, planes: int) -> tuple[dict[str, np.ndarray], float]:
    units = {name: w / _scales(source, w) for name, w in source.tensors.items()}
    every = np.concatenate([unit.reshape(-1) for unit in units.values()])
    levels = lloyd_levels(every[:: -(-every.size // _SAMPLE)], planes).astype(np.float32)
    decoded, bits = {}, 0
    for name, unit in units.items():
        scales = _scales(source, source.tensors[name])
        codes = np.searchsorted((levels[1:] + levels[:-1]) / 2, unit)
        decoded[name] = levels[codes] * scales
        bits += planes * unit.size + 16 * scales.size + _LEVEL_BITS * levels.size
    return decoded, bits / source.weights


def _of_groups(
    source: Source, pattern: str, method: str, planes: int
) -> tuple[dict[str, np.ndarray], float]:
    n, m = map(int, pattern.split(":"))
    how = Quantizer(method, planes, source.scale)
    decoded, bits = {}, 0.0
    for name, weights in source.tensors.items():
        mask, index_bits = nm_mask(weights, n, m)
        made = quantize(weights, mask, how, name=name)
        decoded[name] = dequantize(made, how, name=name)
        bits += index_bits * weights.size + planes * int(np.count_nonzero(mask))
        bits += made.scales.nbytes * 8
    return decoded, bits / source.weights


def other_point(source: Source, point: Point) -> tuple[dict[str, np.ndarray], float]:
    """Return the weights that a scheme leaves of a source, and its bits per weight."""
    given = dict(point.options)
    if point.codec == "lloyd-max":
        return _scalar(source, given["planes"])
    (_, pattern), (method, planes) = point.options
    return _of_groups(source, pattern, method, planes)
