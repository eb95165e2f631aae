# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the window encoder: banded elimination over GF(2), and back-substitution.

Unknown ``a`` is bit ``a`` of the seed stream. A row with pivot ``a``, its oldest unknown, is a
*head*, the 64 unknowns of the machine word that ``a`` lies in, and a *tail*, the n words after it,
word ``w`` in place ``w % n``, so that all rows and equations lie alike. A row never reaches beyond
the window that made it, so time and memory are linear.

While a word is *open* its rows' tails stay as they came. What would make the heads of the word
fully reduced is kept as sets of rows (*combos*, one word each), and these decide what an equation
becomes. A word is *finished* when no pivot can come any more: then all tails are reduced at once,
and sums of them are tabulated by fours, so an equation leaves the word with 16 look-ups.
"""

from typing import NamedTuple

import numpy as np
from xorloom.sw.bits.gf2 import count_bits, get_bits, lowest_bit, parity
from xorloom.sw.bits.jit import njit

from .rows import add_rows, and_parity, choose, copy_row, eliminate, look_up, sum_rows

__all__ = ["Basis", "add_slice", "fix_unknowns", "live_unknowns", "save", "solve", "undo"]

_NONE, _ONE, _SIX, _TOP = np.uint64(0), np.uint64(1), np.uint64(6), np.uint64(63)
_ALL = ~_NONE
_WORD = np.uint64(64)
_TABLE_ROWS = np.uint64(256)


class Basis(NamedTuple):
    """The rows found so far, n = window / 64 words a tail; all arrays but ``lanes`` uint64.

    Of every unknown: ``heads``, ``combos`` (m,), ``tails`` (m * n,). Of every word: ``has``, bit
    ``b`` if there is a row; ``right``, the right-hand sides; ``done``, 1 if the word is finished
    (m / 64 + n + 2,), all three zeroed at the start. Of the finished words in the window:
    ``tables`` ((n + 1) * 256 * n,), word ``w`` in place ``w % (n + 1)``. ``kept``
    ((n + 1) * (3 + 64 * (n + 2)),): what :func:`undo` puts back. Of the equations at work:
    ``fronts``, ``rights`` (n_out,), ``rows`` (n_out * n,), ``lanes`` (n_out,) int64.
    ``span`` has length n, known when compiling.
    """

    heads: np.ndarray
    combos: np.ndarray
    tails: np.ndarray
    has: np.ndarray
    right: np.ndarray
    done: np.ndarray
    tables: np.ndarray
    kept: np.ndarray
    fronts: np.ndarray
    rights: np.ndarray
    rows: np.ndarray
    lanes: np.ndarray
    span: tuple[int, ...]


@njit(nogil=True, cache=True, entry=False)
def _tabulate(basis: Basis, word: np.uint64) -> np.uint64:
    """Tabulate the sums of a word's tails by fours; return where the table begins."""
    tables, tails, span = basis.tables, basis.tails, basis.span
    n = np.uint64(len(span))
    table = word % (n + _ONE) * _TABLE_ROWS * n
    at, tail = table, word * _WORD * n
    present = basis.has[word]
    for _ in range(16):
        for i in range(len(span)):
            tables[at + np.uint64(i)] = _NONE
        half = n
        for _ in range(4):
            for other in range(at, at + half, n):
                if present & _ONE:
                    sum_rows(tables, other + half, tables, other, tails, tail, span)
                else:
                    copy_row(tables, other + half, tables, other, span)
            present >>= _ONE
            tail += n
            half += half
        at += half
    return table


@njit(nogil=True, cache=True, entry=False)
def _finish(basis: Basis, word: np.uint64) -> None:
    """Reduce all tails of a word that gets no more pivots."""
    tables, tails, combos, span = basis.tables, basis.tails, basis.combos, basis.span
    n = np.uint64(len(span))
    table = _tabulate(basis, word)
    old, right = basis.right[word], _NONE
    rest = basis.has[word]
    while rest:
        bit = lowest_bit(rest)
        rest &= rest - _ONE
        a = word * _WORD + bit
        combo = combos[a]
        look_up(tails, a * n, tables, table, combo ^ (_ONE << bit), span)
        right |= parity(combo & old) << bit
    basis.right[word] = right
    basis.done[word] = _ONE
    _tabulate(basis, word)


@njit(inline="always")
def _insert(
    heads: np.ndarray, combos: np.ndarray, tails: np.ndarray, has: np.ndarray, right: np.ndarray,
    a: np.uint64, head: np.uint64, combo: np.uint64, bit: np.uint64,
    row: np.ndarray, row_at: np.uint64, span: tuple[int, ...],
) -> None:  # fmt: skip
    """Make a row with pivot ``a`` of the equation ``row[row_at:]`` with right-hand side ``bit``.

    ``head`` is what is left of its head without the rows ``combo``.
    """
    word, pivot = a >> _SIX, _ONE << (a & _TOP)
    base = a & ~_TOP
    if not has[word]:
        for i in range(64):
            heads[base + np.uint64(i)] = _NONE
            combos[base + np.uint64(i)] = _NONE
    combo |= pivot
    eliminate(heads, combos, base, pivot, head, combo)
    heads[a] = head
    combos[a] = combo
    copy_row(tails, a * np.uint64(len(span)), row, row_at, span)
    right[word] |= bit << (a & _TOP)
    has[word] |= pivot


@njit(nogil=True, cache=True, entry=False)
def save(basis: Basis, first: int) -> None:
    """Remember the rows from unknown ``first`` on, one window of them; see :func:`undo`."""
    n = np.uint64(len(basis.span))
    size = np.uint64(3) + _WORD * (n + np.uint64(2))
    for i in range(n + _ONE):
        word, at = (np.uint64(first) >> _SIX) + np.uint64(i), np.uint64(i) * size
        has = basis.has[word]
        basis.kept[at] = has
        basis.kept[at + _ONE] = basis.right[word]
        basis.kept[at + np.uint64(2)] = basis.done[word]
        if has and not basis.done[word]:
            at += np.uint64(3)
            rows = at + _WORD + _WORD
            for a in range(word * _WORD, (word + _ONE) * _WORD):
                basis.kept[at] = basis.heads[a]
                basis.kept[at + _WORD] = basis.combos[a]
                copy_row(basis.kept, rows, basis.tails, a * n, basis.span)
                at += _ONE
                rows += n


@njit(nogil=True, cache=True, entry=False)
def undo(basis: Basis, first: int, end: int) -> None:
    """Put back what :func:`save` saw from unknown ``first`` on; forget all rows to ``end``."""
    n = np.uint64(len(basis.span))
    size = np.uint64(3) + _WORD * (n + np.uint64(2))
    for i in range(n + _ONE):
        word, at = (np.uint64(first) >> _SIX) + np.uint64(i), np.uint64(i) * size
        has = basis.kept[at]
        basis.has[word] = has
        basis.right[word] = basis.kept[at + _ONE]
        basis.done[word] = basis.kept[at + np.uint64(2)]
        if basis.done[word]:
            _tabulate(basis, word)
        elif has:
            at += np.uint64(3)
            rows = at + _WORD + _WORD
            for a in range(word * _WORD, (word + _ONE) * _WORD):
                basis.heads[a] = basis.kept[at]
                basis.combos[a] = basis.kept[at + _WORD]
                copy_row(basis.tails, a * n, basis.kept, rows, basis.span)
                at += _ONE
                rows += n
    after = (first >> 6) + len(basis.span) + 1
    for later in range(after, (end >> 6) + 1):
        basis.has[later] = basis.right[later] = basis.done[later] = _NONE


@njit(nogil=True, cache=True, entry=False)
def fix_unknowns(basis: Basis, first: int, bits: int, value: int) -> None:
    """Give unknowns that no equation has met a value."""
    for i in range(len(basis.span)):
        basis.rows[i] = _NONE
    for i in range(bits):
        a = np.uint64(first + i)
        bit = np.uint64((value >> i) & 1)
        _insert(
            basis.heads, basis.combos, basis.tails, basis.has, basis.right, a,
            _ONE << (a & _TOP), _NONE, bit, basis.rows, _NONE, basis.span,
        )  # fmt: skip


@njit(nogil=True, cache=True, entry=False)
def _read(
    care: np.ndarray, value: np.ndarray, taps: np.ndarray, base_word: np.uint64, flip: int,
    basis: Basis,
) -> int:  # fmt: skip
    """Write down the equations of a slice; return how many there are."""
    fronts, rights, rows, lanes = basis.fronts, basis.rights, basis.rows, basis.lanes
    span = basis.span
    n = np.uint64(len(span))
    size = np.uint64(2) * n
    turn = n - (base_word + _ONE) % n
    if turn == n:
        turn = _NONE
    k = _NONE
    for w in range(care.size):
        rest, values = care[w], value[w]
        while rest:
            bit = lowest_bit(rest)
            rest &= rest - _ONE
            lane = np.uint64(w * 64) + bit
            at = lane * size
            fronts[k] = taps[at]
            copy_row(rows, k * n, taps, at + _ONE + turn, span)
            rights[k] = (values >> bit) & _ONE
            lanes[k] = np.int64(lane)
            if np.int64(lane) == flip:
                rights[k] ^= _ONE
            k += _ONE
    return int(k)


@njit(nogil=True, cache=True, entry=False)
def add_slice(
    care: np.ndarray, value: np.ndarray, taps: np.ndarray, start: np.uint64, flip: int,
    basis: Basis,
) -> int:  # fmt: skip
    """Add the equations of one slice, whose window begins at unknown ``start``.

    Output ``flip`` is patched, so its value is inverted. Returns the output whose equation
    contradicts the others or -1.
    """
    span, rows, fronts, rights = basis.span, basis.rows, basis.fronts, basis.rights
    # Arrays by themselves: Numba counts references of all arrays of a tuple that it passes on.
    heads, combos, tails, has = basis.heads, basis.combos, basis.tails, basis.has
    right, done, tables = basis.right, basis.done, basis.tables
    n = np.uint64(len(span))
    base_word = start >> _SIX
    hidden = ~(_ALL << (start & _TOP))
    if not done[base_word] and has[base_word] | hidden == _ALL:
        _finish(basis, base_word)
    count = _read(care, value, taps, base_word, flip, basis)
    # All equations leave the finished words side by side.
    first = _NONE
    slot = base_word % n
    while first < n and done[base_word + first]:
        word = base_word + first
        table = word % (n + _ONE) * _TABLE_ROWS * n
        known = right[word]
        slot = slot + _ONE if slot + _ONE < n else _NONE
        for k in range(count):
            at = np.uint64(k) * n
            front = fronts[k]
            look_up(rows, at, tables, table, front, span)
            rights[k] ^= parity(front & known)
            fronts[k] = rows[at + slot]
            rows[at + slot] = _NONE
        first += _ONE
    first_slot = slot
    for k in range(count):
        at = np.uint64(k) * n
        i, slot, front = first, first_slot, fronts[k]
        bit = rights[k]
        while True:
            word = base_word + i
            if done[word]:
                look_up(rows, at, tables, word % (n + _ONE) * _TABLE_ROWS * n, front, span)
                bit ^= parity(front & right[word])
            elif front:
                base = word * _WORD
                chosen = front & has[word]
                combo = _NONE
                if chosen:
                    front ^= choose(heads, base, chosen)
                    combo = choose(combos, base, chosen)
                if front:
                    _insert(
                        heads, combos, tails, has, right, base + lowest_bit(front), front, combo,
                        bit, rows, at, span,
                    )  # fmt: skip
                    if has[word] | (_NONE if i else hidden) == _ALL:
                        _finish(basis, word)
                    break
                add_rows(rows, at, tails, base, combo, span)
                bit ^= parity(combo & right[word])
            if i == n:
                if bit:
                    return int(basis.lanes[k])
                break
            i += _ONE
            slot = slot + _ONE if slot + _ONE < n else _NONE
            front = rows[at + slot]
            rows[at + slot] = _NONE
    return -1


@njit(nogil=True, cache=True, entry=False)
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
    words : (n_bits / 64 + 1,) uint64, out, zeroed
        The seed stream.
    """
    tails, has, right, span = basis.tails, basis.has, basis.right, basis.span
    n = np.uint64(len(span))
    after = basis.rows  # the words behind the one at work, each in its place of a tail
    for i in range(n):
        after[i] = _NONE
    for w in range((n_bits + 63) // 64 - 1, -1, -1):
        word = np.uint64(w)
        rest = has[word]
        if rest and not basis.done[word]:
            _finish(basis, word)
        found = right[word]
        while rest:
            bit = lowest_bit(rest)
            rest &= rest - _ONE
            at = (word * _WORD + bit) * n
            # Other pivots are gone from a reduced head, and unknowns without a row are 0.
            found ^= parity(and_parity(tails, at, after, _NONE, span)) << bit
        words[word] = found
        after[word % n] = found
