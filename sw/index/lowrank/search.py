# SPDX-License-Identifier: Apache-2.0
"""Search of the low-rank index: the tile and the rank that keep most importance at a rate."""

import math

import numpy as np
from xorloom.sw.base.errors import ConfigError, DensityError
from xorloom.sw.index.sample import slices_from_everywhere
from xorloom.sw.spec.index_config import LowrankConfig

from .bits import stream_bits
from .codec import choose

__all__ = ["search"]

_TILE = (8, 96)
"""Heights and widths of tiles that the search tries."""
_NEAR = 0.95
"""Of the most bits that any tile needs within a rate: what a tile that is tried needs at least."""
_RUN = 64
"""Slices that a sample takes in a row."""


def _candidates(
    rate: float, live: int, n_out: int, bus_bits: int, slices: int
) -> list[LowrankConfig]:
    """For every rank and about every height of a tile, that which comes nearest to the rate.

    Those that leave 5 % more of it unused than the best are not worth a trial.
    """
    found: dict[tuple[int, int], tuple[int, LowrankConfig]] = {}
    for rank in range(1, 9):
        for tile_slices in range(_TILE[0], _TILE[1] + 1):
            share = -(-rank * n_out // tile_slices)
            for tiles in range((n_out - share - 1) // rank, 0, -1):
                lanes = -(-n_out // tiles)
                if lanes < _TILE[0]:
                    continue
                if lanes > _TILE[1]:
                    break
                config = LowrankConfig(n_out, tile_slices, lanes, rank, bus_bits)
                bits = stream_bits(slices, config).total
                if bits > rate * live:
                    continue
                key = rank, int(3 * np.log2(tile_slices))  # the height, within a factor of 1.26
                if key not in found or bits > found[key][0]:
                    found[key] = (bits, config)
                break
    most = max((bits for bits, _ in found.values()), default=0)
    return [config for bits, config in found.values() if bits >= _NEAR * most]


def search(
    importance: np.ndarray,
    live: int,
    rate: float,
    density: float,
    n_out: int,
    *,
    bus_bits: int = 64,
    slices_per_stream: int = 0,
    sample_slices: int = 256,
    local_search: bool = True,
    seed: int = 0,
    threads: int | None = None,
) -> LowrankConfig:
    """Find the tile and the rank that keep most importance at a rate, on a sample.

    Tiles of 8 to 96 slices by 8 to 96 lanes, rank 1 to 8. The rate counts everything stored:
    preamble, rounding of shares, header, CRC and padding.

    Parameters
    ----------
    importance, live, slices_per_stream
        As in :func:`xorloom.sw.index.lowrank.codec.choose`.
    rate : float
        Bits per weight.

    Raises
    ------
    ConfigError
        If no tile fits the rate.
    """
    slices = importance.shape[0]
    span = min(slices, slices_per_stream or slices)
    configs = _candidates(rate, min(live, span * n_out), n_out, bus_bits, span)
    if not configs:
        least = stream_bits(span, _largest_tile(n_out, bus_bits, span)).total
        raise ConfigError(
            f"index bits {rate} are too few for low-rank tiles in streams of {span} slices of "
            f"{n_out} weights: the least is {_round_up(least / min(live, span * n_out)):.4f} (the "
            "trellis codec chooses a mask at any rate from 0.03, entropy and bitmap take a given "
            "one)"
        )
    part, weights = slices_from_everywhere(importance, live, _RUN, sample_slices)

    def kept(config: LowrankConfig) -> float:
        try:
            return choose(
                part, weights, density, config, exact=False, tries=16, local_search=local_search,
                seed=seed, threads=threads,
            ).kept  # fmt: skip
        except DensityError:
            return 0.0

    return max(configs, key=kept)


def _largest_tile(n_out: int, bus_bits: int, slices: int) -> LowrankConfig:
    """Return the tile that needs fewest bits, of those that the search tries."""
    widest = min(_TILE[1], n_out)
    tiles = [
        LowrankConfig(n_out, height, -(-n_out // across), 1, bus_bits)
        for height in range(_TILE[0], _TILE[1] + 1)
        for across in range(-(-n_out // widest), n_out // _TILE[0] + 1)
        if across + -(-n_out // height) < n_out
    ]
    return min(tiles, key=lambda tile: stream_bits(slices, tile).total)


def _round_up(bits: float) -> float:
    """Round up to the four digits that are printed, so that asking for them works."""
    return math.ceil(bits * 10_000 - 1e-9) / 10_000
