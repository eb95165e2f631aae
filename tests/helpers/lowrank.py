# SPDX-License-Identifier: Apache-2.0
"""Low-rank masks: a small configuration, importance, factors, the golden model as an array."""

import itertools
import random

import numpy as np
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.lowrank import lowrank_decoder
from xorloom.sw.index.lowrank.codec import (
    LowrankChoice,
)
from xorloom.sw.spec.index_config import LowrankConfig

SMALL = LowrankConfig(n_out=24, tile_slices=6, tile_lanes=5, rank=1, bus_bits=32)


def gaussian(slices, n_out, seed=1):
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(size=(slices, n_out))).astype(np.float32)


def random_factors(config, slices, seed):
    """Any factors, and the mask that they make, computed as the formula says."""
    rng = random.Random(seed)
    rows = -(-slices // config.tile_slices)
    draw = lambda: rng.getrandbits(config.rank)  # noqa: E731
    lane = np.array([[draw() for _ in range(config.n_out)] for _ in range(rows)], np.uint32)
    beat = np.array([[draw() for _ in range(config.tiles)] for _ in range(slices)], np.uint32)
    lane, beat = lane.reshape(rows, config.n_out), beat.reshape(slices, config.tiles)
    mask = np.zeros((slices, config.n_out), bool)
    for e, j in itertools.product(range(slices), range(config.n_out)):
        a, b = int(lane[e // config.tile_slices, j]), int(beat[e, j // config.tile_lanes])
        mask[e, j] = any(a >> r & b >> r & 1 for r in range(config.rank))
    return LowrankChoice(mask, lane, beat, 0, 1.0)


def golden(data, config, count):
    """What the golden model decodes, as (slices, n_out), False where there is no weight."""
    slices = lowrank_decoder(config, bus_words(data, config.bus_bits))
    mask = np.array([[v >> j & 1 for j in range(config.n_out)] for v in slices], bool)
    mask = mask.reshape(len(slices), config.n_out)
    mask.reshape(-1)[count:] = False
    return mask
