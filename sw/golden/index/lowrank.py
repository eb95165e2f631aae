# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the low-rank index decoder, twin of ``hw.index.lowrank``."""

from collections.abc import Sequence

from xorloom.sw.spec.index_config import LowrankConfig

from ..bus import payload

__all__ = ["index_lowrank", "lowrank_chunks", "lowrank_decoder"]


def lowrank_chunks(config: LowrankConfig, words: Sequence[int]) -> list[int]:
    """Return the chunks of a whole memory stream: the preamble's, then one per slice."""
    count, source = payload(config, words)
    bits = sum(word << (i * config.bus_bits) for i, word in enumerate(source))
    slices = -(-count // config.n_out)
    width = config.chunk_bits
    return [(bits >> (i * width)) & ((1 << width) - 1) for i in range(config.chunks(slices))]


def index_lowrank(config: LowrankConfig, chunks: Sequence[int]) -> list[int]:
    """Twin of ``hw.index.lowrank``: chunks in, one integer of ``n_out`` mask bits per slice."""
    share_bits, rank = config.share_bits, config.rank
    shares: list[int] = []  # of the tile row that comes next
    for chunk in chunks[: config.preamble_chunks]:
        for k in range(config.shares_per_chunk, 0, -1):  # the last one stands at the top
            share = chunk >> (config.chunk_bits - k * share_bits)
            shares.append(share & ((1 << share_bits) - 1))
    slices = []
    factors = 0
    for e, chunk in enumerate(chunks[config.preamble_chunks :]):
        if e % config.tile_slices == 0:
            string = sum(share << (k * share_bits) for k, share in enumerate(shares))
            factors = string >> (len(shares) * share_bits - config.lane_bits)  # A is its end
            shares = []
        shares.append(chunk >> config.beat_bits)
        mask = 0
        for lane in range(config.n_out):
            for r in range(rank):
                a = (factors >> (lane * rank + r)) & 1
                b = (chunk >> (lane // config.tile_lanes * rank + r)) & 1
                mask |= (a & b) << lane
        slices.append(mask)
    return slices


def lowrank_decoder(config: LowrankConfig, words: Sequence[int]) -> list[int]:
    """Bus words of one whole memory stream in, one integer of ``n_out`` mask bits per slice.

    Bits of places without a weight have no meaning.
    """
    return index_lowrank(config, lowrank_chunks(config, words))
