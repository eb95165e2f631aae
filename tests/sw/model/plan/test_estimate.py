# SPDX-License-Identifier: Apache-2.0
"""Estimates beside what is stored in the end."""

from dataclasses import replace

import numpy as np
import pytest
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan import request
from xorloom.sw.model.plan.estimate import tensor_bits
from xorloom.sw.model.plan.plans import make_plans
from xorloom.sw.model.plan.settings import Settings

from tests.helpers.models import as_model


def stored(tmp_path, shape, values):
    """Return what was compressed: its plan, its decoder, bits of its streams."""
    weights = np.random.default_rng(1).standard_normal(shape, np.float32)
    model = as_model({"w": weights})
    plans = make_plans(model, {"w": Settings.of(values)})
    report = compress_model(model, tmp_path / "c.safetensors", plans).tensors["w"]
    return plans["w"], report.decoder, report.bits


@pytest.mark.parametrize("shape", [(64, 65), (3, 1000)])
@pytest.mark.parametrize("rate", ["2", "1/2"])
def test_estimate_of_the_direct_codec_is_exact(shape, rate, tmp_path):
    plan, decoder, bits = stored(tmp_path, shape, {"value": "direct", "rate": rate})
    found = tensor_bits(
        bits.weights, bits.weights, plan.quantizer.planes, decoder.value, decoder.index
    )
    assert found == bits.total - bits.scales


def test_estimate_of_the_block_codec_counts_its_seeds(tmp_path):
    values = {"value": "block", "sparsity": 0.9, "planes": 2, "n_out": 200}
    plan, decoder, bits = stored(tmp_path, (100, 1001), values)
    found = tensor_bits(bits.weights, bits.kept, 2, decoder.value, decoder.index)
    rest = bits.control + bits.overhead
    assert bits.index + bits.seeds <= found <= bits.index + bits.seeds + rest
    assert plan.quantizer.planes == 2


def test_nothing_takes_nothing():
    plan = make_plans(as_model({"w": np.zeros((64, 64), "f")}), {"w": Settings()})["w"]
    assert tensor_bits(0, 0, 1, plan.config, plan.index) == 0


def test_some_rows_of_a_tensor_stand_for_all_of_them_in_a_sample(monkeypatch):
    """A tensor that loads its second half only gives as large a sample, of that half."""
    monkeypatch.setattr(request, "_SAMPLE", 1 << 10)
    rows = np.random.default_rng(1).standard_normal((64, 256), np.float32)
    rows[:32] = 0
    model = as_model({"w": rows})
    half = {"w": replace(model["w"], load=lambda: rows[32:])}
    whole, part = (request.sampled(m, ["w"]) for m in (model, half))
    assert whole.size == part.size == 1 << 10
    assert np.count_nonzero(whole) == 512
    assert np.count_nonzero(part) == 1024
