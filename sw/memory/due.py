# SPDX-License-Identifier: Apache-2.0
"""When bus words of value and index streams fall due, told in slices.

``FORMAT.md``, "Order of blocks", is normative.
"""

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import unframe_payload
from xorloom.sw.index.entropy import UNIT_BITS, unit_ends
from xorloom.sw.index.trellis.stream import payload_bits as trellis_bits
from xorloom.sw.spec.config import DecoderConfig, WindowConfig
from xorloom.sw.spec.index_config import EntropyConfig, IndexConfig, LowrankConfig, TrellisConfig
from xorloom.sw.spec.layout import INDEX_KINDS, KIND_WINDOW, Header
from xorloom.sw.value.window.codec import read_stream, slice_ends

__all__ = ["index_due", "value_due"]


def _check_words(header: Header, bits: int, config: DecoderConfig, where: str) -> None:
    words = -(-bits // config.bus_bits)
    if header.words != words:
        raise FormatError(f"{where}: stream must have {words} bus words, found {header.words}")


def value_due(value: bytes, config: WindowConfig, where: str = "values") -> np.ndarray:
    """Return the slice with which every word of a value stream falls due, (words,) int64.

    A slice leaves when the chunk after its last one has come.

    Raises
    ------
    FormatError
        If the stream is damaged; ``where`` names it.
    """
    header, payload = unframe_payload(value, config.bus_bytes, KIND_WINDOW, where)
    n_bits = header.words * config.bus_bits
    seeds = np.zeros(-(-n_bits // 64) + 2, np.uint64)
    seeds.view(np.uint8)[: len(payload)] = np.frombuffer(payload, np.uint8)
    stream = read_stream(seeds, n_bits // config.n_in, header.count, config, where)
    _check_words(header, stream.chunks * config.n_in, config, where)
    chunk = np.arange(header.words) * config.bus_bits // config.n_in
    return np.searchsorted(slice_ends(stream, config), chunk)


def index_due(index: bytes, config: IndexConfig, where: str = "index") -> np.ndarray:
    """Return the beat with which every word of an index stream falls due, (words,) int64.

    Raises
    ------
    FormatError
        If the stream is damaged; ``where`` names it.
    """
    header, _ = unframe_payload(index, config.bus_bytes, INDEX_KINDS[config.codec], where)
    bit = np.arange(header.words) * config.bus_bits
    beats = -(-header.count // config.n_out)
    if isinstance(config, EntropyConfig):
        ends = unit_ends(index, header.count, config, where)
        return np.searchsorted(ends, bit // UNIT_BITS, side="right")
    if isinstance(config, LowrankConfig):
        _check_words(header, config.chunks(beats) * config.chunk_bits, config, where)
        return np.maximum(0, bit // config.chunk_bits - config.preamble_chunks)
    if isinstance(config, TrellisConfig):
        _check_words(header, trellis_bits(beats, config), config, where)
        head = config.class_chunks
        period, place = np.divmod(bit // config.n_in, head + config.period)
        return period * config.period + np.maximum(0, place - head)
    _check_words(header, header.count, config, where)
    return bit // config.n_out
