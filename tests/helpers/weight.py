# SPDX-License-Identifier: Apache-2.0
"""Small decoders of weight streams, and streams for them."""

import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

from xorloom.sw.golden.bus import bus_words
from xorloom.sw.memory.weight_stream import join_streams
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    NoneConfig,
    TrellisConfig,
)
from xorloom.sw.spec.layout import padded
from xorloom.sw.spec.weight_format import WeightFormat

from tests.helpers.index_streams import index_stream
from tests.helpers.weight_streams import value_stream

__all__ = ["BUSES", "CODECS", "blocks_of", "form_of", "joined", "pair", "sealed"]

BUSES = (32, 64, 128, 256, 512)
CODECS = ("bitmap", "entropy", "hashed", "lowrank", "none", "trellis", "trellis_classes")


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
    elif codec == "hashed":
        index = HashedConfig(threshold=60, **common)
    elif codec == "none":
        index = NoneConfig(**common)
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


def joined(codec: str = "bitmap", bus_bits: int = 32, slices: int = 40) -> tuple[bytes, int]:
    """Return a stream and where its blocks begin."""
    form = form_of(codec, 1, bus_bits)
    data, _ = join_streams(*pair(form, slices, 10, 1), form)
    return data, padded(24, bus_bits // 8)


def sealed(data: bytes) -> bytes:
    """Put the right CRC into a stream."""
    crc = zlib.crc32(data[:16] + bytes(4) + data[20:])
    return data[:16] + struct.pack("<I", crc) + data[20:]


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
