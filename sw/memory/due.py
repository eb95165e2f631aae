# SPDX-License-Identifier: Apache-2.0
"""Due dates of bus words: with which slice each word of a value or index stream is needed.

``FORMAT.md``, "Order of blocks", is normative.
"""

import numpy as np
from xorloom.sw.bits.codec import index_codec
from xorloom.sw.bits.framing import check_words, unframe_payload
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.value.window.codec import read_stream, slice_ends

__all__ = ["index_due", "value_due"]


def value_due(value: bytes, config: WindowConfig, where: str = "values") -> np.ndarray:
    """Return the slice with which every word of a value stream falls due, (words,) int64.

    A slice leaves when the chunk after its last one has come.

    Raises
    ------
    FormatError
        If the stream is damaged; ``where`` names it.
    """
    header, payload = unframe_payload(value, config.bus_bytes, config.kind, where)
    n_bits = header.words * config.bus_bits
    seeds = np.zeros(-(-n_bits // 64) + 2, np.uint64)
    seeds.view(np.uint8)[: len(payload)] = np.frombuffer(payload, np.uint8)
    stream = read_stream(seeds, n_bits // config.n_in, header.count, config, where)
    check_words(header, stream.chunks * config.n_in, config.bus_bits, where)
    chunk = np.arange(header.words) * config.bus_bits // config.n_in
    return np.searchsorted(slice_ends(stream, config), chunk)


def index_due(index: bytes, config: IndexConfig, where: str = "index") -> np.ndarray:
    """Return the beat with which every word of an index stream falls due, (words,) int64.

    Raises
    ------
    FormatError
        If the stream is damaged; ``where`` names it.
    """
    header, _ = unframe_payload(index, config.bus_bytes, config.kind, where)
    return index_codec(config.codec).due(index, header, config, where)
