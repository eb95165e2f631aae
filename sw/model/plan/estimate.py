# SPDX-License-Identifier: Apache-2.0
"""Estimate of stored bits before anything is encoded: all that a file will hold of a tensor.

What follows from sizes is exact: all of the direct codec, scales, headers, CRCs, bus words,
preload, chunks that a slice takes at least, indexes with a rate of their own. Kept bits and entropy
are taken a little high; of the block codec, whose patches depend on the mask, seeds alone count.
"""

from functools import lru_cache

import numpy as np
from xorloom.sw.bits.codec import index_codec
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import frame_bytes, padded
from xorloom.sw.tensors.orders import runs, slice_count
from xorloom.sw.value.plane import stream_bits
from xorloom.sw.value.window.codec import per_slice, stream_slices
from xorloom.sw.value.window.order_choice import expected_chunks

__all__ = ["tensor_bits"]

_VALUE_MARGIN = 1.025
"""Bits stored for a kept bit, at most, over MiniLM's matrices: see docs/results.md."""


def tensor_bits(
    weights: int, kept: int, planes: int, value: ValueConfig, index: IndexConfig
) -> float:
    """Return the bits that a tensor's value and index streams will take, scales not among them.

    Parameters
    ----------
    weights, kept : int
    planes : int
    value : ValueConfig
        A search of its free parameter is over.
    index : IndexConfig
    """
    if not weights:
        return 0.0
    if value.chooses_values:
        # The index is one stream of one word, as long as a header can count the weights.
        index_bits = 8 * (frame_bytes(index.bus_bytes) + index.bus_bytes)
        return float(stream_bits(weights, value).total + index_bits)
    if isinstance(value, BlockConfig):
        size, lanes = 0, value.n_out
        seeds = slice_count(weights, lanes) * planes * value.n_in
        total = _framed(seeds, value.bus_bytes)
    else:
        assert isinstance(value, WindowConfig)
        lanes = per_slice(value, planes)
        size = stream_slices(weights, kept * planes, planes, value, index.slice_multiple)
        total = _value_bits(weights, kept, planes, value, size)
    measure = index_codec(index.codec).stream_bits
    for _, _, count in runs(weights, lanes, size):
        total += _framed(measure(count, kept / weights, index), index.bus_bytes)
    return total


@lru_cache(maxsize=4096)
def _value_bits(weights: int, kept: int, planes: int, value: WindowConfig, size: int) -> float:
    total = 0.0
    for first, end, count in runs(weights, per_slice(value, planes), size):
        bits = _VALUE_MARGIN * kept * planes * count / weights
        # However much a margin adds, no slice keeps more than all of its bits.
        most = min(-(-bits // (end - first)), value.n_out)
        counts = np.full(end - first, most, np.int64)
        total += _framed(expected_chunks(counts, value) * value.n_in, value.bus_bytes)
    return total


def _framed(bits: float, bus_bytes: int) -> float:
    """Return the bits of a memory stream with a payload of so many."""
    if not np.isfinite(bits):
        return bits
    return 8 * (padded(int(-(-bits // 8)), bus_bytes) + frame_bytes(bus_bytes))
