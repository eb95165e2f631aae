# SPDX-License-Identifier: Apache-2.0
"""Modules that decode their weights when they are used: what they compute, hold and pass on."""

import copy
import logging
import pickle
import threading

import pytest

torch = pytest.importorskip("torch")

from xorloom.sw import save  # noqa: E402
from xorloom.sw.base.errors import ConfigError, FormatError  # noqa: E402
from xorloom.sw.model import codec  # noqa: E402
from xorloom.sw.torch import LayerPlan, load, load_compressed, prune  # noqa: E402
from xorloom.sw.torch.decoding import CompressedLinear  # noqa: E402

from tests.helpers.torch_nets import made  # noqa: E402


def stored(tmp_path, name, **settings):
    """Return a file of a network, the network that is loaded with it, and an input."""
    module, inputs = made(name)
    path = tmp_path / "m.xl.safetensors"
    settings = settings or {"sparsity": 0.8, "planes": 2}
    save(module.state_dict(), path, min_size=500, **settings)
    return path, load(path, module).eval(), inputs


@pytest.fixture
def decoded(monkeypatch):
    """Names of the tensors that are decoded."""
    names = []
    own = codec._planes
    monkeypatch.setattr(
        codec, "_planes", lambda c, name, *rest: (names.append(name), own(c, name, *rest))[1]
    )
    return names


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", ["dense", "convolutions", "recurrent"])
def test_logits_and_state_are_those_of_the_decoded_module(tmp_path, name, keep):
    path, plain, inputs = stored(tmp_path, name)
    module = load_compressed(path, made(name, seed=5)[0], keep=keep).eval()
    path.unlink()  # not needed any more
    for _ in range(2):
        assert torch.equal(module(inputs), plain(inputs))
    found, expected = module.state_dict(), plain.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    fresh = made(name, seed=6)[0].eval()
    fresh.load_state_dict(found)
    assert torch.equal(fresh(inputs), plain(inputs))
    assert "compressed to " in repr(module)


@pytest.mark.parametrize(
    "settings",
    [{"value": "direct", "rate": 2, "rotate": True}, {"sparsity": 0.8, "index": "trellis"}],
)
def test_other_codecs_decode_as_well(tmp_path, settings):
    path, plain, inputs = stored(tmp_path, "dense", **settings)
    assert torch.equal(load_compressed(path, made("dense")[0])(inputs), plain(inputs))


def test_weights_are_decoded_once_when_first_used(tmp_path, decoded):
    path, _, inputs = stored(tmp_path, "dense")
    decoded.clear()
    module = load_compressed(path, made("dense")[0])
    assert not decoded
    module[1](torch.zeros(1, 196))
    assert decoded == ["1.weight"]
    module(inputs)
    module(inputs)
    assert decoded == ["1.weight", "3.weight", "5.weight"]


def test_without_keep_each_use_decodes_and_nothing_stays(tmp_path, decoded):
    path, _, inputs = stored(tmp_path, "dense")
    module = load_compressed(path, made("dense")[0], keep=False)
    decoded.clear()
    module(inputs)
    module(inputs)
    assert decoded == 2 * ["1.weight", "3.weight", "5.weight"]
    assert module[1].compressed_weight._value is None


def test_threads_that_use_a_module_at_once_decode_once(tmp_path, decoded):
    path, plain, inputs = stored(tmp_path, "dense")
    module, found = load_compressed(path, made("dense")[0]), []
    decoded.clear()
    barrier = threading.Barrier(8)

    def run():
        barrier.wait()
        found.append(module(inputs))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(decoded) == ["1.weight", "3.weight", "5.weight"]
    assert all(torch.equal(one, plain(inputs)) for one in found)
    assert len(found) == 8


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_and_pickles_stay_compressed(tmp_path, copied):
    path, plain, inputs = stored(tmp_path, "recurrent")
    module = load_compressed(path, made("recurrent")[0])
    module(inputs)
    other = copied(module)
    path.unlink()
    assert other.table.compressed_weight is other.out.compressed_weight  # still tied
    assert other.table.compressed_weight is not module.table.compressed_weight
    assert other.table.compressed_weight._value is None
    assert torch.equal(other(inputs), plain(inputs))


def test_to_moves_and_casts_what_is_decoded(tmp_path):
    path, plain, inputs = stored(tmp_path, "dense")
    module = load_compressed(path, made("dense")[0])
    module(inputs)
    assert torch.equal(module.double()(inputs.double()), plain.double()(inputs.double()))
    assert module.to(torch.bfloat16)[1].weight.dtype == torch.bfloat16
    assert module.to("meta")[1].weight.is_meta
    names = {name for name, _ in module.named_parameters()}
    assert names == {"1.bias", "3.bias", "5.bias"}


def test_module_on_the_meta_device_gets_all_it_needs(tmp_path):
    path, plain, inputs = stored(tmp_path, "recurrent")
    with torch.device("meta"):
        module = made("recurrent")[0]
    load_compressed(path, module)
    assert torch.equal(module.eval()(inputs), plain(inputs))


def test_attention_takes_decoded_weights(tmp_path):
    torch.manual_seed(3)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    path = tmp_path / "m.xl.safetensors"
    save(layer.state_dict(), path, sparsity=0.5, min_size=500)
    plain, x = load(path, copy.deepcopy(layer)), torch.randn(2, 5, 32)
    module = load_compressed(path, layer)
    assert type(module.linear1) is CompressedLinear
    for train in (False, True):
        for dropout in (module, plain):
            dropout.train(train)
        torch.manual_seed(4)
        found = module(x)
        torch.manual_seed(4)
        assert torch.equal(found, plain(x))


def test_what_modules_cannot_decode_is_told_and_loaded(tmp_path, caplog):
    path, _, _ = stored(tmp_path, "recurrent")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        module = load_compressed(path, made("recurrent")[0])
    (record,) = caplog.records
    assert record.message.startswith("xorloom: decoded now, as their modules cannot do it")
    assert "lstm.weight_ih_l0" in record.message
    assert isinstance(module.lstm.weight_ih_l0, torch.nn.Parameter)


def test_gradients_pass_through_to_the_input(tmp_path):
    path, plain, inputs = stored(tmp_path, "dense")
    module = load_compressed(path, made("dense")[0])
    grads = []
    for net in (module, plain):
        x = inputs.clone().requires_grad_()
        net(x).square().sum().backward()
        grads.append(x.grad)
    assert torch.equal(*grads)
    assert module[1].bias.grad is not None


def test_other_weights_are_refused(tmp_path):
    path, plain, _ = stored(tmp_path, "dense")
    module = load_compressed(path, made("dense")[0])
    module.load_state_dict(plain.state_dict())  # the same ones
    state = made("dense", seed=9)[0].state_dict()
    with pytest.raises(RuntimeError, match=r"3\.weight is compressed and cannot be changed"):
        module.load_state_dict(state)
    del state["3.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*3\.weight"):
        module.load_state_dict(state)
    with pytest.raises(KeyError, match="weight"):
        module[1].weight = torch.nn.Parameter(torch.zeros(120, 196))


def test_files_and_modules_that_do_not_fit_are_refused_and_nothing_changes(tmp_path):
    path, _, _ = stored(tmp_path, "dense")
    other, inputs = made("recurrent")
    before = other(inputs)
    with pytest.raises(ConfigError, match=r"m.xl.safetensors: the module has no 1.bias"):
        load_compressed(path, other)
    assert torch.equal(other(inputs), before)
    with pytest.raises(ConfigError, match=r"1.weight is torch.float32 of \(120, 196\), in the mod"):
        load_compressed(path, made("dense")[0].double())
    pruned = made("dense")[0]
    prune(pruned, LayerPlan("magnitude"))
    with pytest.raises(ConfigError, match=r"the module is pruned: call bake\(module\) before"):
        load_compressed(path, pruned)
    lost = made("dense")[0]
    lost.register_buffer("step", torch.zeros(3, device="meta"), persistent=False)
    with pytest.raises(ConfigError, match="step of the module is on the meta device and in no"):
        load_compressed(path, lost)
    assert type(lost[1]) is torch.nn.Linear
    path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    with pytest.raises(FormatError, match=r"m\.xl\.safetensors"):
        load_compressed(path, made("dense")[0])


def test_untied_module_of_a_tied_file_and_the_other_way(tmp_path):
    path, plain, inputs = stored(tmp_path, "recurrent")
    apart = made("recurrent")[0]
    apart.out.weight = torch.nn.Parameter(apart.table.weight.detach().clone())
    assert torch.equal(load_compressed(path, apart).eval()(inputs), plain(inputs))
    state = plain.state_dict() | {"out.weight": plain.out.weight.detach() + 1}
    save(state, path, sparsity=0.8, planes=2, min_size=500)
    with pytest.raises(ConfigError, match=r"table.weight and out.weight differ, and are one"):
        load_compressed(path, made("recurrent")[0])
