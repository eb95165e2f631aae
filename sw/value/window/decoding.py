# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the window decoder: 64 slices at once, one machine word per output."""

import numpy as np
from xorloom.sw.bits.gf2 import get_bits, put_bits
from xorloom.sw.bits.jit import njit
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
def _deposit_lanes(
    outputs: np.ndarray, where: Lanes, planes: int, first: int, count: int, out: np.ndarray
) -> None:
    """Store ``count`` slices of an order whose lanes are runs."""
    for lane in range(where.start.size):
        length = where.length[lane]
        n = min(count, length - first)
        if n <= 0:
            break
        at = first + where.turn[lane]
        if at >= length:
            at -= length
        head = min(n, length - at)  # the rest has come round to the run's beginning
        for b in range(planes):
            word = outputs[lane * planes + b]
            if n < _BLOCK:
                word &= (_ONE << np.uint64(n)) - _ONE
            if head < n:
                low = word & ((_ONE << np.uint64(head)) - _ONE)
                put_bits(out[b], np.uint64(where.start[lane] + at), low)
                put_bits(out[b], np.uint64(where.start[lane]), word >> np.uint64(head))
            else:
                put_bits(out[b], np.uint64(where.start[lane] + at), word)


@njit(nogil=True, cache=True)
def _deposit_slices(
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
        for group in range(0, per_slice, _BLOCK):
            n = min(_BLOCK, per_slice - group)
            for k in range(_BLOCK):
                turned[k] = outputs[(group + k) * planes + b] if k < n else np.uint64(0)
            transpose(turned, np.uint64(0))
            for k in range(count):
                start = np.uint64((first + k) * per_slice + group)
                put_bits(out[b], start, turned[k])


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
        if where.step == 1:
            _deposit_lanes(outputs, where, planes, first + base, count, out)
        else:
            _deposit_slices(outputs, where.start.size, planes, first + base, count, turned, out)
