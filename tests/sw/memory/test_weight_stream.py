# SPDX-License-Identifier: Apache-2.0
"""Weight streams: joined, taken apart, decoded by the golden model; bytes and dates by hand."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import split_streams, unframe_payload
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.codecs import index_decoder
from xorloom.sw.golden.weights import weight_decoder, weight_parser
from xorloom.sw.index.plane import choose_index, decode_index, encode_index
from xorloom.sw.memory.due import index_due, value_due
from xorloom.sw.memory.weight_stream import (
    join_streams,
    join_tensor,
    split_stream,
    split_weight_streams,
)
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import BitmapConfig, IndexConfig, LowrankConfig, TrellisConfig
from xorloom.sw.spec.layout import HEADER_BYTES, Header, WeightHeader, padded
from xorloom.sw.spec.weight_format import WeightFormat, check_counts, slice_weights
from xorloom.sw.value.plane import ValueLayout, decode_value, encode_value
from xorloom.sw.value.window import codec as window_codec
from xorloom.sw.value.window import stream as window_stream

from tests.helpers.index_streams import index_stream
from tests.helpers.weight import BUSES, CODECS, blocks_of, form_of, joined, pair, sealed

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
        index_decoder(config, tape)
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
        indexes = encode_index(mask, form.index, "row", per_stream).streams
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
        1,
        20,
        21,
        21,
        22,
        42,
        42,
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


@pytest.mark.parametrize("bus_bits", BUSES)
def test_header_tells_the_length(bus_bits: int) -> None:
    for slices in (1, 7, 40, 90):
        data, _ = joined("trellis", bus_bits, slices)
        header = WeightHeader.unpack(data, "test")
        check_counts(header, bus_bits // 8, "test")
        assert header.words(bus_bits // 8) * bus_bits == 8 * len(data)
