# SPDX-License-Identifier: Apache-2.0
"""Files of pruned modules: logits bit-equal before and after, whatever the network."""

import logging

import pytest

torch = pytest.importorskip("torch")

from xorloom.sw.base.errors import ConfigError  # noqa: E402
from xorloom.sw.model.container import read_container  # noqa: E402
from xorloom.sw.model.decompress import decompress_model  # noqa: E402
from xorloom.sw.model.verify import verify_model  # noqa: E402
from xorloom.sw.torch import LayerPlan, bake, export, load, prune, stored_bits  # noqa: E402

from tests.helpers.torch_nets import made  # noqa: E402

PLANS = {
    "magnitude": LayerPlan("magnitude", planes=2, scale="row"),
    "trellis": LayerPlan("trellis", density=0.15, index_bits=0.1),
    "hashed": LayerPlan("hashed", density=0.25, planes=2),
    "all": LayerPlan("all"),
    "n:m": LayerPlan("n:m", pattern=(1, 4)),
    "block": LayerPlan("magnitude", value="block"),
}


def shaken(name, plan):
    """Return a network whose latents and scales a trainer moved, and its input."""
    module, inputs = made(name)
    handle = prune(module, {"*": plan} if name == "convolutions" else plan)
    with torch.no_grad():
        for weight in handle.names:
            handle.latent(weight).add_(torch.randn_like(handle.latent(weight)) * 0.02)
            handle.codings[weight].scales.mul_(1.0123)
    return module, inputs, handle


CASES = [("dense", kind) for kind in PLANS] + [
    ("convolutions", "magnitude"),
    ("convolutions", "all"),
    ("recurrent", "magnitude"),
    ("recurrent", "trellis"),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_logits_are_bit_equal_after_export_and_load(tmp_path, name, kind):
    module, inputs, handle = shaken(name, PLANS[kind])
    module(inputs)  # statistics of the normalization move
    training = module(inputs) if name != "convolutions" else None
    module.eval()
    logits = module(inputs)
    if training is not None:
        assert torch.equal(training, logits)  # training mode sees the decoded weights as well
    path = tmp_path / "m.safetensors"
    bits = export(module, path).bits
    assert torch.equal(module(inputs), logits)
    fresh, _ = made(name, seed=5)
    assert load(path, fresh) is fresh
    assert torch.equal(fresh.eval()(inputs), logits)
    assert {name for name, _ in fresh.named_parameters()} == {
        name for name, _ in made(name)[0].named_parameters()
    }
    load(path, module)  # a pruned one becomes plain
    assert torch.equal(module(inputs), logits)
    assert all(verdict.ok for verdict in verify_model(read_container(path)))
    state = fresh.state_dict()
    for weight in handle.names:
        expected = stored_bits(tuple(state[weight].shape), PLANS[kind])
        if state[weight].numel() > 20_000:
            assert expected == pytest.approx(bits[weight].total / bits[weight].weights, rel=0.02)


def test_ties_stay_ties_and_all_else_passes_through(tmp_path):
    module, inputs, _ = shaken("recurrent", PLANS["magnitude"])
    export(module, tmp_path / "m.safetensors")
    container = read_container(tmp_path / "m.safetensors")
    assert container.ties == {"out.weight": "table.weight"}
    assert "lstm.bias_ih_l0" in container.untouched
    decompress_model(tmp_path / "m.safetensors", tmp_path / "plain.safetensors")
    logits = module(inputs)
    bake(module)
    assert module.out.weight is module.table.weight
    assert torch.equal(module(inputs), logits)
    module.out.weight.data.zero_()
    assert not module.table.weight.any()


def test_what_is_no_tensor_is_told(tmp_path, caplog):
    class Counting(torch.nn.Linear):
        def get_extra_state(self):
            return 7

        def set_extra_state(self, state):
            pass

    module = Counting(100, 50)
    prune(module, {"weight": PLANS["magnitude"]})
    with caplog.at_level(logging.WARNING):
        export(module, tmp_path / "m.safetensors")
    assert [r.message for r in caplog.records] == ["xorloom: left out, not tensors: _extra_state"]
    load(tmp_path / "m.safetensors", Counting(100, 50))


def test_a_file_of_another_module_is_refused_and_nothing_changes(tmp_path):
    path = tmp_path / "m.safetensors"
    module, _, _ = shaken("dense", PLANS["magnitude"])
    export(module, path)
    other, inputs = made("recurrent")
    before = other(inputs)
    with pytest.raises(ConfigError, match=r"m.safetensors: the module has no 1.bias"):
        load(path, other)
    assert torch.equal(other(inputs), before)
    with pytest.raises(ConfigError, match=r"1.bias is torch.float32 of \(120,\), in the module"):
        load(path, made("dense")[0].double())
    with pytest.raises(ConfigError, match="no weight of Linear is pruned: call prune"):
        export(torch.nn.Linear(3, 3), path)


def test_pruning_twice_or_beside_another_parametrization_is_refused():
    module, _, _ = shaken("dense", PLANS["magnitude"])
    with pytest.raises(ConfigError, match=r"1\.weight: pruned already, or parametrized"):
        prune(module, {"1.weight": PLANS["magnitude"]})
    with pytest.raises(ConfigError, match=r"importance '9.weight' belongs to no weight"):
        prune(made("dense")[0], PLANS["magnitude"], {"9.weight": None})
