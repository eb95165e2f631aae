# SPDX-License-Identifier: Apache-2.0
"""Budgets of bits per weight: what is spent, the least that works, and what a tensor missed."""

import operator
from functools import reduce

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.choice import BudgetError, index_config
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.metrics import TensorBits
from xorloom.sw.model.plan import request as request_module
from xorloom.sw.model.plan.estimate import tensor_bits
from xorloom.sw.model.plan.request import IndexRequest
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.quantize import Quantizer


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


SMALL = {"w": gaussian(32, 160)}
MODELS = {
    "small": SMALL,
    "two": {"a": gaussian(64, 96), "b": gaussian(100, 50)},
    "uneven": {"a": gaussian(16, 16), "b": gaussian(300, 500, seed=1)},
    "zeros": {"a": gaussian(200, 300) * (np.random.default_rng(1).random((200, 300)) < 0.2)},
}


def request(**options):
    empty = dict.fromkeys(("codec", "rate", "budget", "density", "sparsity"))
    return IndexRequest(**empty | {"window": 8, "classes": 1} | options)


def opened(tmp_path, arrays):
    path = tmp_path / "m.npz"
    np.savez(path, **arrays)
    return open_model(path)


def spent(tmp_path, arrays, quantizer, **options):
    """Compress with a budget; return all tensors' bits and what the request says of them."""
    model, asked = opened(tmp_path, arrays), request(**options)
    names = list(model)
    density, index = asked.resolve(model, names, WindowConfig(), quantizer, search=True)
    spec = CompressSpec(sparsity=1 - density, quantizer=quantizer, index=index, min_size=1,
                        include=tuple(names), importance="energy")  # fmt: skip
    bits = compress_model(model, tmp_path / "m.safetensors", dict.fromkeys(names, spec)).bits
    total = reduce(operator.add, bits.values())
    return total.total / total.weights, asked.budget_miss(total)


def least_of(tmp_path, arrays, quantizer, **options):
    model = opened(tmp_path, arrays)
    with pytest.raises(BudgetError, match="bits per weight are too few: the least is") as caught:
        request(budget=1e-4, **options).resolve(
            model, list(model), WindowConfig(), quantizer, search=True
        )
    return caught.value.least


def test_budget_that_cannot_be_met_says_what_the_least_is(tmp_path):
    model = opened(tmp_path, SMALL)
    text = r"^0.25 bits per weight are too few: the least is 0.3375, with scales, headers"
    with pytest.raises(BudgetError, match=text):
        request(budget=0.25).resolve(model, ["w"], WindowConfig(), Quantizer(), search=True)


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("codec", [None, "trellis", "entropy", "bitmap"])
def test_budget_of_the_least_works_and_no_less_does(tmp_path, name, codec):
    quantizer = Quantizer("alternating", 2)
    least = least_of(tmp_path, MODELS[name], quantizer, codec=codec)
    assert 0 < least < 2.2
    found, miss = spent(tmp_path, MODELS[name], quantizer, codec=codec, budget=least)
    assert found <= least
    assert miss == ""
    with pytest.raises(BudgetError):
        spent(tmp_path, MODELS[name], quantizer, codec=codec, budget=least - 0.0002)


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("planes", "more"), [(1, 1.2), (1, 3), (4, 1.5)])
def test_budget_is_kept_and_used(tmp_path, name, planes, more):
    quantizer = Quantizer("alternating", planes) if planes > 1 else Quantizer()
    budget = round(more * least_of(tmp_path, MODELS[name], quantizer), 4)
    found, miss = spent(tmp_path, MODELS[name], quantizer, budget=budget)
    assert 0.9 * budget < found <= 1.01 * budget
    assert (miss == "") == (found <= budget)


def test_budget_miss_tells_both_figures():
    bits = TensorBits(1000, 100, 1, 200, 100, 10, 20, 8, 1.0, 1.0)
    assert request(budget=0.338).budget_miss(bits) == ""
    assert request(budget=0.25).budget_miss(bits) == "0.3380 bits per weight, 0.25 asked for"
    assert request(density=0.1).budget_miss(bits) == ""


def test_budget_counts_scales(tmp_path):
    by_row = least_of(tmp_path, SMALL, Quantizer())
    by_tensor = least_of(tmp_path, SMALL, Quantizer(scale="tensor"))
    assert by_row - by_tensor == pytest.approx(31 * 16 / 5120, abs=1e-4)


def test_budget_of_the_block_codec_is_refused(tmp_path):
    model = opened(tmp_path, SMALL)
    text = "bits per weight goes with the window value codec: give the block codec a sparsity"
    with pytest.raises(ConfigError, match=text):
        request(budget=2.0).resolve(model, ["w"], BlockConfig(), Quantizer())


def test_budget_with_lanes_that_an_index_does_not_fit(tmp_path):
    model, three = opened(tmp_path, SMALL), Quantizer("uniform", 3)
    index = request(budget=3.0).resolve(model, ["w"], WindowConfig(), three)[1]
    assert index is None or index.codec == "trellis", "170 lanes: no entropy index"
    with pytest.raises(ConfigError, match="slices of whole 8-weight chunks, not 170"):
        request(budget=3.0, codec="entropy").resolve(model, ["w"], WindowConfig(), three)


def test_sample_for_a_budget_does_not_fall_in_with_the_rows(tmp_path, monkeypatch):
    """One column of 64 is large: even steps would see all of it, or nothing."""
    weights = gaussian(4096, 64)
    weights[:, 1:] *= 1e-3
    model = opened(tmp_path, {"w": weights})
    monkeypatch.setattr(request_module, "_SAMPLE", weights.size // 64)
    sample = np.abs(request_module.sampled(model, ["w"]))
    assert sample.size == 4096
    assert 30 < np.count_nonzero(sample > 0.1) < 100


@pytest.mark.parametrize("codec", ["trellis", "bitmap", "lowrank"])
@pytest.mark.parametrize(("weights", "planes"), [(64, 1), (5120, 4), (3_000_000, 1)])
def test_estimate_is_exact_where_sizes_tell_all(codec, weights, planes):
    """At a density of nearly nothing a slice takes a step, and the index has a rate."""
    value = WindowConfig(n_in=8)
    index = index_config(codec, value, planes, density=0.05)
    slices = -(-weights // (512 // planes))
    chunks = value.preload_steps + slices
    value_bits = -(-8 * chunks // 64) * 64
    own = {"bitmap": weights, "trellis": slices * getattr(index, "n_in", 0)}
    if codec == "lowrank":
        own["lowrank"] = index.chunks(slices) * index.chunk_bits
    expected = value_bits + -(-own[codec] // 64) * 64 + 2 * 8 * 24
    assert tensor_bits(weights, 1, planes, value, index) == expected


def test_misses_name_what_was_asked_for_and_found():
    bits = TensorBits(12_288, 460, 1, 1659, 500, 20, 20, 8, 1.0, 1.0)
    assert request(density=460 / 12_288).misses(460 / 12_288, bits) == []
    assert request(sparsity=0.9).misses(0.1, bits) == ["density 0.03743, 0.1 asked for"]
    assert request(density=0.0374, rate=0.135).misses(0.0374, bits) == []
    assert request(density=0.0374, rate=0.166).misses(0.0374, bits) == [
        "0.135 index bits per weight, 0.166 asked for"
    ]
    assert request(rate=0.1).misses(0.1, bits) == ["0.135 index bits per weight, 0.1 asked for"]
    assert request(budget=0.3).misses(0.1, bits) == [], "a budget chooses its density"


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_number_is_named_with_its_file_and_tensor(odd, tmp_path):
    weights = gaussian(32, 160)
    weights[3, 5] = odd
    model = opened(tmp_path, {"w": weights})
    text = rf"m\.npz: tensor 'w': weight at \(3, 5\) is {odd}, must be finite"
    with pytest.raises(ConfigError, match=text):
        request(budget=0.5).resolve(model, ["w"], WindowConfig(), Quantizer(), search=True)
