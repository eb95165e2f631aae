# SPDX-License-Identifier: Apache-2.0
"""No index: every weight is kept; a stream of one bus word of zeros stands for the mask.

The word is there because a weight stream has blocks of both its strings.
"""

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.bits.codec import IndexCodec
from xorloom.sw.bits.framing import check_words, frame_payload, unframe_payload
from xorloom.sw.bits.gf2 import pack_rows
from xorloom.sw.spec.index_config import NoneConfig
from xorloom.sw.spec.layout import Header

__all__ = ["CODEC", "pack", "unpack"]


def _payload_bits(count: int, config: NoneConfig) -> int:
    """Bits of the payload: a bus word if there is a weight."""
    return config.bus_bits if count else 0


def pack(mask: np.ndarray, count: int, config: NoneConfig) -> bytes:
    """Write the memory stream of ``count`` weights whose mask, (slices, n_out), keeps them all.

    Raises
    ------
    CapacityError
        If there are 2**32 weights or more.
    ConfigError
        If the mask prunes a weight.
    """
    _check(count)
    return _pack(pack_rows(mask), count, config)


def _check(count: int) -> None:
    """Refuse too many weights before anything is made of them."""
    if count >= 1 << 32:
        raise CapacityError(f"count of {count} weights does not fit 32 bits: split the tensor")


def _pack(mask: np.ndarray, count: int, config: NoneConfig) -> bytes:
    """Write the stream of a mask whose slices are packed."""
    _check(count)
    pruned = count - int(np.bitwise_count(mask).sum())
    if pruned:
        raise ConfigError(
            f"index none keeps every weight, but the mask prunes {pruned} of {count}: use the "
            "bitmap or entropy index"
        )
    words = _payload_bits(count, config) // config.bus_bits
    header = Header(config.kind, count, 0, words)
    return frame_payload(header, bytes(words * config.bus_bytes), config.bus_bytes)


def unpack(data: bytes, count: int, config: NoneConfig, where: str = "index") -> np.ndarray:
    """Read a memory stream of ``count`` weights.

    Returns
    -------
    bool array (slices, n_out), True where there is a weight.

    Raises
    ------
    FormatError
        If the stream is truncated, damaged, or of another size.
    """
    header, payload = unframe_payload(data, config.bus_bytes, config.kind, where)
    if header.network:
        raise FormatError(
            f"{where}: network id must be 0 of index none, found {header.network:08x}"
        )
    if header.count != count:
        raise FormatError(f"{where}: count must be {count} weights, found {header.count}")
    check_words(header, _payload_bits(count, config), config.bus_bits, where)
    if any(payload):
        raise FormatError(f"{where}: the word of index none must be zero")
    mask = np.zeros((-(-count // config.n_out), config.n_out), np.bool_)
    mask.reshape(-1)[:count] = True
    return mask


def _due(_data: bytes, header: Header, config: NoneConfig, where: str) -> np.ndarray:
    check_words(header, _payload_bits(header.count, config), config.bus_bits, where)
    return np.zeros(header.words, np.int64)


def _configure(n_out: int, bus_bits: int, **_wishes: object) -> NoneConfig:
    return NoneConfig(n_out=n_out, bus_bits=bus_bits)


def _stream_bits(count: int, _density: float, config: NoneConfig) -> float:
    return _payload_bits(count, config)


def _unpack(data: bytes, count: int, config: NoneConfig, where: str) -> np.ndarray:
    return pack_rows(unpack(data, count, config, where))


CODEC = IndexCodec(
    pack=_pack, unpack=_unpack, due=_due, configure=_configure, stream_bits=_stream_bits
)
