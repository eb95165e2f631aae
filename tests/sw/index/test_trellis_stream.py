# SPDX-License-Identifier: Apache-2.0
"""Trellis index: what choose() promises, streams against the golden model, bytes and damage."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import CapacityError, FormatError
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.trellis import trellis_decoder
from xorloom.sw.index.trellis.choose import choose
from xorloom.sw.index.trellis.stream import TrellisStream, pack, payload_bits, unpack
from xorloom.sw.spec.layout import network_id

from tests.helpers.index import frame, reseal
from tests.helpers.trellis import mask_of, trellis_config

SMALL = trellis_config(4, 16, 6)
CLASSES = trellis_config(5, 24, 7, minterms=4, classes=4, period=16)


def gaussian(slices, n_out, seed=1):
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(size=(slices, n_out))).astype(np.float32)


def counts_of(slices, live, config, size):
    """Weights of every stream."""
    firsts = range(0, slices, size or max(1, slices))
    ends = [min(slices, first + (size or slices)) for first in firsts]
    return [
        min(live, end * config.n_out) - first * config.n_out
        for first, end in zip(firsts, ends, strict=True)
    ]


def golden(data, config, count):
    """What the golden model decodes, as (slices, n_out), False where there is no weight."""
    slices = trellis_decoder(config, bus_words(data, config.bus_bits))
    mask = np.array([[v >> j & 1 for j in range(config.n_out)] for v in slices], np.bool_)
    mask = mask.reshape(len(slices), config.n_out)
    mask.reshape(-1)[count:] = False
    return mask


def any_stream(config, slices, seed):
    """Random seeds and classes."""
    rng = np.random.default_rng(seed)
    n_bits = slices * config.n_in
    bits = rng.integers(0, 2, n_bits).astype(np.uint8)
    seeds = np.zeros((-(-n_bits // 64) + 2) * 8, np.uint8)
    packed = np.packbits(bits, bitorder="little")
    seeds[: packed.size] = packed
    periods = -(-slices // config.period) if config.classes > 1 else 0
    classes = rng.integers(0, 4, (periods, config.n_out)).astype(np.uint8)
    return TrellisStream(seeds.view(np.uint64), slices, classes), bits.tolist()


@st.composite
def layouts(draw):
    n_out = draw(st.integers(8, 40))
    return trellis_config(
        draw(st.integers(1, n_out)),
        n_out,
        draw(st.integers(6, 8)),
        classes=draw(st.sampled_from([1, 4])),
        minterms=draw(st.integers(1, 15)),
        period=draw(st.integers(16, 20)),
    )


@given(layouts(), st.integers(0, 40), st.integers(0, 7), st.sampled_from([32, 64, 512]), st.data())
def test_any_stream_decodes_as_the_code_says(config, slices, short, bus_bits, data):
    config = replace(config, bus_bits=bus_bits)
    stream, bits = any_stream(config, slices, data.draw(st.integers(0, 1 << 20)))
    count = max(0, slices * config.n_out - short)
    packed = pack(stream, count, config)
    expected = mask_of(config, bits, slices, stream.classes)
    expected.reshape(-1)[count:] = False
    np.testing.assert_array_equal(unpack(packed, count, config, "w"), expected)
    np.testing.assert_array_equal(golden(packed, config, count), expected)
    header, crc = max(16, bus_bits // 8), max(4, bus_bits // 8)
    words = -(-payload_bits(slices, config) // bus_bits)
    assert len(packed) == header + words * bus_bits // 8 + crc


@pytest.mark.parametrize("config", [SMALL, CLASSES], ids=["1", "4"])
@pytest.mark.parametrize(("slices", "short", "size"), [(64, 0, 0), (75, 3, 32), (130, 15, 64)])
def test_chosen_mask_is_what_its_streams_decode_to(config, slices, short, size):
    live = slices * config.n_out - short
    importance = gaussian(slices, config.n_out)
    chosen = choose(importance, live, 0.09, config, slices_per_stream=size)
    assert chosen.mask.shape == importance.shape
    assert chosen.mask.dtype == np.bool_
    assert not chosen.mask.reshape(-1)[live:].any()
    assert 0.5 * 0.09 < chosen.mask.mean() < 1.5 * 0.09
    counts = counts_of(slices, live, config, size)
    assert len(chosen.streams) == len(counts)
    first = 0
    for stream, count in zip(chosen.streams, counts, strict=True):
        data = pack(stream, count, config)
        part = chosen.mask[first : first + stream.slices]
        np.testing.assert_array_equal(unpack(data, count, config, "w"), part)
        np.testing.assert_array_equal(golden(data, config, count), part)
        first += stream.slices
    assert first == slices


def test_tiny_stream_is_these_bytes():
    # A beat has four seed bits, the first in bit 0: two beats fill a byte.
    bits = [1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    seeds = np.array([0b0001_1100_0011, 0, 0], np.uint64)
    data = pack(TrellisStream(seeds, 3, np.zeros((0, 16), np.uint8)), 45, SMALL)
    assert SMALL.identity == "4,16,6,3,1,384,0"
    assert data.hex() == frame(4, 45, network_id(SMALL), [0x1C3], 32).hex()
    assert (unpack(data, 45, SMALL, "w") == golden(data, SMALL, 45)).all()
    beats = ["".join(str(int(bit)) for bit in beat) for beat in unpack(data, 45, SMALL, "w")]
    assert beats == BEATS
    expected = mask_of(SMALL, bits, 3)
    expected.reshape(-1)[45:] = False
    assert (unpack(data, 45, SMALL, "w") == expected).all()


BEATS = ["0000010000000000", "1001100001000011", "0000110011000000"]


def test_classes_stand_before_the_beats_of_their_period():
    config = trellis_config(8, 12, 6, classes=4, period=16)
    classes = np.array([[3, 0, 1, 2] * 3, [1] * 12], np.uint8)
    seeds = np.zeros(5, np.uint64)
    seeds.view(np.uint8)[:17] = range(100, 117)
    data = pack(TrellisStream(seeds, 17, classes), 17 * 12, config)
    # Lane j's class in bits 2 j and 2 j + 1, in chunks of 8: 24 bits are three of them.
    first, second = bytes([0b10_01_00_11] * 3), bytes([0b01_01_01_01] * 3)
    payload = first + bytes(range(100, 116)) + second + bytes([116])
    payload += bytes(-len(payload) % 4)
    words = [int.from_bytes(payload[k : k + 4], "little") for k in range(0, len(payload), 4)]
    assert data.hex() == frame(4, 204, network_id(config), words, 32).hex()
    assert payload_bits(17, config) == 8 * 23


@pytest.mark.parametrize("config", [SMALL, CLASSES], ids=["1", "4"])
def test_every_flipped_bit_is_found_by_the_crc(config):
    count = 20 * config.n_out - 5
    data = pack(any_stream(config, 20, 3)[0], count, config)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match=r"^w: "):
            unpack(bytes(damaged), count, config, "w")


@pytest.mark.parametrize("config", [SMALL, CLASSES], ids=["1", "4"])
def test_damage_behind_a_good_crc_is_an_error_or_a_mask(config):
    count = 20 * config.n_out - 5
    data = pack(any_stream(config, 20, 3)[0], count, config)
    sound = unpack(data, count, config, "w")
    errors = others = same = 0
    for bit in range(8 * (len(data) - 4)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        sealed = reseal(damaged)
        if not 128 <= bit < 128 + payload_bits(20, config):
            with pytest.raises(FormatError, match=r"^w: "):
                unpack(sealed, count, config, "w")
            continue
        try:
            found = unpack(sealed, count, config, "w")
        except FormatError:
            errors += 1
            continue
        np.testing.assert_array_equal(found, golden(sealed, config, count))
        others, same = others + bool((found != sound).any()), same + bool((found == sound).all())
    assert errors == (0 if config.classes == 1 else 2 * 2)  # unused bits behind the classes
    assert others > 2 * same


def test_truncated_and_extended_streams_are_rejected():
    data = pack(any_stream(SMALL, 20, 3)[0], 320, SMALL)
    for size in range(len(data)):
        with pytest.raises(FormatError, match=r"^w: stream"):
            unpack(data[:size], 320, SMALL, "w")
    with pytest.raises(FormatError, match="bus words must be"):
        unpack(data + bytes(4), 320, SMALL, "w")


@pytest.mark.parametrize("count", [0, 319, 321, 336, 1 << 31])
def test_another_count_is_rejected(count):
    data = pack(any_stream(SMALL, 20, 3)[0], 320, SMALL)
    text = f"w: trellis index must hold {count} weights in .* found 320 in 3"
    with pytest.raises(FormatError, match=text):
        unpack(data, count, SMALL, "w")
    told = bytearray(data)
    told[4:8] = struct.pack("<I", count)
    with pytest.raises(FormatError, match=rf"must hold 320 weights in 3 bus words, found {count}"):
        unpack(reseal(told), 320, SMALL, "w")


@pytest.mark.parametrize("words", [[], [1, 2], [1, 2, 0, 0]])
def test_another_number_of_words_is_rejected(words):
    data = frame(4, 320, network_id(SMALL), words, 32)
    with pytest.raises(FormatError, match=f"in 3 bus words, found 320 in {len(words)}"):
        unpack(data, 320, SMALL, "w")


@pytest.mark.parametrize(
    "change",
    [{"network_seed": 1}, {"window": 7}, {"minterms": 2}, {"classes": 4}, {"period": 16}],
    ids=str,
)
def test_another_code_is_rejected(change):
    data = pack(any_stream(SMALL, 20, 3)[0], 320, SMALL)
    other = replace(SMALL, **change)
    text = f"w: network id must be {network_id(other):08x} for the parameters {other.identity}, "
    with pytest.raises(FormatError, match=f"{text}found {network_id(SMALL):08x}"):
        unpack(data, 320, other, "w")


def test_another_kind_is_rejected():
    with pytest.raises(FormatError, match="w: stream kind must be 4, found 1"):
        unpack(frame(1, 320, 0, [1] * 10, 32), 320, SMALL, "w")


@pytest.mark.parametrize("bit", [16, 31])
def test_padding_after_the_last_beat_must_be_zero(bit):
    network = network_id(SMALL)
    assert unpack(frame(4, 64, network, [0xFFFF], 32), 64, SMALL, "w").any()
    with pytest.raises(FormatError, match="w: padding of the trellis index must be zero"):
        unpack(frame(4, 64, network, [0xFFFF | 1 << bit], 32), 64, SMALL, "w")


@pytest.mark.parametrize("bit", [48, 49])
def test_padding_after_the_classes_must_be_zero(bit):
    # 24 lanes have 48 class bits, in ten chunks of five.
    word = [0, 1 << (bit - 32)]
    with pytest.raises(FormatError, match="padding of the trellis index must be zero"):
        unpack(frame(4, 24, network_id(CLASSES), word, 32), 24, CLASSES, "w")
    unpack(frame(4, 24, network_id(CLASSES), [0, 1 << 18 | 1 << 15], 32), 24, CLASSES, "w")


def test_stream_of_no_weights_is_header_and_crc():
    for config in (SMALL, CLASSES):
        data = pack(any_stream(config, 0, 1)[0], 0, config)
        assert data.hex() == frame(4, 0, network_id(config), [], 32).hex()
        assert unpack(data, 0, config, "w").shape == (0, config.n_out)


def test_pack_refuses_four_billion_weights():
    with pytest.raises(CapacityError, match="count 4294967296 does not fit 32 bits: split the"):
        pack(any_stream(SMALL, 1, 1)[0], 1 << 32, SMALL)
