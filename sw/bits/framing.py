# SPDX-License-Identifier: Apache-2.0
"""Memory streams: header and CRC around a payload, and streams one after another."""

import struct
import zlib
from dataclasses import astuple, dataclass

from xorloom.sw.base.errors import FormatError
from xorloom.sw.spec.layout import CRC_BYTES, HEADER_BYTES, Header, frame_bytes, padded

__all__ = [
    "StreamBits",
    "check_words",
    "frame_payload",
    "index_overhead",
    "split_streams",
    "unframe_payload",
]


def index_overhead(data: bytes, bus_bytes: int, where: str) -> int:
    """Return the bits of headers and CRCs of memory streams."""
    return 8 * frame_bytes(bus_bytes) * len(split_streams(data, bus_bytes, where))


@dataclass(frozen=True)
class StreamBits:
    """Bits of a value plane by what they are for, and the cycles that it takes at full supply.

    ``control`` is n_patch fields (block) or rate words (window); ``overhead`` is header, CRC and
    padding to bus words; ``words`` is payload bus words; ``steps`` is decoder cycles when memory
    never waits; all others are bits.
    """

    seeds: int
    control: int
    patches: int
    overhead: int
    words: int
    steps: int

    @property
    def total(self) -> int:
        """All bits of the stream."""
        return self.seeds + self.control + self.patches + self.overhead

    def __add__(self, other: "StreamBits") -> "StreamBits":
        return StreamBits(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def frame_payload(header: Header, payload: bytes, bus_bytes: int) -> bytes:
    """Put header and CRC around whole bus words."""
    head = header.pack().ljust(padded(HEADER_BYTES, bus_bytes), b"\0")
    crc = struct.pack("<I", zlib.crc32(payload, zlib.crc32(head)))
    return head + payload + crc.ljust(padded(CRC_BYTES, bus_bytes), b"\0")


def unframe_payload(
    data: bytes, bus_bytes: int, kind: int, where: str
) -> tuple[Header, memoryview]:
    """Check everything that does not depend on the payload's meaning."""
    header = Header.unpack(data, where)
    if header.kind != kind:
        raise FormatError(f"{where}: stream kind must be {kind}, found {header.kind}")
    head = padded(HEADER_BYTES, bus_bytes)
    end = head + header.words * bus_bytes
    if len(data) != end + padded(CRC_BYTES, bus_bytes):
        raise FormatError(
            f"{where}: stream of {header.words} bus words must be "
            f"{end + padded(CRC_BYTES, bus_bytes)} bytes, found {len(data)}"
        )
    found = struct.unpack_from("<I", data, end)[0]
    expected = zlib.crc32(memoryview(data)[:end])
    if found != expected:
        raise FormatError(f"{where}: CRC-32 must be {expected:08x}, found {found:08x}")
    if any(data[HEADER_BYTES:head]) or any(data[end + CRC_BYTES :]):
        raise FormatError(f"{where}: padding of header and CRC must be zero")
    return header, memoryview(data)[head:end]


def check_words(header: Header, bits: int, bus_bits: int, where: str) -> None:
    """Check that a payload of so many bits fills the words that its header counts.

    Raises
    ------
    FormatError
        If it takes another number of words.
    """
    words = -(-bits // bus_bits)
    if header.words != words:
        raise FormatError(f"{where}: stream must have {words} bus words, found {header.words}")


def split_streams(data: bytes, bus_bytes: int, where: str) -> list[bytes]:
    """Cut back-to-back memory streams apart by the lengths in their headers.

    Raises
    ------
    FormatError
        If the last one is not whole.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        header = Header.unpack(data[at : at + HEADER_BYTES], f"{where}: stream {len(parts)}")
        size = frame_bytes(bus_bytes) + header.words * bus_bytes
        if at + size > len(data):
            raise FormatError(
                f"{where}: stream {len(parts)} of {header.words} bus words must have {size} bytes, "
                f"found {len(data) - at}"
            )
        parts.append(data[at : at + size])
        at += size
    return parts
