# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the direct decoder, of its memory streams."""

from collections.abc import Sequence

from xorloom.sw.spec.direct import DirectConfig

from .bus import BitQueue, payload
from .network import xor_network

__all__ = ["direct_decoder", "direct_levels"]


def direct_levels(config: DirectConfig, words: Sequence[int]) -> list[int]:
    """Return what the codes of a stream mean: a signed integer of 8 bits for each code."""
    _, source = payload(config, words)
    queue = BitQueue(source, config.bus_bits)
    levels = []
    for _ in range(1 << config.planes):
        queue.fill(8)
        level = queue.take(8)
        levels.append(level - 256 if level & 128 else level)
    return levels


def direct_decoder(config: DirectConfig, columns: Sequence[int], words: Sequence[int]) -> list[int]:
    """Bus words in, one integer of ``n_out`` bits per slice.

    Before the stream all seed bits are 0. Bits of the last slice beyond the header's count have no
    meaning. ``columns`` are those of the configuration.
    """
    count, source = payload(config, words)
    for _ in range(config.level_words if count else 0):
        next(source)
    queue = BitQueue(source, config.bus_bits)
    past = config.window - 1
    seeds = 0
    slices = []
    for _ in range(-(-count // config.n_out)):
        queue.fill(config.n_in)
        seeds = seeds >> config.n_in | queue.take(config.n_in) << past
        slices.append(xor_network(columns, seeds))
    return slices
