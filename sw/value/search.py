# SPDX-License-Identifier: Apache-2.0
"""Search of the value decoder: the parameters that store a value plane in the fewest bits."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.taps import N_OUT_MAX
from xorloom.sw.tensors.codes import check_codes
from xorloom.sw.value.block.codec import BlockSlices, encode
from xorloom.sw.value.block.stream import block_bits

__all__ = [
    "SAMPLE_WEIGHTS",
    "Plane",
    "SearchPoint",
    "curve",
    "cut_sample",
    "search_block",
    "search_window",
    "window_for",
]

SAMPLE_WEIGHTS = 4_000_000
"""Weights that :func:`cut_sample` leaves of a model."""
_BLOCK_GROUPS = (2, 4, 8, 16, 32, 64, 128, 256)
_RUN = 1 << 16
_HEADROOM = 0.7

Plane = tuple[np.ndarray, np.ndarray, int]
"""Mask, codes, planes."""


@dataclass(frozen=True)
class SearchPoint:
    """Setting of the search and what it costs: bits of each kind, and cycles."""

    config: BlockConfig
    seeds: int
    control: int
    patches: int
    steps: int

    @property
    def total(self) -> int:
        """Stored bits without stream headers."""
        return self.seeds + self.control + self.patches


def cut_sample(plane: Plane, total_weights: int) -> list[Plane]:
    """Cut evenly spread runs of a tensor's weights, so that a search stays quick on large models.

    ``total_weights`` is the size of the whole model; at most about ``SAMPLE_WEIGHTS`` of it are
    kept.
    """
    mask, codes, q = plane
    every = -(-total_weights // SAMPLE_WEIGHTS)
    if every <= 1:
        return [plane]
    mask, codes = mask.reshape(-1), codes.reshape(-1)
    run = max(1, min(_RUN, -(-mask.size // every)))
    steps = np.arange(0, mask.size, run * every)
    # Anywhere in its step: even places could fall in with what repeats in the tensor.
    starts = steps + np.random.default_rng(0).integers(0, run * (every - 1) + 1, steps.size)
    starts = np.minimum(starts, max(0, mask.size - run))
    return [(mask[s : s + run].copy(), codes[s : s + run].copy(), q) for s in starts]


def _cost(planes: Sequence[Plane], config: BlockConfig) -> SearchPoint:
    """Encode, then take the best block size for this slice length."""
    encoded = [encode(mask, codes, q, config) for mask, codes, q in planes]
    points = [_count(encoded, replace(config, block_groups=g)) for g in _BLOCK_GROUPS]
    return min(points, key=lambda point: point.total)


def _count(encoded: Sequence[BlockSlices], config: BlockConfig) -> SearchPoint:
    bits = [block_bits(slices, config) for slices in encoded]
    return SearchPoint(
        config,
        sum(b.seeds for b in bits),
        sum(b.control for b in bits),
        sum(b.patches for b in bits),
        sum(b.steps for b in bits),
    )


def curve(planes: Sequence[Plane], config: BlockConfig, n_outs: Sequence[int]) -> list[SearchPoint]:
    """Return the cost at every slice length: the paper's curve of total bits against n_out.

    Parameters
    ----------
    planes : sequence of (mask, codes, planes)
        As for :func:`xorloom.sw.value.block.codec.encode`.
    config : BlockConfig
        Everything but ``n_out`` and ``block_groups``.
    n_outs : sequence of int
    """
    return [_cost(planes, replace(config, n_out=n_out)) for n_out in n_outs]


def search_block(
    planes: Sequence[Plane],
    config: BlockConfig,
    progress: Callable[[SearchPoint], None] = lambda point: None,
) -> SearchPoint:
    """Find ``n_out`` and ``block_groups`` for the fewest total bits, all tensors together.

    The cost has one valley (few long slices need patches, many short ones waste seeds), so a
    coarse grid around ``n_in / density`` finds it and finer grids close in.

    Parameters
    ----------
    planes : sequence of (mask, codes, planes)
    config : BlockConfig
        Everything but ``n_out`` and ``block_groups``.
    progress : callable
        Called with every point that was tried.

    Returns
    -------
    SearchPoint
        Its ``config`` is the best found.

    Raises
    ------
    ConfigError
        If there are no weights, or mask and codes do not fit.
    """
    if not planes:
        raise ConfigError("nothing to search: no tensor was selected")
    for mask, codes, q in planes:
        check_codes(mask, codes, q)
    size = sum(mask.size for mask, _, _ in planes)
    kept = sum(int(np.count_nonzero(mask)) for mask, _, _ in planes)
    middle = config.n_in * max(1, size) / max(1, kept)
    low, high = (max(1, min(N_OUT_MAX, round(middle * f))) for f in (0.3, 1.6))
    tried: dict[int, SearchPoint] = {}

    def cost(n_out: int) -> int:
        if n_out not in tried:
            tried[n_out] = _cost(planes, replace(config, n_out=n_out))
            progress(tried[n_out])
        return tried[n_out].total

    while True:
        step = max(1, (high - low) // 8)
        best = min(range(low, high + 1, step), key=cost)
        if step == 1:
            break
        low, high = max(1, best - step), min(N_OUT_MAX, best + step)
    return min(tried.values(), key=lambda point: point.total)


def search_window(planes: Sequence[Plane], config: WindowConfig) -> WindowConfig:
    """Choose ``n_in`` for the density of tensors, see :func:`window_for`.

    Parameters
    ----------
    planes : sequence of (mask, codes, planes)
    config : WindowConfig
        Everything but ``n_in``.

    Raises
    ------
    ConfigError
        If there are no weights.
    """
    if not planes:
        raise ConfigError("nothing to search: no tensor was selected")
    size = sum(mask.size for mask, _, _ in planes)
    kept = sum(int(np.count_nonzero(mask)) for mask, _, _ in planes)
    return window_for(kept / max(1, size), config)


def window_for(density: float, config: WindowConfig) -> WindowConfig:
    """Choose ``n_in``: bits per step that the mean slice can use, so that memory sets the pace.

    A slice takes at least one step, so more than its kept bits would be stored for nothing;
    ``_HEADROOM`` of the mean leaves room for frames that keep less.

    Raises
    ------
    ConfigError
        If no ``n_in`` fits the other parameters.
    """
    room = config.n_out * density * _HEADROOM
    fits: list[WindowConfig] = []
    for n_in in (8, 16, 32, 64, 128, 256):
        with suppress(ConfigError):  # too wide for the window, or too narrow for patch entries
            fits.append(replace(config, n_in=n_in))
    if not fits:
        raise ConfigError(f"no n_in fits window {config.window} and frame {config.frame}")
    return max((c for c in fits if c.n_in <= room), key=lambda c: c.n_in, default=fits[0])
