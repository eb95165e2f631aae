# SPDX-License-Identifier: Apache-2.0
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.spec.config import BUS_BITS, WindowConfig
from xorloom.sw.tensors.orders import lanes
from xorloom.sw.value.window import codec as window_codec
from xorloom.sw.value.window.codec import WindowStreams, decode, encode
from xorloom.sw.value.window.stream import pack_window, window_bits

from tests.helpers.window import (
    made,
    payload_number,
    random_case,
    slice_bits,
    small,
    unpack,
    window_frame,
)

CONFIG = small()
PATCHED = small(n_in=32, patches=1)
WIRES = small(own_taps=1)  # every output is one window bit


# WIRES: outputs 0 to 4 are window bits 22, 9, 57, 11, 12, outputs 60 to 63 are 28, 33, 36, 47.
# Byte 0 is the rate word 0, so slice 0 sees bytes 0 to 7 and slice 1 bytes 1 to 8.
#             header: 70 slice bits, 3 words     00 19 5a 50 02 80 00 02 02 and padding      CRC
LITERAL = "584c010346000000d9b428b703000000 00195a500280000202000000 1afc546d".replace(" ", "")


def test_stream_of_one_tap_outputs_is_these_bytes():
    mask = np.ones(70, np.bool_)
    mask[5:60] = False
    codes = np.ones(70, np.uint8)
    codes[[1, 62]] = 0
    assert [WIRES.network.own[j] for j in (0, 1, 2, 3, 4, 60, 61, 62, 63, 5)] == [
        (22,), (9,), (57,), (11,), (12,), (28,), (33,), (36,), (47,), (0,)
    ]  # fmt: skip
    assert pack_window(encode(mask, codes, 1, WIRES, order="row"), WIRES)[0].hex() == LITERAL


def test_stream_literal_decodes_by_hand_and_by_the_codec():
    data = bytes.fromhex(LITERAL)
    seeds = data[16:25]
    expected = []
    for weight in range(70):
        at = 8 * (weight // 64) + WIRES.network.own[weight % 64][0]
        expected.append(seeds[at // 8] >> at % 8 & 1)
    mask = np.ones(70, np.bool_)
    decoded = decode(unpack(data, WIRES, weights=70), mask, 1, WIRES)
    assert decoded.tolist() == expected
    assert [expected[i] for i in (0, 1, 2, 3, 4, 60, 61, 62, 63)] == [1, 0, 1, 1, 1, 1, 1, 0, 1]


@pytest.mark.parametrize("bus_bits", BUS_BITS)
@pytest.mark.parametrize("n_in", [8, 64, 256])
def test_pack_window_frames_the_seed_bits(n_in, bus_bits, rng):
    config = WindowConfig(n_in=n_in, n_out=256, window=256, frame=16, bus_bits=bus_bits)
    mask, codes = random_case(rng, (5000,), 0.9, 2)
    encoded = encode(mask, codes, 2, config)
    data, bits = pack_window(encoded, config)
    stream = encoded.streams[0]
    number = int.from_bytes(stream.seeds.tobytes(), "little")
    assert data.hex() == window_frame(config, number, stream.chunks, 10000).hex()
    assert bits == window_bits(encoded, config)
    assert (bits.total, bits.steps) == (8 * len(data), stream.chunks)
    assert bits.seeds + bits.control == stream.chunks * n_in
    assert bits.control == -(-40 // 16) * config.rate_bits


def test_pack_window_counts_patches(rng):
    flips = {3: 7, 4: 63, 15: 0, 19: 1}
    bits = pack_window(unpack(made(PATCHED, flips=flips), PATCHED), PATCHED)[1]
    assert bits.patches == 4 * (1 + 4 + 6)
    assert bits.control == 2 * (PATCHED.rate_bits + 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.booleans())
def test_unpack_window_takes_every_rate_word_and_pack_gives_the_bytes_back(seed, slices, patched):
    config = PATCHED if patched else CONFIG
    rng = np.random.default_rng(seed)
    flips = {}
    if patched:
        places = rng.choice(slices, rng.integers(0, slices + 1), replace=False)
        flips = {int(e): int(rng.integers(0, 64)) for e in places}
    data = made(config, slices, seed, flips=flips)
    streams = unpack(data, config, slices)
    assert pack_window(streams, config)[0] == data
    mask = np.ones(slices * 64, np.bool_)
    decoded = decode(streams, mask, 1, config).reshape(slices, 64)
    found = [sum(int(bit) << j for j, bit in enumerate(row)) for row in decoded]
    assert found == slice_bits(config, payload_number(data, config), slices, flips)


@pytest.fixture
def several(monkeypatch, rng):
    monkeypatch.setattr(window_codec, "STREAM_BITS", 400)  # 22 slices, so 2 frames a stream
    mask, codes = random_case(rng, (90, 61), 0.7, 2)
    return mask, codes


@pytest.mark.parametrize("order", ["row", "strided", "skewed-column"])
def test_streams_decode_without_each_other(order, several):
    mask, codes = several
    encoded = encode(mask, codes, 2, CONFIG, order=order)
    data, bits = pack_window(encoded, CONFIG)
    parts = split_streams(data, CONFIG.bus_bytes, "w")
    assert len(parts) == len(encoded.streams) > 5
    assert b"".join(parts) == data
    assert bits.total == 8 * len(data)
    size = encoded.slices_per_stream
    assert size == 32 == 2 * CONFIG.frame
    turned = order == "skewed-column"
    flat = [(a.T if turned else a).reshape(-1) for a in (mask, codes)]
    where = lanes(order, mask.size, 32)
    for k in (0, 3, len(parts) - 1):
        _, _, count, _, _ = struct.unpack_from("<2sHIII", parts[k])
        slices = slice_bits(CONFIG, payload_number(parts[k], CONFIG), -(-count // 64))
        for i, value in enumerate(slices):
            for lane in range(32):
                e, length = k * size + i, int(where.length[lane])
                if e < length:
                    at = where.start[lane] + where.step * ((e + where.turn[lane]) % length)
                    assert not flat[0][at] or value >> 2 * lane & 3 == flat[1][at]
    again = unpack(data, order=order, weights=mask.size, planes=2, slices_per_stream=size)
    assert (decode(again, mask, 2, CONFIG) == np.where(mask, codes, 0)).all()


def test_streams_are_the_same_bytes_with_one_thread_and_with_two(several):
    for order in ("auto", "strided"):
        found = {
            pack_window(encode(*several, 2, CONFIG, order=order, threads=threads), CONFIG)[0]
            for threads in (1, 2, 2, 5, None)
        }
        assert len(found) == 1


def test_decode_names_the_stream_that_does_not_fit(several):
    mask, codes = several
    encoded = encode(mask, codes, 2, CONFIG, order="row")
    first = encoded.streams[0]
    short = window_codec.SeedStream(first.seeds, 9, first.count, first.facts)
    broken = WindowStreams("row", encoded.slices_per_stream, (first, short))
    with pytest.raises(FormatError, match=r"^t: 1: 32 slices take at least 39 chunks of 8 bits"):
        decode(broken, mask, 2, CONFIG, "t")
