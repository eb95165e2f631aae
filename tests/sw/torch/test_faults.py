# SPDX-License-Identifier: Apache-2.0
"""Wrong and extreme input: a typed error before anything changes, or an exact file."""

import logging
import resource
import signal
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from xorloom.sw.base.errors import ConfigError  # noqa: E402
from xorloom.sw.index.choice import BudgetError  # noqa: E402
from xorloom.sw.model.container import read_container  # noqa: E402
from xorloom.sw.torch import (  # noqa: E402
    LayerPlan,
    Schedule,
    compress,
    export,
    heal,
    load,
    load_frozen,
    plan_for,
    prune,
    stored_bits,
)
from xorloom.sw.torch.healing.distil import distance  # noqa: E402

WEIGHT = "0.weight"
SEEDS = LayerPlan("all", value="direct", rate=Fraction(1, 4))


def network(dtype=torch.float32):
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 80)
    ).to(dtype)


def inputs(dtype=torch.float32):
    return torch.randn(4, 64, generator=torch.Generator().manual_seed(2)).to(dtype)


class Tied(torch.nn.Module):
    def __init__(self, tied):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = torch.nn.Embedding(99, 64), torch.nn.Linear(64, 99, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, ids):
        return self.head(self.words(ids))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_trained_seeds_are_healed_and_come_back(tmp_path, dtype):
    module, path = network(dtype), tmp_path / "m.safetensors"
    handle = prune(module, {"*.weight": SEEDS})
    seeds = {name: handle.coded(name).seeds.streams[0].seeds for name in handle.names}
    heal(module, network(dtype), [inputs(dtype)], steps=5)
    export(module, path)
    for fresh in (load(path, network(dtype)), load_frozen(path, network(dtype))):
        assert torch.equal(fresh(inputs(dtype)), module(inputs(dtype)))
    for name, coding in handle.codings.items():
        assert np.array_equal(coding.coded(handle.latent(name)).seeds.streams[0].seeds, seeds[name])


def test_two_tensors_of_a_file_are_not_loaded_into_one_of_a_module(tmp_path):
    path = tmp_path / "m.safetensors"
    ids = torch.arange(9)
    for tied in (False, True):
        module = Tied(tied)
        prune(module, {"words.weight": LayerPlan()})
        export(module, path)
        assert torch.equal(load(path, Tied(False))(ids), module(ids))
        if tied:
            assert torch.equal(load(path, Tied(True))(ids), module(ids))
            continue
        fresh = Tied(True)
        before = fresh.words.weight.clone()
        for read in (load, load_frozen):
            with pytest.raises(
                ConfigError, match=r"words\.weight and head\.weight differ, and are"
            ):
                read(path, fresh)
        assert torch.equal(fresh.words.weight, before)


def test_a_module_without_storage_is_refused(tmp_path):
    module, path = network(), tmp_path / "m.safetensors"
    prune(module, {WEIGHT: LayerPlan()})
    export(module, path)
    with torch.device("meta"):
        empty = torch.nn.Sequential(
            torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 80)
        )
    with pytest.raises(ConfigError, match=r"0\.bias of the module is on the meta device"):
        load(path, empty)
    assert torch.equal(load(path, empty.to_empty(device="cpu"))(inputs()), module(inputs()))


def test_a_full_disk_leaves_the_old_file(tmp_path):
    module, path = network(), tmp_path / "m.safetensors"
    prune(module, {WEIGHT: LayerPlan()})
    export(module, path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"cannot write {path}: File too large"):
            export(module, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [there.name for there in tmp_path.iterdir()] == [path.name]


def test_a_file_is_written_over_the_one_that_its_module_came_from(tmp_path):
    path = tmp_path / "m.safetensors"
    module = network()
    prune(module, {WEIGHT: LayerPlan()})
    export(module, path)
    again = load_frozen(path, network())
    prune(again, {"2.weight": SEEDS})
    export(again, path)
    assert torch.equal(load(path, network())(inputs()), again(inputs()))


def test_one_call_looks_at_everything_before_it_trains(tmp_path):
    def train(module, handle):
        raise AssertionError("trained")

    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(FileNotFoundError, match="none"):
        compress(module, 0.5, train, path=tmp_path / "none" / "m.safetensors")
    for budget in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=rf"must be positive, not {budget}$"):
            compress(module, budget, train)
    with pytest.raises(ConfigError, match=r"weights must be a sequence .*: \['0\.weight'\]"):
        compress(module, 0.5, train, weights=WEIGHT)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    prune(module, {WEIGHT: LayerPlan()})
    with pytest.raises(ConfigError, match=r"0\.weight is pruned already, and the budget"):
        compress(module, 0.5, train)


@pytest.mark.parametrize("method", ["trellis", "magnitude", "hashed", "direct", "all"])
def test_the_least_budget_that_is_told_works(method):
    with pytest.raises(BudgetError, match=r"^0\.01 bits per weight are too few: the least") as told:
        compress(network(), 0.01, method=method)
    least = told.value.least
    assert 0.95 * least < compress(network(), least, method=method).bits_per_weight <= least


def test_a_budget_that_is_not_used_up_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        compress(network(), 5, method="all")
    assert "method all uses 1.1042 of 5 bits per weight" in caplog.text


@pytest.mark.parametrize("mask", ["magnitude", "trellis", "hashed", "n:m", "all"])
@pytest.mark.parametrize(
    ("importance", "text"),
    [
        (np.full((96, 64), np.nan), "must be finite and not negative"),
        (-np.ones((96, 64)), "must be finite and not negative"),
        (np.ones((96, 64), complex), "must be real numbers, not complex128"),
        (np.full((96, 64), "a"), "must be real numbers, not <U1"),
        (np.ones((64, 96)), r"must have the weight's shape \(96, 64\), not \(64, 96\)"),
    ],
)
def test_importance_is_checked_whatever_the_mask(mask, importance, text):
    module = network()
    with pytest.raises(ConfigError, match=rf"^0\.weight: importance {text}"):
        prune(module, {WEIGHT: LayerPlan(mask)}, {WEIGHT: importance})
    assert WEIGHT in module.state_dict()


def test_importance_of_every_weight_is_refused():
    with pytest.raises(ConfigError, match=r"^0\.weight: an importance goes with a mask"):
        prune(network(), {WEIGHT: LayerPlan("all")}, {WEIGHT: np.ones((96, 64))})


@pytest.mark.parametrize("budget", [2.1, 5])
def test_seeds_use_up_large_budgets_as_well(budget):
    plan = plan_for([(96, 64)], budget, "direct")
    assert 0.97 * min(budget, 4.1) < stored_bits((96, 64), plan) <= budget


@pytest.mark.parametrize("rate", [0, 0.25, "1/4", float("nan"), Fraction(-1, 2)])
def test_a_rate_is_a_positive_ratio(rate):
    with pytest.raises(ConfigError, match="rate must be a positive ratio such as Fraction"):
        prune(network(), {WEIGHT: LayerPlan("all", value="direct", rate=rate)})


@pytest.mark.parametrize("fields", [{"hysteresis": float("nan")}, {"rechoices": 1.5}])
def test_a_schedule_takes_numbers_only(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        Schedule(**fields)


def test_outputs_are_compared_like_with_like():
    ones = torch.ones(4, 8)
    for wanted in (torch.ones(4, 1), torch.ones(4, 9), (ones, ones)):
        with pytest.raises(ConfigError, match="let both return the same, or give a loss"):
            distance(ones, wanted)


def test_error_of_trained_weights_is_unknown(tmp_path):
    module, path = network(), tmp_path / "m.safetensors"
    prune(module, {WEIGHT: LayerPlan()})
    found = export(module, path)
    assert found.tensors[WEIGHT].error is None
    assert read_container(path).tensors[WEIGHT].error is None


@pytest.mark.parametrize("plan", [SEEDS, LayerPlan(), LayerPlan("n:m", planes=2, scale="row")])
def test_tied_weights_come_back_whatever_the_plan(tmp_path, plan):
    module, path, ids = Tied(True), tmp_path / "m.safetensors", torch.arange(9)
    handle = prune(module, {"head.weight": plan})
    module(ids).square().sum().backward()
    assert handle.latent("words.weight").grad.abs().sum() > 0
    assert torch.equal(module.head.weight, module.words.weight)
    export(module, path)
    assert torch.equal(load(path, Tied(True))(ids), module(ids))


@pytest.mark.parametrize("plan", [LayerPlan(), {"*.weight": SEEDS}, {WEIGHT: SEEDS}])
def test_what_is_pruned_or_parametrized_is_never_passed_over(plan):
    module, other = network(), network()
    prune(module, {WEIGHT: LayerPlan("magnitude")})
    torch.nn.utils.parametrizations.weight_norm(other[0])
    for there in (module, other):
        before = list(there.state_dict())
        with pytest.raises(ConfigError, match=r"^0\.weight: pruned already, or parametrized"):
            prune(there, plan)
        assert list(there.state_dict()) == before
    assert prune(module, {"*.weight": SEEDS, WEIGHT: None}).names == ["2.weight"]


@pytest.mark.parametrize("value", ["window", "direct"])
@pytest.mark.parametrize(
    ("shape", "options", "text"),
    [
        ((0, 4), {}, r"float32 of shape \(0, 4\): only floating-point weights with elements"),
        ((4, 0), {}, r"float32 of shape \(4, 0\): only floating-point weights with elements"),
        ((4, 4), {"dtype": torch.complex64}, "complex64 of shape"),
        ((4, 4), {"dtype": torch.int8}, "int8 of shape"),
        ((4, 4), {"device": "meta"}, "float32 of the meta device"),
    ],
)
def test_weights_that_cannot_be_pruned_are_named(shape, options, text, value):
    module = torch.nn.Module()
    module.x = torch.nn.Parameter(torch.zeros(shape, **options), requires_grad=False)
    with pytest.raises(ConfigError, match=rf"^x is torch\.{text}"):
        prune(module, {"x": SEEDS if value == "direct" else LayerPlan()})


def test_plans_that_are_none_are_refused():
    for plan in (None, "trellis", {WEIGHT: "trellis"}):
        with pytest.raises(ConfigError, match="LayerPlan"):
            prune(network(), plan)
    for fields in ({"pattern": (1, 2, 3)}, {"taps": 0}, {"window": 0}, {"window": 9}):
        with pytest.raises(ConfigError, match=next(iter(fields))):
            LayerPlan("magnitude", **fields)


def test_state_dicts_of_seeds_and_of_masks_are_told_apart():
    seeds, masks = network(), network()
    prune(seeds, {WEIGHT: SEEDS})
    prune(masks, {WEIGHT: LayerPlan()})
    for one, other in ((seeds, masks), (masks, seeds)):
        with pytest.raises(ConfigError, match=r"^0\.weight: .* \(prune with the plan that it was"):
            one.load_state_dict(other.state_dict())
