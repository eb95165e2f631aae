# SPDX-License-Identifier: Apache-2.0
"""Parameters, networks and presets of the direct codec."""

from fractions import Fraction
from itertools import pairwise

import galois
import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.direct import DirectConfig, direct_network
from xorloom.sw.spec.direct_preset import direct_config, rate_of
from xorloom.sw.spec.direct_table import SEEDS
from xorloom.sw.spec.value_options import value_config

from tests.helpers.direct import CONFIGS


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_code_bits_of_a_weight_are_independent(config):
    for phase in config.network.rows:
        matrix = np.zeros((config.planes, config.window), int)
        for row, taps in zip(matrix, phase, strict=True):
            assert len(set(taps)) == config.taps
            row[list(taps)] = 1
        assert np.linalg.matrix_rank(galois.GF2(matrix)) == config.planes


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_window_of_every_lane_ends_with_the_seed_bits_that_are_its_own(config):
    ends = [-1, *config.steps]
    assert ends[-1] == config.n_in - 1
    moves = [after - before for before, after in pairwise(ends)]
    assert moves == [config.shifts[lane % config.period] for lane in range(config.lanes)]
    assert sum(config.shifts) == config.rate.numerator
    assert max(config.shifts) <= 4


def test_all_window_bits_feed_nearly_equally_many_code_bits():
    rows = direct_network(4, 4, 10, 5, 3).rows
    uses = np.bincount([t for phase in rows for row in phase for t in row], minlength=10)
    assert uses.max() - uses.min() <= 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"n_out": 130},
            "n_out must be a multiple of 4 between 4 and 4096, not 130 .* such as 256",
        ),
        ({"planes": 7}, "planes must be between 1 and 6, not 7"),
        ({"n_in": 1, "n_out": 256}, "0.015625 bits per weight: it must be between 1/32 and 4"),
        ({"n_in": 160}, "5 bits per weight: it must be between 1/32 and 4"),
        ({"n_in": 66, "n_out": 67 * 4}, "the network repeats after 67 weights"),
        ({"window": 6, "taps": 7}, "taps 7 must not exceed window 6"),
        ({"window": 5}, "window must be between 6 and 16, not 5"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(changes, text):
    with pytest.raises(ConfigError, match=text):
        DirectConfig(**changes)


def test_network_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="no network of 6 independent code bits of 6 taps"):
        direct_network(1, 6, 6, 6)


def test_every_entry_of_the_table_is_a_network():
    for (k, m, window), entries in SEEDS.items():
        assert len({entry[:2] for entry in entries}) == len(entries) > 0
        for planes, taps, seed in entries:
            rate = Fraction(k, m)
            config = direct_config(rate=rate, window=window, planes=planes, taps=taps)
            assert (config.rate, config.network_seed) == (rate, seed)
            assert len(config.network.rows) == m


def test_preset_uses_the_whole_bus():
    for bus in (32, 64, 128, 256, 512):
        for rate in (Fraction(1, 4), Fraction(1), Fraction(2), Fraction(3)):
            config = direct_config(rate=rate, bus_bits=bus)
            assert config.n_in >= bus
            assert config.n_in < 2 * bus
            assert config.n_in % (bus // 2) == 0


def test_rate_is_a_ratio_or_a_decimal_number_near_one():
    assert rate_of("3/2") == rate_of(1.5) == Fraction(3, 2)
    assert rate_of(2) == 2
    assert rate_of("0.3") == Fraction(3, 10)
    for text in ("two", "1/0", "-1", 0):
        with pytest.raises(ConfigError, match="rate must be"):
            rate_of(text)


def test_rate_without_a_network_names_the_nearest():
    with pytest.raises(
        ConfigError, match=r"no network of 7/5 bits per weight .* nearest are 5/4, 4/3, 3/2 \("
    ):
        direct_config(rate=Fraction(7, 5))
    with pytest.raises(ConfigError, match=r"searched for window 7: there are windows .*8, 10"):
        direct_config(rate=Fraction(2), window=7)
    with pytest.raises(ConfigError, match=r"planes 1 and taps any: there are planes 5 with taps 3"):
        direct_config(rate=Fraction(2), planes=1)


def test_network_of_ones_own_needs_all_its_parameters():
    config = direct_config(rate=Fraction(7, 5), planes=2, taps=3, network_seed=5, bus_bits=64)
    assert (config.n_in, config.lanes, config.network_seed) == (112, 80, 5)
    with pytest.raises(ConfigError, match="--network-seed goes with --planes and --taps"):
        direct_config(rate=Fraction(2), network_seed=5)


def test_beat_that_contradicts_the_rate_is_refused():
    assert direct_config(n_in=32, n_out=64, planes=4).rate == 2
    with pytest.raises(ConfigError, match="n_in must be a multiple of 2, n_out 4 for each 2"):
        direct_config(rate=Fraction(2), n_in=32, n_out=60, planes=4)


def test_preset_has_planes_that_fit_the_slice():
    assert direct_config(rate=Fraction(2), window=10).planes == 5
    assert direct_config(rate=Fraction(2), window=10, n_out=512).planes == 4
    assert direct_config(rate=Fraction(2), window=10, n_out=640).planes == 5


def test_parameters_of_other_codecs_are_refused():
    with pytest.raises(ConfigError, match="--frame belongs to --value window, not direct"):
        value_config("direct", {"frame": 16})
    with pytest.raises(ConfigError, match="--taps belongs to --value direct, not window"):
        value_config("window", {"taps": 3})
    assert value_config("direct", {"window": 8}).window == 8
    assert value_config("window", {"window": 640, "n_out": 512}).window == 640
