# SPDX-License-Identifier: Apache-2.0
"""Weight streams: the value and the index stream of the same slices as one memory stream.

A decoder that reads weight streams does one linear read. The bus words of both strings stand in
the order in which they fall due, and that is told by slices, so no stall can change it; a schedule
of one bit per block of words says which string comes next. ``FORMAT.md``, "Weight streams", is
normative.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import frame_payload, split_streams, unframe_payload
from xorloom.sw.spec.layout import (
    WEIGHT_HEADER_BYTES,
    Header,
    WeightHeader,
    network_id,
    padded,
    schedule_block_words,
)
from xorloom.sw.spec.weight_format import WeightFormat, check_counts, slice_weights

from .due import index_due, value_due

__all__ = ["join_streams", "join_tensor", "split_stream", "split_weight_streams"]


def _first_words(words: int, size: int) -> int:
    """Return the words of a string's first block; all others have ``size``."""
    return 1 if words == 1 else (words - 2) % size + 2


def _blocks(due: np.ndarray, size: int) -> tuple[int, np.ndarray]:
    """Cut words into blocks: words of the first one, and with which slice every block is due."""
    first = _first_words(due.size, size)
    return first, due[np.concatenate([[0], np.arange(first, due.size, size)])]


def join_streams(
    value: bytes, index: bytes, form: WeightFormat, where: str = "stream"
) -> tuple[bytes, int]:
    """Make one weight stream of a value stream and the index stream of the same slices.

    Returns
    -------
    (stream, payload_bits) : bytes and int
        ``payload_bits`` are those of both payloads, without padding to blocks.

    Raises
    ------
    FormatError
        If a stream is damaged, or they do not belong together; ``where`` names them.
    """
    config, bus = form.value, form.value.bus_bytes
    v_head, v_data = unframe_payload(value, bus, config.kind, f"{where}: values")
    i_head, i_data = unframe_payload(index, bus, form.index.kind, f"{where}: index")
    if (v_head.network, i_head.network) != (network_id(config), form.index_network):
        raise FormatError(f"{where}: network ids are not those of the decoder's parameters")
    weights = slice_weights(v_head.count, form, where)
    if i_head.count != weights:
        raise FormatError(f"{where}: index must hold {weights} weights, found {i_head.count}")
    size = schedule_block_words(bus)
    due = (
        value_due(value, config, f"{where}: values"),
        index_due(index, form.index, f"{where}: index"),
    )
    cut = [_blocks(words, size) for words in due]
    dates = np.concatenate([cut[0][1], cut[1][1]])
    kinds = np.repeat([0, 1], [cut[0][1].size, cut[1][1].size])
    order = np.argsort(dates, kind="stable")
    schedule = kinds[order].astype(np.uint8)
    # Rows of `size` words, of which a string's first block may have more or fewer.
    parts: list[list[bytes]] = []
    for data, (first, _) in zip((v_data, i_data), cut, strict=True):
        head = bytes(data[: first * bus]).ljust(2 * bus, b"\0")
        rest = range(first * bus, len(data), size * bus)
        parts.append([head, *(bytes(data[at : at + size * bus]) for at in rest)])
    blocks = parts[0] + parts[1]
    head_bytes = padded(WEIGHT_HEADER_BYTES, bus)
    spare = 8 * (head_bytes - WEIGHT_HEADER_BYTES)
    header = WeightHeader(
        form.kind, v_head.count, form.network, schedule.size, 0, (cut[0][0], cut[1][0])
    )
    pieces = [np.packbits(schedule[:spare], bitorder="little").tobytes().ljust(spare // 8, b"\0")]
    for at, k in enumerate(order):
        if at >= spare and (at - spare) % (8 * bus) == 0:
            bits = np.packbits(schedule[at : at + 8 * bus], bitorder="little").tobytes()
            pieces.append(bits.ljust(bus, b"\0"))
        pieces.append(blocks[k])
    body = b"".join(pieces)
    crc = zlib.crc32(body, zlib.crc32(header.pack()))
    payload_bits = 8 * (len(v_data) + len(i_data))
    return replace(header, crc=crc).pack() + body, payload_bits


def join_tensor(
    values: bytes, indexes: bytes, form: WeightFormat, where: str = "stream"
) -> tuple[bytes, int]:
    """Make the weight streams of a tensor, back to back, of its value and index streams.

    Returns
    -------
    (streams, payload_bits) : bytes and int

    Raises
    ------
    FormatError
        If a stream is damaged, or they do not belong together; ``where`` names them.
    """
    bus = form.value.bus_bytes
    pairs = (split_streams(values, bus, where), split_streams(indexes, bus, where))
    if len(pairs[0]) != len(pairs[1]):
        raise FormatError(
            f"{where}: {len(pairs[0])} value streams need as many index streams, found "
            f"{len(pairs[1])}"
        )
    joined = [
        join_streams(value, index, form, f"{where}: stream {k}")
        for k, (value, index) in enumerate(zip(*pairs, strict=True))
    ]
    return b"".join(data for data, _ in joined), sum(bits for _, bits in joined)


def split_weight_streams(data: bytes, bus_bytes: int, where: str = "stream") -> list[bytes]:
    """Cut back-to-back weight streams apart by the lengths in their headers.

    Raises
    ------
    FormatError
        If the last one is not whole.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        place = f"{where}: stream {len(parts)}"
        header = WeightHeader.unpack(data[at : at + WEIGHT_HEADER_BYTES], place)
        check_counts(header, bus_bytes, place)
        size = header.words(bus_bytes) * bus_bytes
        if at + size > len(data):
            raise FormatError(
                f"{place} of {header.blocks} blocks must have {size} bytes, found {len(data) - at}"
            )
        parts.append(data[at : at + size])
        at += size
    return parts


def _check_header(header: WeightHeader, form: WeightFormat, where: str) -> None:
    if header.kind != form.kind:
        raise FormatError(f"{where}: stream kind must be {form.kind}, found {header.kind}")
    if header.network != form.network:
        raise FormatError(
            f"{where}: network id must be {form.network:08x} for these parameters, found "
            f"{header.network:08x}"
        )
    check_counts(header, form.value.bus_bytes, where)


def split_stream(data: bytes, form: WeightFormat, where: str = "stream") -> tuple[bytes, bytes]:
    """Undo :func:`join_streams`: return value and index stream.

    Whether what they hold is right, the decoders of both check.

    Raises
    ------
    FormatError
        If the stream is damaged or made for another decoder; ``where`` names it.
    """
    bus = form.value.bus_bytes
    header = WeightHeader.unpack(data, where)
    _check_header(header, form, where)
    if len(data) != header.words(bus) * bus:
        raise FormatError(
            f"{where}: stream of {header.blocks} blocks must have {header.words(bus) * bus} "
            f"bytes, found {len(data)}"
        )
    crc = zlib.crc32(data[WEIGHT_HEADER_BYTES:], zlib.crc32(replace(header, crc=0).pack()))
    if header.crc != crc:
        raise FormatError(f"{where}: CRC-32 must be {crc:08x}, found {header.crc:08x}")
    strings = _strings(data, header, form, where)
    heads = (
        Header(form.value.kind, header.count, network_id(form.value), len(strings[0]) // bus),
        Header(
            form.index.kind,
            slice_weights(header.count, form, where),
            form.index_network,
            len(strings[1]) // bus,
        ),
    )
    value, index = (frame_payload(h, s, bus) for h, s in zip(heads, strings, strict=True))
    if join_streams(value, index, form, where)[0] != data:
        raise FormatError(f"{where}: blocks must stand in the order in which they fall due")
    return value, index


def _strings(data: bytes, header: WeightHeader, form: WeightFormat, where: str) -> Sequence[bytes]:
    """Take the blocks apart."""
    bus, size = form.value.bus_bytes, schedule_block_words(form.value.bus_bytes)
    at = padded(WEIGHT_HEADER_BYTES, bus)
    bits = int.from_bytes(data[WEIGHT_HEADER_BYTES:at], "little")
    left = 8 * (at - WEIGHT_HEADER_BYTES)
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for _ in range(header.blocks):
        if not left:
            bits, left = int.from_bytes(data[at : at + bus], "little"), 8 * bus
            at += bus
        kind, bits, left = bits & 1, bits >> 1, left - 1
        words = size if parts[kind] else header.first[kind]
        block = data[at : at + max(2, words) * bus]
        at += len(block)
        if any(block[words * bus :]):
            raise FormatError(f"{where}: the word after a string of one word must be zero")
        parts[kind].append(block[: words * bus])
    if bits:
        raise FormatError(f"{where}: the schedule's padding must be zero")
    if not parts[0] or not parts[1]:
        raise FormatError(f"{where}: blocks must be of both strings, found one only")
    strings = [b"".join(part) for part in parts]
    for what, string, found in zip(("value", "index"), strings, header.first, strict=True):
        first = _first_words(len(string) // bus, size)
        if found != first:
            raise FormatError(
                f"{where}: the first block of {len(string) // bus} {what} words must have {first}, "
                f"found {found}"
            )
    return strings
