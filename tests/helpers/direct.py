# SPDX-License-Identifier: Apache-2.0
"""Streams of the direct codec made of random seeds."""

import numpy as np
from xorloom.sw.bits.framing import frame_payload
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.layout import Header, network_id
from xorloom.sw.tensors.orders import slice_count, stream_counts
from xorloom.sw.value.direct.stream import DirectStreams, SeedString

__all__ = ["CONFIGS", "direct_stream", "random_streams", "seed_string"]

CONFIGS = [
    DirectConfig(),
    DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32, network_seed=1),
    DirectConfig(n_in=12, n_out=32, planes=4, taps=4, bus_bits=32, network_seed=2),
    DirectConfig(n_in=96, n_out=192, planes=6, window=12, taps=5),
    DirectConfig(n_in=10, n_out=60, planes=1, window=16, bus_bits=32),
    DirectConfig(n_in=4, n_out=64, planes=1, window=14, taps=7, bus_bits=32),
    DirectConfig(n_in=2, n_out=64, planes=1, window=16, taps=2, bus_bits=32),
    DirectConfig(n_in=128, n_out=64, planes=2, window=7, taps=1, bus_bits=128, network_seed=9),
]
"""Rates 2, 3/2, 3, 1/6, 1/16, 1/32, 4; chunks shorter and longer than a bus word."""


def seed_string(bits: np.ndarray, count: int) -> SeedString:
    seeds = np.zeros(-(-bits.size // 64) + 2, np.uint64)
    packed = np.packbits(bits, bitorder="little")
    seeds.view(np.uint8)[: packed.size] = packed
    return SeedString(seeds, count)


def random_streams(
    config: DirectConfig, weights: int, slices_per_stream: int, order: str = "column"
) -> DirectStreams:
    rng = np.random.default_rng(weights)
    counts = stream_counts(weights, config.planes, config.n_out, slices_per_stream)
    streams = [
        seed_string(
            rng.integers(0, 2, slice_count(count, config.n_out) * config.n_in, np.uint8), count
        )
        for count in counts
    ]
    levels = rng.integers(-128, 128, 1 << config.planes).astype(np.int8)
    return DirectStreams(order, slices_per_stream, levels, tuple(streams))


def direct_stream(config: DirectConfig, count: int, seed: int) -> bytes:
    """Return a random memory stream of ``count`` code bits, made here byte by byte."""
    rng = np.random.default_rng(seed)
    bus = config.bus_bytes
    levels = rng.bytes(1 << config.planes) if count else b""
    seeds = rng.integers(0, 2, slice_count(count, config.n_out) * config.n_in, np.uint8)
    parts = (levels, np.packbits(seeds, bitorder="little").tobytes())
    payload = b"".join(part + bytes(-len(part) % bus) for part in parts)
    header = Header(config.kind, count, network_id(config), len(payload) // bus)
    return frame_payload(header, payload, bus)


def all_codes(config: DirectConfig, weights: int, state: int) -> np.ndarray:
    """Return the codes of all seed strings behind a window, (strings, weights) uint8.

    Bit ``i`` of a string is its seed bit ``i``; bit 0 of ``state`` is the newest bit before it.
    """
    n_bits = -(-weights * config.rate.numerator // config.period)
    strings = np.arange(1 << n_bits)
    before = [np.full(strings.size, state >> age & 1) for age in range(config.window)][::-1]
    bits = [*before, *(strings >> i & 1 for i in range(n_bits))]
    codes = np.zeros((strings.size, weights), np.uint8)
    for j in range(weights):
        end = -(-(j + 1) * config.rate.numerator // config.period)
        for b, row in enumerate(config.network.rows[j % config.period]):
            for t in row:
                codes[:, j] ^= (bits[end + t] << b).astype(np.uint8)
    return codes


def slow_search(config: DirectConfig, x: np.ndarray, levels: np.ndarray) -> float:
    """Return the least squared error of all seed strings, by a search in floats."""
    window = config.window
    numbers = np.arange(1 << window)  # bit t is position t, the newest one the highest
    codes = np.zeros((config.period, numbers.size), np.uint8)
    for own, phase in zip(codes, config.network.rows, strict=True):
        for b, row in enumerate(phase):
            for t in row:
                own ^= ((numbers >> t & 1) << b).astype(np.uint8)
    metric = np.full(numbers.size, np.inf)
    metric[0] = 0
    for i, value in enumerate(x.astype(np.float64)):
        for _ in range(config.shifts[i % config.period]):
            metric = np.tile(metric.reshape(-1, 2).min(axis=1), 2)
        metric += (value - levels[codes[i % config.period]]) ** 2
    return float(metric.min())
