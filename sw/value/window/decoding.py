# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the window decoder: 64 slices at once, one machine word per output."""

import numpy as np
from xorloom.sw.bits.gf2 import get_bits
from xorloom.sw.bits.jit import njit
from xorloom.sw.bits.slices import put_lanes
from xorloom.sw.bits.transpose import transpose
from xorloom.sw.tensors.orders import Lanes

from .geometry import Geometry

__all__ = ["BAD_PATCH", "BAD_RATE", "OK", "decode_slices", "walk"]

OK, BAD_RATE, BAD_PATCH = 0, 1, 2
"""Outcome of :func:`walk`."""
_ONE = np.uint64(1)
_BLOCK = 64


@njit(nogil=True, cache=True)
def _evaluate(
    inputs: np.ndarray,
    parities: np.ndarray,
    own: np.ndarray,
    picks: np.ndarray,
    shared: np.ndarray,
    outputs: np.ndarray,
) -> None:
    """The network on words of 64 slices: ``inputs[t]`` is window position ``t`` of all of them."""
    for p in range(parities.shape[0]):
        word = np.uint64(0)
        for t in range(parities.shape[1]):
            word ^= inputs[parities[p, t]]
        shared[p] = word
    for j in range(own.shape[0]):
        word = np.uint64(0)
        for t in range(own.shape[1]):
            word ^= inputs[own[j, t]]
        for p in range(picks.shape[1]):
            word ^= shared[picks[j, p]]
        outputs[j] = word


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
    own: np.ndarray,
    picks: np.ndarray,
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
    parities, own, picks : (shared, parity_taps), (n_out, own_taps), (n_out, shared_taps) int64
        The network.
    out : (planes, ceil(slices of the tensor * lanes / 64) + 2) uint64, out, zeroed
        Bits in the order's own sequence of weights.
    """
    n_words = shape.window // 64
    inputs = np.zeros(shape.window, np.uint64)
    outputs = np.zeros(own.shape[0], np.uint64)
    shared = np.zeros(parities.shape[0], np.uint64)
    turned = np.zeros(_BLOCK, np.uint64)
    for base in range(0, ends.size, _BLOCK):
        count = min(_BLOCK, ends.size - base)
        for k in range(count):
            start = ends[base + k] * shape.n_in - shape.window
            for w in range(n_words):
                inputs[w * _BLOCK + k] = get_bits(seeds, np.uint64(start + _BLOCK * w))
        for w in range(n_words):
            transpose(inputs, np.uint64(w * _BLOCK))
        _evaluate(inputs, parities, own, picks, shared, outputs)
        for k in range(count):
            if flips[base + k] >= 0:
                outputs[flips[base + k]] ^= _ONE << np.uint64(k)
        put_lanes(outputs, where, planes, first + base, count, turned, out)
