# SPDX-License-Identifier: Apache-2.0
"""Choice of the value codec by a budget: by expected error, not by name."""

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.choice import BudgetError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.notes import loss_warning
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.plans import make_plans
from xorloom.sw.model.plan.settings import Settings
from xorloom.sw.spec.config import WindowConfig

from tests.helpers.models import as_model

SHAPE = (256, 512)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(5)
    return as_model({"w": rng.standard_normal(SHAPE).astype(np.float32)})


def planned(model, budget, **more):
    """Return the plan of ``w`` and what was told."""
    options = {"bits_per_weight": budget, "scale": "tensor"} | more
    told = []
    settings = {name: Settings.of(options) for name in model}
    plans = make_plans(model, settings, note=told.append)
    return plans["w"], told


def error_of(model, plan, folder):
    made = compress_model(model, folder / "c.safetensors", {"w": plan})
    return made.tensors["w"].error


@pytest.mark.long
@pytest.mark.parametrize(("budget", "codec"), [(0.5, "window"), (2.1, "direct")])
def test_a_budget_takes_the_codec_of_less_error(model, budget, codec, tmp_path):
    plan, told = planned(model, budget)
    assert plan.config.codec == codec
    errors = {
        value: error_of(model, planned(model, budget, value=value)[0], tmp_path)
        for value in ("direct", "window")
    }
    other = {"direct": "window", "window": "direct"}[codec]
    found = error_of(model, plan, tmp_path)
    assert found <= errors[codec] < errors[other]
    expected = float(told[0].split("expected error ")[1].split(";")[0])
    assert found == pytest.approx(expected, rel=0.02)


def test_a_budget_just_below_a_rate_is_told_what_would_hold_it(model):
    _, told = planned(model, 1.0)
    more = float(told[0].rsplit("; ", 1)[1].split(" would hold its rate 1")[0])
    assert 1 < more < 1.01
    plan, told = planned(model, more)
    assert plan.config.rate == 1
    assert "would hold" not in told[0]


@pytest.mark.parametrize(
    "asked",
    [{"index": "bitmap"}, {"index": "bitmap", "planes": 1}, {"value": "window", "n_in": 16}],
)
def test_what_is_asked_of_index_or_values_keeps_its_way(model, asked):
    plan, told = planned(model, 1.3, **asked)
    assert isinstance(plan.config, WindowConfig)
    assert told == []


@pytest.mark.parametrize(
    ("asked", "is_open"),
    [
        *(({name: 1}, False) for name in ("planes", "n_in", "n_out", "taps", "window")),
        *(({"index": "trellis"}, False), ({"value": "direct"}, False), ({"scope": "row"}, False)),
        *(({"importance": "energy"}, False), ({"index_window": 8}, False)),
        *(({"bus_bits": 32}, True), ({"scale": "tensor", "order": "row"}, True)),
        *(({"rotate": True}, True), ({"trained": True}, True)),
    ],
    ids=str,
)
def test_settings_tell_whether_a_budget_may_choose(asked, is_open):
    assert Settings.of({"bits_per_weight": 0.6} | asked).leaves_codec_open == is_open
    assert not Settings.of(asked).leaves_codec_open


def test_bus_and_scales_leave_the_choice_open(model):
    plan, told = planned(model, 2.3, bus_bits=128, scale="row", order="row")
    assert (plan.config.codec, plan.config.bus_bits, plan.order) == ("direct", 128, "row")
    assert len(told) == 1


def test_a_tensor_with_a_mask_of_its_own_or_a_saliency_gets_a_mask(model):
    weights = model["w"].weights()
    zeros = np.where(np.arange(SHAPE[1]) % 4 == 0, weights, 0)
    two = as_model({"w": weights, "z": zeros})
    plans, told = {}, []
    settings = dict.fromkeys(two, Settings.of({"bits_per_weight": 2.1, "scale": "tensor"}))
    plans = make_plans(two, settings, note=told.append)
    assert [plans[name].config.codec for name in "wz"] == ["direct", "window"]
    assert told[0].startswith("z: it has a mask of its own in its zeros, so the index is chosen")
    told.clear()
    plans = make_plans(model, {"w": settings["w"]}, saliency={"w"}, note=told.append)
    assert plans["w"].config.codec == "window"
    assert told[0].startswith("w: its saliency tells what to keep")


def test_a_calibration_or_a_rotation_goes_with_the_direct_codec(model):
    settings = {"w": Settings.of({"bits_per_weight": 0.5, "scale": "tensor"})}
    assert make_plans(model, settings, calibrated=True)["w"].rotation == 0
    plan, told = planned(model, 0.5, rotate=True)
    assert (plan.config.codec, plan.rotation) == ("direct", 0)
    assert "as a calibration or rotation goes with it" in told[0]


def test_below_the_lowest_rate_there_is_an_index_or_an_error(model):
    plan, told = planned(model, 0.06)
    assert isinstance(plan.config, WindowConfig)
    assert "as nothing else fits" in told[0]
    with pytest.raises(
        BudgetError, match=r"^0\.01 bits per weight are too few: the least is"
    ) as one:
        planned(model, 0.01)
    assert planned(model, one.value.least)
    with pytest.raises(ConfigError, match="bits per weight must be positive, not -1"):
        planned(model, -1)


def test_a_large_error_is_told_unless_training_is(model, tmp_path):
    def warned(given=None, **more):
        settings = {"w": Settings.of({"scale": "tensor"} | more)}
        masks = () if given is None else given.masks
        plans = make_plans(model, settings, masks)
        made = compress_model(model, tmp_path / "c.safetensors", plans, given=given)
        return loss_warning(made.tensors, settings), made.tensors["w"].error

    text, error = warned(density=0.05)
    assert error > 0.5
    assert f"miss {error:.0%} of the original ones" in text
    assert "will not work without training" in text
    assert warned(density=0.05, trained=True)[0] == ""
    few = np.zeros(SHAPE, np.bool_)
    few[:, ::20] = True
    assert warned(UserArrays(masks={"w": few}))[0] == ""
    text, error = warned(density=0.5)
    assert error < 0.5
    assert text == ""
