# SPDX-License-Identifier: Apache-2.0
"""Numba kernels from packed slices to packed tensors, 512 slices at once.

``where`` is what :func:`xorloom.sw.tensors.orders.lanes` gives.
"""

from typing import Any

import numpy as np

from .gf2 import get_bits, put_bits
from .jit import njit
from .transpose import transpose
from .wide import WIDE, put_wide

__all__ = ["GROUP", "put_lanes", "put_slices", "turned_bits"]

_BLOCK = 64
GROUP = _BLOCK * WIDE
"""Slices that are put at once."""


@njit(inline="always")
def _low(count: int) -> np.uint64:
    """Word with ``count`` bits set, at least one."""
    return ~np.uint64(0) >> np.uint64(_BLOCK - count)


@njit(nogil=True, cache=True, entry=False)
def _put(out: np.ndarray, start: int, rows: np.ndarray, at: int, skip: int, count: int) -> None:
    """OR ``count`` bits, those from bit ``skip`` on, of a wide word into a plane."""
    if count == GROUP:
        put_wide(out, np.uint64(start), rows, np.uint64(at))
        return
    first = at * GROUP + skip
    for k in range(0, count, _BLOCK):
        word = get_bits(rows, np.uint64(first + k)) & _low(min(_BLOCK, count - k))
        put_bits(out, np.uint64(start + k), word)


@njit(nogil=True, cache=True, entry=False)
def _put_runs(
    outputs: np.ndarray, where: Any, planes: int, first: int, count: int, out: np.ndarray
) -> None:
    """Store ``count`` slices of an order whose lanes are runs."""
    starts, lengths, turns = where.start, where.length, where.turn
    for b in range(planes):
        plane = out[b]  # a view is counted: not one per lane
        for lane in range(starts.size):
            start, length = starts[lane], lengths[lane]
            n = min(count, length - first)
            if n <= 0:
                break
            at = first + turns[lane]
            if at >= length:
                at -= length
            head = min(n, length - at)  # the rest has come round to the run's beginning
            _put(plane, start + at, outputs, lane * planes + b, 0, head)
            if head < n:
                _put(plane, start, outputs, lane * planes + b, head, n - head)


@njit(nogil=True, cache=True, entry=False)
def _put_rows(
    outputs: np.ndarray,
    per_slice: int,
    planes: int,
    first: int,
    count: int,
    turned: np.ndarray,
    out: np.ndarray,
) -> None:
    """Store ``count`` slices of an order whose slices are runs."""
    for b in range(planes):
        plane = out[b]
        for base in range(0, count, _BLOCK):
            slices = min(_BLOCK, count - base)
            for group in range(0, per_slice, _BLOCK):
                n = min(_BLOCK, per_slice - group)
                turned[n:] = 0
                for k in range(n):
                    place = ((group + k) * planes + b) * WIDE + base // _BLOCK
                    turned[k] = outputs[np.uint64(place)]
                transpose(turned, np.uint64(0))
                for k in range(slices):
                    start = np.uint64((first + base + k) * per_slice + group)
                    put_bits(plane, start, turned[k])


@njit(nogil=True, cache=True, entry=False)
def put_lanes(
    outputs: np.ndarray,
    where: Any,
    planes: int,
    first: int,
    count: int,
    turned: np.ndarray,
    out: np.ndarray,
) -> None:
    """Put up to 512 slices into packed planes of a tensor.

    Parameters
    ----------
    outputs : (8 * lanes * planes + 1 or more,) uint64
        Bit ``k & 63`` of word ``8 * (l * planes + b) + (k >> 6)``: plane b of lane l in slice
        ``first + k``.
    where
        Places of the lanes.
    first, count : int
        Number of the first slice, and how many there are.
    turned : (64,) uint64
        Room to work in.
    out : (planes, ceil(slices of the tensor * lanes / 64) + 2) uint64, out
        Bits in the order's own sequence of weights; zero where nothing has been put yet.
    """
    if where.step == 1:
        _put_runs(outputs, where, planes, first, count, out)
    else:
        _put_rows(outputs, where.start.size, planes, first, count, turned, out)


@njit(nogil=True, cache=True)
def put_slices(packed: np.ndarray, where: Any, first: int, out: np.ndarray) -> None:
    """Put packed slices of one plane into a packed tensor.

    Parameters
    ----------
    packed : (slices, ceil(lanes / 64)) uint64
    where
        Places of the lanes.
    first : int
        Number of the first slice.
    out : (1, words) uint64, out
        As for :func:`put_lanes`.
    """
    n_words = packed.shape[1]
    turned = np.empty(_BLOCK, np.uint64)
    outputs = np.zeros(_BLOCK * n_words * WIDE + 1, np.uint64)
    for base in range(0, packed.shape[0], GROUP):
        count = min(GROUP, packed.shape[0] - base)
        for w in range(n_words):
            for block in range(0, count, _BLOCK):
                n = min(_BLOCK, count - block)
                turned[n:] = 0
                for k in range(n):
                    turned[k] = packed[base + block + k, w]
                transpose(turned, np.uint64(0))
                for k in range(_BLOCK):
                    place = (_BLOCK * w + k) * WIDE + block // _BLOCK
                    outputs[np.uint64(place)] = turned[k]
        put_lanes(outputs, where, 1, first + base, count, turned, out)


@njit(nogil=True, cache=True)
def _turn(words: np.ndarray, rows: int, columns: int, out: np.ndarray) -> None:
    """Transpose one packed matrix; ``out`` is zeroed."""
    block = np.empty(_BLOCK, np.uint64)
    found = np.zeros(_BLOCK * WIDE + 1, np.uint64)
    for row in range(0, rows, GROUP):
        high = min(GROUP, rows - row)
        for column in range(0, columns, _BLOCK):
            wide = min(_BLOCK, columns - column)
            for base in range(0, high, _BLOCK):
                n = min(_BLOCK, high - base)
                block[n:] = 0
                for k in range(n):
                    place = np.uint64((row + base + k) * columns + column)
                    block[k] = get_bits(words, place) & _low(wide)
                transpose(block, np.uint64(0))
                for k in range(_BLOCK):
                    found[np.uint64(k * WIDE + base // _BLOCK)] = block[k]
            for k in range(wide):
                _put(out, (column + k) * rows + row, found, k, 0, high)


def turned_bits(words: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Transpose packed matrices of (rows, columns) bits.

    Parameters
    ----------
    words : (planes, ceil(rows * columns / 64) + 1 or more) uint64

    Returns
    -------
    uint64 array of the same shape
    """
    out = np.zeros_like(words)
    for plane, turned in zip(words, out, strict=True):
        _turn(plane, rows, columns, turned)
    return out
