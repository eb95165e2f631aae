# SPDX-License-Identifier: Apache-2.0
"""Low-rank index: its record, for :mod:`xorloom.sw.bits.codec`."""

from collections.abc import Sequence

import numpy as np
from xorloom.sw.bits.codec import IndexCodec
from xorloom.sw.bits.framing import check_words
from xorloom.sw.bits.gf2 import pack_rows
from xorloom.sw.spec.index_config import LowrankConfig
from xorloom.sw.spec.layout import Header
from xorloom.sw.tensors.orders import beats, slice_count

from .codec import choose, pack, split, unpack
from .search import search

__all__ = ["CODEC"]


def _choose(
    importance: np.ndarray,
    counts: Sequence[int],
    density: float,
    config: LowrankConfig,
    slices_per_stream: int,
    threads: int | None,
) -> tuple[np.ndarray, list[bytes]]:
    product = choose(
        importance,
        sum(counts),
        density,
        config,
        slices_per_stream=slices_per_stream,
        threads=threads,
    )
    streams = zip(split(product, config), counts, strict=True)
    return product.mask, [pack(stream, count, config) for stream, count in streams]


def _due(_data: bytes, header: Header, config: LowrankConfig, where: str) -> np.ndarray:
    slices = -(-header.count // config.n_out)
    check_words(header, config.chunks(slices) * config.chunk_bits, config.bus_bits, where)
    chunk = np.arange(header.words) * config.bus_bits // config.chunk_bits
    return np.maximum(0, chunk - config.preamble_chunks)


def _configure(
    n_out: int,
    bus_bits: int,
    *,
    density: float,
    rate: float | None,
    importance: np.ndarray | None,
    **_wishes: object,
) -> LowrankConfig:
    if importance is None or rate is None:
        return LowrankConfig(n_out=n_out, bus_bits=bus_bits)
    slices = beats(importance, "skewed", n_out)
    return search(
        slices, importance.size, rate, density, n_out, bus_bits=bus_bits, local_search=False
    )


def _stream_bits(count: int, _density: float, config: LowrankConfig) -> float:
    return config.chunks(slice_count(count, config.n_out)) * config.chunk_bits


def _unpack(data: bytes, count: int, config: LowrankConfig, where: str) -> np.ndarray:
    return pack_rows(unpack(data, count, config, where))


CODEC = IndexCodec(
    choose=_choose, unpack=_unpack, due=_due, configure=_configure, stream_bits=_stream_bits
)
