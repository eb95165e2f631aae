# SPDX-License-Identifier: Apache-2.0
"""Masks of the hashed index look like independent coins: every figure beside what coins give.

Seeds are fixed. Bounds are about five standard errors, or what docs/decisions/index-codecs.md says.
"""

import numpy as np
import pytest
from xorloom.sw.index.hashed.masks import seed_mask
from xorloom.sw.spec.hashed import HashedConfig

BEATS, LANES = 6000, 512
THRESHOLDS = (13, 26, 51, 128, 230)


def standardized(mask, density):
    return ((mask - density) / np.sqrt(density * (1 - density))).astype(np.float32)


@pytest.fixture(scope="module", params=THRESHOLDS)
def case(request):
    config = HashedConfig(threshold=request.param)
    return seed_mask(1, BEATS, config), config.density


def test_density_of_tensor_lanes_and_beats(case):
    mask, density = case
    spread = density * (1 - density)
    assert abs(mask.mean() - density) < 5 * np.sqrt(1.2 * spread / mask.size)
    lanes = (mask.sum(axis=0) - BEATS * density) / np.sqrt(BEATS * spread)
    assert abs(lanes).max() < 5
    assert abs(np.mean(lanes**2) - 1) < 5 * np.sqrt(2 / LANES)
    beats = (mask.sum(axis=1) - LANES * density) / np.sqrt(LANES * spread)
    # Four lanes share the low bits of their hash: beats spread a little more than of coins.
    assert 1 - 5 * np.sqrt(2 / BEATS) < np.mean(beats**2) < 1.1 + 5 * np.sqrt(2 / BEATS)
    assert abs(beats).max() < 6


def test_lanes_are_uncorrelated_in_a_beat_and_between_beats(case):
    mask, density = case
    x = standardized(mask, density)
    for lag in (0, 1, 2, 5):
        z = x[lag:].T @ x[: BEATS - lag] / np.sqrt(BEATS - lag)
        if lag == 0:
            z = z[np.triu_indices(LANES, 1)]
        assert abs(z).max() < 6.5
        assert abs(np.mean(z**2) - 1) < 0.03


def test_a_lane_has_runs_as_of_coins(case):
    """Pairs and triples of successive beats: chi-square of each lane's eight patterns."""
    mask, density = case
    codes = mask[:-2] + 2 * mask[1:-1].astype(np.int8) + 4 * mask[2:].astype(np.int8)
    ones = np.array([bin(code).count("1") for code in range(8)])
    expected = density**ones * (1 - density) ** (3 - ones) * len(codes)
    counts = np.stack([(codes == code).sum(axis=0) for code in range(8)], axis=1)
    keep = expected > 8
    z = (counts - expected)[:, keep] / np.sqrt(expected[keep])
    assert abs(z).max() < 7  # patterns overlap: the same coin is in three of them
    assert abs(counts.mean(axis=0) / expected - 1)[keep].max() < 0.05


def test_beats_without_a_kept_weight_come_as_often_as_of_coins():
    config = HashedConfig(n_out=32, threshold=26)
    mask = seed_mask(2, 40000, config)
    expected = (1 - config.density) ** 32
    found = 1 - mask.any(axis=1).mean()
    assert found == pytest.approx(expected, rel=0.1)


def test_masks_of_seeds_are_uncorrelated():
    config = HashedConfig()
    seeds = [0, *(1 << k for k in range(16)), *range(3, 60, 3)]
    x = np.stack([standardized(seed_mask(seed, 64, config), config.density) for seed in seeds])
    x = x.reshape(len(seeds), -1)
    z = (x @ x.T / np.sqrt(x.shape[1]))[np.triu_indices(len(seeds), 1)]
    assert abs(z).max() < 5
    assert abs(np.mean(z**2) - 1) < 5 * np.sqrt(2 / z.size)


def test_first_beats_differ_over_all_seeds():
    """Every lane of the first beat is kept by the density's share of seeds."""
    config = HashedConfig(n_out=64)
    first = np.stack([seed_mask(seed, 1, config)[0] for seed in range(0, 65536, 16)])
    z = (first.mean(axis=0) - config.density) / np.sqrt(
        config.density * (1 - config.density) / len(first)
    )
    assert abs(z).max() < 5


def test_the_measures_find_a_bad_generator():
    """Of a mask whose lanes are a shifted register, and of one whose rows repeat."""
    rng = np.random.default_rng(0)
    coins = rng.random(BEATS + LANES) < 0.1
    shifted = np.lib.stride_tricks.sliding_window_view(coins, LANES)[:BEATS]
    x = standardized(shifted, 0.1)
    assert abs(x[1:].T @ x[:-1]).max() / np.sqrt(BEATS) > 20
    repeated = np.repeat(rng.random((BEATS // 2, LANES)) < 0.1, 2, axis=0)
    x = standardized(repeated, 0.1)
    assert abs((x[1:] * x[:-1]).sum(axis=0)).max() / np.sqrt(BEATS) > 20
