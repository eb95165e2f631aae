# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.value import search
from xorloom.sw.value.block.codec import encode
from xorloom.sw.value.block.stream import pack_block
from xorloom.sw.value.search import SAMPLE_WEIGHTS, curve, cut_sample, search_block

from tests.helpers.index import pack_bitmap


def plane(rng, size, sparsity, planes=1):
    mask = rng.random(size) >= sparsity
    codes = rng.integers(0, 1 << planes, size, dtype=np.uint8)
    return mask, codes, planes


def stored_bits(planes, config):
    """Bits of the real streams without header, CRC and padding."""
    total = 0
    for mask, codes, q in planes:
        data, bits = pack_block(encode(mask, codes, q, config), config)
        total += 8 * len(data) - bits.overhead
    return total


@pytest.mark.parametrize(("n_in", "sparsity", "planes"), [(8, 0.8, 1), (12, 0.9, 1), (10, 0.7, 2)])
def test_search_finds_the_fewest_bits_of_a_full_scan(n_in, sparsity, planes, rng):
    data = [plane(rng, 20_000, sparsity, planes), plane(rng, 5_001, sparsity, planes)]
    config = BlockConfig(n_in=n_in)
    found = search_block(data, config)
    span = range(n_in // 2, round(2.5 * n_in / (1 - sparsity)))
    slices = {
        n_out: [encode(m, c, q, replace(config, n_out=n_out)) for m, c, q in data] for n_out in span
    }
    scan = {
        (n_out, groups): sum(
            8 * len(stream) - bits.overhead
            for stream, bits in (
                pack_block(s, replace(config, n_out=n_out, block_groups=groups))
                for s in slices[n_out]
            )
        )
        for n_out in span
        for groups in (2, 4, 8, 16, 32, 64, 128, 256)
    }
    assert found.total == scan[found.config.n_out, found.config.block_groups]
    assert found.total <= min(scan.values()) * 1.005


def test_search_reports_every_point_and_returns_the_best(rng):
    points = []
    found = search_block([plane(rng, 8_000, 0.8)], BlockConfig(n_in=8), points.append)
    assert found in points
    assert found.total == min(point.total for point in points)
    assert len({point.config.n_out for point in points}) == len(points)


def test_search_changes_n_out_and_block_groups_only(rng):
    config = BlockConfig(n_in=9, n_out=7, lanes=5, patches_per_cycle=2, bus_bits=32, network_seed=4)
    found = search_block([plane(rng, 3_000, 0.8)], config).config
    assert replace(found, n_out=7, block_groups=config.block_groups) == config


def test_search_counts_the_bits_of_the_real_stream(rng):
    data = [plane(rng, 4_000, 0.85, 2), plane(rng, 999, 0.6, 2)]
    found = search_block(data, BlockConfig(n_in=10))
    assert found.total == stored_bits(data, found.config)
    assert found.total == found.seeds + found.control + found.patches


@pytest.mark.parametrize(
    "mask", [np.zeros(50, np.bool_), np.ones(1, np.bool_), np.ones(0, np.bool_)]
)
def test_search_of_degenerate_planes_ends(mask):
    found = search_block([(mask, mask.astype(np.uint8), 1)], BlockConfig(n_in=4))
    assert 1 <= found.config.n_out <= 32768


def test_search_rejects_nothing():
    with pytest.raises(ConfigError, match="nothing to search: no tensor was selected"):
        search_block([], BlockConfig())


def test_search_rejects_planes_that_do_not_fit():
    with pytest.raises(ConfigError, match="needs more than 1 planes"):
        search_block([(np.ones(3, np.bool_), np.full(3, 2, np.uint8), 1)], BlockConfig())


def test_curve_trades_seeds_for_patches(rng):
    data = [plane(rng, 60_000, 0.9)]
    points = curve(data, BlockConfig(n_in=16), range(40, 400, 40))
    assert [point.config.n_out for point in points] == list(range(40, 400, 40))
    seeds = [point.seeds for point in points]
    assert seeds == [16 * -(-60_000 // n_out) for n_out in range(40, 400, 40)]
    patches = [point.patches for point in points]
    assert patches == sorted(patches)
    assert patches[0] < patches[-1] / 20
    totals = [point.total for point in points]
    valley = totals.index(min(totals))
    assert 0 < valley < len(totals) - 1
    assert totals[: valley + 1] == sorted(totals[: valley + 1], reverse=True)
    assert totals[valley:] == sorted(totals[valley:])


def test_curve_steps_count_one_cycle_a_group_at_least(rng):
    (point,) = curve([plane(rng, 6_000, 0.9)], BlockConfig(n_in=16, lanes=3), [60])
    assert point.steps >= -(-100 // 3)
    assert point.patches % point.config.position_bits == 0


def test_cut_sample_of_a_small_model_is_the_tensor_itself(rng):
    data = plane(rng, (30, 40), 0.9)
    (found,) = cut_sample(data, SAMPLE_WEIGHTS)
    assert found[0] is data[0]
    assert found[1] is data[1]


@pytest.mark.parametrize("times", [1.001, 2.5, 10])
def test_cut_sample_of_a_large_tensor_is_spread_over_it(times):
    size = int(SAMPLE_WEIGHTS * times)
    mask = np.zeros(size, np.bool_)
    codes = (np.arange(size) >> 16).astype(np.uint8)
    parts = cut_sample((mask.reshape(1, -1), codes.reshape(1, -1), 8), size)
    assert all(np.ptp(part.astype(np.int16)) in (0, 1, 255) for _, part, _ in parts), "runs"
    kept = sum(part.size for part, _, _ in parts)
    every = -(-size // SAMPLE_WEIGHTS)
    assert SAMPLE_WEIGHTS / 2.1 < kept < SAMPLE_WEIGHTS + (1 << 16)
    runs = [(int(part[0]), part.size) for _, part, _ in parts]
    places = [(first - i * every) % 256 for i, (first, _) in enumerate(runs[:-1])]
    assert all(place < every for place in places), "one run in every step"
    assert every < 3 or len(set(places)) > 1, "not at the same place of all steps"
    assert all(n == 1 << 16 for _, n in runs)
    assert all(mask.shape == codes.shape and q == 8 for mask, codes, q in parts)


def test_cut_sample_of_many_small_tensors_keeps_the_promised_size():
    tensors, size = 400, 1 << 16
    part = np.zeros((256, 256), np.bool_), np.zeros((256, 256), np.uint8), 1
    kept = sum(mask.size for _ in range(tensors) for mask, _, _ in cut_sample(part, tensors * size))
    assert kept <= 1.5 * SAMPLE_WEIGHTS


def test_block_sizes_tried_are_powers_of_two():
    assert search._BLOCK_GROUPS == (2, 4, 8, 16, 32, 64, 128, 256)


@pytest.mark.parametrize(("n_in", "least"), [(20, 0.64), (60, 0.79)])
def test_value_stream_of_a_million_iid_weights_is_efficient(n_in, least, rng):
    mask, codes, _ = plane(rng, 1_000_000, 0.91)
    sample = [(mask[:200_000], codes[:200_000], 1)]
    config = search_block(sample, BlockConfig(n_in=n_in)).config
    data, _ = pack_block(encode(mask, codes, 1, config), config)
    assert np.count_nonzero(mask) / (8 * len(data)) >= least
    assert len(pack_bitmap(mask, config.bus_bits)) < 1_000_000 / 8 + 100
