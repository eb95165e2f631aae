# SPDX-License-Identifier: Apache-2.0
"""Memory streams of the direct codec: levels and seeds to bytes and back."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError, check_range
from xorloom.sw.bits.framing import (
    StreamBits,
    check_words,
    frame_payload,
    split_streams,
    unframe_payload,
)
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.layout import Header, frame_bytes, network_id
from xorloom.sw.tensors.orders import check_order, slice_count, stream_counts

__all__ = [
    "DirectStreams",
    "SeedString",
    "check_direct",
    "direct_bits",
    "direct_due",
    "pack_direct",
    "slices_per_stream",
    "tensor_stream_bits",
    "unpack_direct",
]


@dataclass(frozen=True)
class SeedString:
    """Seeds of one stream.

    Parameters
    ----------
    seeds : (ceil(slices * n_in / 64) + 2,) or longer, uint64
        Packed bits, the first one in bit 0; zero behind the last one.
    count : int
        Slice bits: those of the codes of the stream's weights.
    """

    seeds: np.ndarray
    count: int


@dataclass(frozen=True)
class DirectStreams:
    """Streams of a tensor.

    Parameters
    ----------
    order : str
        Weight order.
    slices_per_stream : int
        Slices of all streams but the last.
    levels : (2**planes,) int8
        What each code means, in units of the scales.
    streams : tuple of SeedString
    """

    order: str
    slices_per_stream: int
    levels: np.ndarray
    streams: tuple[SeedString, ...]


def slices_per_stream(weights: int, config: DirectConfig) -> int:
    """Return how many slices every stream of a tensor has: all, if a header can count them."""
    most = ((1 << 32) - 1) // config.n_out
    return max(1, min(most, slice_count(weights, config.lanes)))


def _one_bits(count: int, config: DirectConfig) -> StreamBits:
    slices = slice_count(count, config.n_out)
    seeds = slices * config.n_in
    words = config.level_words + -(-seeds // config.bus_bits)
    payload = words * config.bus_bits
    return StreamBits(
        seeds=seeds,
        control=0,
        patches=0,
        overhead=payload - seeds + 8 * frame_bytes(config.bus_bytes),
        words=words,
        steps=slices,
    )


def _sum(counts: Iterable[int], config: DirectConfig) -> StreamBits:
    nothing = StreamBits(0, 0, 0, 0, 0, 0)
    return reduce(StreamBits.__add__, (_one_bits(count, config) for count in counts), nothing)


def direct_bits(encoded: DirectStreams, config: DirectConfig) -> StreamBits:
    """Count the bits and cycles of a tensor's streams; levels are overhead."""
    return _sum((stream.count for stream in encoded.streams), config)


def tensor_stream_bits(weights: int, config: DirectConfig) -> StreamBits:
    """Count what the streams of a tensor of so many weights will take."""
    size = slices_per_stream(weights, config)
    return _sum(stream_counts(weights, config.planes, config.n_out, size), config)


def pack_direct(encoded: DirectStreams, config: DirectConfig) -> tuple[bytes, StreamBits]:
    """Write seeds as memory streams.

    Returns
    -------
    (streams, bits) : bytes and StreamBits
    """
    levels = encoded.levels.astype(np.int8).tobytes()
    head = levels.ljust(config.level_words * config.bus_bytes, b"\0")
    parts = []
    for stream in encoded.streams:
        words = _one_bits(stream.count, config).words
        size = (words - config.level_words) * config.bus_bytes
        seeds = stream.seeds.view(np.uint8)[:size].tobytes().ljust(size, b"\0")
        header = Header(config.kind, stream.count, network_id(config), words)
        parts.append(frame_payload(header, head + seeds, config.bus_bytes))
    return b"".join(parts), direct_bits(encoded, config)


def unpack_direct(
    data: bytes,
    config: DirectConfig,
    *,
    order: str,
    weights: int,
    slices_per_stream: int,
    where: str = "stream",
) -> DirectStreams:
    """Read the memory streams of a tensor; ``where`` names it in messages.

    Raises
    ------
    FormatError
        If a stream is truncated, damaged, made for another network, or does not fit the tensor.
    """
    parts = split_streams(data, config.bus_bytes, where)
    counts = stream_counts(weights, config.planes, config.n_out, slices_per_stream)
    if len(parts) != len(counts):
        raise FormatError(
            f"{where}: {weights} weights in streams of {slices_per_stream} slices must be "
            f"{len(counts)} streams, found {len(parts)}"
        )
    levels = np.zeros(1 << config.planes, np.int8)
    streams = []
    for k, (part, count) in enumerate(zip(parts, counts, strict=True)):
        place = f"{where}: stream {k}"
        header, payload = unframe_payload(part, config.bus_bytes, config.kind, place)
        if header.network != network_id(config):
            raise FormatError(
                f"{place}: network id must be {network_id(config):08x} for the parameters "
                f"{config.identity}, found {header.network:08x}"
            )
        if header.count != count:
            raise FormatError(f"{place}: count must be {count} slice bits, found {header.count}")
        bits = _one_bits(count, config)
        check_words(header, bits.words * config.bus_bits, config.bus_bits, place)
        head = config.level_words * config.bus_bytes
        own = np.frombuffer(payload[: levels.size], np.int8)
        if k and (own != levels).any():
            raise FormatError(f"{place}: levels must be those of the tensor's first stream")
        levels = own
        spare = len(payload) * 8 - head * 8 - bits.seeds
        last = int.from_bytes(payload[head + bits.seeds // 8 :], "little")
        if any(payload[levels.size : head]) or (spare and last >> bits.seeds % 8):
            raise FormatError(f"{place}: padding of levels and seeds must be zero")
        seeds = np.zeros(-(-bits.seeds // 64) + 2, np.uint64)
        used = payload[head : head + -(-bits.seeds // 8)]
        seeds.view(np.uint8)[: len(used)] = np.frombuffer(used, np.uint8)
        streams.append(SeedString(seeds, count))
    return DirectStreams(order, slices_per_stream, levels, tuple(streams))


def check_direct(encoded: DirectStreams, weights: int, config: DirectConfig) -> None:
    """Check that streams of the user's own can be those of a tensor of so many weights.

    Raises
    ------
    ConfigError
        If levels, counts or seeds have another dtype or size than they must have.
    """
    check_order(encoded.order)
    size = check_range("slices_per_stream", encoded.slices_per_stream, 1, 1 << 32)
    levels = encoded.levels
    if levels.dtype != np.int8 or levels.shape != (1 << config.planes,):
        raise ConfigError(
            f"levels must be int8 of shape ({1 << config.planes},), not {levels.dtype} of "
            f"{levels.shape}"
        )
    counts = stream_counts(weights, config.planes, config.n_out, size)
    found = [stream.count for stream in encoded.streams]
    if found != counts:
        raise ConfigError(
            f"{weights} weights in streams of {size} slices must be streams of {counts} slice "
            f"bits, not {found}"
        )
    for k, stream in enumerate(encoded.streams):
        bits = _one_bits(stream.count, config).seeds
        words = -(-bits // 64) + 2
        seeds = stream.seeds
        if seeds.dtype != np.uint64 or seeds.ndim != 1 or seeds.size < words:
            raise ConfigError(
                f"stream {k}: seeds must be uint64 of at least {words} words, not {seeds.dtype} of "
                f"shape {seeds.shape}"
            )
        if seeds[bits // 64] >> np.uint64(bits % 64) or seeds[bits // 64 + 1 :].any():
            raise ConfigError(f"stream {k}: bits behind the last of {bits} seed bits must be 0")


def direct_due(data: bytes, config: DirectConfig, where: str) -> np.ndarray:
    """Return the slice with which every word of a stream falls due, (words,) int64.

    Levels are due with the first slice; a slice leaves when its own chunk has come.

    Raises
    ------
    FormatError
        If the stream is damaged; ``where`` names it.
    """
    header, _ = unframe_payload(data, config.bus_bytes, config.kind, where)
    check_words(
        header, _one_bits(header.count, config).words * config.bus_bits, config.bus_bits, where
    )
    word = np.arange(header.words) - config.level_words
    return np.maximum(word, 0) * config.bus_bits // config.n_in
