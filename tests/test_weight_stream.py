# SPDX-License-Identifier: Apache-2.0
"""Weight streams: joined, taken apart, decoded by the golden model; bytes and dates by hand."""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from xorloom.sw import window_codec, window_stream
from xorloom.sw.config import BlockConfig, WindowConfig
from xorloom.sw.decoder import bus_words
from xorloom.sw.decoder_weight import INDEX_DECODERS, weight_decoder, weight_parser
from xorloom.sw.errors import ConfigError, FormatError
from xorloom.sw.index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    TrellisConfig,
)
from xorloom.sw.index_plane import choose_index, decode_index, encode_index
from xorloom.sw.layout import HEADER_BYTES, Header, WeightHeader, padded
from xorloom.sw.stream import frame_payload, split_streams, unframe_payload
from xorloom.sw.value_plane import ValueLayout, decode_value, encode_value
from xorloom.sw.weight_stream import (
    WeightFormat,
    check_counts,
    index_due,
    join_streams,
    join_tensor,
    slice_weights,
    split_stream,
    split_weight_streams,
    value_due,
)

from .index_streams import index_stream
from .weight_streams import value_stream

BUSES = (32, 64, 128, 256, 512)
CODECS = ("bitmap", "entropy", "lowrank", "trellis", "trellis_classes")


@lru_cache
def form_of(
    codec: str, planes: int, bus_bits: int, n_in: int = 32, patches: int = 0
) -> WeightFormat:
    """Return a small decoder."""
    value = WindowConfig(
        n_in=n_in,
        n_out=64,
        window=128,
        shared=64,
        frame=16,
        patches=patches,
        bus_bits=bus_bits,
    )
    n_out = 64 // planes
    common = {"n_out": n_out, "bus_bits": bus_bits}
    index: IndexConfig
    if codec == "bitmap":
        index = BitmapConfig(**common)
    elif codec == "entropy":
        index = EntropyConfig(lanes=2, states=32, **common)
    elif codec == "lowrank":
        index = LowrankConfig(tile_slices=5, tile_lanes=4, **common)
    else:
        classes = 4 if codec == "trellis_classes" else 1
        index = TrellisConfig(n_in=9, window=8, classes=classes, period=16, **common)
    return WeightFormat(value, planes, index)


def pair(form: WeightFormat, slices: int, tail: int, seed: int) -> tuple[bytes, bytes]:
    """Return a random value stream and an index stream of the same weights."""
    lanes = form.value.n_out // form.planes
    count = form.value.n_out * (slices - 1) + tail * form.planes
    index = index_stream(form.index, lanes * (slices - 1) + tail, seed)
    return value_stream(form, count, seed), index


def sealed(data: bytes) -> bytes:
    """Put the right CRC into a stream."""
    crc = zlib.crc32(data[:16] + bytes(4) + data[20:])
    return data[:16] + struct.pack("<I", crc) + data[20:]


CASES = st.tuples(
    st.sampled_from(CODECS),
    st.sampled_from(BUSES),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([8, 64]),
    st.integers(1, 90),
    st.integers(0, 1 << 30),
)


@settings(max_examples=60, deadline=None)
@given(CASES)
@example(("entropy", 512, 1, 8, 1, 1))
@example(("trellis_classes", 32, 2, 64, 90, 3))
@example(("lowrank", 64, 1, 64, 90, 7))
def test_split_undoes_join(case: tuple[str, int, int, int, int, int]) -> None:
    codec, bus_bits, planes, n_in, slices, seed = case
    form = form_of(codec, planes, bus_bits, n_in)
    streams = pair(form, slices, seed % (64 // planes) + 1, seed)
    data, payload_bits = join_streams(*streams, form)
    assert split_stream(data, form) == streams
    bus = form.value.bus_bytes
    edges = padded(HEADER_BYTES, bus) + bus
    assert payload_bits == 8 * sum(len(stream) - edges for stream in streams)
    strings = weight_parser(data, bus_bits)
    for words, stream in zip((strings.value, strings.index), streams, strict=True):
        payload = bus_words(stream, bus_bits)[padded(HEADER_BYTES, bus) // bus : -1]
        # A string of one word has one of zeros behind it.
        assert list(words) == payload + [0] * (len(payload) == 1)


def blocks_of(data: bytes, bus_bits: int) -> Iterator[tuple[int, int]]:
    """Yield string and number of the first word of every block, by the format's text alone."""
    size = max(2, 512 // bus_bits)
    header = -(-192 // bus_bits)
    words = bus_words(data, bus_bits)
    head = int.from_bytes(data[: header * bus_bits // 8], "little")
    schedule = [head >> k & 1 for k in range(192, header * bus_bits)]
    at, places = header, [0, 0]
    for _ in range(int.from_bytes(data[12:16], "little")):
        if not schedule:
            schedule = [words[at] >> k & 1 for k in range(bus_bits)]
            at += 1
        kind = schedule.pop(0)
        yield kind, places[kind]
        count = size if places[kind] else data[20 + kind]
        places[kind] += count
        at += max(2, count)
    assert at == len(words)
    assert not any(schedule)


def value_needs(value: bytes, config: WindowConfig) -> list[int]:
    """Return the words without which a slice cannot leave, by FORMAT.md 4.3."""
    _, payload = unframe_payload(value, config.bus_bytes, 3, "test")
    bits, frame = int.from_bytes(payload, "little"), config.frame
    count = Header.unpack(value, "test").count
    credit, steps, taken = -frame * config.preload_steps, 0, 0
    needs = []
    for e in range(-(-count // config.n_out)):
        fresh = e % frame == 0
        while True:
            if fresh:
                rate = bits >> taken * config.n_in & (1 << config.rate_bits) - 1
                steps = frame + (rate << config.rate_shift)
            fresh = False
            taken += 1
            credit += frame
            if credit >= steps:
                break
        credit -= steps
        # The slice leaves when the chunk behind its last one is there.
        needs.append(-(-(taken + 1) * config.n_in // config.bus_bits))
    return needs


class Tape(list[int]):
    """Words that tell how many of them were taken."""

    taken = 0

    def __getitem__(self, key):  # type: ignore[no-untyped-def]
        return self._count(key.start) if isinstance(key, slice) and key.start else [*self][key]

    def _count(self, start: int) -> Iterator[int]:
        for word in [*self][start:]:
            self.taken += 1
            yield word


def index_needs(index: bytes, config: IndexConfig) -> list[int]:
    """Return the words without which a beat cannot be made, as the golden model takes them."""
    bus = config.bus_bytes
    count = Header.unpack(index, "test").count
    needs = []
    for e in range(-(-count // config.n_out)):
        if isinstance(config, LowrankConfig):
            chunks = config.preamble_chunks + e + 1
            needs.append(-(-chunks * config.chunk_bits // config.bus_bits))
            continue
        head = Header(0, min(count, (e + 1) * config.n_out), 0, 0).pack()
        words = bus_words(head.ljust(padded(HEADER_BYTES, bus), b"\0"), config.bus_bits)
        tape = Tape(words + bus_words(index, config.bus_bits)[len(words) :])
        decoder: Callable[[IndexConfig, Sequence[int]], list[int]] = INDEX_DECODERS[config.codec]
        decoder(config, tape)
        needs.append(tape.taken)
    return needs


@settings(max_examples=40, deadline=None)
@given(CASES)
@example(("trellis_classes", 32, 1, 64, 90, 5))
@example(("entropy", 32, 1, 64, 90, 6))
@example(("bitmap", 64, 1, 64, 90, 8))
@example(("lowrank", 32, 2, 64, 90, 9))
def test_blocks_stand_in_the_order_in_which_they_fall_due(
    case: tuple[str, int, int, int, int, int],
) -> None:
    codec, bus_bits, planes, n_in, slices, seed = case
    form = form_of(codec, planes, bus_bits, n_in)
    streams = pair(form, slices, seed % (64 // planes) + 1, seed)
    data, _ = join_streams(*streams, form)
    needs = (value_needs(streams[0], form.value), index_needs(streams[1], form.index))
    found = (value_due(streams[0], form.value), index_due(streams[1], form.index))
    for words, due in zip(needs, found, strict=True):
        assert due.tolist() == [
            next(e for e, needed in enumerate(words) if needed > w) for w in range(due.size)
        ]
    dates = [
        (next(e for e, words in enumerate(needs[kind]) if words > word), kind)
        for kind, word in blocks_of(data, bus_bits)
    ]
    assert dates == sorted(dates)


def test_join_makes_these_bytes() -> None:
    """The strings of FORMAT.md's example on a bus of 512 bits: one word each, and one of zeros."""
    value = WindowConfig(
        n_in=8,
        n_out=64,
        window=64,
        own_taps=1,
        shared_taps=2,
        shared=16,
        parity_taps=3,
        frame=16,
        bus_bits=512,
        network_seed=1,
    )
    form = WeightFormat(value, 2, BitmapConfig(n_out=32, bus_bits=512))
    seeds, mask = bytes.fromhex("0016e369b88d000000"), bytes.fromhex("261c6f1068840100")

    def stream(head: str, payload: bytes) -> bytes:
        body = bytes.fromhex(head).ljust(64, b"\0") + payload.ljust(64, b"\0")
        return body + struct.pack("<I", zlib.crc32(body)).ljust(64, b"\0")

    streams = (
        stream("584c0103 64000000 ccb86187 01000000", seeds),
        stream("584c0101 32000000 00000000 01000000", mask),
    )
    network = struct.pack("<I", zlib.crc32(b"8,64,64,1,2,16,3,16,0,1/2/1/32"))
    head = (
        bytes.fromhex("584c0111 64000000") + network + bytes.fromhex("02000000 00000000 01010000")
    )
    expected = head.ljust(64, b"\0") + seeds.ljust(128, b"\0") + mask.ljust(128, b"\0")
    expected = sealed(expected[:24] + b"\2" + expected[25:])  # schedule: values, index
    assert join_streams(*streams, form) == (expected, 1024)
    assert split_stream(expected, form) == streams


@pytest.mark.parametrize("bus_bits", BUSES)
def test_schedule_costs_less_than_half_a_percent(bus_bits: int) -> None:
    """1 M weights, i.i.d., 90 % pruned, index of a trellis: any bits are one."""
    encoded, value, size = million()
    value = replace(value, bus_bits=bus_bits)
    index = TrellisConfig(bus_bits=bus_bits)
    values, bits = window_stream.pack_window(encoded, value)
    form = WeightFormat(value, 1, index)
    streams = split_streams(values, value.bus_bytes, "test")
    counts = [Header.unpack(stream, "test").count for stream in streams]
    indexes = b"".join(index_stream(index, count) for count in counts)
    data, _ = join_tensor(values, indexes, form)
    useful = bits.steps * value.n_in + -(-size // index.n_out) * index.n_in
    assert 0 < 8 * len(data) / useful - 1 <= 0.005


@lru_cache
def million() -> tuple[window_codec.WindowStreams, WindowConfig, int]:
    """Return 1 M encoded weights."""
    rng, size = np.random.default_rng(1), 1 << 20
    value = WindowConfig(n_in=32)
    mask = rng.random(size) < 0.1
    codes = rng.integers(0, 2, size, np.uint8)
    return window_codec.encode(mask, codes, 1, value, order="row"), value, size


@pytest.mark.parametrize(
    ("codec", "planes", "bus_bits"),
    [("bitmap", 3, 64), ("entropy", 2, 32), ("lowrank", 1, 256), ("trellis_classes", 1, 512)],
)
def test_golden_model_decodes_as_the_software_decoders(
    codec: str, planes: int, bus_bits: int
) -> None:
    form = form_of(codec, planes, bus_bits, patches=1)
    rng = np.random.default_rng(planes)
    lanes, per_stream = form.index.n_out, 80
    shape = (lanes * 85 + 7,)
    if codec in ("bitmap", "entropy"):
        mask = rng.random(shape) < 0.15
        indexes = encode_index(mask, form.index, "row", per_stream)
    else:
        density = 0.1 if codec == "trellis_classes" else 0.3
        chosen = choose_index(rng.random(shape), density, form.index, "row", per_stream)
        mask, indexes = chosen.mask, chosen.streams
    codes = rng.integers(0, 1 << planes, shape, np.uint8)
    values, _, layout = encode_value(
        mask, codes, planes, form.value, "row", slices_per_stream=per_stream
    )
    assert layout == ValueLayout("row", per_stream)
    data, _ = join_tensor(values, indexes, form)
    streams = split_weight_streams(data, form.value.bus_bytes)
    assert len(streams) == 2
    apart = [split_stream(stream, form) for stream in streams]
    assert [b"".join(part) for part in zip(*apart, strict=True)] == [values, indexes]
    found_mask = decode_index(indexes, shape, form.index, "row", per_stream, "test")
    found_codes = decode_value(values, found_mask, planes, form.value, layout, "test")
    assert (found_mask == mask).all()
    golden_mask, golden_codes = [], []
    for stream in streams:
        beats = weight_decoder(form, stream)
        assert [beat.last for beat in beats] == [False] * (len(beats) - 1) + [True]
        for beat in beats:
            golden_mask += [beat.mask >> lane & 1 for lane in range(lanes)]
            golden_codes += [
                beat.codes >> planes * lane & (1 << planes) - 1 for lane in range(lanes)
            ]
        plain = weight_decoder(form, stream, masked=False)
        assert [beat.mask for beat in plain] == [beat.mask for beat in beats]
        assert any(a.codes != b.codes for a, b in zip(plain, beats, strict=True))
    assert golden_mask[: mask.size] == mask.astype(int).tolist()
    assert golden_codes[: mask.size] == found_codes.tolist()
    assert beats[-1].valid_bits == 7 * planes


def test_index_count_follows_from_the_slice_bits() -> None:
    form = form_of("bitmap", 3, 32)  # 21 weights in 64 bits
    assert [slice_weights(n, form) for n in (3, 60, 63, 64, 67, 127, 128)] == [
        *(1, 20, 21, 21, 22, 42, 42)
    ]
    for count in (0, 1, 62, 65):
        with pytest.raises(
            FormatError, match=f"a: count of {count} slice bits is no whole number of weights"
        ):
            slice_weights(count, form, "a")


def test_format_names_kind_and_network() -> None:
    form = form_of("trellis", 1, 32)
    assert form.kind == 20
    text = f"{form.value.identity}/1/4/{form.index.identity}"
    assert form.network == zlib.crc32(text.encode())
    assert form_of("trellis", 1, 512).network == form.network


def test_format_refuses_what_does_not_go_together() -> None:
    with pytest.raises(
        ConfigError,
        match="weight streams need the window value codec, not block: compress with --value window",
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


def joined(codec: str = "bitmap", bus_bits: int = 32, slices: int = 40) -> tuple[bytes, int]:
    """Return a stream and where its blocks begin."""
    form = form_of(codec, 1, bus_bits)
    data, _ = join_streams(*pair(form, slices, 10, 1), form)
    return data, padded(24, bus_bits // 8)


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


@pytest.mark.parametrize("bus_bits", BUSES)
def test_header_tells_the_length(bus_bits: int) -> None:
    for slices in (1, 7, 40, 90):
        data, _ = joined("trellis", bus_bits, slices)
        header = WeightHeader.unpack(data, "test")
        check_counts(header, bus_bits // 8, "test")
        assert header.words(bus_bits // 8) * bus_bits == 8 * len(data)


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
