# SPDX-License-Identifier: Apache-2.0
"""Choice of low-rank masks: against brute force, the density, kernels as their Python functions."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError, DensityError
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.lowrank import lowrank_decoder
from xorloom.sw.index.lowrank import codec
from xorloom.sw.index.lowrank import heuristic as lowrank_heuristic
from xorloom.sw.index.lowrank import kernels as lowrank_kernels
from xorloom.sw.index.lowrank.codec import (
    choose,
    pack,
    split,
    stream_bits,
    unpack,
)
from xorloom.sw.index.lowrank.kernels import Tiles
from xorloom.sw.index.lowrank.search import search
from xorloom.sw.spec.index_config import LowrankConfig

from tests.helpers.lowrank import SMALL, gaussian, golden


@pytest.mark.parametrize("local_search", [False, True])
@pytest.mark.parametrize("config", [SMALL, replace(SMALL, tile_slices=13, tile_lanes=12, rank=3)])
@pytest.mark.parametrize("density", [0.02, 0.09, 0.3, 0.7, 0.97])
def test_choose_meets_the_density_exactly_and_decodes_to_its_mask(config, density, local_search):
    live = 40 * 24 - 5
    x = gaussian(40, 24)
    x.reshape(-1)[live:] = 0
    chosen = choose(x, live, density, config, local_search=local_search)
    assert np.count_nonzero(chosen.mask) == round(density * live)
    assert not chosen.mask.reshape(-1)[live:].any()
    data = pack(chosen, live, config)
    np.testing.assert_array_equal(unpack(data, live, config), chosen.mask)
    np.testing.assert_array_equal(golden(data, config, live), chosen.mask)
    ideal = np.sort(x.reshape(-1))[::-1][: round(density * live)].sum(dtype=float)
    assert chosen.kept == pytest.approx(x[chosen.mask].sum(dtype=float) / ideal)


@pytest.mark.parametrize("rank", [1, 2, 4, 6])
def test_local_search_keeps_no_less_than_the_heuristic(rank):
    config = LowrankConfig(
        n_out=64, tile_slices=12 * rank, tile_lanes=12 * rank if rank < 6 else 64, rank=rank
    )
    x = gaussian(144, 64, rank)
    plain, better = (choose(x, x.size, 0.09, config, local_search=s) for s in (False, True))
    assert better.kept > plain.kept + 0.01
    assert plain.kept > (0.45 if rank > 2 else 0.62)


def test_choose_figures_on_gaussian_weights():
    x = gaussian(240, 512, 7)
    two = LowrankConfig(512, 24, 24, 2)
    assert choose(x, x.size, 0.09, two, local_search=False).kept > 0.665
    assert choose(x, x.size, 0.09, two).kept > 0.715
    one = LowrankConfig(512, 13, 12, 1)
    assert choose(x, x.size, 0.09, one, local_search=False).kept > 0.70
    assert choose(x, x.size, 0.09, one).kept > 0.73


def brute_force(gain, rank):
    """Largest sum of gains over all boolean products: every choice of the slices' sets."""
    best = 0.0
    n_slices = gain.shape[0]
    for sets in itertools.product(range(1 << rank), repeat=n_slices):
        total = 0.0
        for lane in gain.T:
            total += max(
                sum(g for g, b in zip(lane, sets, strict=True) if a & b) for a in range(1 << rank)
            )
        best = max(best, total)
    return best


@pytest.mark.parametrize(("rank", "n_slices", "n_lanes"), [(1, 7, 6), (2, 4, 5), (6, 2, 5)])
def test_local_search_finds_the_optimum_of_tiny_tiles(rank, n_slices, n_lanes):
    hits = 0
    for seed in range(12):
        x = gaussian(n_slices, n_lanes, seed)
        tiles = Tiles(np.array([0, n_slices]), n_lanes, 1, rank, x.size)
        lane, beat = np.zeros((1, n_lanes), np.uint32), np.zeros((n_slices, 1), np.uint32)
        counts = np.zeros(1, np.int64)
        lowrank_kernels.local_search(x, tiles, 1.0, 40, seed, lane, beat, 0, 1, counts)
        mask = (lane & beat) != 0
        assert counts[0] == np.count_nonzero(mask)
        found = (x.astype(float) - 1.0)[mask].sum()
        if rank == 6:  # rank exceeds the slices: every gain can be had
            best = np.maximum(x.astype(float) - 1.0, 0).sum()
        else:
            best = brute_force(x.astype(float) - 1.0, rank)
        assert found <= best + 1e-4
        hits += found >= best - 1e-4
    assert hits >= 10


def test_choose_equals_brute_force_on_one_tile():
    config = LowrankConfig(n_out=8, tile_slices=4, tile_lanes=8, rank=1, bus_bits=32)
    x = gaussian(4, 8, 5)
    by_count = {}
    for beat in itertools.product(range(2), repeat=4):
        for lane in itertools.product(range(2), repeat=8):
            mask = (np.array(beat)[:, None] & np.array(lane)) != 0
            n = np.count_nonzero(mask)
            by_count[n] = max(by_count.get(n, 0.0), float(x[mask].sum(dtype=float)))
    for n in (4, 6, 8):
        chosen = choose(x, 32, n / 32, config)
        assert np.count_nonzero(chosen.mask) == n
        found = x[chosen.mask].sum(dtype=float)
        assert 0.9 * by_count[n] <= found <= by_count[n] + 1e-4


def python_twin(kernel, monkeypatch):
    """The kernel and all that it calls, as plain Python."""
    for module in (lowrank_kernels, lowrank_heuristic):
        for name, value in list(vars(module).items()):
            if hasattr(value, "py_func"):
                monkeypatch.setattr(module, name, value.py_func)
    return kernel.py_func


@pytest.mark.parametrize("rank", [2, 6])
@pytest.mark.filterwarnings("ignore:overflow")
def test_kernels_equal_their_python_functions(rank, monkeypatch):
    x = gaussian(7, 11, 3)
    tiles = Tiles(np.array([0, 4, 7]), 6, 2, rank, 75)
    goals = np.array([4, 3, 3, 2])

    def run(heuristic, local_search, toggles, product):
        lane, beat = np.zeros((2, 11), np.uint32), np.zeros((7, 2), np.uint32)
        counts, after = np.zeros(4, np.int64), np.zeros(4, np.int64)
        heuristic(x, tiles, 1.5, 0.7, goals, 3, lane, beat, 0, 1, counts)
        first = lane.copy(), beat.copy()
        local_search(x, tiles, 1.2, 6, 3, lane, beat, 0, 1, after)
        gains, places = np.zeros((4, 17), np.float32), np.zeros((4, 17), np.int32)
        toggles(x, tiles, 1.2, lane, beat, 0, 1, gains, places)
        mask = np.zeros((7, 11), bool)
        product(lane, beat, tiles.first, tiles.lanes, mask)
        return (*first, counts, lane, beat, after, gains, places, mask)

    names = [
        lowrank_heuristic.heuristic,
        lowrank_kernels.local_search,
        lowrank_kernels.toggles,
        lowrank_kernels.boolean_product,
    ]
    compiled = run(*names)
    plain = run(*[python_twin(kernel, monkeypatch) for kernel in names])
    for a, b in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_toggles_say_what_an_inverted_bit_changes():
    x = gaussian(7, 11, 3)
    tiles = Tiles(np.array([0, 4, 7]), 6, 2, 2, 75)
    rng = np.random.default_rng(1)
    lane = rng.integers(0, 4, (2, 11)).astype(np.uint32)
    beat = rng.integers(0, 4, (7, 2)).astype(np.uint32)
    gains, places = np.zeros((4, 25), np.float32), np.zeros((4, 25), np.int32)
    lowrank_kernels.toggles(x, tiles, 1.2, lane, beat, 0, 1, gains, places)

    def weigh():
        mask = np.zeros((7, 11), bool)
        lowrank_kernels.boolean_product(lane, beat, tiles.first, tiles.lanes, mask)
        mask.reshape(-1)[75:] = False
        return np.count_nonzero(mask), (x.astype(float) - 1.2)[mask].sum()

    before = weigh()
    known = 0
    for tile, change in itertools.product(range(4), range(-12, 13)):
        if np.isneginf(gains[tile, change + 12]):
            continue
        known += 1
        at, factor = divmod(int(places[tile, change + 12]), 2)
        row, column = divmod(tile, 2)
        bits, place = (
            (lane, (row, column * 6 + at)) if at < 6 else (beat, (4 * row + at - 6, column))
        )
        bits[place] ^= np.uint32(1 << factor)
        after = weigh()
        bits[place] ^= np.uint32(1 << factor)
        assert after[0] - before[0] == change
        assert after[1] - before[1] == pytest.approx(gains[tile, change + 12], abs=1e-4)
    assert known > 8


def test_choose_depends_on_the_seed_only():
    x, config = gaussian(60, 24), replace(SMALL, tile_slices=30, tile_lanes=24, rank=3)
    runs = [choose(x, x.size, 0.1, config, seed=s, threads=t) for s, t in ((5, 1), (5, 3), (6, 1))]
    np.testing.assert_array_equal(runs[0].mask, runs[1].mask)
    np.testing.assert_array_equal(runs[0].beat, runs[1].beat)
    assert (runs[0].mask != runs[2].mask).any()


def test_choose_cuts_streams_that_pack_on_their_own():
    x = gaussian(50, 24)
    live = 50 * 24 - 3
    chosen = choose(x, live, 0.1, SMALL, slices_per_stream=20)
    parts = split(chosen, SMALL)
    assert [part.mask.shape[0] for part in parts] == [20, 20, 10]
    assert [part.lane.shape[0] for part in parts] == [4, 4, 2]
    counts = [480, 480, live - 960]
    masks = [
        unpack(pack(part, count, SMALL), count, SMALL)
        for part, count in zip(parts, counts, strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(masks), chosen.mask)
    assert np.count_nonzero(chosen.mask) == round(0.1 * live)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
def test_choose_with_equal_importance_meets_the_density(density):
    x = np.ones((30, 24), np.float32)
    chosen = choose(x, x.size, density, SMALL)
    assert np.count_nonzero(chosen.mask) == round(density * x.size)
    assert chosen.kept == pytest.approx(1.0)
    np.testing.assert_array_equal(unpack(pack(chosen, 720, SMALL), 720, SMALL), chosen.mask)


def test_choose_keeps_the_factors_of_its_mask_where_it_tries_on():
    # One tile row: no factors keep 308 of these weights, so all attempts are made.
    config = LowrankConfig(n_out=42, bus_bits=64)
    x = np.ones((8, 42), np.float32)
    x.reshape(-1)[324:] = 0
    chosen = choose(x, 324, 0.95, config)
    assert np.count_nonzero(chosen.mask) == 310
    np.testing.assert_array_equal(unpack(pack(chosen, 324, config), 324, config), chosen.mask)


@pytest.mark.parametrize("live", [1, 13, 24])
def test_choose_single_slice(live):
    x = gaussian(1, 24)
    x[0, live:] = 0
    chosen = choose(x, live, 1 / live, SMALL)
    assert np.flatnonzero(chosen.mask).tolist() == [int(x.argmax())]
    np.testing.assert_array_equal(unpack(pack(chosen, live, SMALL), live, SMALL), chosen.mask)


def test_choose_nothing():
    chosen = choose(np.zeros((0, 24), np.float32), 0, 0.5, SMALL)
    data = pack(chosen, 0, SMALL)
    assert len(data) == 20
    assert unpack(data, 0, SMALL).shape == (0, 24)
    assert lowrank_decoder(SMALL, bus_words(data, 32)) == []


def test_choose_zeroes_outside_a_cluster():
    x = np.zeros((24, 24), np.float32)
    x[3:9, 4:9] = 1 + gaussian(6, 5)
    chosen = choose(x, x.size, 30 / 576, SMALL)
    np.testing.assert_array_equal(chosen.mask, x > 0)
    assert chosen.kept == 1.0


def test_choose_refuses_bad_arguments():
    x = gaussian(10, 24)
    with pytest.raises(ConfigError, match=r"shape \(slices, 24\), not \(10, 20\)"):
        choose(x[:, :20], 200, 0.1, SMALL)
    with pytest.raises(ConfigError, match="live must be 240 or up to 23 less, not 216"):
        choose(x, 216, 0.1, SMALL)
    with pytest.raises(ConfigError, match=r"density must be between 0 and 1, not 1\.5"):
        choose(x, 240, 1.5, SMALL)
    for bad in (np.nan, -1.0, np.inf):
        x[2, 3] = bad
        with pytest.raises(ConfigError, match="importance must be finite and not negative"):
            choose(x, 240, 0.1, SMALL)


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_choose_keeps_none_of_all_zeros(density):
    chosen = choose(np.zeros((30, 24), np.float32), 720, density, SMALL)
    assert not chosen.mask.any()


def test_zeros_gain_nothing(rng):
    x = gaussian(300, 128) * (rng.random((300, 128)) < 0.5)
    config = LowrankConfig(n_out=128, bus_bits=32)
    gains = codec._search_gains(x, 0)
    assert (gains[x == 0] == 0).all()
    assert len(np.unique(gains[x > 0])) > 0.99 * np.count_nonzero(x)
    chosen = choose(x, x.size, 0.09, config)
    assert chosen.count == round(0.09 * x.size)
    assert np.count_nonzero(chosen.mask & (x == 0)) < 0.25 * chosen.count
    few = np.where(rng.random(x.shape) < 0.05, x, 0)
    assert choose(few, x.size, 0.09, config).count == np.count_nonzero(few), "all that there are"


def test_choose_density_out_of_reach_is_a_density_error():
    # One tile of rank 1 keeps rows x columns weights: next to 26 of 32 are 24 and 28.
    config = LowrankConfig(n_out=8, tile_slices=4, tile_lanes=8, rank=1, bus_bits=32)
    x = gaussian(4, 8)
    text = r"the lowrank index keeps (24|28) of 32 weights, not 26: it has no nearer mask \(use --"
    with pytest.raises(DensityError, match=text) as caught:
        choose(x, 32, 26 / 32, config)
    assert (caught.value.codec, caught.value.wanted) == ("lowrank", 26)
    assert choose(x, 32, 31 / 32, config).count in (30, 32), "one weight more or less is met"


def test_search_finds_a_tile_within_the_rate():
    x = gaussian(300, 128)
    config = search(x, x.size, 0.18, 0.09, 128, sample_slices=64)
    assert stream_bits(300, config).total <= 0.18 * x.size
    assert config.rank == 1, "small tiles serve random weights best"
    assert choose(x, x.size, 0.09, config).kept > 0.71


@pytest.mark.parametrize("rate", [0.06, 0.166, 0.25])
def test_search_uses_the_rate(rate):
    x = gaussian(600, 128)
    config = search(x, x.size, rate, 0.09, 128, local_search=False, sample_slices=64)
    found = stream_bits(600, config).total / x.size
    assert 0.95 * 0.95 * rate < found <= rate, "as near as whole tiles come, less 5 %"


def test_search_refuses_a_rate_too_small_and_tells_the_least():
    x = gaussian(300, 128)
    text = r"index bits 0.01 are too few .* the least is 0.0400 \(the trellis codec chooses"
    with pytest.raises(ConfigError, match=text) as caught:
        search(x, x.size, 0.01, 0.09, 128)
    least = float(re.search(r"the least is (\S+)", str(caught.value)).group(1))
    config = search(x, x.size, least, 0.09, 128, local_search=False)
    assert stream_bits(300, config).total <= least * x.size
    with pytest.raises(ConfigError, match="are too few"):
        search(x, x.size, least - 0.0002, 0.09, 128)
