# SPDX-License-Identifier: Apache-2.0
"""Scalar quantizer for Gaussian weights: what a trellis of as many bits per weight is held against.

Source: Max, "Quantizing for minimum distortion", IRE Trans. Inf. Theory 6, 1960; Lloyd, "Least
squares quantization in PCM", IEEE Trans. Inf. Theory 28, 1982.
"""

import math

import numpy as np

__all__ = ["lloyd_max", "nearest"]

_ROUNDS = 2000


def lloyd_max(planes: int) -> np.ndarray:
    """Return the ``2**planes`` levels of least squared error for a unit Gaussian, ascending.

    Parameters
    ----------
    planes : int, 1 to 6

    Returns
    -------
    (2**planes,) float32
    """
    count = 1 << planes
    levels = np.linspace(-2.5, 2.5, count) if count > 2 else np.array([-1.0, 1.0])
    erf = np.vectorize(math.erf, otypes=[np.float64])
    for _ in range(_ROUNDS):
        edges = np.concatenate(([-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]))
        density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
        moved = (density[:-1] - density[1:]) / np.diff((1 + erf(edges / math.sqrt(2))) / 2)
        change = float(np.abs(moved - levels).max())
        levels = moved
        if change < 1e-9:
            break
    return levels.astype(np.float32)


def nearest(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the codes of the levels that are nearest, uint8.

    Parameters
    ----------
    values : float32 array
    levels : (codes,) float32, ascending
    """
    edges = (levels[1:] + levels[:-1]) / 2
    return np.searchsorted(edges, values).astype(np.uint8)
