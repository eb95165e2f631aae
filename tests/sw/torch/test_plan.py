# SPDX-License-Identifier: Apache-2.0
"""Plans of layers: what they refuse, which weights they are for, and what a budget buys."""

from fractions import Fraction

import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.choice import BudgetError
from xorloom.sw.torch import LayerPlan, plan_for, stored_bits
from xorloom.sw.torch.plan import resolve

SHAPES = [(160, 500), (60, 160)]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"mask": "best"}, "mask must be one of all, magnitude, trellis, lowrank, hashed, n:m"),
        ({"value": "best"}, "value must be one of window, block, direct"),
        ({"scale": "group"}, "scale must be one of tensor, row"),
        ({"density": 1.0}, r"density must be in \(0, 1\), not 1.0 \(mask all keeps every weight"),
        ({"planes": 4}, "planes must be between 1 and 3, not 4"),
        ({"mask": "hashed", "index_bits": 0.1}, "index_bits goes with the masks trellis and low"),
        ({"mask": "n:m", "pattern": (4, 4)}, r"pattern must be \(n, m\) with 1 <= n < m"),
        ({"value": "block"}, "the trellis index goes with the window value codec, not block"),
        ({"value": "direct"}, "value direct keeps every weight: mask must be all, not trellis"),
        ({"rate": Fraction(1, 4)}, "rate and taps go with value direct, not window"),
    ],
)
def test_a_plan_says_what_does_not_go_together(fields, text):
    with pytest.raises(ConfigError, match=text):
        LayerPlan(**fields)


@pytest.mark.parametrize("budget", [0.26, 1.1])
@pytest.mark.parametrize(
    ("method", "split"),
    [
        ("trellis", {}),
        ("trellis", {"planes": 2, "scale": "row"}),
        ("trellis", {"density": 0.05}),
        ("magnitude", {}),
        ("hashed", {}),
        ("n:m", {}),
        ("direct", {}),
    ],
)
def test_a_budget_is_used_up_and_not_exceeded(method, split, budget):
    plan = plan_for(SHAPES, budget, method, **split)
    weights = sum(rows * columns for rows, columns in SHAPES)
    bits = sum(stored_bits((r, c), plan) * r * c for r, c in SHAPES) / weights
    # What an index can take has an end: a trellis half a bit, at a density of at most 15/32.
    full = method in ("trellis", "hashed") and budget == 1.1
    assert bits <= budget
    assert full or bits > budget * (0.85 if method == "n:m" else 0.96)


@pytest.mark.parametrize(("method", "split"), [("all", {}), ("trellis", {}), ("direct", {})])
def test_a_budget_below_what_scales_and_headers_take_tells_the_least(method, split):
    with pytest.raises(BudgetError, match=r"0\.01 bits per weight are too few: the least is ") as e:
        plan_for(SHAPES, 0.01, method, **split)
    assert e.value.least > 0.03


def test_what_plan_for_is_given_is_checked():
    with pytest.raises(ConfigError, match="method must be direct or one of all, magnitude"):
        plan_for(SHAPES, 0.26, "paper")
    with pytest.raises(ConfigError, match="bits per weight must be positive, not -1"):
        plan_for(SHAPES, -1, "trellis")
    with pytest.raises(ConfigError, match="needs the shapes of at least one weight"):
        plan_for([], 0.26, "trellis")


def test_one_plan_is_for_all_layers_and_patterns_for_those_they_name():
    from tests.helpers.torch_nets import made  # not before the tests that need no torch

    plan, other = LayerPlan(), LayerPlan("magnitude")
    module, _ = made("recurrent")
    names = [weight.name for weight, _ in resolve(module, plan)]
    assert names == [
        "table.weight",
        *(f"lstm.weight_{kind}_l{k}" for k in (0, 1) for kind in ("ih", "hh")),
        "gru.weight_ih_l0",
        "gru.weight_hh_l0",
    ]
    found = resolve(module, {"lstm.*": plan, "lstm.weight_ih_l1": None, "out.weight": other})
    assert [(weight.name, own.mask) for weight, own in found] == [
        ("table.weight", "magnitude"),  # out.weight is another name of it
        ("lstm.weight_ih_l0", "trellis"),
        ("lstm.weight_hh_l0", "trellis"),
        ("lstm.weight_hh_l1", "trellis"),
    ]
    with pytest.raises(
        ConfigError, match=r"'ltsm.*' names no weight of Recurrent: there are table"
    ):
        resolve(module, {"ltsm.*": plan})
    with pytest.raises(ConfigError, match=r"'lstm.\*' and '\*ih_l0' both name it and differ"):
        resolve(module, {"lstm.*": plan, "*ih_l0": other})
    with pytest.raises(ConfigError, match="the plan names no weight: Linear has none of 4,096"):
        resolve(module.out.__class__(3, 3), plan)
