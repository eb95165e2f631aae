# SPDX-License-Identifier: Apache-2.0
"""Bitmap index: one bit per weight, any mask."""

import numpy as np
from xorloom.sw.base.errors import CapacityError, FormatError
from xorloom.sw.bits.codec import IndexCodec
from xorloom.sw.bits.framing import check_words, frame_payload, unframe_payload
from xorloom.sw.bits.gf2 import pack_bool, pack_rows, unpack_bool, unpack_rows
from xorloom.sw.spec.index_config import BitmapConfig
from xorloom.sw.spec.layout import Header

__all__ = ["CODEC", "pack", "unpack"]


def pack(mask: np.ndarray, count: int, config: BitmapConfig) -> bytes:
    """Write the first ``count`` bits of a mask (slices, n_out), 1 = kept, as a memory stream.

    Raises
    ------
    CapacityError
        If there are 2**32 weights or more.
    """
    _check(count)
    return _frame(pack_bool(mask.reshape(-1)[:count], spare_words=0), count, config)


def _pack(mask: np.ndarray, count: int, config: BitmapConfig) -> bytes:
    """Write a mask whose slices are packed."""
    if config.n_out % 64:
        return pack(unpack_rows(mask, config.n_out), count, config)
    _check(count)
    return _frame(mask, count, config)


def _check(count: int) -> None:
    """Refuse too many weights before anything is made of them."""
    if count >= 1 << 32:
        raise CapacityError(f"bitmap of {count} weights does not fit 32 bits: split the tensor")


def _frame(bits: np.ndarray, count: int, config: BitmapConfig) -> bytes:
    """Write packed bits, of which those behind the first ``count`` are 0."""
    words = -(-count // config.bus_bits)
    size = words * config.bus_bytes
    payload = bits.reshape(-1).view(np.uint8)[:size].tobytes().ljust(size, b"\0")
    return frame_payload(Header(config.kind, count, 0, words), payload, config.bus_bytes)


def unpack(data: bytes, count: int, config: BitmapConfig, where: str = "index") -> np.ndarray:
    """Read a memory stream of ``count`` weights.

    Returns
    -------
    bool array (slices, n_out), False where there is no weight.

    Raises
    ------
    FormatError
        If the stream is truncated, damaged, or of another size.
    """
    return unpack_rows(_unpack(data, count, config, where), config.n_out)


def _read(data: bytes, count: int, config: BitmapConfig, where: str) -> np.ndarray:
    """Check a memory stream and return its bits, packed, (bytes,) uint8."""
    header, payload = unframe_payload(data, config.bus_bytes, config.kind, where)
    if header.network:
        raise FormatError(f"{where}: network id must be 0 for a bitmap, found {header.network:08x}")
    if header.count != count or header.words != -(-count // config.bus_bits):
        raise FormatError(f"{where}: bitmap must hold {count} weights, found {header.count}")
    raw = np.frombuffer(payload, np.uint8)
    if unpack_bool(raw[count // 8 :], 8 * raw.size - count // 8 * 8)[count % 8 :].any():
        raise FormatError(f"{where}: padding of the bitmap must be zero")
    return raw


def _due(_data: bytes, header: Header, config: BitmapConfig, where: str) -> np.ndarray:
    check_words(header, header.count, config.bus_bits, where)
    return np.arange(header.words) * config.bus_bits // config.n_out


def _configure(n_out: int, bus_bits: int, **_wishes: object) -> BitmapConfig:
    return BitmapConfig(n_out=n_out, bus_bits=bus_bits)


def _stream_bits(count: int, _density: float, _config: BitmapConfig) -> float:
    return count


def _unpack(data: bytes, count: int, config: BitmapConfig, where: str) -> np.ndarray:
    """Read a memory stream as a mask whose slices are packed."""
    raw = _read(data, count, config, where)
    slices = -(-count // config.n_out)
    if config.n_out % 8:
        mask = np.zeros((slices, config.n_out), np.bool_)
        mask.reshape(-1)[:count] = unpack_bool(raw, count)
        return pack_rows(mask)
    row = config.n_out // 8
    used = raw[: slices * row]
    rows = np.zeros(slices * row, np.uint8)
    rows[: used.size] = used
    words = np.zeros((slices, -(-config.n_out // 64)), "<u8")
    words.view(np.uint8)[:, :row] = rows.reshape(slices, row)
    return words


CODEC = IndexCodec(
    pack=_pack, unpack=_unpack, due=_due, configure=_configure, stream_bits=_stream_bits
)
