# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the window decoder: 64 slices at once, one machine word an output."""

import numpy as np
from numba import njit

from .gf2 import get_bits, put_bits
from .orders import Lanes
from .window_kernels import Geometry

__all__ = ["BAD_LENGTH", "BAD_PATCH", "OK", "decode_stream"]

OK, BAD_LENGTH, BAD_PATCH = 0, 1, 2
"""Outcome of :func:`decode_stream`."""
_ONE = np.uint64(1)
_BLOCK = 64


@njit(nogil=True, cache=True)
def _transpose(block: np.ndarray, at: int) -> None:
    """Transpose the 64 x 64 bits of ``block[at : at + 64]`` in place.

    Source: Warren, "Hacker's Delight", section "Transposing a bit matrix".
    """
    width = 32
    low = np.uint64(0xFFFFFFFF)
    while width:
        shift = np.uint64(width)
        for base in range(at, at + 64, 2 * width):
            for k in range(base, base + width):
                swap = ((block[k] >> shift) ^ block[k + width]) & low
                block[k] ^= swap << shift
                block[k + width] ^= swap
        width >>= 1
        low ^= low << np.uint64(width)


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
            _transpose(turned, 0)
            for k in range(count):
                start = np.uint64((first + k) * per_slice + group)
                put_bits(out[b], start, turned[k])


@njit(nogil=True, cache=True)
def decode_stream(
    seeds: np.ndarray,
    n_chunks: int,
    n_slices: int,
    first: int,
    shape: Geometry,
    parities: np.ndarray,
    own: np.ndarray,
    picks: np.ndarray,
    where: Lanes,
    planes: int,
    out: np.ndarray,
    facts: np.ndarray,
) -> tuple[int, int]:
    """Decode one seed stream into packed bit planes.

    Parameters
    ----------
    seeds : (ceil(n_chunks * n_in / 64) + 2,) uint64
    first : int
        Number of the stream's first slice in its tensor.
    parities, own, picks : (shared, parity_taps), (n_out, own_taps), (n_out, shared_taps) int64
        The network.
    out : (planes, ceil(slices of the tensor * lanes / 64) + 2) uint64, out, zeroed
        Bits in the order's own sequence of weights.
    facts : (frames, 2) int64, out
        Rate word and patches of every frame.

    Returns
    -------
    (status, place) : tuple of int
        ``OK``; ``BAD_LENGTH`` and the frame in which the rate words want more chunks than there
        are, or -1 if chunks are left over; ``BAD_PATCH`` and the frame.
    """
    window, n_in, frame = shape.window, shape.n_in, shape.frame
    n_out = own.shape[0]
    inputs = np.zeros(window, np.uint64)
    outputs = np.zeros(n_out, np.uint64)
    shared = np.zeros(parities.shape[0], np.uint64)
    turned = np.zeros(_BLOCK, np.uint64)
    flip_slice = np.zeros(_BLOCK, np.int64)
    flip_lane = np.zeros(_BLOCK, np.int64)
    rate_mask = (_ONE << np.uint64(shape.rate_bits)) - _ONE
    flips = 0
    chunk = 0
    credit = -shape.preload_steps * frame
    steps = 0
    pending, pending_lane = -1, 0
    due = False
    run_by_slices = where.step != 1 or where.start.size == 1
    for e in range(n_slices):
        place = e % frame
        fresh = place == 0
        while True:
            if chunk == n_chunks:
                return BAD_LENGTH, e // frame
            if fresh:
                rate = np.int64(get_bits(seeds, np.uint64(chunk * n_in)) & rate_mask)
                steps = frame + (rate << shape.rate_shift)
                facts[e // frame, 0] = rate
            if shape.patch_bits and (fresh or due):
                if pending >= 0:
                    return BAD_PATCH, e // frame
                offset = shape.rate_bits if fresh else 0
                entry = np.int64(
                    get_bits(seeds, np.uint64(chunk * n_in + offset))
                    & ((_ONE << np.uint64(shape.patch_bits)) - _ONE)
                )
                pending = -1
                if entry & 1:
                    pending = (entry >> 1) & (frame - 1)
                    pending_lane = entry >> (1 + shape.index_bits)
                    if pending < place or pending_lane >= n_out:
                        return BAD_PATCH, e // frame
            fresh = due = False
            chunk += 1
            credit += frame
            if credit >= steps:
                break
        credit -= steps
        k = e % _BLOCK
        if pending == place:
            flip_slice[flips], flip_lane[flips] = k, pending_lane
            flips += 1
            facts[e // frame, 1] += 1
            pending = -1
            due = True
        start = chunk * n_in - window
        for w in range(window // 64):
            inputs[w * 64 + k] = get_bits(seeds, np.uint64(start + 64 * w))
        if k == _BLOCK - 1 or e == n_slices - 1:
            for w in range(0, window, 64):
                _transpose(inputs, w)
            _evaluate(inputs, parities, own, picks, shared, outputs)
            for i in range(flips):
                outputs[flip_lane[i]] ^= _ONE << np.uint64(flip_slice[i])
            flips = 0
            at = first + e - k
            if run_by_slices:
                _deposit_slices(outputs, where.start.size, planes, at, k + 1, turned, out)
            else:
                _deposit_lanes(outputs, where, planes, at, k + 1, out)
    if pending >= 0:
        return BAD_PATCH, n_slices // frame
    if chunk != n_chunks:
        return BAD_LENGTH, -1
    return OK, 0
