# SPDX-License-Identifier: Apache-2.0
"""Streams of the direct codec: against a reader by FORMAT.md alone, and what a reader rejects."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.bits.codec import value_codec
from xorloom.sw.bits.framing import frame_payload, split_streams, unframe_payload
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.codecs import value_decoder
from xorloom.sw.golden.direct import direct_levels
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.layout import Header, network_id
from xorloom.sw.tensors.orders import slice_count
from xorloom.sw.value.direct.codec import decode
from xorloom.sw.value.direct.stream import (
    direct_bits,
    direct_due,
    pack_direct,
    slices_per_stream,
    unpack_direct,
)
from xorloom.sw.value.plane import encode_value

from tests.helpers.direct import CONFIGS, random_streams
from tests.helpers.format_network import direct_slices

SHAPE = (37, 23)
WEIGHTS = 37 * 23
SMALL = CONFIGS[1]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("parts", [1, 3])
def test_codes_levels_and_slices_are_those_of_an_independent_reader(config, parts):
    size = -(-slice_count(WEIGHTS, config.lanes) // parts)
    made = random_streams(config, WEIGHTS, size)
    data, bits = pack_direct(made, config)
    read = unpack_direct(
        data, config, order="column", weights=WEIGHTS, slices_per_stream=size, where="t"
    )
    assert (read.levels == made.levels).all()
    assert bits == direct_bits(made, config)
    assert bits.total == 8 * len(data)
    slices = []
    for part in split_streams(data, config.bus_bytes, "t"):
        header, payload = unframe_payload(part, config.bus_bytes, 7, "t")
        n = slice_count(header.count, config.n_out)
        levels, found = direct_slices(config.to_dict(), bytes(payload), n)
        words = bus_words(part, config.bus_bits)
        assert value_decoder(config, words) == found
        assert direct_levels(config, words) == levels == made.levels.tolist()
        slices += found
    q, mask = config.planes, (1 << config.planes) - 1
    flat = [beat >> lane * q & mask for beat in slices for lane in range(config.lanes)]
    assert decode(read, SHAPE, config).T.reshape(-1).tolist() == flat[:WEIGHTS]


def test_record_arranges_golden_slices_as_the_decoder_does():
    config = CONFIGS[3]
    made = random_streams(config, WEIGHTS, slices_per_stream(WEIGHTS, config), "skewed")
    data, _ = pack_direct(made, config)
    beats = value_decoder(config, bus_words(data, config.bus_bits))
    raw = b"".join(beat.to_bytes(config.n_out // 8, "little") for beat in beats)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little").reshape(len(beats), -1)
    codec = value_codec("direct")
    found = codec.arrange(bits, SHAPE, config.planes, config, "skewed")
    assert (found == decode(made, SHAPE, config)).all()


def test_tensor_without_weights_has_no_stream():
    assert slices_per_stream(0, SMALL) == 1
    data, bits = pack_direct(random_streams(SMALL, 0, 1), SMALL)
    assert (data, bits.total) == (b"", 0)
    read = unpack_direct(b"", SMALL, order="row", weights=0, slices_per_stream=1)
    assert decode(read, (0, 4), SMALL).shape == (0, 4)


def test_streams_are_cut_where_a_header_could_not_count_them():
    config = DirectConfig(n_in=64, n_out=96, planes=6, taps=3)
    assert slices_per_stream(1 << 31, config) == ((1 << 32) - 1) // 96
    assert slices_per_stream(1 << 20, config) == (1 << 20) // 16


def good(**changes: int) -> bytes:
    made = random_streams(SMALL, 30, 8)
    data, _ = pack_direct(made, SMALL)
    header, payload = unframe_payload(data, SMALL.bus_bytes, 7, "t")
    return frame_payload(replace(header, **changes), bytes(payload), SMALL.bus_bytes)


def rejected(data: bytes, weights: int = 30, size: int = 8, config: DirectConfig = SMALL) -> str:
    with pytest.raises(FormatError, match=r"^file: t: ") as info:
        unpack_direct(
            data, config, order="row", weights=weights, slices_per_stream=size, where="file: t"
        )
    return str(info.value)


def test_reader_names_what_the_header_gets_wrong():
    assert "stream 0: stream kind must be 7, found 3" in rejected(good(kind=3))
    assert "stream 0: network id must be" in rejected(good(network=1))
    assert "stream 0: count must be 90 slice bits, found 91" in rejected(good(count=91))
    assert "stream 0: CRC-32 must be" in rejected(good()[:-1] + b"\x55")
    for change in ({"taps": 4}, {"window": 7}, {"network_seed": 2}, {"n_in": 16}):
        assert "network id must be" in rejected(good(), config=replace(SMALL, **change))


def test_reader_rejects_every_truncation_and_other_numbers_of_streams():
    data = good()
    for n in range(len(data)):
        rejected(data[:n])
    assert "must be 1 streams, found 2" in rejected(data + data)
    assert "must be 2 streams, found 1" in rejected(data, size=4)
    assert "must be 0 streams, found 1" in rejected(data, weights=0)


def test_reader_rejects_another_number_of_words():
    payload = bytes(4 * 5)
    header = Header(7, 90, network_id(SMALL), 5)
    assert "must have 4 bus words, found 5" in rejected(frame_payload(header, payload, 4))


def test_reader_rejects_padding_that_is_not_zero():
    config = DirectConfig(n_in=9, n_out=6, planes=1, window=6, bus_bits=64)
    data, _ = pack_direct(random_streams(config, 6, 1), config)
    header, payload = unframe_payload(data, 8, 7, "t")
    for bit in (16, 63, 64 + 9, 127):
        spoilt = int.from_bytes(payload, "little") ^ 1 << bit
        text = rejected(frame_payload(header, spoilt.to_bytes(16, "little"), 8), 6, 1, config)
        assert "padding of levels and seeds must be zero" in text


def test_reader_rejects_streams_of_other_levels():
    made = random_streams(SMALL, 30, 4)
    first, second = split_streams(pack_direct(made, SMALL)[0], SMALL.bus_bytes, "t")
    other = pack_direct(replace(made, levels=made.levels[::-1]), SMALL)[0]
    mixed = first + split_streams(other, SMALL.bus_bytes, "t")[1]
    assert len(second) == len(mixed) - len(first)
    assert "stream 1: levels must be those of the tensor's first stream" in rejected(mixed, size=4)


def test_words_fall_due_with_the_slice_that_takes_them():
    config = DirectConfig(n_in=12, n_out=32, planes=4, taps=4, bus_bits=32)
    data, _ = pack_direct(random_streams(config, 80, 10), config)
    words = config.level_words
    assert direct_due(data, config, "t").tolist() == [0] * words + [0, 2, 5, 8]
    assert struct.unpack_from("<I", data, 4) == (320,)
    header, payload = unframe_payload(data, 4, 7, "t")
    longer = frame_payload(replace(header, count=352), bytes(payload), 4)
    with pytest.raises(FormatError, match="must have 9 bus words, found 8"):
        direct_due(longer, config, "t")


def test_codes_of_the_user_are_refused():
    mask, codes = np.ones((4, 4), np.bool_), np.zeros((4, 4), np.uint8)
    with pytest.raises(ConfigError, match="direct value codec chooses the codes itself"):
        encode_value(mask, codes, 4, DirectConfig())
