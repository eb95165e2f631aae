# SPDX-License-Identifier: Apache-2.0
"""Entropy index: its record, for :mod:`xorloom.sw.bits.codec`."""

import math

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.byte_arrays import count_bytes
from xorloom.sw.bits.codec import IndexCodec
from xorloom.sw.index.rate_distortion import binary_entropy
from xorloom.sw.spec.index_config import N_OUT_MAX, EntropyConfig
from xorloom.sw.spec.layout import Header
from xorloom.sw.tensors.orders import runs

from .stream import chunks_of, encode_words, pack, unit_ends, unpack_words
from .table import UNIT_BITS

__all__ = ["CODEC"]

_CHUNK = 8
"""Mask bits that are coded at once."""
_SMALL = 1 << 17
"""Weights of a stream up to which tables and lanes' ends count; beyond, they are under 1 %."""
_TABLE_CLASSES = 16
"""Most classes of a table."""
_MARGIN = 1.01
"""Over the entropy of masks without structure: at most, of 20,000 weights or more."""


def _pack(mask: np.ndarray, count: int, config: EntropyConfig) -> bytes:
    return pack(encode_words(mask, config), count, config)


def _due(data: bytes, header: Header, config: EntropyConfig, where: str) -> np.ndarray:
    ends = unit_ends(data, header.count, config, where)
    unit = np.arange(header.words) * config.bus_bits // UNIT_BITS
    return np.searchsorted(ends, unit, side="right")


def _order_bits(
    packed: np.ndarray, weights: int, slices_per_stream: int, config: EntropyConfig
) -> float:
    """Bits of the streams: of small masks as they are, of others the entropy of their chunks."""
    total = 0.0
    for first, end, count in runs(weights, config.n_out, slices_per_stream):
        part = packed[first:end]
        if count <= _SMALL:
            total += 8 * len(_pack(part, count, config))
        else:
            total += _chunk_entropy(count_bytes(chunks_of(part, config).reshape(-1)))
    return total


def _chunk_entropy(counts: np.ndarray) -> float:
    """Return the bits of chunk values that occur ``counts`` times, (256,), in all."""
    share = counts[counts > 0] / max(1, int(counts.sum()))
    return -float(counts.sum() * (share * np.log2(share)).sum())


def _configure(
    n_out: int, bus_bits: int, planes: int, n_out_step: int, **_wishes: object
) -> EntropyConfig:
    if n_out % _CHUNK:
        step = math.lcm(n_out_step, _CHUNK * planes)
        raise ConfigError(
            f"the entropy index needs slices of whole {_CHUNK}-weight chunks, not {n_out} (with "
            f"{planes} planes, make n_out a multiple of {step}, at most {N_OUT_MAX})"
        )
    lanes = math.gcd(n_out // _CHUNK, EntropyConfig.lanes)
    return EntropyConfig(n_out=n_out, lanes=lanes, bus_bits=bus_bits)


def _stream_bits(count: int, density: float, config: EntropyConfig) -> float:
    """Bits of a mask without structure: a table by number of ones, and two units a lane."""
    fixed = UNIT_BITS * (1 + _TABLE_CLASSES + 2 * config.lanes)
    return _MARGIN * count * binary_entropy(density) + fixed


CODEC = IndexCodec(
    pack=_pack,
    unpack=unpack_words,
    due=_due,
    configure=_configure,
    stream_bits=_stream_bits,
    order_bits=_order_bits,
)
