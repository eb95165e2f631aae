# SPDX-License-Identifier: Apache-2.0
"""Calibration through torch itself; all but one test are skipped where it is not installed."""

import logging

import numpy as np
import pytest
from xorloom.sw.base import extras
from xorloom.sw.base.errors import ConfigError, ToolError
from xorloom.sw.model.calibration.file import load
from xorloom.sw.torch import collect

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="make setup EXTRAS=torch")


def rounded(name, weights, moments, has_bias):
    return np.round(weights * 2) / 2


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(ToolError, match="torch is not installed: make setup EXTRAS=torch"):
        collect(None, [1], rounded)


def block():
    """A module with side branches, dropout, a convolution, and an in-place activation."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 5, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2))
            self.drop = torch.nn.Dropout(0.5)
            self.first = torch.nn.Linear(5, 6)
            self.second = torch.nn.Linear(5, 6, bias=False)
            self.last = torch.nn.Linear(6, 3)
            self.unused = torch.nn.Linear(2, 2)
            self.table = torch.nn.Embedding(4, 2)

        def forward(self, input, scale=1.0):  # noqa: A002
            x = torch.nn.functional.relu(self.conv(input), inplace=True)
            x = self.drop(x.flatten(2).transpose(1, 2)) * scale
            return self.last(torch.relu_(self.first(x) - self.second(x)))

    torch.manual_seed(0)
    return Block()


@needs_torch
def test_moments_are_those_of_forward_passes_through_what_is_compressed(tmp_path, caplog):
    module, batches = block(), [torch.randn(4, 2, 9, 8) for _ in range(3)]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    seen = []

    def plan(name, weights, moments, has_bias):
        seen.append((name, weights.shape, has_bias))
        return rounded(name, weights, moments, has_bias)

    with caplog.at_level(logging.WARNING):
        found = collect(module, batches, plan, tmp_path / "a.npz")
    assert seen == [
        ("conv.weight", (5, 12), True),
        ("first.weight", (6, 5), True),
        ("second.weight", (6, 5), False),
        ("last.weight", (3, 6), True),
    ]
    assert [record.message for record in caplog.records] == [
        "xorloom: not calibrated, being neither Linear nor Conv2d without groups: 1 Embedding",
        "xorloom: not calibrated, as the first batch does not reach them: unused.weight",
    ]
    after = module.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert module.training
    assert module.drop.training
    assert list(load(tmp_path / "a.npz")) == list(found)

    # By hand: the means of the compressed parts are moved to those of the original ones.
    module.eval()
    with torch.no_grad():
        x = torch.cat(batches)

        def middle(conv):
            return torch.relu(conv(x)).flatten(2).transpose(1, 2).reshape(-1, 5)

        z = middle(module.conv)
        original = module.conv(x)
        module.conv.weight.data = torch.round(module.conv.weight * 2) / 2
        module.conv.bias += (original - module.conv(x)).mean(dim=(0, 2, 3))
        y = middle(module.conv)
    assert found["first.weight"].second == pytest.approx((y.T @ y / len(y)).numpy(), abs=1e-5)
    assert found["first.weight"].cross == pytest.approx((z.T @ y / len(y)).numpy(), abs=1e-5)
    assert found["second.weight"].mean == pytest.approx(y.mean(dim=0).numpy(), abs=1e-5)
    assert found["first.weight"].original_mean == pytest.approx(z.mean(dim=0).numpy(), abs=1e-5)
    assert found["conv.weight"].samples == len(y)


@needs_torch
def test_convolution_is_a_matrix_of_its_patches():
    module, x = block(), torch.randn(3, 2, 9, 8)
    moments = collect(module, [x], rounded, names=["conv.weight"])["conv.weight"]
    weights = module.conv.weight.detach().numpy().reshape(5, -1)
    expected = module.conv(x).mean(dim=(0, 2, 3)) - module.conv.bias
    assert weights @ moments.mean == pytest.approx(expected.detach().numpy(), abs=1e-5)


@needs_torch
def test_batches_are_one_argument_several_or_keywords():
    module, x = block(), torch.randn(4, 2, 9, 8)
    names = ["last.weight"]
    plain, tuples, keywords = (
        collect(module, [batch], rounded, names=names)["last.weight"].second
        for batch in (x, (x, 1.0), {"input": x, "scale": 1.0})
    )
    assert np.array_equal(plain, tuples)
    assert np.array_equal(plain, keywords)


@needs_torch
def test_groups_are_the_users():
    module, x = block(), torch.randn(4, 2, 9, 8)
    order = []

    def plan(name, weights, moments, has_bias):
        order.append(name)
        return 0 * weights

    groups = [["conv.weight", "first.weight"], ["last.weight"]]
    found = collect(module, [x], plan, groups=groups)
    assert order == ["conv.weight", "first.weight", "last.weight"]
    # conv was not yet compressed when its group's inputs were seen
    assert np.array_equal(found["first.weight"].second, found["first.weight"].cross)
    assert not np.array_equal(found["last.weight"].second, found["last.weight"].cross)


@needs_torch
def test_tied_weights_are_calibrated_once(caplog):
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3))
    module[2].weight = module[0].weight
    with caplog.at_level(logging.WARNING):
        assert list(collect(module, [torch.randn(5, 3)], rounded)) == ["0.weight"]
    assert "2.weight is 0.weight: calibrated under that name only" in caplog.text


@needs_torch
def test_module_is_restored_when_a_plan_fails():
    module, x = block(), torch.randn(4, 2, 9, 8)
    before = {name: value.clone() for name, value in module.state_dict().items()}

    def plan(name, weights, moments, has_bias):
        if name == "last.weight":
            raise ConfigError("no")
        return 0 * weights

    with pytest.raises(ConfigError, match=r"^no$"):
        collect(module, [x], plan)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training
    assert not module.conv._forward_pre_hooks


@needs_torch
def test_faults_are_told():
    module, x = block(), torch.randn(4, 2, 9, 8)
    with pytest.raises(ConfigError, match="batches is empty"):
        collect(module, [], rounded)
    with pytest.raises(ConfigError, match=r"table\.weight: no Linear or Conv2d of the module has"):
        collect(module, [x], rounded, names=["table.weight"])
    with pytest.raises(ConfigError, match=r"conv\.weight: inputs are not finite"):
        collect(module, [x * float("nan")], rounded)
    with pytest.raises(ConfigError, match=r"conv\.weight: plan returned shape \(1, 12\)"):
        collect(module, [x], lambda name, weights, moments, has_bias: weights[:1])
