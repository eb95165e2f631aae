# SPDX-License-Identifier: Apache-2.0
"""Plans of tensors whose value codec chooses the values."""

from fractions import Fraction

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.choice import BudgetError
from xorloom.sw.model.plan.plans import make_plans
from xorloom.sw.model.plan.settings import Settings, check_settings, merge
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.direct_preset import table_rates
from xorloom.sw.spec.index_config import NoneConfig
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.models import as_model

MODEL = as_model(
    {
        "a": np.zeros((512, 1024), np.float32),
        "b": np.zeros((24, 40), np.float16),
        "v": np.zeros(9, np.float32),
    }
)


def plan(values, name="a", **more):
    return make_plans(MODEL, {name: Settings.of({"value": "direct"} | values)}, **more)[name]


def test_a_plan_takes_planes_and_network_from_the_table():
    found = plan({})
    assert isinstance(found.config, DirectConfig)
    assert found.config.rate == 2
    assert found.quantizer == Quantizer("trellis", found.config.planes)
    assert (found.sparsity, found.rotation, found.waits, found.index) == (None, None, False, None)
    assert plan({"rate": "1", "window": 10}).config.rate == 1
    assert plan({"rate": 0.5, "window": 10}).config.rate == Fraction(1, 2)
    own = plan({"planes": 3, "window": 8, "taps": 3, "network_seed": 9})
    assert own.config.network_seed == 9
    assert own.quantizer.planes == 3
    assert plan({"index": "none"}).config == found.config


@pytest.mark.parametrize(
    ("values", "calibrated", "rotation"),
    [
        ({}, False, None),
        ({}, True, 0),
        ({"rotate": False}, True, None),
        ({"rotate": True}, False, 0),
        ({"rotation_seed": 5}, False, 5),
        ({"rotate": True, "rotation_seed": 6}, True, 6),
    ],
)
def test_a_calibration_or_a_seed_asks_for_a_rotation(values, calibrated, rotation):
    assert plan(values, calibrated=calibrated).rotation == rotation


def test_a_budget_takes_the_highest_rate_of_which_everything_fits():
    rates = []
    for budget in np.arange(0.5, 4, 0.125):
        try:
            rates.append(plan({"bits_per_weight": float(budget), "window": 10}).config.rate)
        except BudgetError:
            assert not rates
        if rates:
            assert rates[-1] < budget  # scales and levels take something
    assert rates == sorted(rates)
    assert set(rates) <= set(table_rates(10))
    assert len(set(rates)) > 1
    assert Fraction(2) in rates
    small = plan({"bits_per_weight": 2.07}, "b").config.rate
    assert small < plan({"bits_per_weight": 2.07}, "a").config.rate == 2


def test_a_budget_that_nothing_fits_tells_the_least():
    with pytest.raises(BudgetError, match=r"0\.001 bits per weight are too few: the least") as one:
        plan({"bits_per_weight": 0.001, "window": 10})
    assert plan({"bits_per_weight": one.value.least, "window": 10}).config.rate == min(
        table_rates(10)
    )
    with pytest.raises(ConfigError, match="bits per weight must be positive"):
        plan({"bits_per_weight": -1.0})
    with pytest.raises(ConfigError, match="was searched for planes 2 and taps 8"):
        plan({"bits_per_weight": 2.0, "planes": 2, "taps": 8})


@pytest.mark.parametrize(
    ("base", "layer", "gone"),
    [
        ({"density": 0.1, "index": "entropy", "planes": 2}, {"value": "direct"}, None),
        ({"n_in": 16, "frame": 32, "quantizer": "uniform"}, {"value": "direct"}, None),
        ({"value": "direct", "rate": "1", "rotate": True, "taps": 3}, {"value": "window"}, None),
        ({"value": "direct", "rate": "1"}, {"bits_per_weight": 2.0}, ["rate"]),
        ({"value": "direct", "bits_per_weight": 2.0}, {"rate": 3}, ["bits_per_weight"]),
        ({"value": "direct", "scale": "tensor"}, {"rate": 3}, []),
        ({"scale": "tensor", "bus_bits": 32}, {"value": "direct"}, []),
        ({"bits_per_weight": 2.0}, {"value": "direct"}, []),
    ],
)
def test_another_kind_of_codec_takes_back_what_does_not_go_with_it(base, layer, gone):
    gone = [key for key in base if key != "value"] if gone is None else gone
    assert merge(base, layer) == {k: v for k, v in base.items() if k not in gone} | layer


def test_a_layer_may_give_a_rate_as_a_number_or_a_text():
    for rate in (2, 0.25, "3/2"):
        check_settings("r.toml", {"rate": rate, "rotate": True, "value": "direct"})
        assert Settings.of({"rate": rate, "value": "direct"}).rate == str(rate)
    with pytest.raises(
        ConfigError, match=r"rate must be a number, or a ratio as a string, not tru"
    ):
        check_settings("r.toml", {"rate": True})
    with pytest.raises(ConfigError, match="rotate must be true or false, not 1"):
        check_settings("r.toml", {"rotate": 1})
    with pytest.raises(ConfigError, match="give either rate or bits-per-weight"):
        check_settings("r.toml", {"rate": 2, "bits_per_weight": 2.1})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"quantizer": Quantizer(planes=4)}, "quantizer must be trellis, not the binary quantizer"),
        ({"quantizer": Quantizer("trellis", 3)}, "planes must be 4, as the direct codec's network"),
        ({"sparsity": 0.5}, "keeps every weight: give no sparsity and no scope"),
        ({"scope": "row"}, "keeps every weight: give no sparsity and no scope"),
        ({"rotation": -1}, "rotation must be between 0 and"),
        ({"rotation": 1, "config": WindowConfig()}, "the trellis quantizer goes with the direct"),
        (
            {"rotation": 1, "config": WindowConfig(), "quantizer": Quantizer()},
            "rotation goes with the direct value codec, not window",
        ),
        ({"index": NoneConfig(n_out=5)}, "does not go with slices of 32 weights"),
    ],
)
def test_a_plan_checks_itself(changes, text):
    sound = {"config": DirectConfig(), "quantizer": Quantizer("trellis", 4)}
    TensorPlan(**sound)
    with pytest.raises(ConfigError, match=text):
        TensorPlan(**sound | changes)
