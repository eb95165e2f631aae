# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the bitmap index decoder, twin of ``hw.index.bitmap``."""

from collections.abc import Sequence

from xorloom.sw.spec.index_config import BitmapConfig

from ..bus import BitQueue, payload

__all__ = ["bitmap_decoder"]


def bitmap_decoder(config: BitmapConfig, words: Sequence[int]) -> list[int]:
    """Twin of ``hw.index.bitmap``: bus words of one stream to ``n_out``-bit integers."""
    count, source = payload(config, words)
    queue = BitQueue(source, config.bus_bits)
    beats = []
    while count > 0:
        live = min(count, config.n_out)
        queue.fill(live)
        beats.append(queue.take(live))
        count -= live
    return beats
