# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.bits.gf2 import pack_bool
from xorloom.sw.bits.spread import signed_values, unpack_planes


@given(st.integers(1, 8), st.lists(st.integers(0, 255), max_size=150))
def test_unpack_planes_puts_plane_0_lowest(planes, values):
    codes = np.array(values, np.uint8) & np.uint8((1 << planes) - 1)
    words = np.array([pack_bool((codes >> b & 1).astype(np.bool_)) for b in range(planes)])
    found = unpack_planes(words, codes.size)
    assert found.dtype == np.uint8
    assert found.tolist() == codes.tolist()


def test_unpack_planes_leaves_its_words_alone():
    words = np.array([[0b0110], [0b0011]], np.uint64)
    assert unpack_planes(words, 4).tolist() == [2, 3, 1, 0]
    assert words.tolist() == [[0b0110], [0b0011]]


@given(st.integers(1, 7), st.lists(st.tuples(st.booleans(), st.integers(0, 127)), max_size=200))
def test_signed_values_are_sign_and_magnitude_less_1(planes, pairs):
    mask = np.array([kept for kept, _ in pairs], np.bool_)
    codes = np.array([code for _, code in pairs], np.uint8) & np.uint8((1 << planes) - 1)
    words = np.array([pack_bool(codes >> np.uint8(b) & 1 == 1, 0) for b in range(planes)])
    found = signed_values(pack_bool(mask, 0), words, mask.size)
    top = 1 << planes - 1
    expected = [
        ((code & top - 1) + 1) * (1 if code & top else -1) if kept else 0
        for kept, code in zip(mask.tolist(), codes.tolist(), strict=True)
    ]
    assert found.dtype == np.int8
    assert found.tolist() == expected
