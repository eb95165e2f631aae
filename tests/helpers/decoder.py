# SPDX-License-Identifier: Apache-2.0
"""Decoders, hand-made weight streams and a judge, for the tests of the whole decoder."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from xorloom.sw.golden.output import weight_output
from xorloom.sw.golden.weights import weight_decoder
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import BitmapConfig, IndexConfig, NoneConfig, TrellisConfig
from xorloom.sw.spec.layout import (
    WEIGHT_HEADER_BYTES,
    BeatLayout,
    WeightHeader,
    padded,
    schedule_block_words,
)
from xorloom.sw.spec.weight_format import WeightFormat

__all__ = [
    "BITMAP",
    "FORMATS",
    "NONE",
    "TRELLIS",
    "VALUE",
    "Stream",
    "edited",
    "good",
    "hand_made",
    "judge",
    "reseal",
    "words_of",
]

VALUE = WindowConfig(n_in=16, n_out=64, window=128, shared=64, frame=16, bus_bits=32)
TRELLIS: IndexConfig = TrellisConfig(n_in=12, n_out=64, window=8, bus_bits=32)
BITMAP: IndexConfig = BitmapConfig(n_out=64, bus_bits=32)
NONE: IndexConfig = NoneConfig(n_out=64, bus_bits=32)
_FIRST_GROUP = 0b11
"""What a beat keeps that closes a stream which was given up: codes and mask of eight lanes."""
FORMATS = [WeightFormat(VALUE, 1, index) for index in (TRELLIS, BITMAP)]


def words_of(data: bytes, bus_bits: int = 32) -> list[int]:
    """Return the bus words of a stream."""
    n = bus_bits // 8
    return [int.from_bytes(data[k : k + n], "little") for k in range(0, len(data), n)]


def reseal(data: bytes) -> bytes:
    """Return the stream with a CRC that is right for what it holds."""
    head = bytearray(data[:WEIGHT_HEADER_BYTES])
    head[16:20] = bytes(4)
    crc = zlib.crc32(data[WEIGHT_HEADER_BYTES:], zlib.crc32(head))
    head[16:20] = crc.to_bytes(4, "little")
    return bytes(head) + data[WEIGHT_HEADER_BYTES:]


def hand_made(
    form: WeightFormat,
    count: int,
    kinds: Sequence[int],
    *,
    first: tuple[int, int] | None = None,
    fill: int = 0,
) -> bytes:
    """Return a stream with a right CRC whose blocks are of these kinds, whatever it means.

    All words of blocks are ``fill``.
    """
    bus = form.value.bus_bytes
    size = schedule_block_words(bus)
    first = first or (2, 2)
    header = WeightHeader(form.kind, count, form.network, len(kinds), 0, first)
    head_bytes = padded(WEIGHT_HEADER_BYTES, bus)
    spare = 8 * (head_bytes - WEIGHT_HEADER_BYTES)
    bits = sum(kind << k for k, kind in enumerate(kinds))
    body = (bits & ((1 << spare) - 1)).to_bytes(spare // 8, "little")
    begun = [False, False]
    for at, kind in enumerate(kinds):
        if at >= spare and (at - spare) % (8 * bus) == 0:
            body += (bits >> at & ((1 << 8 * bus) - 1)).to_bytes(bus, "little")
        words = size if begun[kind] else max(2, first[kind])
        begun[kind] = True
        body += fill.to_bytes(bus, "little") * words
    return reseal(replace(header, crc=0).pack() + body)


def edited(data: bytes, **fields: Any) -> bytes:
    """Return the stream with header fields replaced and a CRC that is right."""
    header = WeightHeader.unpack(data[:WEIGHT_HEADER_BYTES], "test")
    return reseal(replace(header, **fields).pack() + data[WEIGHT_HEADER_BYTES:])


@dataclass(frozen=True)
class Stream:
    """What a stream may do to the output.

    ``beats`` are those of a stream that is right: data, keep, user. ``whole``: it must (must not)
    come out whole; ``None``: either.
    """

    beats: tuple[tuple[int, int, int], ...] | None = None
    whole: bool | None = False


def good(form: WeightFormat, data: bytes, *, must: bool = True) -> Stream:
    """Return what the golden model makes of a stream; unless it ``must``, it may be given up."""
    layout = BeatLayout(form.value.n_out, form.planes)
    beats = weight_output(layout, weight_decoder(form, data))
    found = tuple((beat.data, beat.keep, beat.user) for beat in beats)
    return Stream(found, True if must else None)


def judge(packets: Sequence[Any], streams: Sequence[Stream], n_out: int = 64) -> str | None:
    """Return what is wrong with output packets, given what was sent, in order.

    Every packet is a stream that came out whole, or is closed by a beat that says it was given up;
    one that was given up may have left no packet.
    """
    given_up = 1 << n_out.bit_length()
    packets = [tuple(tuple(beat) for beat in packet) for packet in packets]
    torn = [packet[-1][1:] == (_FIRST_GROUP, given_up) for packet in packets]
    for packet, is_torn in zip(packets, torn, strict=True):
        if any(beat[2] & given_up for beat in (packet[:-1] if is_torn else packet)):
            return f"mark of a stream given up within {packet}"

    def may_be(stream: Stream, packet: tuple[Any, ...], is_torn: bool) -> bool:
        if is_torn:
            part = stream.whole is False or stream.beats is None
            return not stream.whole and (part or packet[:-1] == stream.beats[: len(packet) - 1])
        return stream.whole is not False and stream.beats in (None, packet)

    reached = {0}  # packets that the streams so far may have left
    for number, stream in enumerate(streams):
        taken = {n + 1 for n in reached if n < len(packets) and may_be(stream, packets[n], torn[n])}
        if not (taken if stream.whole else taken | reached):
            got = [packets[n] for n in sorted(reached) if n < len(packets)]
            return f"stream {number}: expected {stream.beats}, got {got or 'nothing'}"
        reached = taken if stream.whole else taken | reached
    if len(packets) not in reached:
        return f"{len(packets)} output packets, of which {max(reached)} are of known streams"
    return None
