# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the weight decoder, twin of ``hw.ip.decoder`` and its parser."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from xorloom.sw.base.errors import FormatError
from xorloom.sw.spec.layout import (
    HEADER_BYTES,
    WEIGHT_HEADER_BYTES,
    Header,
    WeightHeader,
    padded,
    schedule_block_words,
)
from xorloom.sw.spec.weight_format import WeightFormat, check_counts, slice_weights

from .bus import bus_words
from .codecs import index_decoder, value_decoder

__all__ = ["WeightBeat", "WeightStrings", "weight_decoder", "weight_parser"]


@dataclass(frozen=True)
class WeightStrings:
    """Strings of one weight stream: the bus words of values and index, padding included."""

    kind: int
    network: int
    count: int
    value: tuple[int, ...]
    index: tuple[int, ...]


@dataclass(frozen=True)
class WeightBeat:
    """Beat of the weight decoder: codes, of which ``valid_bits`` count, and their mask."""

    codes: int
    mask: int
    valid_bits: int
    last: bool


def weight_parser(data: bytes, bus_bits: int) -> WeightStrings:
    """Twin of ``hw.ip.parser``: take one weight stream apart.

    Raises
    ------
    FormatError
        If the header or the CRC is wrong, or the stream too short or too long.
    """
    header = WeightHeader.unpack(data, "stream")
    check_counts(header, bus_bits // 8, "stream")
    size = schedule_block_words(bus_bits // 8)
    expected = header.words(bus_bits // 8) * bus_bits // 8
    if len(data) != expected:
        raise FormatError(
            f"stream: of {header.blocks} blocks must have {expected} bytes, found {len(data)}"
        )
    crc = zlib.crc32(data[WEIGHT_HEADER_BYTES:], zlib.crc32(replace(header, crc=0).pack()))
    if crc != header.crc:
        raise FormatError(f"stream: CRC-32 must be {crc:08x}, found {header.crc:08x}")
    words = iter(bus_words(data, bus_bits))
    head_bytes = padded(WEIGHT_HEADER_BYTES, bus_bits // 8)
    for _ in range(head_bytes // (bus_bits // 8)):
        next(words)
    spare = int.from_bytes(data[WEIGHT_HEADER_BYTES:head_bytes], "little")
    schedule = [spare >> k & 1 for k in range(8 * (head_bytes - WEIGHT_HEADER_BYTES))]
    strings: tuple[list[int], list[int]] = ([], [])
    for _ in range(header.blocks):
        if not schedule:
            word = next(words, 0)  # too few only if the blocks are of one string, see below
            schedule = [word >> k & 1 for k in range(bus_bits)]
        kind = schedule.pop(0)
        block = size if strings[kind] else max(2, header.first[kind])
        strings[kind].extend(islice(words, block))
    if not strings[0] or not strings[1]:
        raise FormatError("stream: blocks must be of both strings, found one only")
    return WeightStrings(
        header.kind, header.network, header.count, tuple(strings[0]), tuple(strings[1])
    )


def weight_decoder(form: WeightFormat, data: bytes, *, masked: bool = True) -> list[WeightBeat]:
    """Twin of ``hw.ip.decoder``: the beats of one weight stream.

    Raises
    ------
    FormatError
        If the stream is damaged or not for this decoder.
    """
    value, planes, bus = form.value, form.planes, form.value.bus_bits
    lanes = value.n_out // planes
    found = weight_parser(data, bus)
    if found.kind != form.kind:
        raise FormatError(f"stream: kind must be {form.kind}, found {found.kind}")
    if found.network != form.network:
        raise FormatError(
            f"stream: network id must be {form.network:08x}, found {found.network:08x}"
        )

    def framed(count: int, words: Sequence[int]) -> list[int]:
        head = Header(0, count, 0, len(words)).pack()
        return bus_words(head.ljust(padded(HEADER_BYTES, bus // 8), b"\0"), bus) + list(words)

    weights = slice_weights(found.count, form)
    try:
        slices = value_decoder(value, framed(found.count, found.value))
        masks = index_decoder(form.index, framed(weights, found.index))
    except (StopIteration, RuntimeError) as error:  # as the decoders say that words are missing
        raise FormatError(
            f"stream: too few words for its count of {found.count} slice bits"
        ) from error
    except IndexError as error:
        raise FormatError("stream: table of the entropy index is impossible") from error
    beats = []
    left = found.count
    for bits, mask in zip(slices, masks, strict=True):
        gate = sum(
            ((1 << planes) - 1) << lane * planes for lane in range(lanes) if mask >> lane & 1
        )
        codes = bits & gate if masked else bits
        left -= value.n_out
        beats.append(WeightBeat(codes, mask, value.n_out + min(0, left), left <= 0))
    return beats
