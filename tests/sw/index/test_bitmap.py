# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import CapacityError, FormatError
from xorloom.sw.spec.config import BUS_BITS

from tests.helpers.index import frame, pack_bitmap, unpack_bitmap


@pytest.mark.parametrize("bus_bits", [32, 128])
def test_unpack_bitmap_rejects_every_flipped_bit(bus_bits, rng):
    mask = rng.random((5, 9)) > 0.5
    data = pack_bitmap(mask, bus_bits)
    assert (unpack_bitmap(data, (5, 9), bus_bits) == mask).all()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match=r"^index: "):
            unpack_bitmap(bytes(damaged), (5, 9), bus_bits)


def test_unpack_bitmap_rejects_every_truncation_and_extension(rng):
    data = pack_bitmap(rng.random(70) > 0.5, 32)
    for n in range(len(data)):
        with pytest.raises(FormatError):
            unpack_bitmap(data[:n], (70,), 32)
    with pytest.raises(FormatError, match="bus words must be 32 bytes, found 33"):
        unpack_bitmap(data + b"\0", (70,), 32)


@given(st.lists(st.booleans(), max_size=1200), st.sampled_from(BUS_BITS))
def test_bitmap_bytes_are_those_of_the_format(bits, bus_bits):
    number = sum(bit << i for i, bit in enumerate(bits))
    words = [(number >> low) & ((1 << bus_bits) - 1) for low in range(0, len(bits), bus_bits)]
    data = pack_bitmap(np.array(bits, np.bool_), bus_bits)
    assert data.hex() == frame(1, len(bits), 0, words, bus_bits).hex()
    assert unpack_bitmap(data, (len(bits),), bus_bits).tolist() == bits


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 4), (3, 0), (2, 3, 4)])
def test_bitmap_keeps_its_shape(shape, rng):
    mask = rng.random(shape) > 0.3
    found = unpack_bitmap(pack_bitmap(np.asarray(mask), 64), shape, 64)
    assert found.dtype == np.bool_
    assert found.shape == shape
    assert (found == mask).all()


def test_pack_bitmap_rejects_four_billion_weights():
    huge = np.broadcast_to(np.False_, (1 << 16, 1 << 16))
    with pytest.raises(CapacityError, match="bitmap of 4294967296 weights does not fit 32 bits"):
        pack_bitmap(huge, 64)


@pytest.mark.parametrize("shape", [(35,), (37,), (6, 7)])
def test_unpack_bitmap_rejects_another_size(shape):
    size = int(np.prod(shape))
    data = pack_bitmap(np.ones(36, np.bool_), 32)
    with pytest.raises(FormatError, match=f"bitmap must hold {size} weights, found 36"):
        unpack_bitmap(data, shape, 32)


def test_unpack_bitmap_rejects_extra_and_missing_words():
    for words in ([2**32 - 1], [2**32 - 1, 15, 0]):
        with pytest.raises(FormatError, match="bitmap must hold 36 weights"):
            unpack_bitmap(frame(1, 36, 0, words, 32), (36,), 32)


def test_unpack_bitmap_rejects_padding():
    for bit in (4, 31):
        data = frame(1, 36, 0, [5, 1 << bit], 32)
        with pytest.raises(FormatError, match="padding of the bitmap must be zero"):
            unpack_bitmap(data, (36,), 32)


def test_unpack_bitmap_rejects_a_network_id():
    with pytest.raises(FormatError, match="network id must be"):
        unpack_bitmap(frame(1, 36, 7, [5, 1], 32), (36,), 32)
