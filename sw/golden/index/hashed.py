# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the hashed index decoder, twin of ``hw.index.hashed``."""

from collections.abc import Sequence

from xorloom.sw.spec.hashed import NIBBLE_LANES, SEED_BITS, WARM_UP, HashedConfig, next_state

from ..bus import payload

__all__ = ["hashed_decoder", "hashed_mask", "lane_hash"]


def lane_hash(config: HashedConfig, state: int, lane: int) -> int:
    """Return the hash of a lane, 0 to 255."""

    def bit(place: int) -> int:
        return state >> place & 1

    a, b, c, d, e, f = (bit(place) for place in config.network.lanes[lane])
    nibble = config.network.nibbles[lane // NIBBLE_LANES]
    low = sum(bit(place) << k for k, place in enumerate(nibble))
    return (a ^ b) << 7 | (a ^ c) << 6 | (d ^ e) << 5 | (d ^ f) << 4 | low


def hashed_mask(config: HashedConfig, state: int) -> int:
    """Return the mask of a state, one bit per lane."""
    return sum(
        (lane_hash(config, state, lane) < config.threshold) << lane for lane in range(config.n_out)
    )


def hashed_decoder(config: HashedConfig, words: Sequence[int]) -> list[int]:
    """Twin of ``hw.index.hashed``: bus words of one stream to ``n_out``-bit integers.

    A ``StopIteration`` means that the payload's word is missing.
    """
    count, source = payload(config, words)
    beats = -(-count // config.n_out)
    if not beats:
        return []
    state = config.network.start ^ next(source) % (1 << SEED_BITS)
    for _ in range(WARM_UP):
        state = next_state(state)
    masks = []
    for _ in range(beats):
        masks.append(hashed_mask(config, state))
        state = next_state(state)
    return masks
