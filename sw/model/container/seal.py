# SPDX-License-Identifier: Apache-2.0
"""Seal of a file: the checksum of its header, which stands in that header."""

import zlib

__all__ = ["SEAL_BLANK", "SEAL_KEY", "find_seal", "seal"]

SEAL_KEY = "xorloom_header_crc32"
SEAL_BLANK = "00000000"
_FIELD = f'"{SEAL_KEY}":"'.encode()


def find_seal(header: bytes) -> tuple[str, str] | None:
    """Return the checksum that a header has and the one it must have; ``None`` without a place."""
    at = header.find(_FIELD)
    if at < 0:
        return None
    low, high = at + len(_FIELD), at + len(_FIELD) + len(SEAL_BLANK)
    crc = zlib.crc32(header[:low] + SEAL_BLANK.encode() + header[high:])
    return header[low:high].decode("ascii", "replace"), f"{crc:08x}"


def seal(header: bytes) -> bytes:
    """Return a header with its checksum filled in."""
    at = header.index(_FIELD) + len(_FIELD)
    return header[:at] + f"{zlib.crc32(header):08x}".encode() + header[at + len(SEAL_BLANK) :]
