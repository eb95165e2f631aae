# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the rate control's rules, and a model of what it will spend.

The model follows the encoder's rules with counts of kept bits alone: a slice can be encoded if the
window has as many free bits as it keeps, and a few to spare. So it finds the cost of a weight order
without any equations.
"""

import numpy as np
from xorloom.sw.bits.jit import njit

from .geometry import Geometry

__all__ = ["STUCK_CHUNKS", "first_rate", "model_chunks", "next_rate", "run_frame"]

STUCK_CHUNKS = -1
"""Result of :func:`model_chunks` for slices that keep more than a window holds."""
_SPARE = 16
"""A slice wants free bits beyond its own, a 16th of the window: what the model takes for a little
then comes out right on average, see docs/decisions/window-codec.md."""


@njit(nogil=True, cache=True, entry=False)
def first_rate(
    shape: Geometry, slices: int, count: int, live: int, left: int, later: int,
    target: int, end_target: int,
) -> int:  # fmt: skip
    """Return the rate word with which a frame is tried first.

    It leaves ``target`` live unknowns behind the frame, or towards the end what the rest can use.

    Parameters
    ----------
    slices, count : int
        Slices of the frame, and the bits that they keep.
    live : int
        Free bits of the window before the frame.
    left, later : int
        Kept bits and slices after the frame.
    """
    # What the slices after this frame will use beyond the bits that they bring along anyway.
    wanted = min(target, max(0, left - shape.n_in * later) + end_target)
    need = -(-(count + shape.rate_bits + wanted - live) // shape.n_in)
    steps = max(shape.frame, -(-need * shape.frame // slices))
    return min((1 << shape.rate_bits) - 1, -(-(steps - shape.frame) // (1 << shape.rate_shift)))


@njit(nogil=True, cache=True, entry=False)
def next_rate(shape: Geometry, slices: int, rate: int, tries: int) -> int:
    """Return the rate word to try after ``tries`` that failed, the last one with ``rate``."""
    grow = max(1, shape.frame // slices // (1 << shape.rate_shift))
    return min((1 << shape.rate_bits) - 1, rate + grow * (1 + tries * tries // 16))


@njit(nogil=True, cache=True, entry=False)
def run_frame(
    counts: np.ndarray, shape: Geometry, chunk: int, live: int, rate: int, spare: int
) -> tuple[int, int, bool]:
    """Follow the free bits of the window through a frame, by counts of kept bits alone.

    No free bit is taken to slide out unused but those that a whole window has no room for, so
    there are at most as many, unless equations follow from others by chance.

    Parameters
    ----------
    counts : (slices of the frame,) int64
        Kept bits.
    chunk : int
        Chunks before the frame.
    live : int
        Free bits of the window before the frame; of no account if it is the first.
    rate : int
    spare : int
        Free bits that a slice must leave; one that sees a fresh window needs none.

    Returns
    -------
    (used, free, fits) : tuple of int, int, bool
        Chunks after the frame, free bits, and whether all slices found as many as they need; where
        one did not, the walk ends.
    """
    frame, n_in = shape.frame, shape.n_in
    steps = frame + (rate << shape.rate_shift)
    credit = 0 if chunk else -shape.preload_steps * frame
    free = (live if chunk else 0) - shape.rate_bits
    for e in range(counts.size):
        more = -(-(steps - credit) // frame)
        chunk += more
        credit += more * frame - steps
        before = min(free + more * n_in, shape.window)
        free = before - counts[e]
        if counts[e] and free < (min(spare, 0) if before == shape.window else spare):
            return chunk, free, False
    return chunk, free, True


@njit(nogil=True, cache=True)
def model_chunks(counts: np.ndarray, shape: Geometry, target: int, end_target: int) -> int:
    """Return about how many chunks a stream takes, or ``STUCK_CHUNKS``.

    Parameters
    ----------
    counts : (slices,) int64
        Kept bits of every slice.
    shape : Geometry
    target, end_target : int
        As for :func:`xorloom.sw.value.window.rate_control.encode_stream`.
    """
    n_slices, frame = counts.size, shape.frame
    rate_max = (1 << shape.rate_bits) - 1
    left = counts.sum()
    live, chunk = shape.window - shape.n_in, 0
    for first in range(0, n_slices, frame):
        last = min(n_slices, first + frame)
        count = counts[first:last].sum()
        left -= count
        slices = last - first
        rate = first_rate(shape, slices, count, live, left, n_slices - last, target, end_target)
        tries = 0
        while True:
            used, free, fits = run_frame(
                counts[first:last], shape, chunk, live, rate, shape.window // _SPARE
            )
            tries += 1
            if fits or rate == rate_max:
                break
            rate = next_rate(shape, slices, rate, tries)
        if not fits:
            return STUCK_CHUNKS
        live, chunk = free, used
    return chunk
