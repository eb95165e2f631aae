# SPDX-License-Identifier: Apache-2.0
"""What readers and writers of weight streams refuse, and what they say."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.bits.framing import frame_payload
from xorloom.sw.golden.weights import weight_decoder
from xorloom.sw.memory.weight_stream import (
    join_streams,
    join_tensor,
    split_stream,
    split_weight_streams,
)
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import BitmapConfig
from xorloom.sw.spec.layout import HEADER_BYTES, Header, WeightHeader, padded
from xorloom.sw.spec.weight_format import WeightFormat

from tests.helpers.weight import CODECS, blocks_of, form_of, joined, pair, sealed


def test_format_refuses_what_does_not_go_together() -> None:
    with pytest.raises(
        ConfigError,
        match="need the window or direct value codec, not block: compress with --value window",
    ):
        WeightFormat(BlockConfig(), 1, BitmapConfig())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="does not go with slices of 32 weights"):
        WeightFormat(WindowConfig(n_out=64), 2, BitmapConfig(n_out=64))


def reframed(stream: bytes, bus: int, **changes: int) -> bytes:
    """Change a header of a value or index stream; ``more`` words are put behind its payload."""
    header = Header.unpack(stream, "test")
    start = padded(HEADER_BYTES, bus)
    payload = stream[start : start + header.words * bus] + bytes(changes.pop("more", 0) * bus)
    header = replace(header, words=len(payload) // bus, **changes)
    return frame_payload(header, payload, bus)


@pytest.mark.parametrize(
    ("codec", "which", "changes", "text"),
    [
        ("bitmap", 0, {"network": 1}, "a: network ids are not those of the decoder's parameters"),
        ("trellis", 1, {"network": 1}, "a: network ids are not those of the decoder's parameters"),
        ("bitmap", 1, {"count": 99}, "a: index must hold 1226 weights, found 99"),
        ("bitmap", 0, {"kind": 2}, "a: values: stream kind must be 3, found 2"),
        ("bitmap", 1, {"kind": 4}, "a: index: stream kind must be 1, found 4"),
        ("bitmap", 0, {"more": 1}, r"a: values: stream must have \d+ bus words, found \d+"),
        ("bitmap", 1, {"more": 1}, "a: index: stream must have 39 bus words, found 40"),
        ("trellis", 1, {"more": 2}, "a: index: stream must have 6 bus words, found 8"),
        ("trellis_classes", 1, {"more": 1}, r"a: index: stream must have \d+ bus words, found \d+"),
        ("lowrank", 1, {"more": 1}, r"a: index: stream must have \d+ bus words, found \d+"),
        ("entropy", 1, {"more": 1}, r"a: index: words must be \d+, found \d+"),
    ],
)
def test_join_refuses(codec: str, which: int, changes: dict[str, int], text: str) -> None:
    form = form_of(codec, 1, 32)
    streams = list(pair(form, 20, 10, 1))
    streams[which] = reframed(streams[which], 4, **changes)
    with pytest.raises(FormatError, match=text):
        join_streams(*streams, form, "a")


def test_join_tensor_needs_pairs() -> None:
    form = form_of("bitmap", 1, 32)
    value, index = pair(form, 2, 5, 1)
    with pytest.raises(FormatError, match="a: 2 value streams need as many index streams, found 1"):
        join_tensor(value + value, index, form, "a")
    with pytest.raises(FormatError, match="a: stream 1: index must hold 70 weights, found 69"):
        join_tensor(value + pair(form, 2, 6, 1)[0], index + index, form, "a")
    assert join_tensor(b"", b"", form) == (b"", 0)


def test_split_refuses_a_damaged_header() -> None:
    form = form_of("bitmap", 1, 32)
    data, _ = joined()
    for change, text in (
        (data[:23], "a: stream is 23 bytes, shorter than its 24-byte header"),
        (b"XY" + data[2:], "a: stream magic must be b'XL', found b'XY'"),
        (data[:2] + b"\2" + data[3:], "a: stream version 2 is not the supported 1: use a newer"),
        (data[:3] + b"\x14" + data[4:], "a: stream kind must be 17, found 20"),
        (data[:8] + bytes(4) + data[12:], "a: network id must be .{8} for these param.* 00000000"),
        (data[:22] + b"\1" + data[23:], "a: bytes 22 and 23 of the header must be zero"),
        (data[:4] + bytes(4) + data[8:], "at least 2 blocks, and 1 to 17 words .*found count 0, "),
        (data[:12] + b"\1\0\0\0" + data[16:], "found count .*, blocks 1, first words"),
        (data[:20] + b"\0" + data[21:], "first words 0 and "),
        (data[:21] + b"\x12" + data[22:], "first words .* and 18"),
        (data + bytes(4), rf"of \d+ blocks must have {len(data)} bytes, found {len(data) + 4}"),
        (data[:-4], rf"of \d+ blocks must have {len(data)} bytes, found {len(data) - 4}"),
        (data[:-1] + bytes([data[-1] ^ 1]), "a: CRC-32 must be .{8}, found .{8}"),
    ):
        with pytest.raises(FormatError, match=text):
            split_stream(change, form, "a")


def test_split_refuses_a_wrong_schedule() -> None:
    form = form_of("bitmap", 1, 32)
    data, at = joined()
    schedule = int.from_bytes(data[at : at + 4], "little")
    blocks = WeightHeader.unpack(data, "test").blocks
    assert schedule & 3 == 2, "values, index"
    assert blocks < 32

    def changed(bits: int) -> bytes:
        return sealed(data[:at] + struct.pack("<I", bits) + data[at + 4 :])

    for bits, text in (
        (schedule | 1 << blocks, "a: the schedule's padding must be zero"),
        ((1 << blocks) - 1, "a: blocks must be of both strings, found one only"),
        (0, "a: blocks must be of both strings, found one only"),
    ):
        with pytest.raises(FormatError, match=text):
            split_stream(changed(bits), form, "a")


def test_split_refuses_another_order_of_the_same_blocks() -> None:
    form = form_of("bitmap", 1, 512)
    data, _ = joined(bus_bits=512, slices=2)
    header = WeightHeader.unpack(data, "test")
    assert (header.blocks, header.first, data[24]) == (2, (1, 1), 2)
    swapped = data[:24] + b"\1" + data[25:64] + data[192:] + data[64:192]
    swapped = sealed(swapped)
    with pytest.raises(FormatError, match="a: blocks must stand in the order in which they fall"):
        split_stream(swapped, form, "a")
    assert weight_decoder(form, swapped) == weight_decoder(form, data), "it can be decoded"
    dirty = sealed(data[:-1] + b"\1")
    with pytest.raises(FormatError, match="the word after a string of one word must be zero"):
        split_stream(dirty, form, "a")


def test_split_refuses_another_first_block() -> None:
    """A string of K + 1 words as one word and K is not what a writer makes."""
    form = form_of("bitmap", 1, 512, 64)
    streams = pair(form, 18, 64, 1)
    data, _ = join_streams(*streams, form)
    header = WeightHeader.unpack(data, "test")
    words = len(streams[1]) // 64 - 2
    assert (words, header.first[1]) == (3, 3)
    payload = streams[1][64:256]
    order = list(blocks_of(data, 512))
    kinds = [kind for kind, _ in order]
    place = kinds.index(1)
    kinds.insert(place + 1, 1)
    index = [payload[:64] + bytes(64), payload[64:]]
    string = streams[0][64:-64]
    values = [string[: header.first[0] * 64].ljust(128, b"\0")]
    values += [string[at : at + 128] for at in range(header.first[0] * 64, len(string), 128)]
    body = b"".join((index if kind else values).pop(0) for kind in kinds)
    bits = sum(kind << k for k, kind in enumerate(kinds)).to_bytes(40, "little")
    head = replace(header, blocks=len(kinds), first=(header.first[0], 1), crc=0).pack()
    with pytest.raises(
        FormatError, match="a: the first block of 3 index words must have 3, found 1"
    ):
        split_stream(sealed(head + bits + body), form, "a")


def test_split_weight_streams_cuts_at_the_headers() -> None:
    one, two = joined()[0], joined(slices=3)[0]
    assert split_weight_streams(one + two, 4) == [one, two]
    assert split_weight_streams(b"", 4) == []
    with pytest.raises(FormatError, match=r"a: stream 1 of \d+ blocks must have .* bytes, found"):
        split_weight_streams(one + two[:-4], 4, "a")
    with pytest.raises(FormatError, match="a: stream 1: stream is 5 bytes, shorter than its 24"):
        split_weight_streams(one + two[:5], 4, "a")
    with pytest.raises(FormatError, match="a: stream 1: a stream has slice bits, at least 2 block"):
        split_weight_streams(one + two[:12] + bytes(4) + two[16:], 4, "a")


def test_golden_model_refuses() -> None:
    form, other = form_of("bitmap", 1, 512), form_of("trellis", 1, 512)
    data, _ = joined(bus_bits=512, slices=2)
    network = struct.pack("<I", other.network)
    for stream, text in (
        (data[:-64], "stream: of 2 blocks must have 320 bytes, found 256"),
        (data + bytes(64), "stream: of 2 blocks must have 320 bytes, found 384"),
        (data[:20] + b"\4" + data[21:], "stream: a stream has slice bits, at least 2 blocks"),
        (data[:-1] + b"\1", "stream: CRC-32 must be .{8}, found .{8}"),
        (sealed(data[:3] + b"\x14" + data[4:]), "stream: kind must be 17, found 20"),
        (sealed(data[:8] + network + data[12:]), "stream: network id must be .{8}, found .{8}"),
        (sealed(data[:24] + b"\0" + data[25:]), "blocks must be of both strings, found one only"),
        (
            sealed(data[:4] + struct.pack("<I", 64 * 90) + data[8:]),
            "stream: too few words for its count of 5760 slice bits",
        ),
    ):
        with pytest.raises(FormatError, match=text):
            weight_decoder(form, stream)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(CODECS),
    st.sampled_from([32, 128, 512]),
    st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=3),
    st.booleans(),
)
def test_any_damage_is_told_or_harmless(
    codec: str, bus_bits: int, damage: list[tuple[int, int]], in_head: bool
) -> None:
    """Also where the CRC is right; what passes can be written again, byte for byte."""
    form = form_of(codec, 1, bus_bits)
    data = bytearray(joined(codec, bus_bits, 12)[0])
    for place, bits in damage:
        data[place % (32 if in_head else len(data))] ^= bits
    stream = sealed(bytes(data))
    try:
        assert join_streams(*split_stream(stream, form), form)[0] == stream
        decoded = True
    except FormatError:
        decoded = False
    try:
        weight_decoder(form, stream)
    except FormatError:
        assert not decoded


def test_golden_model_refuses_an_impossible_table() -> None:
    form = form_of("entropy", 1, 32)
    data, _ = joined("entropy", slices=12)
    place = data.index(pair(form, 12, 10, 1)[1][16:24])  # where the index string begins
    stream = bytearray(data)
    stream[place + 3] ^= 15  # states of class 0
    with pytest.raises(FormatError, match="stream: table of the entropy index is impossible"):
        weight_decoder(form, sealed(bytes(stream)))
