# SPDX-License-Identifier: Apache-2.0
"""Masks as bitmap streams, whatever their shape; memory streams written without sw."""

import struct
import zlib

import numpy as np
from xorloom.sw.index import bitmap as index_bitmap
from xorloom.sw.spec.index_config import BitmapConfig


def pack_bitmap(mask, bus_bits):
    return index_bitmap.pack(mask, mask.size, BitmapConfig(bus_bits=bus_bits))


def unpack_bitmap(data, shape, bus_bits, where="index"):
    size = int(np.prod(shape, dtype=np.int64))
    beats = index_bitmap.unpack(data, size, BitmapConfig(bus_bits=bus_bits), where)
    return beats.reshape(-1)[:size].reshape(shape)


def frame(kind, count, network, words, bus):
    """A memory stream of these bus words."""
    n = bus // 8
    head = b"XL" + struct.pack("<BBIII", 1, kind, count, network, len(words))
    head += bytes(-len(head) % n)
    body = head + b"".join(word.to_bytes(n, "little") for word in words)
    return body + (struct.pack("<I", zlib.crc32(body)) + bytes(-4 % n))


def reseal(data, bus_bits=32):
    """Give changed bytes a CRC that fits."""
    end = len(data) - max(4, bus_bits // 8)
    tail = struct.pack("<I", zlib.crc32(bytes(data[:end])))
    return bytes(data[:end]) + tail + bytes(data[end + 4 :])
