# SPDX-License-Identifier: Apache-2.0
"""Streams of the low-rank index: against the golden model, bytes made by hand, damage."""

import contextlib
import random
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.lowrank import lowrank_chunks, lowrank_decoder
from xorloom.sw.index.lowrank.codec import (
    LowrankChoice,
    pack,
    stream_bits,
    unpack,
)
from xorloom.sw.spec.index_config import LowrankConfig
from xorloom.sw.spec.layout import network_id

from tests.helpers.lowrank import SMALL, golden, random_factors


@st.composite
def layouts(draw):
    n_out = draw(st.integers(8, 70))
    tile_slices = draw(st.integers(2, 40))
    tile_lanes = draw(st.integers(2, n_out))
    rank = draw(st.integers(1, 4))
    bus_bits = draw(st.sampled_from([32, 64, 512]))
    try:
        return LowrankConfig(n_out, tile_slices, tile_lanes, rank, bus_bits)
    except ConfigError:
        return LowrankConfig(n_out, 8, max(2, n_out // 2), 1, bus_bits)


@settings(max_examples=60, deadline=None)
@given(config=layouts(), slices=st.integers(0, 90), short=st.integers(0, 7), seed=st.integers(0))
def test_pack_unpack_and_golden_model_agree_with_the_formula(config, slices, short, seed):
    chosen = random_factors(config, slices, seed)
    count = max(0, slices * config.n_out - short)
    chosen.mask.reshape(-1)[count:] = False
    data = pack(chosen, count, config)
    assert 8 * len(data) == stream_bits(slices, config).total
    np.testing.assert_array_equal(unpack(data, count, config), chosen.mask)
    np.testing.assert_array_equal(golden(data, config, count), chosen.mask)


def test_config_numbers_of_the_default():
    config = LowrankConfig()
    assert (config.tiles, config.lane_bits, config.beat_bits) == (47, 512, 47)
    assert (config.share_bits, config.chunk_bits, config.shares_per_chunk) == (35, 82, 2)
    assert (config.preamble_chunks, config.chunks(288), config.chunks(0)) == (8, 296, 0)
    assert config.rate == 82 / 512
    # Factors of 288 slices: 20 tile rows of A, the slices' B; all chunks; 16 + 4 bytes in words.
    bits = stream_bits(288, config)
    assert bits.factors == 20 * 512 + 288 * 47
    assert bits.factors + bits.padding == 296 * 82
    assert bits.words == -(-296 * 82 // 64)
    assert bits.total == 64 * (bits.words + 3)


# n_out 8, tiles of 3 slices by 5 lanes (5 and 3 lanes), rank 1: A 8 bits, B 2, share 3, chunk 5,
# one share a preamble chunk. A's string is one zero and A, its shares (bits 2 to 0 each) for
# A = 0b10110001 of row 0: 010, 100, 101; for A = 0b00001111 of row 1: 110, 011, 000.
HAND = LowrankConfig(n_out=8, tile_slices=3, tile_lanes=5, rank=1, bus_bits=32)
HAND_BEATS = [0b01, 0b10, 0b11, 0b11, 0b00]
HAND_MASK = [0b00010001, 0b10100000, 0b10110001, 0b00001111, 0]
HAND_CHUNKS = [0b010_00, 0b100_00, 0b101_00, 0b110_01, 0b011_10, 0b000_11, 0b11, 0b00]


def hand_stream():
    payload = sum(chunk << (5 * i) for i, chunk in enumerate(HAND_CHUNKS)).to_bytes(8, "little")
    head = struct.pack("<2sBBIII", b"XL", 1, 5, 40, zlib.crc32(b"8,3,5,1"), 2)
    return head + payload + struct.pack("<I", zlib.crc32(head + payload))


def test_stream_bytes_made_by_hand():
    lane = np.array([[v >> j & 1 for j in range(8)] for v in (0b10110001, 0b00001111)], np.uint32)
    beat = np.array([[v & 1, v >> 1] for v in HAND_BEATS], np.uint32)
    mask = np.array([[v >> j & 1 for j in range(8)] for v in HAND_MASK], bool)
    data = hand_stream()
    assert data.hex() == (
        "584c010528000000"  # magic, version, kind 5, 40 weights
        "396fa43002000000"  # network id, 2 bus words
        "08d2ecc600000000"  # 8 chunks of 5 bits
        "46843e5e"
    )
    assert pack(LowrankChoice(mask, lane, beat, 0, 1.0), 40, HAND) == data
    np.testing.assert_array_equal(unpack(data, 40, HAND), mask)
    assert lowrank_chunks(HAND, bus_words(data, 32)) == HAND_CHUNKS
    assert lowrank_decoder(HAND, bus_words(data, 32)) == HAND_MASK


def reseal(data):
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


# The rest of a preamble chunk, the zeros that lead A's strings, the last tile row's shares, and
# what is beyond the chunks.
@pytest.mark.parametrize("bit", [0, 1, 6, 11, 2, 15 + 2, 30 + 2, 39, 40, 63])
def test_unpack_refuses_padding_that_is_not_zero(bit):
    data = bytearray(hand_stream())
    data[16 + bit // 8] ^= 1 << bit % 8
    with pytest.raises(FormatError, match="x: padding of the index must be zero"):
        unpack(reseal(bytes(data)), 40, HAND, "x")


def test_unpack_refuses_a_preamble_share_before_the_first():
    config = replace(SMALL, tile_slices=7)  # 4 chunks of 2 shares for 7 shares
    assert (config.share_bits, config.chunk_bits, config.preamble_chunks) == (4, 9, 4)
    data = bytearray(pack(random_factors(config, 20, 1), 480, config))
    data[16] |= 1 << 3
    with pytest.raises(FormatError, match="index: padding of the index must be zero"):
        unpack(reseal(bytes(data)), 480, config)


def test_unpack_refuses_what_does_not_fit():
    data = hand_stream()
    with pytest.raises(FormatError, match="t: index must hold 39 weights, found 40"):
        unpack(data, 39, HAND, "t")
    with pytest.raises(FormatError, match=r"network id must be .* for the parameters 8,4,5,1"):
        unpack(data, 40, replace(HAND, tile_slices=4))
    with pytest.raises(FormatError, match="stream kind must be 5, found 4"):
        unpack(reseal(data[:3] + b"\4" + data[4:]), 40, HAND)
    longer = data[:12] + b"\3" + data[13:24] + bytes(8)
    with pytest.raises(FormatError, match="index of 40 weights must have 2 bus words, found 3"):
        unpack(reseal(longer), 40, HAND)


def test_unpack_damaged_streams_raise_format_errors_only():
    chosen = random_factors(SMALL, 20, 3)
    data = pack(chosen, 20 * 24, SMALL)
    rng = random.Random(4)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 5])):
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        cut = bytes(damaged[: rng.choice([len(data), rng.randrange(len(data))])])
        if cut == data:
            continue
        with pytest.raises(FormatError):
            unpack(cut, 20 * 24, SMALL)
        body = reseal(bytes(damaged)) if len(damaged) == len(data) else cut
        with contextlib.suppress(FormatError):
            assert unpack(body, 20 * 24, SMALL).shape == (20, 24)


def test_pack_refuses_too_many_weights():
    with pytest.raises(CapacityError, match="does not fit 32 bits: split the tensor"):
        pack(random_factors(SMALL, 1, 0), 1 << 32, SMALL)


def test_config_refuses_bad_parameters():
    with pytest.raises(ConfigError, match="n_out must be between 8 and 2048, not 4"):
        LowrankConfig(n_out=4)
    with pytest.raises(
        ConfigError, match=r"tile_lanes must be between 2 and 16, not 17 \(a tile has"
    ):
        LowrankConfig(n_out=16, tile_lanes=17)
    with pytest.raises(ConfigError, match="rank must be between 1 and 32, not 33"):
        LowrankConfig(rank=33)
    with pytest.raises(ConfigError, match="cost 512 bits per beat of 512: use larger tiles"):
        LowrankConfig(tile_slices=4, tile_lanes=4, rank=2)
    assert LowrankConfig.from_dict(SMALL.to_dict()) == SMALL
    assert SMALL.identity == "24,6,5,1"
    assert network_id(SMALL) == zlib.crc32(b"24,6,5,1")
