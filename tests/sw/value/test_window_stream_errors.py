# SPDX-License-Identifier: Apache-2.0
"""What a reader of window streams rejects; the streams are well framed unless told otherwise."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import FormatError
from xorloom.sw.value.window.codec import decode
from xorloom.sw.value.window.stream import pack_window

from tests.helpers.index import pack_bitmap
from tests.helpers.window import (
    made,
    network_id,
    payload_number,
    put,
    rejected,
    slice_bits,
    slice_ends,
    small,
    unpack,
    window_frame,
)

CONFIG = small()
PATCHED = small(n_in=32, patches=1)


def test_unpack_window_names_what_the_header_gets_wrong():
    good = made(rates=[3, 1])
    assert unpack(good).streams[0].facts.tolist() == [[3, 0], [1, 0]]
    assert "stream 0: stream kind must be 3, found 2" in rejected(made(kind=2))
    text = f"stream 0: network id must be {network_id(CONFIG):08x} for the parameters 8,64,64,5,"
    assert text in rejected(made(network=1))
    assert "found 00000001" in rejected(made(network=1))
    for count in (0, 1279, 1281, 2**32 - 1):
        text = f"stream 0: count must be 1280 slice bits, found {count}"
        assert text in rejected(made(count=count))
    damaged = bytearray(good)
    damaged[20] ^= 1
    assert "stream 0: CRC-32 must be" in rejected(bytes(damaged))
    assert "stream 0: stream magic must be b'XL', found b'XM'" in rejected(b"XM" + good[2:])
    bitmap = pack_bitmap(np.ones(1280, np.bool_), 32)
    assert "stream 0: stream kind must be 3, found 1" in rejected(bitmap)


def test_unpack_window_names_the_network_for_every_parameter():
    data = made()
    for change in ({"own_taps": 7}, {"network_seed": 1}, {"frame": 32}, {"window": 128}):
        assert "network id must be" in rejected(data, small(**change))
    assert network_id(CONFIG) == network_id(small(bus_bits=128))


def test_unpack_window_rejects_every_truncation_and_extension():
    data = made(rates=[0, 0], slices=20)
    for n in range(len(data)):
        text = rejected(data[:n])
        if n == 0:
            assert "1280 weights in streams of 1048576 slices must be 1 streams, found 0" in text
        elif n < 16:
            assert f"stream 0: stream is {n} bytes, shorter than its 16-byte header" in text
        else:
            assert f"bus words must have {len(data)} bytes, found {n}" in text
    assert "stream 1: stream is 1 bytes, shorter" in rejected(data + b"\0")
    assert "must be 1 streams, found 2" in rejected(data + data)
    assert "must be 2 streams, found 1" in rejected(data, slices_per_stream=16)
    assert "must be 0 streams, found 1" in rejected(data, weights=0)


def test_unpack_window_rejects_rate_words_that_do_not_fit_the_length():
    _, openings = slice_ends(CONFIG, [2, 0], 20)

    def faster(number):
        return put(number, openings[1] * 8, 7, 20)

    def slower(number):
        return put(number, 0, 7, 0)

    chunks = slice_ends(CONFIG, [10, 1], 20)[0][-1]
    words = -(-chunks * 8 // 32)
    text = f"for the rate words' {chunks} chunks of 8 bits, found {words + 1}"
    assert f"words must be {words} " in rejected(made(rates=[10, 1], words=words + 1))
    assert text in rejected(made(rates=[10, 1], words=words + 1))
    assert unpack(made(rates=[10, 1])).streams[0].chunks == chunks
    assert "words must be" in rejected(made(rates=[100, 0], edit=slower))
    chunks = slice_ends(CONFIG, [2, 0], 20)[0][-1]
    there = -(-chunks * 8 // 32) * 4
    text = f"rate word of frame 1 (20) asks for more than the stream's {there} chunks of 8 bits"
    assert text in rejected(made(rates=[2, 0], edit=faster))
    assert "20 slices take at least 27 chunks of 8 bits, the stream has 0" in rejected(
        made(edit=lambda number: 0, words=0)
    )


def test_unpack_window_rejects_padding():
    config = small(bus_bits=512)
    chunks = slice_ends(config, [0], 2)[0][-1]
    for bit in (chunks * 8, 511):
        text = rejected(
            made(config, 2, rates=[0], edit=lambda n, bit=bit: n | 1 << bit), config, slices=2
        )
        assert "stream 0: padding after the last chunk must be zero" in text
    for at in (16, 63):  # of the header
        data = bytearray(made(config, 2, rates=[0]))
        data[at] = 1
        end = len(data) - 64
        data[end : end + 4] = struct.pack("<I", zlib.crc32(bytes(data[:end])))
        assert "padding of header and CRC must be zero" in rejected(bytes(data), config, slices=2)


def entry(valid, index, position):
    return valid | index << 1 | position << 5


@pytest.mark.parametrize(
    ("slices", "frame", "at_slice", "index", "position"),
    [
        (20, 0, 5, 3, 1),  # behind the slice whose patch came last
        (20, 0, 5, 5, 1),  # the same slice again
        (20, 1, None, 4, 1),  # past the stream's last slice
        (20, 1, 17, 15, 1),
    ],
)
def test_unpack_window_rejects_patch_entries(slices, frame, at_slice, index, position):
    flips = {5: 9, 17: 60}
    rates = [20, 20]
    ends, openings = slice_ends(PATCHED, rates, slices)
    at = openings[frame] * 32 + PATCHED.rate_bits if at_slice is None else ends[at_slice] * 32

    def edit(number):
        return put(number, at, PATCHED.patch_bits, entry(1, index, position))

    assert unpack(made(PATCHED, slices, rates=rates, flips=flips), PATCHED, slices)
    text = rejected(made(PATCHED, slices, rates=rates, flips=flips, edit=edit), PATCHED, slices)
    assert f"stream 0: patch entry in frame {frame} fits no slice of the frame" in text


def test_unpack_window_rejects_a_patch_position_past_the_slice():
    config = small(n_in=32, n_out=192, patches=1)
    assert unpack(made(config, flips={2: 191}), config).streams[0].n_patches == 1
    for position in (192, 255):
        assert "patch entry in frame 0" in rejected(made(config, flips={2: position}), config)


def try_decode(data, config, slices):
    """Whatever happens must be a FormatError or a decode that the closed form confirms."""
    try:
        streams = unpack(data, config, slices)
    except FormatError:
        return
    assert pack_window(streams, config)[0] == data
    mask = np.ones(slices * config.n_out, np.bool_)
    decoded = decode(streams, mask, 1, config).reshape(slices, -1)
    if not config.patches:
        found = [sum(int(bit) << j for j, bit in enumerate(row)) for row in decoded]
        assert found == slice_bits(config, payload_number(data, config), slices)


@given(st.binary(max_size=300), st.integers(0, 30), st.booleans())
def test_unpack_window_of_random_payload_never_fails_otherwise(payload, slices, patched):
    config = PATCHED if patched else CONFIG
    number = int.from_bytes(payload, "little")
    words = -(-len(payload) // 4)
    try_decode(window_frame(config, number, 0, slices * 64, words=words), config, max(1, slices))


@given(st.binary(max_size=80))
def test_unpack_window_of_random_bytes_is_a_format_error(data):
    rejected(data)
    rejected(b"XL\1\3" + data)


@given(st.data(), st.booleans())
def test_unpack_window_of_flipped_bits_never_fails_otherwise(data, patched):
    config = PATCHED if patched else CONFIG
    seed = data.draw(st.integers(0, 99))
    bits = data.draw(st.lists(st.integers(0, 215), min_size=1, max_size=3))
    flips = {4: 8, 18: 3} if patched else None
    mask = sum(1 << bit for bit in set(bits))
    rates = [data.draw(st.integers(0, 3)), 0]
    stream = made(config, 20, seed, rates, flips, lambda number: number ^ mask)
    try_decode(stream, config, 20)
    damaged = bytearray(stream)
    damaged[bits[0] % len(stream)] ^= 1 << bits[0] % 8
    rejected(bytes(damaged), config)
