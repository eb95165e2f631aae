# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from numba import njit
from xorloom.sw.value.window.rows import (
    add_rows,
    and_parity,
    choose,
    copy_row,
    eliminate,
    look_up,
    sum_rows,
)

SPANS = [1, 2, 3, 5, 8, 32]
"""Row lengths in words; 3 and 5 are vectors that no register has."""
CHOSEN = [*(1 << bit for bit in (0, 1, 31, 32, 63)), 2**64 - 1]


@njit
def call_copy_row(to, to_at, row, row_at, span):
    copy_row(to, to_at, row, row_at, span)


@njit
def call_sum_rows(to, to_at, a, a_at, b, b_at, span):
    sum_rows(to, to_at, a, a_at, b, b_at, span)


@njit
def call_look_up(to, at, table, base, chosen, span):
    look_up(to, at, table, base, chosen, span)


@njit
def call_add_rows(to, at, rows, base, chosen, span):
    add_rows(to, at, rows, base, chosen, span)


@njit
def call_choose(words, base, chosen):
    return choose(words, base, chosen)


@njit
def call_eliminate(heads, combos, base, pivot, head, combo):
    eliminate(heads, combos, base, pivot, head, combo)


@njit
def call_and_parity(a, a_at, b, b_at, span):
    return and_parity(a, a_at, b, b_at, span)


def words(rng, n):
    return rng.integers(0, 2**64 - 1, n, dtype=np.uint64, endpoint=True)


@pytest.mark.parametrize("n", SPANS)
def test_copy_row_and_sum_rows_touch_their_words_only(n, rng):
    for _ in range(20):
        to, a, b = words(rng, 3 * n + 4), words(rng, 2 * n + 3), words(rng, 2 * n)
        to_at, a_at = int(rng.integers(0, 2 * n + 5)), int(rng.integers(0, n + 4))
        b_at = int(rng.integers(0, n + 1))
        before = (a.tolist(), b.tolist())
        expected, found = to.copy(), to.copy()
        expected[to_at : to_at + n] = a[a_at : a_at + n]
        call_copy_row(found, np.uint64(to_at), a, np.uint64(a_at), (0,) * n)
        assert found.tolist() == expected.tolist()
        expected[to_at : to_at + n] ^= b[b_at : b_at + n]
        call_sum_rows(found, np.uint64(to_at), a, np.uint64(a_at), b, np.uint64(b_at), (0,) * n)
        assert found.tolist() == expected.tolist()
        assert (a.tolist(), b.tolist()) == before


@pytest.mark.parametrize("n", SPANS)
def test_sum_rows_within_one_array(n, rng):
    rows = words(rng, 4 * n)
    expected = rows.copy()
    expected[2 * n : 3 * n] = rows[:n] ^ rows[2 * n : 3 * n]
    call_sum_rows(rows, np.uint64(2 * n), rows, np.uint64(0), rows, np.uint64(2 * n), (0,) * n)
    assert rows.tolist() == expected.tolist()


@pytest.mark.parametrize("n", SPANS)
def test_look_up_adds_a_row_for_every_four_bits(n, rng):
    for chosen in [0, *CHOSEN, *map(int, words(rng, 8))]:
        table, to = words(rng, 256 * n + 7), words(rng, 2 * n + 3)
        base, at = int(rng.integers(0, 8)), int(rng.integers(0, n + 4))
        expected, before = to.copy(), table.tolist()
        for k in range(16):
            row = base + (16 * k + (chosen >> 4 * k & 15)) * n
            expected[at : at + n] ^= table[row : row + n]
        call_look_up(to, np.uint64(at), table, np.uint64(base), np.uint64(chosen), (0,) * n)
        assert to.tolist() == expected.tolist()
        assert table.tolist() == before


@pytest.mark.parametrize("n", SPANS)
def test_add_rows_adds_up_the_chosen_rows(n, rng):
    for chosen in [*CHOSEN, *map(int, words(rng, 8))]:
        tails, to = words(rng, 3 * 64 * n), words(rng, 2 * n + 3)
        at, base = int(rng.integers(0, n + 4)), 64
        rows = [base + bit for bit in range(64) if chosen >> bit & 1]
        expected, before = to.copy(), tails.tolist()
        expected[at : at + n] ^= np.bitwise_xor.reduce(tails.reshape(-1, n)[rows], axis=0)
        call_add_rows(to, np.uint64(at), tails, np.uint64(base), np.uint64(chosen), (0,) * n)
        assert to.tolist() == expected.tolist()
        assert tails.tolist() == before


def test_choose_adds_up_the_chosen_words(rng):
    for chosen in [0, *CHOSEN, *map(int, words(rng, 8))]:
        values, base = words(rng, 100), int(rng.integers(0, 37))
        picked = [values[base + bit] for bit in range(64) if chosen >> bit & 1]
        expected = np.bitwise_xor.reduce(np.array(picked, np.uint64))
        assert call_choose(values, np.uint64(base), np.uint64(chosen)) == expected


@pytest.mark.parametrize("bit", [0, 17, 63])
def test_eliminate_takes_a_pivot_out_of_64_heads(bit, rng):
    heads, combos, (head, combo) = words(rng, 70), words(rng, 70), words(rng, 2)
    expected = heads.copy(), combos.copy()
    for a in range(3, 67):
        if int(heads[a]) >> bit & 1:
            expected[0][a] ^= head
            expected[1][a] ^= combo
    call_eliminate(heads, combos, np.uint64(3), np.uint64(1 << bit), head, combo)
    assert (heads.tolist(), combos.tolist()) == tuple(e.tolist() for e in expected)


@pytest.mark.parametrize("n", SPANS)
def test_and_parity_folds_the_words_of_the_product(n, rng):
    for _ in range(20):
        a, b = words(rng, 2 * n + 3), words(rng, 3 * n + 1)
        a_at, b_at = int(rng.integers(0, n + 4)), int(rng.integers(0, 2 * n + 2))
        found = call_and_parity(a, np.uint64(a_at), b, np.uint64(b_at), (0,) * n)
        assert found == np.bitwise_xor.reduce(a[a_at : a_at + n] & b[b_at : b_at + n])
