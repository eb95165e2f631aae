# SPDX-License-Identifier: Apache-2.0
"""Memory streams of the window codec: seed streams to bytes and back.

A tensor is one or more memory streams, back to back; each begins with a fresh window, so it can
be decoded without the others.
"""

from functools import reduce

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import (
    StreamBits,
    check_words,
    frame_payload,
    split_streams,
    unframe_payload,
)
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.layout import Header, frame_bytes, network_id
from xorloom.sw.tensors.orders import slice_count, stream_counts

from .codec import SeedStream, WindowStreams, per_slice, read_stream, slice_ends

__all__ = ["pack_window", "unpack_window", "window_bits", "window_due"]


def _one_bits(stream: SeedStream, config: WindowConfig) -> StreamBits:
    frames = stream.facts.shape[0]
    control = frames * (config.rate_bits + config.patches)
    patches = stream.n_patches * config.patch_bits
    words = -(-stream.chunks * config.n_in // config.bus_bits)
    seeds = stream.chunks * config.n_in
    return StreamBits(
        seeds=seeds - control - patches,
        control=control,
        patches=patches,
        overhead=words * config.bus_bits - seeds + 8 * frame_bytes(config.bus_bytes),
        words=words,
        steps=stream.chunks,
    )


def window_bits(encoded: WindowStreams, config: WindowConfig) -> StreamBits:
    """Count the bits and cycles of a tensor's streams."""
    nothing = StreamBits(0, 0, 0, 0, 0, 0)
    return reduce(StreamBits.__add__, (_one_bits(s, config) for s in encoded.streams), nothing)


def pack_window(encoded: WindowStreams, config: WindowConfig) -> tuple[bytes, StreamBits]:
    """Write seed streams as memory streams.

    Returns
    -------
    (streams, bits) : bytes and StreamBits
    """
    parts = []
    for stream in encoded.streams:
        words = -(-stream.chunks * config.n_in // config.bus_bits)
        payload = stream.seeds.view(np.uint8)[: words * config.bus_bytes].tobytes()
        payload = payload.ljust(words * config.bus_bytes, b"\0")
        header = Header(config.kind, stream.count, network_id(config), words)
        parts.append(frame_payload(header, payload, config.bus_bytes))
    return b"".join(parts), window_bits(encoded, config)


def unpack_window(
    data: bytes,
    config: WindowConfig,
    *,
    order: str,
    weights: int,
    planes: int,
    slices_per_stream: int,
    where: str = "stream",
) -> WindowStreams:
    """Read the memory streams of a tensor; ``where`` names it in messages.

    Raises
    ------
    FormatError
        If a stream is truncated, damaged, made for another network, or does not fit the tensor.
    """
    parts = split_streams(data, config.bus_bytes, where)
    slices = slice_count(weights, per_slice(config, planes))
    expected = slice_count(slices, slices_per_stream)
    if len(parts) != expected:
        raise FormatError(
            f"{where}: {weights} weights in streams of {slices_per_stream} slices must be "
            f"{expected} streams, found {len(parts)}"
        )
    counts = stream_counts(weights, planes, config.n_out, slices_per_stream)
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
        n_bits = header.words * config.bus_bits
        seeds = np.zeros(-(-n_bits // 64) + 2, np.uint64)
        seeds.view(np.uint8)[: len(payload)] = np.frombuffer(payload, np.uint8)
        stream = read_stream(seeds, n_bits // config.n_in, count, config, place)
        used = stream.chunks * config.n_in
        if -(-used // config.bus_bits) != header.words:
            raise FormatError(
                f"{place}: words must be {-(-used // config.bus_bits)} for the rate words' "
                f"{stream.chunks} chunks of {config.n_in} bits, found {header.words}"
            )
        if int.from_bytes(payload, "little") >> used if n_bits - used else 0:
            raise FormatError(f"{place}: padding after the last chunk must be zero")
        streams.append(stream)
    return WindowStreams(order, slices_per_stream, tuple(streams))


def window_due(data: bytes, config: WindowConfig, where: str) -> np.ndarray:
    """Return the slice with which every word of a stream falls due, (words,) int64.

    A slice leaves when the chunk after its last one has come.

    Raises
    ------
    FormatError
        If the stream is damaged; ``where`` names it.
    """
    header, payload = unframe_payload(data, config.bus_bytes, config.kind, where)
    n_bits = header.words * config.bus_bits
    seeds = np.zeros(-(-n_bits // 64) + 2, np.uint64)
    seeds.view(np.uint8)[: len(payload)] = np.frombuffer(payload, np.uint8)
    stream = read_stream(seeds, n_bits // config.n_in, header.count, config, where)
    check_words(header, stream.chunks * config.n_in, config.bus_bits, where)
    chunk = np.arange(header.words) * config.bus_bits // config.n_in
    return np.searchsorted(slice_ends(stream, config), chunk)
