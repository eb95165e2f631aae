# SPDX-License-Identifier: Apache-2.0
"""Bits of the low-rank index streams: how many there are, and factor sets as bits."""

from dataclasses import dataclass

import numpy as np
from xorloom.sw.spec.index_config import LowrankConfig
from xorloom.sw.spec.layout import frame_bytes

__all__ = ["LowrankBits", "bits_of", "sets_of", "stream_bits"]


@dataclass(frozen=True)
class LowrankBits:
    """Bits of a stream by what they are for.

    ``padding`` is that of shares and preamble, and the last tile row's empty shares; ``overhead``
    is header, CRC and padding to bus words; ``words`` is payload bus words.
    """

    factors: int
    padding: int
    overhead: int
    words: int

    @property
    def total(self) -> int:
        """All bits of the stream."""
        return self.factors + self.padding + self.overhead


def stream_bits(slices: int, config: LowrankConfig) -> LowrankBits:
    """Count the bits of one memory stream of so many slices."""
    chunks = config.chunks(slices) * config.chunk_bits
    words = -(-chunks // config.bus_bits)
    rows = -(-slices // config.tile_slices)
    factors = slices * config.beat_bits + rows * config.lane_bits
    overhead = words * config.bus_bits - chunks + 8 * frame_bytes(config.bus_bytes)
    return LowrankBits(factors, chunks - factors, overhead, words)


def bits_of(sets: np.ndarray, rank: int) -> np.ndarray:
    """(n, m) sets to (n, m * rank) bits, factor 0 first."""
    shifts = np.arange(rank, dtype=np.uint32)
    return ((sets[:, :, None] >> shifts) & 1).astype(np.uint8).reshape(sets.shape[0], -1)


def sets_of(bits: np.ndarray, rank: int) -> np.ndarray:
    """Undo :func:`bits_of`."""
    parts = bits.reshape(bits.shape[0], -1, rank).astype(np.uint32)
    return (parts << np.arange(rank, dtype=np.uint32)).sum(axis=2, dtype=np.uint32)
