# SPDX-License-Identifier: Apache-2.0
"""Files that ask for as much memory as their length can be made to: streams of zeros, by codec."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from xorloom.sw.bits.framing import frame_payload
from xorloom.sw.index.hashed.masks import seed_mask
from xorloom.sw.index.lowrank.codec import stream_bits
from xorloom.sw.index.trellis.stream import payload_bits
from xorloom.sw.model.container import CompressedTensor, StoredTensor, write_container
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    NoneConfig,
    TrellisConfig,
)
from xorloom.sw.spec.layout import Header, network_id
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.block.codec import BlockSlices
from xorloom.sw.value.block.stream import pack_block
from xorloom.sw.value.plane import ValueLayout

__all__ = ["HOSTILE", "entropy_file"]

WINDOW = WindowConfig(
    n_in=8, n_out=2048, window=64, own_taps=1, shared_taps=2, shared=16, frame=1024, bus_bits=32
)
"""The most weights per stored bit: 2,048 per byte of the value stream."""


def _write(path: Path, weights: int, decoder: Decoder, value: bytes, index: bytes) -> Path:
    """Write a file of one tensor that comes back as float64; it keeps nothing if it can."""
    mask = np.full(weights if weights < 1 << 28 else 0, decoder.index.keeps_all)
    if isinstance(decoder.index, HashedConfig):
        mask = seed_mask(0, -(-weights // decoder.index.n_out), decoder.index).reshape(-1)[:weights]
    packed = np.packbits(mask, bitorder="little")
    crc = zlib.crc32(bytes(np.count_nonzero(mask)), zlib.crc32(packed))
    chosen = decoder.value.chooses_values
    crc = zlib.crc32(bytes(2), crc) if chosen else crc  # both levels are 0
    info = CompressedTensor(
        (weights,),
        "F64",
        1,
        crc,
        Quantizer("trellis" if chosen else "binary", scale="tensor"),
        decoder,
        ValueLayout("row", 1 << 32 if decoder.value.has_layouts else 0),
        rotation=1 if chosen else None,
    )
    parts = {
        ".xl_stream": ("U8", (len(value),), value),
        ".xl_index": ("U8", (len(index),), index),
        ".xl_scale": ("F16", (1, 1), b"\0\x3c"),
    }
    write_container(path, [StoredTensor("w", parts, info)])
    return path


def _stream(
    config: ValueConfig | IndexConfig, weights: int, words: int, data: bytes = b""
) -> bytes:
    network = 0 if isinstance(config, BitmapConfig | NoneConfig) else network_id(config)
    payload = data.ljust(words * config.bus_bytes, b"\0")
    return frame_payload(Header(config.kind, weights, network, words), payload, config.bus_bytes)


def _window(path: Path, weights: int, index: IndexConfig, words: int) -> Path:
    value = _stream(WINDOW, weights, _value_words(weights))
    return _write(path, weights, Decoder(WINDOW, index), value, _stream(index, weights, words))


def entropy_file(
    path: Path, weights: int, value_words: int | None = None, config: WindowConfig = WINDOW
) -> Path:
    """Write a file whose index is a table of one class of 0 bits: any number of weights."""
    index = EntropyConfig(n_out=2048, lanes=64, bus_bits=32)
    data = np.array([0, 255 << 4], "<u2").tobytes()
    if value_words is None:
        value_words = _value_words(weights)
    value = _stream(config, weights, value_words)
    return _write(path, weights, Decoder(config, index), value, _stream(index, weights, 1, data))


def _value_words(weights: int) -> int:
    chunks = -(-weights // WINDOW.n_out) + WINDOW.preload_steps
    return -(-chunks * WINDOW.n_in // 32)


def _trellis(path: Path, weights: int) -> Path:
    index = TrellisConfig(n_in=1, n_out=2048, window=16, minterms=1, bus_bits=32)
    return _window(path, weights, index, -(-payload_bits(-(-weights // 2048), index) // 32))


def _lowrank(path: Path, weights: int) -> Path:
    index = LowrankConfig(n_out=2048, tile_slices=1024, tile_lanes=2048, bus_bits=32)
    return _window(path, weights, index, stream_bits(-(-weights // 2048), index).words)


def _bitmap(path: Path, weights: int) -> Path:
    return _window(path, weights, BitmapConfig(n_out=2048, bus_bits=32), -(-weights // 32))


def _none(path: Path, weights: int) -> Path:
    return _window(path, weights, NoneConfig(n_out=2048, bus_bits=32), 1)


def _direct(path: Path, weights: int) -> Path:
    """The most weights per byte, 128, as one rotated row."""
    config = DirectConfig(n_in=1, n_out=16, planes=1, window=6, bus_bits=32)
    index = NoneConfig(n_out=16, bus_bits=32)
    value = _stream(config, weights, config.level_words + -(-weights // 512))
    return _write(path, weights, Decoder(config, index), value, _stream(index, weights, 1))


def _hashed(path: Path, weights: int) -> Path:
    return _window(path, weights, HashedConfig(n_out=2048, threshold=26, bus_bits=32), 1)


def _block(n_out: int) -> Callable[[Path, int], Path]:
    def write(path: Path, weights: int) -> Path:
        config = BlockConfig(n_in=1, n_out=n_out, lanes=64, bus_bits=32, block_groups=65536)
        slices = -(-weights // n_out)
        empty = BlockSlices(
            np.zeros(slices, np.uint64), np.zeros(slices, np.uint16), np.zeros(0, np.uint16)
        )
        index = BitmapConfig(n_out=n_out, bus_bits=32)
        value, _ = pack_block(empty, config)
        return _write(
            path, weights, Decoder(config, index), value, _stream(index, weights, -(-weights // 32))
        )

    return write


HOSTILE: dict[str, Callable[[Path, int], Path]] = {
    "entropy": entropy_file,
    "trellis": _trellis,
    "lowrank": _lowrank,
    "bitmap": _bitmap,
    "none": _none,
    "direct": _direct,
    "hashed": _hashed,
    "block of long slices": _block(32768),
    "block of single weights": _block(1),
}
"""Writers of a file of so many weights, by what is in it."""
