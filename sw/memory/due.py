# SPDX-License-Identifier: Apache-2.0
"""Due dates of bus words: with which slice each word of a value or index stream is needed.

``FORMAT.md``, "Order of blocks", is normative.
"""

import numpy as np
from xorloom.sw.bits.codec import index_codec, value_codec
from xorloom.sw.bits.framing import unframe_payload
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig

__all__ = ["index_due", "value_due"]


def value_due(value: bytes, config: ValueConfig, where: str = "values") -> np.ndarray:
    """Return the slice with which every word of a value stream falls due, (words,) int64.

    Raises
    ------
    FormatError
        If the stream is damaged; ``where`` names it.
    """
    due = value_codec(config.codec).due
    assert due is not None  # of every codec that has weight streams
    return due(value, config, where)


def index_due(index: bytes, config: IndexConfig, where: str = "index") -> np.ndarray:
    """Return the beat with which every word of an index stream falls due, (words,) int64.

    Raises
    ------
    FormatError
        If the stream is damaged; ``where`` names it.
    """
    header, _ = unframe_payload(index, config.bus_bytes, config.kind, where)
    return index_codec(config.codec).due(index, header, config, where)
