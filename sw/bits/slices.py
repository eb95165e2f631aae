# SPDX-License-Identifier: Apache-2.0
"""Numba kernels from packed tensors to packed slices, 64 slices at once.

``where`` is what :func:`xorloom.sw.tensors.orders.lanes` gives.
"""

from typing import Any

import numpy as np

from .gf2 import get_bits
from .jit import njit
from .transpose import transpose

__all__ = [
    "cut_plane",
    "cut_slices",
    "pack_planes",
    "packed_beats",
]

_BLOCK = 64


def pack_planes(mask: np.ndarray, codes: np.ndarray, planes: int, n_out: int) -> np.ndarray:
    """Pack a flat mask and the codes of kept weights, for :func:`cut_slices`.

    Parameters
    ----------
    mask, codes : (weights,) bool, uint8
    n_out : int
        Bits of a slice: the last one may be read whole.

    Returns
    -------
    (1 + planes, words) uint64
        The mask, and each bit of the codes, 0 where not kept and behind the last weight.
    """
    packed = np.zeros((1 + planes, -(-mask.size // 64) + n_out // 64 + 1), np.uint64)
    n_bytes = -(-mask.size // 8)
    packed.view(np.uint8)[0, :n_bytes] = np.packbits(mask, bitorder="little")
    for b in range(planes):
        plane = codes if planes == 1 else codes & np.uint8(1 << b)
        packed.view(np.uint8)[1 + b, :n_bytes] = np.packbits(plane, bitorder="little")
    packed[1:] &= packed[0]
    return packed


@njit(inline="always")
def _low(count: int) -> np.uint64:
    """Word with ``count`` bits set, at least one."""
    return ~np.uint64(0) >> np.uint64(_BLOCK - count)


@njit(nogil=True, cache=True, entry=False)
def _cut_runs(bits: np.ndarray, where: Any, first: int, count: int, lanes: np.ndarray) -> None:
    """Set ``lanes[l]`` to the bits of lane l, a run, in ``count`` slices from ``first`` on."""
    starts, lengths, turns = where.start, where.length, where.turn
    for lane in range(starts.size):
        start, length = starts[lane], lengths[lane]
        n = min(count, length - first)
        if n <= 0:
            lanes[lane] = np.uint64(0)
            continue
        at = first + turns[lane]
        if at >= length:
            at -= length
        word = get_bits(bits, np.uint64(start + at))
        head = length - at
        if head < n:  # the rest has come round to the run's beginning
            word = word & _low(head) | get_bits(bits, np.uint64(start)) << np.uint64(head)
        lanes[lane] = word & _low(n)


@njit(nogil=True, cache=True, entry=False)
def _cut_rows(
    bits: np.ndarray, per_slice: int, first: int, count: int, turned: np.ndarray, lanes: np.ndarray
) -> None:
    """Likewise where slices are runs."""
    for group in range(0, per_slice, _BLOCK):
        n = min(_BLOCK, per_slice - group)
        turned[:] = 0
        for k in range(count):
            turned[k] = get_bits(bits, np.uint64((first + k) * per_slice + group)) & _low(n)
        transpose(turned, np.uint64(0))
        for k in range(n):  # Numba takes seconds to compile an assignment of slices
            lanes[group + k] = turned[k]


@njit(nogil=True, cache=True)
def cut_plane(bits: np.ndarray, where: Any, first: int, out: np.ndarray) -> None:
    """Cut slices of one plane out of a packed tensor.

    Parameters
    ----------
    bits : (words,) uint64
        In the order's own sequence of weights, 0 behind the last one for the length of a slice.
    where
        Places of the lanes.
    first : int
        Number of the first slice.
    out : (slices, ceil(lanes / 64)) uint64, out
        Packed slices; 0 where there is no weight.
    """
    per_slice, n_words = where.start.size, out.shape[1]
    turned, lanes = np.empty(_BLOCK, np.uint64), np.zeros(_BLOCK * n_words, np.uint64)
    for base in range(0, out.shape[0], _BLOCK):
        count = min(_BLOCK, out.shape[0] - base)
        lanes[per_slice:] = 0
        if where.step == 1:
            _cut_runs(bits, where, first + base, count, lanes)
        else:
            _cut_rows(bits, per_slice, first + base, count, turned, lanes)
        for w in range(n_words):
            at = _BLOCK * w
            transpose(lanes, np.uint64(at))
            for k in range(count):
                out[base + k, w] = lanes[at + k]


def packed_beats(bits: np.ndarray, slices: int, n_out: int, where: Any) -> np.ndarray:
    """Cut a packed mask into slices.

    Parameters
    ----------
    bits : (ceil(weights / 64) + ceil(n_out / 64) + 1 or more,) uint64
        The mask in the order's own sequence; 0 behind the last weight.
    slices : int
    n_out : int
        Weights of a slice.

    Returns
    -------
    (slices, ceil(n_out / 64)) uint64
        0 where there is no weight.
    """
    if where.step > 1 and n_out % 64 == 0:  # slices are whole words
        return bits[: slices * n_out // 64].reshape(slices, n_out // 64)
    packed = np.empty((slices, -(-n_out // 64)), np.uint64)
    cut_plane(bits, where, 0, packed)
    return packed


@njit(nogil=True, cache=True)
def cut_slices(
    packed: np.ndarray, where: Any, first: int, care: np.ndarray, value: np.ndarray
) -> None:
    """Cut slices out of a tensor; plane ``b`` of lane ``l`` is output ``l * planes + b``.

    Parameters
    ----------
    packed : (1 + planes, words) uint64
        See :func:`pack_planes`.
    where
        Places of the lanes.
    first : int
        Number of the first slice.
    care, value : (slices, n_out / 64) uint64, out
        Packed care mask and values, zero where not kept.
    """
    planes, per_slice, n_words = packed.shape[0] - 1, where.start.size, care.shape[1]
    turned = np.empty(_BLOCK, np.uint64)
    lanes = np.empty(per_slice, np.uint64)
    kept, codes = np.zeros(_BLOCK * n_words, np.uint64), np.zeros(_BLOCK * n_words, np.uint64)
    for base in range(0, care.shape[0], _BLOCK):
        count = min(_BLOCK, care.shape[0] - base)
        kept[per_slice * planes :] = codes[per_slice * planes :] = 0
        for p in range(1 + planes):
            if where.step == 1:
                _cut_runs(packed[p], where, first + base, count, lanes)
            else:
                _cut_rows(packed[p], per_slice, first + base, count, turned, lanes)
            for lane in range(per_slice):
                if p:
                    codes[lane * planes + p - 1] = lanes[lane]
                else:
                    for b in range(planes):
                        kept[lane * planes + b] = lanes[lane]
        for w in range(n_words):
            at = _BLOCK * w
            transpose(kept, np.uint64(at))
            transpose(codes, np.uint64(at))
            for k in range(count):
                care[base + k, w] = kept[at + k]
                value[base + k, w] = codes[at + k]
