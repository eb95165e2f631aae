# SPDX-License-Identifier: Apache-2.0
"""Hashed index: its record, for :mod:`xorloom.sw.bits.codec`."""

from collections.abc import Sequence

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.bits.codec import IndexCodec
from xorloom.sw.bits.framing import check_words, frame_payload, unframe_payload
from xorloom.sw.bits.gf2 import clear_last, unpack_rows
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.layout import Header, network_id

from .choose import best_seed
from .masks import SEEDS, seed_words

__all__ = ["CODEC", "choose", "pack", "unpack", "unpack_words"]

_STEPS = 256
"""Steps of the density."""


def _payload_bits(count: int, config: HashedConfig) -> int:
    """Bits of the payload: a bus word if there is a weight."""
    return config.bus_bits if count else 0


def pack(seed: int, count: int, config: HashedConfig) -> bytes:
    """Write the memory stream of ``count`` weights whose mask a seed stands for.

    Raises
    ------
    CapacityError
        If there are 2**32 weights or more.
    """
    words = _payload_bits(count, config) // config.bus_bits
    payload = seed.to_bytes(config.bus_bytes, "little") if words else b""
    return frame_payload(
        Header(config.kind, count, network_id(config), words), payload, config.bus_bytes
    )


def unpack(data: bytes, count: int, config: HashedConfig, where: str = "index") -> np.ndarray:
    """Read a memory stream of ``count`` weights.

    Returns
    -------
    bool array (slices, n_out), False where there is no weight.

    Raises
    ------
    FormatError
        As :func:`unpack_words`.
    """
    return unpack_rows(unpack_words(data, count, config, where), config.n_out)


def unpack_words(data: bytes, count: int, config: HashedConfig, where: str) -> np.ndarray:
    """Read a memory stream of ``count`` weights.

    Returns
    -------
    (slices, ceil(n_out / 64)) uint64
        The mask, packed; 0 where there is no weight.

    Raises
    ------
    FormatError
        If the stream is truncated, damaged, or made for another decoder or tensor.
    """
    header, payload = unframe_payload(data, config.bus_bytes, config.kind, where)
    if header.network != network_id(config):
        raise FormatError(
            f"{where}: network id must be {network_id(config):08x} for n_out {config.n_out}, "
            f"threshold {config.threshold}, network_seed {config.network_seed}, found "
            f"{header.network:08x}"
        )
    if header.count != count:
        raise FormatError(f"{where}: count must be {count} weights, found {header.count}")
    check_words(header, _payload_bits(count, config), config.bus_bits, where)
    seed = int.from_bytes(payload, "little")
    if seed >= SEEDS:
        raise FormatError(f"{where}: bits of the word behind its seed must be zero")
    mask = seed_words(seed, -(-count // config.n_out), config)
    clear_last(mask, count, config.n_out)
    return mask


def choose(
    importance: np.ndarray,
    counts: Sequence[int],
    _density: float,
    config: HashedConfig,
    slices_per_stream: int,
    _threads: int | None,
) -> tuple[np.ndarray, list[bytes]]:
    """Choose the seed of every stream; the density is the configuration's.

    Raises
    ------
    ConfigError
        If the importance is not finite or negative.
    """
    if importance.size and not (np.isfinite(importance).all() and importance.min() >= 0):
        raise ConfigError("importance must be finite and not negative (take magnitudes)")
    size = slices_per_stream or max(1, len(importance))
    mask, parts = np.zeros(importance.shape, np.bool_), []
    for count, first in zip(counts, range(0, len(importance), size), strict=True):
        seed, own = best_seed(importance[first : first + size], count, config)
        mask[first : first + size] = own
        parts.append(pack(seed, count, config))
    return mask, parts


def _due(_data: bytes, header: Header, config: HashedConfig, where: str) -> np.ndarray:
    check_words(header, _payload_bits(header.count, config), config.bus_bits, where)
    return np.zeros(header.words, np.int64)


def _configure(n_out: int, bus_bits: int, density: float, **_wishes: object) -> HashedConfig:
    threshold = max(1, round(density * _STEPS))
    if threshold >= _STEPS:
        raise ConfigError(
            f"density must be at most 255/256 for the hashed index, not {density:g} (index none "
            "keeps every weight)"
        )
    return HashedConfig(n_out=n_out, threshold=threshold, bus_bits=bus_bits)


def _stream_bits(count: int, _density: float, config: HashedConfig) -> float:
    return _payload_bits(count, config)


CODEC = IndexCodec(
    choose=choose,
    unpack=unpack_words,
    due=_due,
    configure=_configure,
    stream_bits=_stream_bits,
    orders=lambda config: ("skewed",),
)
