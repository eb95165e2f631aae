# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the window decoder: 512 slices at once, one wide word per output."""

import numpy as np
from xorloom.sw.bits.gf2 import get_bits
from xorloom.sw.bits.jit import njit
from xorloom.sw.bits.lanes import GROUP, put_lanes
from xorloom.sw.bits.transpose import transpose
from xorloom.sw.bits.wide import WIDE, xor_rows
from xorloom.sw.tensors.orders import Lanes

from .geometry import Geometry

__all__ = ["BAD_PATCH", "BAD_RATE", "OK", "decode_slices", "walk"]

OK, BAD_RATE, BAD_PATCH = 0, 1, 2
"""Outcome of :func:`walk`."""
_ONE = np.uint64(1)
_BLOCK = 64


@njit(nogil=True, cache=True, entry=False)
def _evaluate(
    rows: np.ndarray, parities: np.ndarray, taps: np.ndarray, outputs: np.ndarray
) -> None:
    """The network on wide words: row ``t`` is window position ``t`` of 512 slices.

    Shared parities become the rows after those of the window.
    """
    count = np.uint64(parities.shape[1])
    first = np.uint64(rows.size // WIDE - parities.shape[0])
    flat = parities.reshape(-1)
    for p in range(np.uint64(parities.shape[0])):
        xor_rows(rows, flat, p * count, count, rows, first + p)
    count, flat = np.uint64(taps.shape[1]), taps.reshape(-1)
    for j in range(np.uint64(taps.shape[0])):
        xor_rows(rows, flat, j * count, count, outputs, j)


@njit(nogil=True, cache=True, entry=False)
def _take(
    seeds: np.ndarray,
    ends: np.ndarray,
    n_in: int,
    window: int,
    turned: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Set rows to the windows of up to 512 slices."""
    n_words = window // _BLOCK
    for base in range(0, ends.size, _BLOCK):
        count = min(_BLOCK, ends.size - base)
        for k in range(count):
            start = np.uint64(ends[base + k] * n_in - window)
            at, shift = start >> np.uint64(6), start & np.uint64(63)
            for w in range(np.uint64(n_words)):
                # No branch: one shift by 64 bits is not defined, two are.
                high = (seeds[at + w + _ONE] << _ONE) << (np.uint64(63) - shift)
                turned[w * np.uint64(_BLOCK) + np.uint64(k)] = seeds[at + w] >> shift | high
        for w in range(n_words):
            transpose(turned, np.uint64(_BLOCK * w))
        for t in range(window):
            rows[np.uint64(t * WIDE + base // _BLOCK)] = turned[np.uint64(t)]


@njit(nogil=True, cache=True)
def walk(
    seeds: np.ndarray,
    n_chunks: int,
    shape: Geometry,
    n_out: int,
    ends: np.ndarray,
    flips: np.ndarray,
    facts: np.ndarray,
) -> tuple[int, int]:
    """Follow the rate words and patch entries of one seed stream.

    Parameters
    ----------
    seeds : (ceil(n_chunks * n_in / 64) + 2,) uint64
    n_chunks : int
        Chunks there are at most.
    ends : (slices,) int64, out
        Chunks that have entered the window when a slice leaves.
    flips : (slices,) int64, out
        Output to invert, or -1.
    facts : (frames, 2) int64, out, zeroed
        Rate word and patches of every frame.

    Returns
    -------
    (status, place) : tuple of int
        ``OK`` and the chunks used; else ``BAD_RATE`` or ``BAD_PATCH`` and the frame.
    """
    frame = shape.frame
    rate_mask = (_ONE << np.uint64(shape.rate_bits)) - _ONE
    entry_mask = (_ONE << np.uint64(shape.patch_bits)) - _ONE
    chunk = 0
    credit = -shape.preload_steps * frame
    steps = 0
    waiting, waiting_lane = -1, 0
    due = False
    for e in range(ends.size):
        f, place = e // frame, e % frame
        fresh = place == 0
        while True:
            if chunk == n_chunks:
                return BAD_RATE, f
            opening = np.uint64(chunk * shape.n_in)
            if fresh:
                rate = int(get_bits(seeds, opening) & rate_mask)
                steps = frame + (rate << shape.rate_shift)
                facts[f, 0] = rate
                due = shape.patch_bits > 0
                opening += np.uint64(shape.rate_bits)
            if due:
                entry = int(get_bits(seeds, opening) & entry_mask)
                if entry & 1:
                    waiting = (entry >> 1) & (frame - 1)
                    waiting_lane = entry >> (1 + shape.index_bits)
                    if waiting < place or waiting_lane >= n_out:
                        return BAD_PATCH, f
            fresh = due = False
            chunk += 1
            credit += frame
            if credit >= steps:
                break
        credit -= steps
        ends[e] = chunk
        flips[e] = -1
        if waiting == place:
            flips[e] = waiting_lane
            facts[f, 1] += 1
            waiting = -1
            due = shape.patch_bits > 0
        if waiting >= 0 and (place == frame - 1 or e == ends.size - 1):
            return BAD_PATCH, f
    return OK, chunk


@njit(nogil=True, cache=True)
def decode_slices(
    seeds: np.ndarray,
    ends: np.ndarray,
    flips: np.ndarray,
    first: int,
    shape: Geometry,
    parities: np.ndarray,
    taps: np.ndarray,
    where: Lanes,
    planes: int,
    out: np.ndarray,
) -> None:
    """Decode one seed stream into packed bit planes.

    Parameters
    ----------
    seeds, ends, flips
        See :func:`walk`.
    first : int
        Number of the stream's first slice in its tensor.
    parities, taps : (shared, parity_taps), (n_out, own_taps + shared_taps) uint64
        The network: window positions, and of ``taps`` those from ``window`` on are parities.
    out : (planes, ceil(slices of the tensor * lanes / 64) + 2) uint64, out, zeroed
        Bits in the order's own sequence of weights.
    """
    rows = np.zeros((shape.window + parities.shape[0]) * WIDE, np.uint64)
    outputs = np.zeros(taps.shape[0] * WIDE + 1, np.uint64)
    windows, turned = np.zeros(shape.window, np.uint64), np.zeros(_BLOCK, np.uint64)
    for base in range(0, ends.size, GROUP):
        own = ends[base : base + GROUP]
        _take(seeds, own, shape.n_in, shape.window, windows, rows)
        _evaluate(rows, parities, taps, outputs)
        for k in range(own.size):
            if flips[base + k] >= 0:
                outputs[flips[base + k] * WIDE + k // _BLOCK] ^= _ONE << np.uint64(k % _BLOCK)
        put_lanes(outputs, where, planes, first + base, own.size, turned, out)
