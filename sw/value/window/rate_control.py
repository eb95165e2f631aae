# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the window encoder: how many steps and patches every frame gets.

A frame is tried with the fewest steps that may do; where its equations contradict each other it is
undone and tried with more steps, or with patches.
"""

import numpy as np
from xorloom.sw.bits.gf2 import count_bits
from xorloom.sw.bits.jit import njit

from .elimination import Basis, add_slice, fix_unknowns, live_unknowns, save, undo
from .geometry import Geometry
from .rates import first_rate, next_rate, run_frame

__all__ = ["FULL", "OK", "STUCK", "encode_stream"]

OK, FULL, STUCK = 0, 1, 2
"""Outcome of :func:`encode_stream`: done, arrays too small, no number of steps is enough."""
_HOPELESS = np.int64(-20)
"""Free bits that a window lacks by the counts alone: that many equations follow from others, and
all hold by chance once in a million times. Such a frame is not tried."""


@njit(nogil=True, cache=True, entry=False)
def _oldest(shape: Geometry, chunk: int) -> int:
    """Oldest unknown that equations hold after ``chunk`` chunks."""
    return max(0, chunk * shape.n_in - shape.window)


@njit(nogil=True, cache=True, entry=False)
def _undo(basis: Basis, shape: Geometry, chunk: int, used: int) -> None:
    """Take a frame back that began at ``chunk`` and came to ``used`` chunks."""
    undo(basis, _oldest(shape, chunk), (used + 1) * shape.n_in)


@njit(nogil=True, cache=True, entry=False)
def _encode_frame(
    care: np.ndarray,
    value: np.ndarray,
    taps: np.ndarray,
    shape: Geometry,
    basis: Basis,
    chunk: int,
    rate: int,
    patches: np.ndarray,
    n_patches: int,
) -> tuple[int, int, int]:
    """Encode the slices of one frame with a given rate word and given patches.

    ``chunk`` chunks were used before. Returns (chunks used, contradicting slice of the frame or -1,
    its output).
    """
    credit = 0 if chunk else -shape.preload_steps * shape.frame
    opening = chunk * shape.n_in
    fix_unknowns(basis, opening, shape.rate_bits, rate)
    opening += shape.rate_bits
    steps = shape.frame + (rate << shape.rate_shift)
    due = shape.patch_bits > 0
    k = 0
    for e in range(care.shape[0]):
        while True:
            if due:  # one bit says that there are no more patches
                entry, size = 0, 1
                if k < n_patches:
                    entry = 1 | (patches[k, 0] << 1) | (patches[k, 1] << (1 + shape.index_bits))
                    size = shape.patch_bits
                fix_unknowns(basis, opening, size, entry)
                due = False
            chunk += 1
            opening = chunk * shape.n_in
            credit += shape.frame
            if credit >= steps:
                break
        credit -= steps
        flip = -1
        if k < n_patches and patches[k, 0] == e:
            flip = patches[k, 1]
            k += 1
            due = True
        start = opening - shape.window
        network = taps[(start & 63) // shape.n_in]
        lane = add_slice(care[e], value[e], network, np.uint64(start), flip, basis)
        if lane >= 0:
            return chunk, e, lane
    return chunk, -1, -1


@njit(nogil=True, cache=True, entry=False)
def _try_frame(
    care: np.ndarray,
    value: np.ndarray,
    taps: np.ndarray,
    shape: Geometry,
    basis: Basis,
    chunk: int,
    rate: int,
    patches: np.ndarray,
    most: int,
) -> tuple[int, int]:
    """Encode a frame with at most ``most`` patches, one per slice; every conflict adds one.

    Returns (chunks used, patches); patches is -1 if they do not suffice, and the frame is undone.
    """
    n = 0
    while True:
        used, at, lane = _encode_frame(care, value, taps, shape, basis, chunk, rate, patches, n)
        if at < 0:
            return used, n
        _undo(basis, shape, chunk, used)
        place = n
        while place > 0 and patches[place - 1, 0] >= at:
            place -= 1
        if n == most or (place < n and patches[place, 0] == at):
            return used, -1
        for m in range(n, place, -1):
            patches[m, 0], patches[m, 1] = patches[m - 1, 0], patches[m - 1, 1]
        patches[place, 0] = at
        patches[place, 1] = lane
        n += 1


@njit(nogil=True, cache=True)
def encode_stream(
    care: np.ndarray,
    value: np.ndarray,
    taps: np.ndarray,
    shape: Geometry,
    target: int,
    end_target: int,
    basis: Basis,
    facts: np.ndarray,
) -> tuple[int, int]:
    """Encode the slices of one stream: find the rate words and the rows that fix the seeds.

    A frame gets as many steps as leave ``target`` live unknowns behind it, and more if its
    equations contradict each other. Towards the end the target falls to ``end_target``, because
    what is live then is lost. With patches, a frame that needed more steps is tried with patches
    instead, and the cheaper one, in seed bits that are gone, stays.

    Parameters
    ----------
    care, value : (slices, n_out / 64) uint64
        Packed care mask and values of every slice.
    taps : (alignments, n_out * (window / 64 + 1)) uint64
        Every row of the network, shifted up by ``n_in`` times the alignment.
    facts : (frames, 3) int64, out
        Rate word, patches and attempts of every frame.

    Returns
    -------
    (status, chunks) : tuple of int
        ``OK`` and chunks used; or ``FULL`` or ``STUCK`` and the frame.
    """
    n_slices, frame, n_in = care.shape[0], shape.frame, shape.n_in
    unit = 1 << shape.rate_shift
    rate_max = (1 << shape.rate_bits) - 1
    patches = np.zeros((frame, 2), np.int64)
    counts = np.zeros(n_slices, np.int64)
    for e in range(n_slices):
        for w in range(care.shape[1]):
            counts[e] += count_bits(care[e, w])
    left = counts.sum()
    chunk = 0
    for f in range(facts.shape[0]):
        first, last = f * frame, min(n_slices, (f + 1) * frame)
        part_care, part_value = care[first:last], value[first:last]
        count = counts[first:last].sum()
        left -= count
        wait = 0 if chunk else shape.preload_steps
        room = (chunk + wait + shape.frame_steps_max + 1) * n_in + shape.window + 64
        if room > basis.heads.size:
            return FULL, f
        live = shape.window - n_in  # the first slice's window is full only after its first step
        if f > 0:
            live = live_unknowns(basis, chunk * n_in - shape.window, shape.window)
        slices = last - first
        rate = first_rate(shape, slices, count, live, left, n_slices - last, target, end_target)
        lowest = rate
        tries = facts[f, 2] = 0
        save(basis, _oldest(shape, chunk))
        while True:
            used, n_patches = chunk, -1
            part = counts[first:last]
            if rate == rate_max or run_frame(part, shape, chunk, live, rate, _HOPELESS)[2]:
                used, n_patches = _try_frame(
                    part_care, part_value, taps, shape, basis, chunk, rate, patches, 0
                )
                facts[f, 2] += 1
            tries += 1
            if n_patches >= 0 or rate == rate_max:
                break
            rate = next_rate(shape, slices, rate, tries)
        if shape.patch_bits and (n_patches < 0 or rate > lowest):
            fits = n_patches >= 0
            spent = (used - chunk) * n_in
            if fits:
                spent -= min(target, live_unknowns(basis, used * n_in - shape.window, shape.window))
                _undo(basis, shape, chunk, used)
            plain = rate
            rate = lowest
            while True:
                most = slices
                if fits:
                    most = min(slices, (plain - rate) * unit * n_in // shape.patch_bits)
                used, n_patches = _try_frame(
                    part_care, part_value, taps, shape, basis, chunk, rate, patches, most
                )
                tries += 1
                facts[f, 2] += 1
                if n_patches >= 0 or fits or rate == rate_max:
                    break
                rate = next_rate(shape, slices, rate, tries)
            if fits and n_patches >= 0:
                cost = (used - chunk) * n_in
                cost -= min(target, live_unknowns(basis, used * n_in - shape.window, shape.window))
                if cost >= spent:
                    _undo(basis, shape, chunk, used)
                    n_patches = -1
            if fits and n_patches < 0:
                rate = plain
                used, n_patches = _try_frame(
                    part_care, part_value, taps, shape, basis, chunk, rate, patches, 0
                )
        if n_patches < 0:
            return STUCK, f
        facts[f, 0], facts[f, 1] = rate, n_patches
        chunk = used
    return OK, chunk
