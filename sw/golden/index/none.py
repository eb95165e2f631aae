# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the decoder of no index, twin of ``hw.index.none``."""

from collections.abc import Sequence

from xorloom.sw.spec.index_config import NoneConfig

from ..bus import payload

__all__ = ["none_decoder"]


def none_decoder(config: NoneConfig, words: Sequence[int]) -> list[int]:
    """Twin of ``hw.index.none``: bus words of one stream to ``n_out``-bit integers.

    Every lane that has a weight is 1. A ``StopIteration`` means that the payload's word is missing.
    """
    count, source = payload(config, words)
    if count:
        next(source)
    return [(1 << min(config.n_out, count - first)) - 1 for first in range(0, count, config.n_out)]
