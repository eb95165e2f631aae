# SPDX-License-Identifier: Apache-2.0
"""``bench rate``: rate-distortion functions against known ones, and what codecs lose."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xorloom.sim.bench.rate.area import areas
from xorloom.sim.bench.rate.bound import Curve, gaussian_curve, measured_curve
from xorloom.sim.bench.rate.measure import relative_error
from xorloom.sim.bench.rate.others import lloyd_levels, other_point
from xorloom.sim.bench.rate.points import CODECS, Point, points
from xorloom.sim.bench.rate.sources import Source, source
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.plan.settings import Settings
from xorloom.sw.spec.direct_preset import direct_config
from xorloom.sw.spec.weight_format import Decoder, index_for

from tests.helpers.cli import refuses, xorloom

RATES = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0)


@pytest.fixture(scope="module")
def gaussian() -> np.ndarray:
    return np.random.default_rng(5).standard_normal(1 << 20)


@pytest.fixture(scope="module")
def laplacian() -> Curve:
    return source("laplacian", 1024, True).curve()


def test_measured_curve_of_gaussian_weights_is_the_closed_form(gaussian: np.ndarray) -> None:
    found, exact = measured_curve(3 + 0.02 * gaussian), gaussian_curve()
    for rate in RATES:
        assert exact.error(rate) == pytest.approx(2 ** (-2 * rate))
        assert found.rate(exact.error(rate)) == pytest.approx(rate, abs=0.002)
        assert found.error(rate) == pytest.approx(exact.error(rate), rel=0.003)


def test_curve_of_laplacian_weights_is_above_shannons_bound_and_meets_it(laplacian: Curve) -> None:
    # Shannon's lower bound: h(X) - log2(2 pi e D) / 2, with h = log2(2 e b), b = 1 / sqrt(2)
    entropy = np.log2(2 * np.e / np.sqrt(2))
    for rate in RATES:
        least = entropy - np.log2(2 * np.pi * np.e * laplacian.error(rate)) / 2
        assert least <= rate + 1e-6
        assert laplacian.error(rate) <= gaussian_curve().error(rate) + 1e-6
    assert least == pytest.approx(4, abs=0.002)


def test_curve_of_laplacian_weights_has_the_published_values(laplacian: Curve) -> None:
    # Ref: Marcellin and Fischer, IEEE Trans. Commun. 38, 1990, table of the Laplacian source: D(R)
    for rate, decibels in ((1, 6.62), (2, 12.66), (3, 18.68)):
        assert -10 * np.log10(laplacian.error(rate)) == pytest.approx(decibels, abs=0.01)


def test_curve_goes_both_ways_and_beyond_its_ends(laplacian: Curve) -> None:
    for rate in (0.01, 0.3, 2.2, 5.0):
        assert laplacian.rate(laplacian.error(rate)) == pytest.approx(rate, abs=1e-6)
    assert laplacian.error(0) == 1
    assert laplacian.rate(1.2) == 0


@pytest.mark.parametrize("weights", [np.zeros(0), np.ones(9), np.array([1.0, np.nan])])
def test_curve_of_no_density_is_an_error(weights: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="finite weights that differ"):
        measured_curve(weights)


def test_lloyd_levels_of_gaussian_weights_are_those_of_max(gaussian: np.ndarray) -> None:
    # Ref: Max, IRE Trans. Inf. Theory 6, 1960, table I
    assert lloyd_levels(gaussian, 1) == pytest.approx([-0.798, 0.798], abs=0.005)
    assert lloyd_levels(gaussian, 2) == pytest.approx([-1.510, -0.4528, 0.4528, 1.510], abs=0.01)


def test_other_schemes_count_codes_scales_levels_and_indices(gaussian: np.ndarray) -> None:
    weights = gaussian[: 1 << 18].astype(np.float32).reshape(256, 1024)
    of = Source("gaussian", {"w": weights, "v": 5 * weights}, "row")
    decoded, rate = other_point(of, Point("lloyd-max", (("planes", 2),), ours=False))
    assert rate == pytest.approx(2 + 16 / 1024 + 16 * 4 / weights.size)
    assert relative_error(of.tensors, decoded) == pytest.approx(0.1175, abs=0.002)
    groups = Point("n:m", (("kept", "2:4"), ("binary", 1)), ours=False)
    decoded, rate = other_point(of, groups)
    assert rate == pytest.approx(3 / 4 + 2 / 4 + 16 / 1024)
    kept = (decoded["w"].reshape(-1, 4) != 0).sum(axis=1)
    assert (kept == 2).all()


def test_relative_error_takes_each_tensor_by_its_own_variance() -> None:
    tensors = {"a": np.array([1.0, -1.0] * 3), "b": np.array([10.0, -10.0])}
    decoded = {"a": np.zeros(6), "b": np.array([10.0, -10.0])}
    assert relative_error(tensors, decoded) == pytest.approx(6 / 8)


def test_points_are_options_of_compress() -> None:
    for quick in (True, False):
        found = points(CODECS, quick)
        assert len(found) == len(set(found))
        for point in found:
            if point.ours:
                assert Settings.of(dict(point.options)).how is not None
    (point,) = [p for p in points(["direct-10"], True) if dict(p.options)["rate"] == "2"]
    assert point.text == "--value direct --rate 2 --window 10 --bus-bits 128"
    rates = [Fraction(dict(p.options)["rate"]) for p in points(["direct-14"], False)]
    assert rates[0] == Fraction(1, 16)
    assert rates == sorted(rates)


def test_unknown_codec_or_one_without_points_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"codec must be one of direct-8, .*, not 'zip'"):
        points(["zip"], True)
    with pytest.raises(ConfigError, match=r"no point of lowrank \(run it without --quick\)"):
        points(["lowrank"], True)


def test_command_refuses_what_it_does_not_know() -> None:
    bench = ("bench", "rate")
    refuses("source must be one of gaussian", *bench, "--source", "uniform", code=2)
    refuses("--fmax needs synthesis", *bench, "--quick", "--fmax", 1, code=2)
    refuses("ends in .png or .svg", *bench, "--plot", "x.txt", code=2)


@pytest.mark.long
def test_direct_codec_is_between_scalar_levels_and_the_bound(tmp_path: Path) -> None:
    plot = tmp_path / "rate.svg"
    options = ["--quick", "--source", "gaussian", "--weights", 1 << 17, "--plot", plot]
    options += ["--codec", "direct-10", "--codec", "lloyd-max", "--json"]
    rows: list[dict[str, Any]] = json.loads(xorloom("bench", "rate", *options)[0])
    assert plot.stat().st_size > 5000
    keys = {"codec", "source", "rate_bits", "error", "bound_bits_gap", "energy"}
    keys |= {"energy_share_of_bound", "share_of_dense_bound"}
    keys |= {"lut4_per_weight", "fmax_mhz", "mweights_per_s"}
    assert all(set(row) == keys | {"command", "options", "weights"} for row in rows)
    bound = [row for row in rows if row["codec"] == "bound"]
    assert all(row["error"] == pytest.approx(2 ** (-2 * row["rate_bits"])) for row in bound)
    scalar = next(row for row in rows if row["codec"] == "lloyd-max" and row["rate_bits"] > 2)
    direct = [row for row in rows if row["codec"] == "direct-10"]
    for row in direct:
        assert row["bound_bits_gap"] == pytest.approx(
            row["rate_bits"] + np.log2(row["error"]) / 2, abs=1e-9
        )
        assert row["energy"] == 1 - row["error"]
        assert 0.8 < row["energy_share_of_bound"] < 1
        assert row["share_of_dense_bound"] == pytest.approx(row["energy_share_of_bound"])
        assert row["mweights_per_s"] > 0
    assert 0.0625 < direct[-1]["error"] < 0.09 < scalar["error"]
    assert 2 < direct[-1]["rate_bits"] < 2.02


@pytest.mark.synth
def test_area_counts_value_decoder_and_index_by_the_weights_of_a_slice() -> None:
    config = direct_config(rate=Fraction(2), window=8, bus_bits=32, planes=3)
    decoder = Decoder(config, index_for(config, 3))
    (found,) = areas([(decoder, 3)], 0).values()
    assert 3 < found.lut4_per_weight < 40
    assert found.fmax_mhz is None


@pytest.mark.slow
def test_minilm_rotated_at_two_bits_is_below_scalar_levels() -> None:
    options = ["--quick", "--source", "minilm-rotated", "--codec", "direct-10"]
    rows = json.loads(xorloom("bench", "rate", *options, "--codec", "binary", "--json")[0])
    two = {row["codec"]: row for row in rows if 2 < row["rate_bits"] < 2.2}
    assert two["direct-10"]["error"] < 0.085
    assert two["binary"]["error"] > 0.11
