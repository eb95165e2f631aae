# SPDX-License-Identifier: Apache-2.0
"""Split of a budget for networks that are trained under what is stored."""

import json
from pathlib import Path

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.plans import make_plans
from xorloom.sw.model.plan.settings import Settings
from xorloom.sw.model.plan.trained import TABLE, Split, trained_split

from tests.helpers.models import as_model


@pytest.mark.parametrize("bits", [0.01, 0.05, 0.1, 0.16, 0.17, 0.26, 0.4, 0.55, 0.99])
@pytest.mark.parametrize("scales", [0.0, 0.005])
def test_a_split_spends_the_budget_and_no_more(bits, scales):
    split = trained_split(bits, scales)
    spent = scales + (split.index_bits or 0) + split.density * split.planes
    assert bits - 1 / 256 < spent < bits + 1e-12
    assert split.codec in {codec for codec, _, _ in TABLE.values()}


def test_splits():
    assert trained_split(0.26) == pytest.approx(("trellis", 0.1001, 0.0598, 2))
    assert trained_split(0.05) == Split("hashed", 12 / 256, None, 1)
    assert trained_split(1) == pytest.approx(("trellis", 0.28, 0.44, 2))


def test_the_table_is_what_did_best_in_the_laboratory():
    path = Path(__file__).parents[4] / "docs" / "results" / "accuracy.json"
    rows = [
        row
        for row in json.loads(path.read_text(encoding="utf-8"))
        if (row["network"], row["data"], row["epochs"]) == ("lenet-300-100", "mnist", 6)
    ]
    assert {row["budget"] for row in rows} == set(TABLE)
    for budget, (codec, share, planes) in TABLE.items():
        known = {
            row["method"]: row
            for row in rows
            if row["budget"] == budget and row["method"].split("-")[0] in ("trellis", "hashed")
        }
        row = known[codec if planes == 1 else f"{codec}-{planes}"]
        best = max(known.values(), key=lambda row: row["accuracy"])
        assert row["accuracy"] >= best["accuracy"] - best["accuracy_std"]
        if codec == "trellis":
            stored = row["index_bits"] + planes * row["density"]
            assert share == pytest.approx(row["index_bits"] / stored, abs=0.006)


@pytest.mark.parametrize(("bits", "planes"), [(1.21, 1), (1.99, 1), (2, 2), (30, 8)])
def test_above_the_table_every_weight_is_kept(bits, planes):
    assert trained_split(bits) == Split("none", 1.0, None, planes)


@pytest.mark.parametrize(("bits", "scales"), [(0.1, 0.1), (0, 0), (-1, 0), (np.nan, 0)])
def test_a_budget_that_scales_take_up_is_refused(bits, scales):
    with pytest.raises(ConfigError, match=r"are too few: scales and headers take 0\.[01]000"):
        trained_split(bits, scales)


@pytest.mark.parametrize(
    ("budget", "index", "planes"), [(0.06, "hashed", 1), (0.3, "trellis", 2), (0.5, "trellis", 2)]
)
def test_a_trained_budget_is_kept_with_everything_counted(budget, index, planes, rng, tmp_path):
    model = as_model({"w": rng.standard_normal((160, 512)).astype(np.float32)})
    settings = {"w": Settings.of({"bits_per_weight": budget, "trained": True, "scale": "tensor"})}
    told = []
    plans = make_plans(model, settings, note=told.append)
    assert plans["w"].index.codec == index
    assert plans["w"].quantizer.planes == planes
    assert f"{budget:g} bits per weight for a trained network: the {index} index" in told[0]
    bits = compress_model(model, tmp_path / "c.safetensors", plans).bits["w"]
    assert 0.9 * budget < bits.total / bits.weights <= budget


def test_above_the_table_a_trained_network_gets_what_others_get(rng):
    model = as_model({"w": rng.standard_normal((160, 512)).astype(np.float32)})
    found = [
        make_plans(model, {"w": Settings.of({"bits_per_weight": 2.1, "rotate": True} | more)})
        for more in ({}, {"trained": True})
    ]
    assert found[0] == found[1]
    assert found[0]["w"].config.chooses_values


@pytest.mark.parametrize("asked", [{"value": "direct"}, {"index": "bitmap"}])
def test_what_is_asked_of_index_or_values_goes_before_the_split(asked, rng):
    model = as_model({"w": rng.standard_normal((96, 256)).astype(np.float32)})
    plain, trained = (
        make_plans(model, {"w": Settings.of({"bits_per_weight": 1.3} | asked | more)})
        for more in ({}, {"trained": True})
    )
    assert plain == trained
