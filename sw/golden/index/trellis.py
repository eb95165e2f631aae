# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the trellis index decoder, twin of ``hw.index.trellis``."""

from collections.abc import Sequence
from functools import lru_cache

from xorloom.sw.spec.index_config import TrellisConfig

from ..bus import BitQueue, payload

__all__ = ["trellis_decoder", "trellis_mask"]


def trellis_mask(config: TrellisConfig, seeds: int, classes: Sequence[int]) -> int:
    """Return the mask bits of one beat.

    ``seeds`` is the beat's ``n_in`` bits above the ``window - 1`` bits before them, the oldest in
    bit 0; ``classes`` is every lane's (all 0 with one class).
    """
    mask = 0
    for j, (u, parities, table, gate) in enumerate(_trellis_lanes(config)):
        window = seeds >> u
        p = sum(((window & bits).bit_count() & 1) << k for k, bits in enumerate(parities))
        bit = table >> p & 1
        if config.classes == 1:
            bit &= (window & gate[0]).bit_count()
        else:
            if classes[j] & 1:
                bit &= (window & gate[0]).bit_count()
            if classes[j] & 2:
                bit &= window & gate[1] == gate[1]
        mask |= bit << j
    return mask


_Lane = tuple[int, tuple[int, ...], int, tuple[int, ...]]


@lru_cache(maxsize=8)
def _trellis_lanes(config: TrellisConfig) -> tuple[_Lane, ...]:
    """Return every lane's step, parities, table, and bits of its gate: XORed ones, ANDed ones."""
    code = config.code

    def bits(positions: Sequence[int]) -> int:
        return sum(1 << t for t in positions)

    return tuple(
        (
            u,
            tuple(bits(code.parities[u][pick]) for pick in code.picks[j]),
            code.tables[j],
            (bits(gate),) if config.classes == 1 else (bits(gate[:2]), bits(gate[2:])),
        )
        for j, (u, gate) in enumerate(zip(code.steps, code.gates, strict=True))
    )


def trellis_decoder(config: TrellisConfig, words: Sequence[int]) -> list[int]:
    """Twin of ``hw.index.trellis``: bus words of one stream to ``n_out``-bit integers.

    Before the stream all seed bits are 0. Mask bits beyond the header's count have no meaning.
    """
    count, source = payload(config, words)
    queue = BitQueue(source, config.bus_bits)

    def chunk() -> int:
        queue.fill(config.n_in)
        return queue.take(config.n_in)

    past = config.window - 1
    seeds = 0
    classes = [0] * config.n_out
    beats = []
    for beat in range(-(-count // config.n_out)):
        if beat % config.period == 0 and config.classes > 1:
            field = sum(chunk() << (k * config.n_in) for k in range(config.class_chunks))
            classes = [field >> (2 * j) & 3 for j in range(config.n_out)]
        seeds = seeds >> config.n_in | chunk() << past
        beats.append(trellis_mask(config, seeds, classes))
    return beats
