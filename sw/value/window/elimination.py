# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the window encoder: banded elimination over GF(2), and back-substitution.

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

__all__ = ["Basis", "add_slice", "fix_unknowns", "live_unknowns", "solve", "undo"]

_ONE = np.uint64(1)
_ALL = ~np.uint64(0)
_TOP = np.uint64(63)
_SIX = np.uint64(6)


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
def undo(basis: Basis, logged: int) -> None:
    """Take back all rows of the log, newest first."""
    for k in range(logged - 1, -1, -1):
        pivot = basis.log[k, 0]
        _toggle(basis, pivot, basis.log[k, 1])
        basis.has[pivot >> _SIX] &= ~(_ONE << (pivot & _TOP))


@njit(nogil=True, cache=True)
def fix_unknowns(basis: Basis, logged: int, first: int, bits: int, value: int) -> int:
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
def add_slice(
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
def live_unknowns(basis: Basis, start: int, window: int) -> int:
    """Unknowns of the window that have no row yet."""
    rows = 0
    for k in range(start, start + window, 64):
        rows += count_bits(get_bits(basis.has, np.uint64(k)))
    return window - rows


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
