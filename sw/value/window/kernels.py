# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the window encoder: banded elimination over GF(2) with rate control.

Unknown ``a`` is bit ``a`` of the seed stream. A row with pivot ``a``, its oldest unknown, is a
*head*, the 64 unknowns of the machine word that ``a`` lies in, and a *tail*, the words after it.
The top bit of the tail's last word, which no unknown in reach needs, is the right-hand side.
The heads of a word are kept fully reduced against each other: which rows an equation needs is
then one AND, and their tails are added without waiting for each other. A row never reaches
beyond the window that made it, so time and memory are linear.
"""

from typing import NamedTuple

import numpy as np
from xorloom.sw.bits.gf2 import count_bits, get_bits, highest_bit, lowest_bit, parity
from xorloom.sw.bits.jit import njit

from .rows import add_rows, and_parity, copy_row, xor_row

__all__ = ["FULL", "OK", "STUCK", "Basis", "Geometry", "encode_stream", "solve"]

OK, FULL, STUCK = 0, 1, 2
"""Outcome of :func:`encode_stream`: done, arrays too small, no number of steps is enough."""

_ONE = np.uint64(1)
_ALL = ~np.uint64(0)
_TOP = np.uint64(63)
_SIX = np.uint64(6)


class Geometry(NamedTuple):
    """The parameters of :class:`xorloom.sw.spec.config.WindowConfig` that the kernels need."""

    n_in: int
    window: int
    frame: int
    preload_steps: int
    rate_bits: int
    rate_shift: int
    frame_steps_max: int
    patch_bits: int
    """0 without patches."""
    index_bits: int
    """Bits of a slice's number in its frame."""


class Basis(NamedTuple):
    """The rows found so far, n = window / 64 words a tail.

    ``heads`` (m,), ``tails`` (m * n,), ``has`` (m / 64,): bit ``a`` if there is a row; ``users``
    (m,): bit ``b`` of ``users[c]`` if the head of row ``b`` of that word holds unknown ``c``;
    ``log`` (l, 2): pivot, and rows of its word that were changed, for every row of this frame;
    ``row`` (2 n + 2,): the equation at work; all uint64. ``has`` and ``users`` start zeroed.
    ``span`` has length n, known when compiling.
    """

    heads: np.ndarray
    tails: np.ndarray
    has: np.ndarray
    users: np.ndarray
    log: np.ndarray
    row: np.ndarray
    span: tuple[int, ...]


@njit(nogil=True, cache=True)
def _toggle(basis: Basis, pivot: np.uint64, changed: np.uint64) -> None:
    """Add row ``pivot`` to the rows ``changed`` of its word, or take it away again."""
    n = np.uint64(len(basis.span))
    base = pivot & ~_TOP
    head = basis.heads[pivot]
    rest = changed
    while rest:
        other = base + lowest_bit(rest)
        rest &= rest - _ONE
        basis.heads[other] ^= head
        xor_row(basis.tails, other * n, basis.tails, pivot * n, basis.span)
    rest = head
    touched = changed | (_ONE << (pivot & _TOP))
    while rest:
        basis.users[base + lowest_bit(rest)] ^= touched
        rest &= rest - _ONE


@njit(nogil=True, cache=True)
def _insert(
    basis: Basis, logged: int, pivot: np.uint64, head: np.uint64, tail_at: int, visible: np.uint64
) -> None:
    """Make a row of the equation at work; its pivot leaves the ``visible`` heads of its word."""
    changed = basis.users[pivot] & visible
    basis.has[pivot >> _SIX] |= _ONE << (pivot & _TOP)
    basis.heads[pivot] = head
    n = np.uint64(len(basis.span))
    copy_row(basis.tails, pivot * n, basis.row, np.uint64(tail_at), basis.span)
    basis.log[logged, 0] = pivot
    basis.log[logged, 1] = changed
    _toggle(basis, pivot, changed)


@njit(nogil=True, cache=True)
def _undo(basis: Basis, logged: int) -> None:
    """Take back all rows of the log, newest first."""
    for k in range(logged - 1, -1, -1):
        pivot = basis.log[k, 0]
        _toggle(basis, pivot, basis.log[k, 1])
        basis.has[pivot >> _SIX] &= ~(_ONE << (pivot & _TOP))


@njit(nogil=True, cache=True)
def _fix(basis: Basis, logged: int, first: int, bits: int, value: int) -> int:
    """Give unknowns that no equation has met a value; return the new length of the log."""
    n = len(basis.span)
    for k in range(n):
        basis.row[k] = np.uint64(0)
    for i in range(bits):
        a = np.uint64(first + i)
        basis.row[n - 1] = np.uint64((value >> i) & 1) << _TOP
        _insert(basis, logged, a, _ONE << (a & _TOP), 0, np.uint64(0))
        logged += 1
    return logged


@njit(nogil=True, cache=True)
def _encode_slice(
    care: np.ndarray,
    value: np.ndarray,
    taps: np.ndarray,
    start: np.uint64,
    flip: int,
    basis: Basis,
    logged: int,
) -> tuple[int, int]:
    """Add the equations of one slice, whose window begins at unknown ``start``.

    Output ``flip`` is patched, so its value is inverted. Returns the new length of the log, and
    the output whose equation contradicts the others or -1.
    """
    span, row = basis.span, basis.row
    n = np.uint64(len(span))
    base_word = start >> _SIX
    oldest = _ALL << (start & _TOP)
    for w in range(care.size):
        rest = care[w]
        values = value[w]
        while rest:
            bit = lowest_bit(rest)
            rest &= rest - _ONE
            j = np.uint64(w * 64) + bit
            right = (values >> bit) & _ONE
            if np.int64(j) == flip:
                right ^= _ONE
            at = j * (n + _ONE)
            head = taps[at]
            copy_row(row, _ONE, taps, at + _ONE, span)
            row[n] |= right << _TOP
            i = np.uint64(0)
            while True:
                word = base_word + i
                chosen = head & basis.has[word]
                if chosen:
                    base = word << _SIX
                    head ^= add_rows(row, i + _ONE, basis.heads, basis.tails, base, chosen, span)
                if head:
                    pivot = (word << _SIX) + lowest_bit(head)
                    visible = _ALL if i else oldest
                    _insert(basis, logged, pivot, head, i + _ONE, visible)
                    logged += 1
                    break
                last = row[i + n]
                if i == n:
                    if last >> _TOP:
                        return logged, int(j)
                    break
                row[i + n] = last & ~(_ONE << _TOP)  # the right-hand side moves on with the tail
                i += _ONE
                row[i + n] = last & (_ONE << _TOP)
                head = row[i]
    return logged, -1


@njit(nogil=True, cache=True)
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
) -> tuple[int, int, int, int]:
    """Encode the slices of one frame with a given rate word and given patches.

    ``chunk`` chunks were used before. Returns (chunks used, length of the log, contradicting slice
    of the frame or -1, its output).
    """
    credit = 0 if chunk else -shape.preload_steps * shape.frame
    opening = chunk * shape.n_in
    logged = _fix(basis, 0, opening, shape.rate_bits, rate)
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
                logged = _fix(basis, logged, opening, size, entry)
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
        logged, lane = _encode_slice(
            care[e], value[e], network, np.uint64(start), flip, basis, logged
        )
        if lane >= 0:
            return chunk, logged, e, lane
    return chunk, logged, -1, -1


@njit(nogil=True, cache=True)
def _with_patches(
    care: np.ndarray,
    value: np.ndarray,
    taps: np.ndarray,
    shape: Geometry,
    basis: Basis,
    chunk: int,
    rate: int,
    patches: np.ndarray,
    most: int,
) -> tuple[int, int, int]:
    """Encode a frame with at most ``most`` patches, one a slice; every conflict adds one.

    Returns (chunks used, length of the log, patches or -1 if they do not suffice).
    """
    n = 0
    while True:
        used, logged, at, lane = _encode_frame(
            care, value, taps, shape, basis, chunk, rate, patches, n
        )
        if at < 0:
            return used, logged, n
        _undo(basis, logged)
        place = n
        while place > 0 and patches[place - 1, 0] >= at:
            place -= 1
        if n == most or (place < n and patches[place, 0] == at):
            return used, 0, -1
        for m in range(n, place, -1):
            patches[m] = patches[m - 1]
        patches[place, 0] = at
        patches[place, 1] = lane
        n += 1


@njit(nogil=True, cache=True)
def _live(basis: Basis, start: int, window: int) -> int:
    """Unknowns of the window that have no row yet."""
    rows = 0
    for k in range(start, start + window, 64):
        rows += count_bits(get_bits(basis.has, np.uint64(k)))
    return window - rows


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
    left = 0
    for e in range(n_slices):
        for w in range(care.shape[1]):
            left += count_bits(care[e, w])
    chunk = 0
    for f in range(facts.shape[0]):
        first, last = f * frame, min(n_slices, (f + 1) * frame)
        count = 0
        for e in range(first, last):
            for w in range(care.shape[1]):
                count += count_bits(care[e, w])
        left -= count
        wait = 0 if chunk else shape.preload_steps
        room = (chunk + wait + shape.frame_steps_max + 1) * n_in + shape.window + 64
        if room > basis.heads.size:
            return FULL, f
        live = shape.window if f == 0 else _live(basis, chunk * n_in - shape.window, shape.window)
        if f == 0:
            live -= n_in  # the first slice's window is full only after its first step
        # What the slices after this frame will use beyond the bits that they bring along anyway.
        wanted = min(target, max(0, left - n_in * (n_slices - last)) + end_target)
        need = -(-(count + shape.rate_bits + wanted - live) // n_in)
        slices = last - first
        steps = max(frame, -(-need * frame // slices))
        rate = min(rate_max, -(-(steps - frame) // unit))
        lowest = rate
        tries = 0
        grow = max(1, frame // slices // unit)
        while True:
            used, logged, at, _ = _encode_frame(
                care[first:last], value[first:last], taps, shape, basis, chunk, rate, patches, 0
            )
            tries += 1
            if at < 0:
                break
            _undo(basis, logged)
            if rate == rate_max:
                break
            rate = min(rate_max, rate + grow * (1 + tries * tries // 16))
        n_patches = 0
        if shape.patch_bits and (at >= 0 or rate > lowest):
            fits = at < 0
            spent = (used - chunk) * n_in
            if fits:
                spent -= min(target, _live(basis, used * n_in - shape.window, shape.window))
                _undo(basis, logged)
            plain = rate
            rate = lowest
            while True:
                most = min(slices, (plain - rate) * unit * n_in // shape.patch_bits)
                used, logged, n_patches = _with_patches(
                    care[first:last],
                    value[first:last],
                    taps,
                    shape,
                    basis,
                    chunk,
                    rate,
                    patches,
                    most if fits else slices,
                )
                tries += 1
                if n_patches >= 0 or fits or rate == rate_max:
                    break
                rate = min(rate_max, rate + grow * (1 + tries * tries // 16))
            at = 0 if n_patches < 0 else -1
            if fits and n_patches >= 0:
                cost = (used - chunk) * n_in
                cost -= min(target, _live(basis, used * n_in - shape.window, shape.window))
                if cost >= spent:
                    _undo(basis, logged)
                    n_patches = -1
            if fits and n_patches < 0:
                rate = plain
                n_patches = 0
                used, logged, at, _ = _encode_frame(
                    care[first:last], value[first:last], taps, shape, basis, chunk, rate, patches, 0
                )
        if at >= 0:
            return STUCK, f
        facts[f, 0], facts[f, 1], facts[f, 2] = rate, n_patches, tries
        chunk = used
    return OK, chunk


@njit(nogil=True, cache=True)
def solve(basis: Basis, n_bits: int, words: np.ndarray) -> None:
    """Back-substitute from the newest unknown; unknowns without a row are 0.

    Parameters
    ----------
    n_bits : int
        Unknowns of the stream.
    words : (n_bits / 64 + window / 64 + 1,) uint64, out, zeroed
        The seed stream.
    """
    n = np.uint64(len(basis.span))
    for w in range((n_bits + 63) // 64 - 1, -1, -1):
        place = np.uint64(w)
        rest = basis.has[place]
        while rest:
            off = highest_bit(rest)
            rest ^= _ONE << off
            a = (place << _SIX) + off
            last = basis.tails[a * n + n - _ONE]
            bits = basis.heads[a] & words[place]
            bits ^= and_parity(basis.tails, a * n, words, place + _ONE, basis.span)
            known = parity(bits) ^ ((last & words[place + n]) >> _TOP)
            words[place] |= (known ^ (last >> _TOP)) << off
