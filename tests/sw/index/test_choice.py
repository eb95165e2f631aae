# SPDX-License-Identifier: Apache-2.0
"""Choices made for the user: index parameters, order, operating point, what is asked for."""

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.codec import index_codec
from xorloom.sw.index import choice
from xorloom.sw.index.choice import (
    BudgetError,
    best_order,
    expected_error,
    index_config,
    operating_point,
    stored_index,
    top_shares,
)
from xorloom.sw.index.rate_distortion import binary_entropy, nm_share, share_bound
from xorloom.sw.model.plan.request import IndexRequest
from xorloom.sw.model.reports import kept as kept_module
from xorloom.sw.model.reports.kept import best_pattern, kept_row
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    LowrankConfig,
    NoneConfig,
    TrellisConfig,
)
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.weights import clustered_weights

WINDOW = WindowConfig()


def gaussian(size, seed=1):
    return np.abs(np.random.default_rng(seed).normal(size=size)).astype(np.float32)


@pytest.mark.parametrize("rate", [0.03, 0.0625, 1 / 6, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("planes", [1, 2])
def test_trellis_rate_is_the_most_within_what_is_asked(rate, planes):
    config = index_config("trellis", WINDOW, planes, density=0.09, rate=rate)
    n_out = 512 // planes
    assert isinstance(config, TrellisConfig)
    assert (config.n_out, config.bus_bits, config.minterms) == (n_out, 64, 3)
    assert config.rate <= rate + 1e-9 < (config.n_in + 1) / n_out + 1e-6


def test_trellis_rate_with_classes_counts_the_classes():
    config = index_config("trellis", WINDOW, 1, density=0.09, rate=0.2, classes=4, window=12)
    assert (config.classes, config.window, config.minterms) == (4, 12, 4)
    assert 0.19 < config.rate <= 0.2
    assert config.n_in / 512 < config.rate


def test_trellis_rate_is_a_sixth_by_default():
    assert index_config("trellis", WINDOW, 1, density=0.09).n_in == 85


@pytest.mark.parametrize("rate", [0.029, 0.51, 0.0, -1.0, float("nan")])
def test_trellis_rate_out_of_range_is_an_error(rate):
    text = (
        rf"index bits must be between 0.03 and 0.5 bits per weight for the trellis .*, not {rate}"
    )
    with pytest.raises(ConfigError, match=text):
        index_config("trellis", WINDOW, 1, density=0.09, rate=rate)


def test_trellis_density_out_of_range_is_an_error():
    with pytest.raises(ConfigError, match=r"density must be between .* not 0.5 \(the entropy and"):
        index_config("trellis", WINDOW, 1, density=0.5, rate=0.2)


def test_trellis_rate_below_a_bit_a_slice_is_an_error():
    value = WindowConfig(n_out=64)
    text = (
        r"index bits 0.03 are too few for slices of 16 weights with 1 .*: the least is 0.0625 \(or"
    )
    with pytest.raises(ConfigError, match=text):
        index_config("trellis", value, 4, density=0.09, rate=0.03)
    assert index_config("trellis", value, 4, density=0.09, rate=0.0625).n_in == 1


@pytest.mark.parametrize("codec", ["bitmap", "entropy"])
def test_index_bits_belong_to_choosing_codecs(codec):
    text = f"the {codec} index has a rate of its own: index bits go with the trellis"
    with pytest.raises(ConfigError, match=text):
        index_config(codec, WINDOW, 1, density=0.09, rate=0.2)


def test_unknown_codec_is_an_error():
    text = "index must be one of bitmap, entropy, trellis, lowrank, hashed, none, not 'huffman'"
    with pytest.raises(ConfigError, match=text):
        index_config("huffman", WINDOW, 1, density=0.09)


def test_storing_codecs_fit_the_slice():
    assert index_config("bitmap", WINDOW, 3, density=0.09) == BitmapConfig(n_out=170)
    assert index_config("entropy", WINDOW, 1, density=0.09) == EntropyConfig(n_out=512, lanes=16)
    value = WindowConfig(n_out=192, window=192, bus_bits=128)
    found = index_config("entropy", value, 2, density=0.09)
    assert found == EntropyConfig(n_out=96, lanes=4, bus_bits=128)
    text = r"not 170 \(with 3 planes, make n_out a multiple of 192, at most 2048\)$"
    with pytest.raises(ConfigError, match=text):
        index_config("entropy", WINDOW, 3, density=0.09)


def test_lowrank_searches_its_tile_for_the_rate():
    assert index_config("lowrank", WINDOW, 1, density=0.09) == LowrankConfig()
    weights = np.abs(clustered_weights(60, 256, 1))
    value = WindowConfig(n_out=64, window=64, bus_bits=32)
    found = index_config("lowrank", value, 1, density=0.1, rate=0.25, importance=weights)
    assert isinstance(found, LowrankConfig)
    assert (found.n_out, found.bus_bits) == (64, 32)
    assert 0.1 < found.rate <= 0.25


def test_top_shares_by_hand():
    four = np.array([[1.0, 4.0], [3.0, 2.0]])
    assert top_shares(four, [0.0, 0.25, 0.5, 1.0]) == pytest.approx([0.0, 0.4, 0.7, 1.0])
    assert top_shares(np.ones(10), [0.3]) == pytest.approx([0.3])
    assert top_shares(np.zeros(10), [0.3]) == [1.0]
    assert top_shares(np.zeros(0), [0.3]) == [1.0]


@pytest.mark.parametrize("transposed", [False, True])
def test_best_order_of_classes_keeps_rows_apart(transposed):
    rng = np.random.default_rng(5)
    weights = gaussian((256, 384)) * np.exp(rng.normal(0, 1, (256, 1))).astype(np.float32)
    config = TrellisConfig(n_in=12, n_out=64, window=12, classes=4, period=96)
    order = best_order(weights.T if transposed else weights, 0.09, config)
    assert order == ("strided-column" if transposed else "strided")


def test_best_order_of_one_class_mixes():
    config = TrellisConfig(n_in=12, n_out=64, window=12)
    assert best_order(gaussian((64, 100)), 0.09, config) in ("skewed", "skewed-column")
    assert best_order(gaussian(6400), 0.09, config) == "skewed"
    assert best_order(gaussian((0, 5)), 0.09, config) == "skewed"
    assert best_order(gaussian((64, 100)), 0.1, LowrankConfig(n_out=64)).startswith("skewed")
    four = TrellisConfig(n_in=12, n_out=64, window=8, classes=4)
    assert best_order(gaussian(6400), 0.09, four) in ("strided", "skewed")


@pytest.mark.parametrize("transposed", [False, True])
def test_best_order_of_a_large_tensor_is_told_by_a_sample(transposed, monkeypatch):
    weights = gaussian((768, 512)) * np.where(np.arange(512) < 40, np.float32(10), np.float32(1))
    tried = []
    whole = choice.choose_index
    monkeypatch.setattr(
        choice, "choose_index", lambda *a, **k: tried.append(a[0].size) or whole(*a, **k)
    )
    config = TrellisConfig(n_in=12, n_out=64, window=12)
    order = best_order(weights.T if transposed else weights, 0.09, config)
    assert order == ("skewed-column" if transposed else "skewed")  # keeps .867 against .828
    assert tried == [1 << 17] * 2


def plain_cost(planes):
    """Return bits per weight of index and kept bits alone, no codec being ideal."""

    def cost(density, index):
        rate = binary_entropy(density) / 0.98 if index.codec == "entropy" else index.rate
        return rate + density * planes / 0.975

    return cost


def all_indexes(*codecs):
    """Return the function that lists the indexes for a density, as a request does."""

    def indexes(density):
        found = [{"entropy": EntropyConfig(), "bitmap": BitmapConfig(n_out=512)}[c]
                 for c in codecs if c != "trellis"]  # fmt: skip
        if "trellis" in codecs and density > 1 / 64:
            found += [TrellisConfig(n_in=n) for n in range(16, 257)]
        return found

    return indexes


@pytest.mark.long
@pytest.mark.parametrize("budget", [0.15, 0.28, 0.5, 0.9, 1.4])
def test_operating_point_is_within_the_budget_and_the_best(budget):
    squares = gaussian(20_000) ** 2
    points = {}
    for codecs in (("trellis",), ("entropy",), ("bitmap",), ("trellis", "entropy", "bitmap")):
        try:
            point = operating_point(squares, budget, all_indexes(*codecs), plain_cost(1))
        except BudgetError:
            continue
        points[codecs] = point
        assert point.index.codec in codecs
        assert 0 < point.share <= 1
        assert point.bits == plain_cost(1)(point.density, point.index) <= budget
        if point.index.codec == "trellis":
            rate = point.index.rate
            bound = share_bound(squares, point.density, 0.9 * rate)
            expected = bound * top_shares(squares, [point.density])[0]
            assert point.share == pytest.approx(expected, rel=0.01)
            assert rate == 0.5 or point.bits + 1 / 512 > budget, "the most that fits"
    best = points.pop(("trellis", "entropy", "bitmap"))
    assert best.share == max(point.share for point in points.values())
    assert ("bitmap",) not in points or budget > 1


@pytest.mark.long
def test_operating_point_of_more_bits_keeps_more():
    squares = gaussian(20_000) ** 2
    indexes = all_indexes("trellis", "entropy", "bitmap")
    shares = [
        operating_point(squares, b, indexes, plain_cost(1)).share for b in (0.12, 0.2, 0.4, 0.8)
    ]
    assert shares == sorted(set(shares))


def test_operating_point_of_signs_catches_more_with_fewer_weights():
    squares = gaussian(1 << 16) ** 2
    indexes, cost = all_indexes("trellis", "entropy"), plain_cost(1)
    most, signs = (
        operating_point(squares, 0.3, indexes, cost, signs=signs) for signs in (False, True)
    )
    assert signs.bits <= 0.3
    assert signs.density < 0.8 * most.density
    errors = [expected_error(squares, point.density, point.index) for point in (most, signs)]
    assert errors[1] < errors[0] - 0.005
    assert signs.share == pytest.approx(1 - errors[1], abs=1e-3)


def test_operating_point_of_all_zero_weights_is_no_error():
    point = operating_point(np.zeros(100), 0.3, all_indexes("trellis", "entropy"), plain_cost(1))
    assert point.share == 1.0


@pytest.mark.parametrize(("budget", "planes"), [(0.04, 1), (0.06, 4), (1e-9, 8)])
def test_operating_point_of_too_few_bits_tells_the_least(budget, planes):
    indexes, cost = all_indexes("trellis", "entropy", "bitmap"), plain_cost(planes)
    with pytest.raises(BudgetError, match=rf"{budget:g} bits per weight are too few: the least is"
                       r" 0\.\d{4}, with scales, headers, CRCs") as caught:  # fmt: skip
        operating_point(gaussian(2000), budget, indexes, cost)
    least = caught.value.least
    assert least > budget
    assert operating_point(gaussian(2000), least, indexes, cost).bits <= least
    with pytest.raises(BudgetError):
        operating_point(gaussian(2000), least - 0.0002, indexes, cost)


def test_operating_point_without_an_index_is_an_error():
    with pytest.raises(ConfigError, match="no index fits slices of so few weights: use a larger"):
        operating_point(gaussian(2000), 0.3, lambda density: [], plain_cost(1))


def test_stored_index_is_entropy_where_it_fits():
    assert stored_index(WINDOW, 1) == EntropyConfig(n_out=512, lanes=16)
    assert stored_index(WINDOW, 3) == BitmapConfig(n_out=170)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("choice") / "m.npz"
    np.savez(path, a=clustered_weights(128, 256, 1), b=clustered_weights(64, 64, 2))
    return open_model(path)


def resolve(model, value=WINDOW, quantizer=None, **options):
    empty = dict.fromkeys(("codec", "rate", "budget", "density", "sparsity"))
    request = IndexRequest(**empty | {"window": 14, "classes": 1} | options)
    return request.resolve(model, ["a", "b"], value, quantizer or Quantizer())


def test_request_by_default_is_a_bitmap_of_a_tenth(model):
    assert resolve(model) == (0.1, None)
    assert resolve(model, codec="bitmap", density=0.3) == (0.3, None)
    assert resolve(model, sparsity=0.75) == (0.25, None)
    assert resolve(model, density=1.0) == (1.0, None)
    for dense in ({}, {"density": 1.0}, {"sparsity": 0.0}):
        assert resolve(model, codec="none", **dense) == (1.0, NoneConfig())
    assert resolve(model, sparsity=0.75, codec="entropy") == (0.25, EntropyConfig())


def test_request_of_index_bits_is_a_trellis(model):
    density, config = resolve(model, rate=0.2, density=0.12, window=9, classes=4)
    assert density == 0.12
    assert (config.codec, config.window, config.classes, config.minterms) == ("trellis", 9, 4, 5)
    assert 0.19 < config.rate <= 0.2
    assert resolve(model, codec="trellis")[1].n_in == 85
    assert resolve(model, codec="lowrank", rate=0.2)[1].rate <= 0.2


def test_request_of_a_budget_chooses_density_and_codec(model):
    density, config = resolve(model, budget=0.3)
    assert config.codec == "trellis"
    assert config.rate + density / 0.975 < 0.3
    assert resolve(model, budget=0.3)[0] > resolve(model, budget=0.2)[0]
    assert resolve(model, budget=0.9, codec="entropy")[1] == EntropyConfig()
    assert resolve(model, budget=1.5, codec="bitmap")[1] is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"codec": "lz"},
            "index must be one of bitmap, entropy, trellis, lowrank, hashed, none, not 'lz'",
        ),
        ({"codec": "lz", "budget": 0.3}, "index must be one of bitmap, .* not 'lz'"),
        ({"density": 0.0}, r"density must be in \(0, 1\], not 0.0"),
        ({"density": 1.1}, r"density must be in \(0, 1\], not 1.1"),
        ({"density": float("nan")}, r"density must be in \(0, 1\], not nan"),
        ({"budget": 0.3, "density": 0.1}, "bits per weight chooses density and index bits: give"),
        ({"budget": 0.3, "sparsity": 0.9}, "bits per weight chooses density and index bits"),
        ({"budget": 0.3, "rate": 0.1}, "bits per weight chooses density and index bits"),
        ({"budget": 0.02}, r"0.02 bits per weight are too few: the least is 0\.\d{4}, with scales"),
        ({"budget": 0.0}, "bits per weight must be positive, not 0.0"),
        ({"budget": -0.275}, "bits per weight must be positive, not -0.275"),
        ({"budget": float("nan")}, "bits per weight must be positive, not nan"),
        ({"budget": float("inf")}, "bits per weight must be positive, not inf"),
        ({"budget": 0.3, "codec": "lowrank"}, "bits per weight goes with the trellis, entropy or"),
        ({"budget": 0.3, "codec": "none"}, "trellis, entropy or bitmap index: none keeps every"),
        (
            {"codec": "none", "density": 0.5},
            "index none keeps every weight: density must be 1, not",
        ),
        ({"codec": "none", "sparsity": 0.1}, "index none keeps every weight: density must be 1"),
        ({"codec": "none", "rate": 0.2}, "the none index has a rate of its own"),
        ({"codec": "bitmap", "rate": 0.2}, "the bitmap index has a rate of its own"),
        ({"codec": "entropy", "rate": 0.2}, "the entropy index has a rate"),
        ({"rate": 0.9}, "index bits must be between 0.03 and 0.5"),
        ({"rate": 0.2, "density": 0.6}, "density must be between 0.015625 and 0.46875"),
        ({"rate": 0.2, "window": 20}, "window must be between 6 and 16, not 20"),
        ({"rate": 0.2, "classes": 2}, "classes must be 1 or 4, not 2"),
    ],
    ids=str,
)
def test_request_that_contradicts_itself_is_an_error(model, options, text):
    with pytest.raises(ConfigError, match=text):
        resolve(model, **options)


def test_request_takes_the_slice_of_the_value_codec(model):
    value = BlockConfig(n_out=200)
    assert resolve(model, value, codec="trellis", rate=0.2)[1].n_out == 200
    assert resolve(model, WINDOW, Quantizer("alternating", 2), codec="trellis")[1].n_out == 256


def test_best_pattern_keeps_most_within_the_budget():
    weights = np.random.default_rng(4).normal(size=(64, 64))
    found = {b: best_pattern(weights, b, 1) for b in (0.05, 0.1, 0.3, 0.6, 2.0)}
    assert found[0.05] == ("none", 0.0)
    assert found[2.0][0] == "1:2"
    for budget, (name, energy) in found.items():
        if name != "none":
            n, m = map(int, name.split(":"))
            kept, bits = nm_share(weights, n, m)
            assert bits + n / m <= budget
            assert energy == kept.energy_total
    energies = [energy for _, energy in found.values()]
    assert energies == sorted(energies)
    assert best_pattern(weights[:1, :3], 2.0, 1)[0] == "1:2"
    assert best_pattern(weights, 0.6, 4)[0] != found[0.6][0], "more planes, sparser pattern"


def test_kept_row_measures_a_mask():
    weights = np.random.default_rng(4).normal(size=(50, 80))
    top = np.abs(weights) >= np.sort(np.abs(weights).reshape(-1))[-400]
    row = kept_row("t", weights, top, 0.47, 1)
    assert set(row) == set(kept_module.KEPT_COLUMNS)
    assert (row["tensor"], row["density"], row["index_bits"]) == ("t", 0.1, 0.47)
    # Sums of the same numbers in another order: not equal to the last bit on every processor.
    assert (row["kept"], row["kept_bound"], row["energy"]) == pytest.approx((1.0,) * 3, abs=1e-12)
    assert row["energy_total"] == pytest.approx((weights[top] ** 2).sum() / (weights**2).sum())
    assert row["pattern_energy_total"] == best_pattern(weights, 0.57, 1)[1]
    none = kept_row("t", weights, np.zeros_like(top), 0.2, 1)
    assert (none["density"], none["energy_total"]) == (0.0, 0.0)
    zeros = kept_row("t", weights * 0, np.zeros_like(top), 0.0, 1)
    assert (zeros["kept"], zeros["kept_bound"], zeros["energy_total"]) == (1.0, 1.0, 1.0)


def test_trial_of_an_order_uses_a_small_window():
    config = TrellisConfig(window=14)
    assert index_codec("trellis").trial(config).window == 10
    assert index_codec("trellis").trial(TrellisConfig(window=8)).window == 8
    assert index_codec("lowrank").trial(LowrankConfig()) == LowrankConfig()
