# SPDX-License-Identifier: Apache-2.0
"""Geometry of a window: the parameters that its kernels need, as a tuple that Numba compiles."""

from functools import lru_cache
from typing import NamedTuple

from xorloom.sw.spec.config import WindowConfig

__all__ = ["Geometry", "geometry"]


class Geometry(NamedTuple):
    """The parameters of :class:`xorloom.sw.spec.config.WindowConfig` that the kernels need."""

    n_in: int
    window: int
    frame: int
    preload_steps: int
    rate_bits: int
    rate_shift: int
    frame_steps_max: int
    patch_bits: int
    """0 without patches."""
    index_bits: int
    """Bits of a slice's number in its frame."""


@lru_cache(maxsize=16)
def geometry(config: WindowConfig) -> Geometry:
    """Return the geometry of a decoder's window."""
    return Geometry(
        config.n_in,
        config.window,
        config.frame,
        config.preload_steps,
        config.rate_bits,
        config.rate_shift,
        config.frame_steps_max,
        config.patch_bits if config.patches else 0,
        (config.frame - 1).bit_length(),
    )
