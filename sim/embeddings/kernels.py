# SPDX-License-Identifier: Apache-2.0
"""Kernel of the encoder: GELU, exact, in place."""

import math

import numpy as np
from xorloom.sw.bits.jit import njit

__all__ = ["gelu"]

_ROOT_HALF = 0.5**0.5


@njit(cache=True, nogil=True)
def gelu(x: np.ndarray) -> None:
    """Replace every element of ``x`` (rows, columns), float32, by ``x / 2 * (1 + erf(x / sqrt2))``.

    Source: Hendrycks and Gimpel, 2016, "Gaussian error linear units".
    """
    rows, columns = x.shape
    for row in range(rows):
        for column in range(columns):
            value = float(x[row, column])
            x[row, column] = np.float32(0.5 * value * (1.0 + math.erf(value * _ROOT_HALF)))
