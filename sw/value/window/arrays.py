# SPDX-License-Identifier: Apache-2.0
"""Arrays that the kernels of the window encoder work on."""

from functools import lru_cache

import numpy as np
from xorloom.sw.spec.config import WindowConfig

from .elimination import Basis

__all__ = ["frame_bits", "network_taps", "new_basis"]


@lru_cache(maxsize=4)
def network_taps(config: WindowConfig) -> np.ndarray:
    """Network rows as words, shifted to every place that a window can begin at in a word.

    A row is its first word, then the n = window / 64 others, then the first n - 1 of these again:
    so they can be loaded in any rotation.
    """
    n = config.window // 64
    shifts = range(0, 64, min(64, config.n_in))
    data = [
        b"".join((row << shift).to_bytes(8 * (n + 1), "little") for row in config.network.rows)
        for shift in shifts
    ]
    words = np.frombuffer(b"".join(data), "<u8").reshape(len(data), config.n_out, n + 1)
    return np.concatenate([words, words[:, :, 1:n]], axis=2).reshape(len(data), -1)


def _aligned(words: int) -> np.ndarray:
    """Make an array of words, not set, that begins at a cache line: a row is one line or two."""
    data = np.empty(words + 8, np.uint64)
    return data[-(data.ctypes.data // 8) % 8 :][:words]


def new_basis(config: WindowConfig, n_bits: int) -> Basis:
    """Make the arrays of a stream of up to ``n_bits`` unknowns."""
    n = config.window // 64
    n_words = n_bits // 64 + n + 2
    return Basis(
        _aligned(64 * n_words),
        _aligned(64 * n_words),
        _aligned(64 * n_words * n),
        np.zeros(n_words, np.uint64),
        np.zeros(n_words, np.uint64),
        np.zeros(n_words, np.uint64),
        _aligned((n + 1) * 256 * n),
        np.empty((n + 1) * (3 + 64 * (n + 2)), np.uint64),
        np.empty(config.n_out, np.uint64),
        np.empty(config.n_out, np.uint64),
        _aligned(config.n_out * n),
        np.empty(config.n_out, np.int64),
        (0,) * n,
    )


def frame_bits(config: WindowConfig) -> int:
    """Bound on the unknowns, and so the rows, of one frame."""
    return config.frame_steps_max * config.n_in + 2 * config.window
