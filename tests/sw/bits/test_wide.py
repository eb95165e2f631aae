# SPDX-License-Identifier: Apache-2.0
"""Wide words against whole numbers."""

import numpy as np
import pytest
from numba import njit
from xorloom.sw.bits.wide import WIDE, put_wide, xor_rows


@njit
def call_put(words, start, rows, at):
    put_wide(words, start, rows, at)


@njit
def call_xor(rows, taps, first, count, out, at):
    xor_rows(rows, taps, first, count, out, at)


def number(words):
    return int.from_bytes(words.tobytes(), "little")


def some(rng, count):
    return rng.integers(0, 2**64 - 1, count, dtype=np.uint64, endpoint=True)


@pytest.mark.parametrize("start", [0, 1, 63, 64, 100, 191])
def test_put_wide_sets_512_bits_and_no_others(rng, start):
    rows, words = some(rng, 3 * WIDE), some(rng, WIDE + 4)
    expected = number(words) | number(rows[WIDE : 2 * WIDE]) << start
    call_put(words, np.uint64(start), rows, np.uint64(1))
    assert number(words) == expected


def test_xor_rows_is_the_xor_of_the_rows_that_taps_name(rng):
    rows, out = some(rng, 6 * WIDE), some(rng, 3 * WIDE)
    taps = np.array([0, 5, 3, 1, 2], np.uint64)
    for first, count in ((1, 3), (0, 5), (4, 1), (2, 0)):
        before = out.copy()
        call_xor(rows, taps, np.uint64(first), np.uint64(count), out, np.uint64(1))
        expected = np.bitwise_xor.reduce(rows.reshape(6, WIDE)[taps[first : first + count]], axis=0)
        assert out[WIDE : 2 * WIDE].tolist() == expected.tolist()
        assert (
            np.delete(out, range(WIDE, 2 * WIDE)).tolist()
            == np.delete(before, range(WIDE, 2 * WIDE)).tolist()
        )
    call_xor(rows, taps, np.uint64(0), np.uint64(2), rows, np.uint64(4))  # into the same array
    assert number(rows[4 * WIDE : 5 * WIDE]) == number(rows[:WIDE]) ^ number(rows[5 * WIDE :])
