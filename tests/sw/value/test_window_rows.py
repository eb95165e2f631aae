# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from numba import njit
from xorloom.sw.value.window.rows import add_rows, and_parity, copy_row, xor_row

SPANS = [1, 2, 3, 5, 8, 32]
"""Row lengths in words; 3 and 5 are vectors that no register has."""


@njit
def call_copy_row(to, to_at, row, row_at, span):
    copy_row(to, to_at, row, row_at, span)


@njit
def call_xor_row(to, to_at, row, row_at, span):
    xor_row(to, to_at, row, row_at, span)


@njit
def call_add_rows(to, at, heads, tails, base, chosen, span):
    return add_rows(to, at, heads, tails, base, chosen, span)


@njit
def call_and_parity(a, a_at, b, b_at, span):
    return and_parity(a, a_at, b, b_at, span)


def words(rng, n):
    return rng.integers(0, 2**64 - 1, n, dtype=np.uint64, endpoint=True)


@pytest.mark.parametrize("n", SPANS)
def test_copy_row_and_xor_row_touch_their_words_only(n, rng):
    for _ in range(20):
        to, row = words(rng, 3 * n + 4), words(rng, 2 * n + 3)
        to_at, row_at = int(rng.integers(0, 2 * n + 5)), int(rng.integers(0, n + 4))
        for call, old in ((call_copy_row, np.uint64(0)), (call_xor_row, to[to_at : to_at + n])):
            expected, found, source = to.copy(), to.copy(), row.copy()
            expected[to_at : to_at + n] = row[row_at : row_at + n] ^ old
            call(found, np.uint64(to_at), source, np.uint64(row_at), (0,) * n)
            assert found.tolist() == expected.tolist()
            assert source.tolist() == row.tolist()


@pytest.mark.parametrize("n", SPANS)
def test_xor_row_within_one_array(n, rng):
    rows = words(rng, 4 * n)
    expected = rows.copy()
    expected[2 * n : 3 * n] ^= rows[:n]
    call_xor_row(rows, np.uint64(2 * n), rows, np.uint64(0), (0,) * n)
    assert rows.tolist() == expected.tolist()


@pytest.mark.parametrize("n", SPANS)
def test_add_rows_adds_up_the_chosen_rows(n, rng):
    singles = [1 << bit for bit in (0, 1, 31, 32, 63)]
    some = [int(word) for word in words(rng, 8)]
    for chosen in [*singles, 2**64 - 1, *some]:
        heads, tails = words(rng, 3 * 64), words(rng, 3 * 64 * n)
        to, at, base = words(rng, 2 * n + 3), int(rng.integers(0, n + 4)), 64
        rows = [base + bit for bit in range(64) if chosen >> bit & 1]
        expected = to.copy()
        expected[at : at + n] ^= np.bitwise_xor.reduce(tails.reshape(-1, n)[rows], axis=0)
        before = (heads.tolist(), tails.tolist())
        head = call_add_rows(
            to, np.uint64(at), heads, tails, np.uint64(base), np.uint64(chosen), (0,) * n
        )
        assert head == np.bitwise_xor.reduce(heads[rows])
        assert to.tolist() == expected.tolist()
        assert (heads.tolist(), tails.tolist()) == before


@pytest.mark.parametrize("n", SPANS)
def test_and_parity_folds_the_words_of_the_product(n, rng):
    for _ in range(20):
        a, b = words(rng, 2 * n + 3), words(rng, 3 * n + 1)
        a_at, b_at = int(rng.integers(0, n + 4)), int(rng.integers(0, 2 * n + 2))
        found = call_and_parity(a, np.uint64(a_at), b, np.uint64(b_at), (0,) * n)
        assert found == np.bitwise_xor.reduce(a[a_at : a_at + n] & b[b_at : b_at + n])
