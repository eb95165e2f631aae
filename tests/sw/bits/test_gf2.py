# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from xorloom.sw.bits.gf2 import (
    count_bits,
    get_bits,
    highest_bit,
    lowest_bit,
    pack_bool,
    pack_fields,
    parity,
    put_bits,
    unpack_bool,
)

WORD = st.integers(0, 2**64 - 1)


@njit
def call_lowest_bit(word):
    return lowest_bit(word)


@njit
def call_parity(word):
    return parity(word)


@njit
def call_get_bits(words, start):
    return get_bits(words, start)


@njit
def call_highest_bit(word):
    return highest_bit(word)


@njit
def call_count_bits(word):
    return count_bits(word)


@njit
def call_put_bits(words, start, value):
    put_bits(words, start, value)


def test_lowest_bit_of_zero_is_64():
    assert call_lowest_bit(np.uint64(0)) == 64


@given(WORD.filter(bool))
def test_lowest_bit_equals_python(word):
    assert call_lowest_bit(np.uint64(word)) == (word & -word).bit_length() - 1


@pytest.mark.parametrize("bit", [0, 1, 31, 32, 62, 63])
def test_lowest_bit_of_single_bits(bit):
    assert call_lowest_bit(np.uint64(1 << bit)) == bit
    assert call_highest_bit(np.uint64(1 << bit)) == bit
    assert call_parity(np.uint64(1 << bit)) == 1
    assert call_count_bits(np.uint64(1 << bit)) == 1


@given(WORD.filter(bool))
def test_highest_bit_equals_python(word):
    assert call_highest_bit(np.uint64(word)) == word.bit_length() - 1


@given(WORD)
def test_count_bits_equals_python(word):
    assert call_count_bits(np.uint64(word)) == word.bit_count()


@given(WORD)
def test_parity_equals_python(word):
    assert call_parity(np.uint64(word)) == word.bit_count() % 2


@given(st.lists(WORD, min_size=1, max_size=4), st.data())
def test_get_bits_equals_python_shift(words, data):
    start = data.draw(st.integers(0, 64 * len(words) - 1))
    number = sum(word << (64 * i) for i, word in enumerate(words))
    array = np.array([*words, 0], np.uint64)
    assert int(call_get_bits(array, np.uint64(start))) == (number >> start) & (2**64 - 1)


@given(st.lists(WORD, min_size=1, max_size=4), WORD, st.data())
def test_put_bits_ors_in_64_bits(words, value, data):
    start = data.draw(st.integers(0, 64 * len(words) - 1))
    number = sum(word << (64 * i) for i, word in enumerate(words)) | value << start
    array = np.array([*words, 0], np.uint64)
    call_put_bits(array, np.uint64(start), np.uint64(value))
    assert int.from_bytes(array.tobytes(), "little") == number


@pytest.mark.parametrize("start", [0, 64])
def test_put_bits_at_a_word_leaves_the_next_one(start):
    array = np.array([0, 0, 7], np.uint64)
    call_put_bits(array, np.uint64(start), np.uint64(2**64 - 1))
    assert array.tolist() == ([2**64 - 1, 0, 7] if start == 0 else [0, 2**64 - 1, 7])


@st.composite
def fields(draw):
    widths = draw(st.lists(st.integers(0, 64), max_size=40))
    return [(draw(st.integers(0, (1 << width) - 1)), width) for width in widths]


def python_pack(pairs):
    number = at = 0
    for value, width in pairs:
        number |= value << at
        at += width
    return number, at


def packed_number(values, widths, n_bits):
    words = np.zeros(n_bits // 64 + 2, np.uint64)
    written = pack_fields(np.array(values, np.uint64), np.array(widths, np.uint8), words)
    return int.from_bytes(words.tobytes(), "little"), int(written)


@given(fields())
def test_pack_fields_equals_big_integer(pairs):
    number, at = python_pack(pairs)
    values, widths = [v for v, _ in pairs], [w for _, w in pairs]
    assert packed_number(values, widths, at) == (number, at)


@given(st.integers(1, 64), st.lists(WORD, min_size=2, max_size=20))
def test_pack_fields_repeats_a_single_width(width, values):
    values = [value & ((1 << width) - 1) for value in values]
    number, at = python_pack([(value, width) for value in values])
    assert packed_number(values, [width], at) == (number, at)


def test_pack_fields_kernel_equals_its_python_function():
    values = np.array([5, 2**64 - 1, 0, 1, 2**33], np.uint64)
    widths = np.array([3, 64, 0, 1, 34], np.uint8)
    compiled, plain = np.zeros(4, np.uint64), np.zeros(4, np.uint64)
    assert pack_fields(values, widths, compiled) == pack_fields.py_func(values, widths, plain)
    assert (compiled == plain).all()


@given(st.lists(st.booleans(), max_size=300))
def test_pack_bool_puts_the_first_bit_lowest(bits):
    words = pack_bool(np.array(bits, np.bool_))
    assert words.dtype == np.uint64
    assert words.size == -(-len(bits) // 64) + 2
    number = int.from_bytes(words.tobytes(), "little")
    assert number == sum(bit << i for i, bit in enumerate(bits))
    assert unpack_bool(words, len(bits)).tolist() == bits


def test_pack_bool_without_spare_words():
    assert pack_bool(np.ones(64, np.bool_), spare_words=0).tolist() == [2**64 - 1]
    assert pack_bool(np.zeros(0, np.bool_), spare_words=0).size == 0
