# SPDX-License-Identifier: Apache-2.0
"""Random masks, codes and seeds from a fixed seed."""

import numpy as np
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.orders import slice_count, stream_counts
from xorloom.sw.value.direct.stream import DirectStreams, SeedString, slices_per_stream

__all__ = ["SEED", "iid", "iid_seeds"]

SEED = 2020
"""Seed of all random weights and masks of benchmarks."""


def iid(size: int, sparsity: float, planes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an i.i.d. mask (size,) bool and uniform codes (size,) uint8."""
    rng = np.random.default_rng(seed)
    mask = rng.random(size, np.float32) >= sparsity
    return mask, rng.integers(0, 1 << planes, size, np.uint8)


def iid_seeds(size: int, config: DirectConfig, seed: int) -> DirectStreams:
    """Return random levels and seeds of ``size`` weights in order ``row``: any are a stream."""
    rng = np.random.default_rng(seed)
    most = slices_per_stream(size, config)
    levels = rng.integers(-128, 128, 1 << config.planes).astype(np.int8)
    strings = []
    for count in stream_counts(size, config.planes, config.n_out, most):
        bits = rng.integers(0, 2, slice_count(count, config.n_out) * config.n_in, np.uint8)
        seeds = np.zeros(-(-bits.size // 64) + 2, np.uint64)
        packed = np.packbits(bits, bitorder="little")
        seeds.view(np.uint8)[: packed.size] = packed
        strings.append(SeedString(seeds, count))
    return DirectStreams("row", most, levels, tuple(strings))
