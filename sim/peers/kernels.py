# SPDX-License-Identifier: Apache-2.0
"""Kernels of the packed form: the codes of kept weights, one after the other, and back."""

import numpy as np
from xorloom.sw.bits.gf2 import get_bits, lowest_bit, put_bits
from xorloom.sw.bits.jit import njit

__all__ = ["gather", "spread"]


@njit(cache=True, nogil=True)
def gather(mask: np.ndarray, codes: np.ndarray, planes: int, kept: np.ndarray) -> None:
    """Write the code of every kept weight in ``planes`` bits.

    Parameters
    ----------
    mask : (words,) uint64
        Bit ``i`` of all is 1 if weight ``i`` is kept.
    codes : (weights,) uint8
    planes : int
    kept : (m,) uint64
        Zeroed; needs one spare word at the end.
    """
    at = np.uint64(0)
    for k in range(mask.size):
        word = mask[k]
        while word:
            code = codes[64 * k + np.int64(lowest_bit(word))]
            put_bits(kept, at, np.uint64(code))
            at += np.uint64(planes)
            word &= word - np.uint64(1)


@njit(cache=True, nogil=True)
def spread(
    mask: np.ndarray, kept: np.ndarray, planes: int, levels: np.ndarray, values: np.ndarray
) -> None:
    """Put the level of every kept weight in its place.

    Parameters
    ----------
    mask, planes, kept
        As :func:`gather` has them.
    levels : (2**planes,) int8
        By code.
    values : (weights,) int8
        Zeroed.
    """
    at, low = np.uint64(0), np.uint64((1 << planes) - 1)
    for k in range(mask.size):
        word = mask[k]
        while word:
            place = 64 * k + np.int64(lowest_bit(word))
            values[place] = levels[np.int64(get_bits(kept, at) & low)]
            at += np.uint64(planes)
            word &= word - np.uint64(1)
