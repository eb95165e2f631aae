# SPDX-License-Identifier: Apache-2.0
"""Seed coding: trained seeds decode to the weights that were trained."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from safetensors.numpy import load_file
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.golden.direct import direct_decoder, direct_levels
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.model.verify import verify_model
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.quantize import Quantized, Quantizer, dequantize
from xorloom.sw.torch import LayerPlan
from xorloom.sw.value.direct.choose import choose
from xorloom.sw.value.direct.stream import pack_direct

from tests.helpers.models import as_model

torch = pytest.importorskip("torch")
from xorloom.sw.torch import prune  # noqa: E402
from xorloom.sw.torch.coding.seeds import LEVELS, SeedCoding  # noqa: E402

PLANS = [
    LayerPlan(mask="all", value="direct", rate=Fraction(1, 10)),
    LayerPlan(mask="all", value="direct", rate=Fraction(3, 31), scale="row", seed=5),
    LayerPlan(mask="all", value="direct", rate=Fraction(1, 4), planes=2, window=6, taps=3),
    LayerPlan(mask="all", value="direct", rate=Fraction(5, 2), planes=3, window=9, taps=1),
]
SHAPES = [(7, 100), (40, 3, 3, 3), (1, 1)]


def linear(plan, *, inputs=64, outputs=24):
    torch.manual_seed(3)
    module = torch.nn.Linear(inputs, outputs)
    return module, prune(module, {"weight": plan})


def coding_for(plan, shape):
    torch.manual_seed(1)
    weight = torch.randn(shape)
    coding = SeedCoding.of(weight, plan)
    return coding, coding.right_inverse(weight).requires_grad_()


def golden_weights(coded, shape):
    """Decode memory streams bit by bit, and take levels times scales."""
    config = coded.value
    data, _ = pack_direct(coded.seeds, config)
    words = [
        int.from_bytes(data[at : at + config.bus_bytes], "little")
        for at in range(0, len(data), config.bus_bytes)
    ]
    levels = np.array(direct_levels(config, words), np.float32)
    slices = direct_decoder(config, config.columns, words)
    codes = [
        piece >> lane * config.planes & (1 << config.planes) - 1
        for piece in slices
        for lane in range(config.lanes)
    ]
    size = int(np.prod(shape))
    rows = levels[codes[:size]].reshape(len(coded.quantized.scales), -1)
    return (rows * coded.quantized.scales.astype(np.float32)).reshape(shape)


def tap_table(config, weights):
    """Return the number of the seed bit of every tap, (weights, planes, taps); -1: none."""
    found = np.zeros((weights, config.planes, config.taps), int)
    for j in range(weights):
        end = -(-(j + 1) * config.rate.numerator // config.period) - 1
        for b, row in enumerate(config.network.rows[j % config.period]):
            found[j, b] = [end + t - (config.window - 1) for t in row]
    return np.maximum(found, -1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"rate {plan.rate}")
def test_weight_is_what_the_golden_model_decodes(plan, shape):
    coding, latent = coding_for(plan, shape)
    weight = coding(latent).detach().numpy()
    coded = coding.coded(latent)
    assert weight.shape == coded.quantized.mask.shape == shape
    np.testing.assert_array_equal(golden_weights(coded, shape), weight)
    assert len(set(np.abs(weight.reshape(-1)))) <= 2 ** (plan.planes - 1) * len(
        coded.quantized.scales
    )


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"rate {plan.rate}")
def test_gradient_is_that_of_every_tap_with_the_other_signs_as_they_are(plan):
    coding, latent = coding_for(plan, (6, 50))
    given = torch.randn(6, 50)
    (coding(latent) * given).sum().backward()
    x = latent.detach().numpy().astype(float)
    signs = np.append(np.where(x < 0, -1.0, 1.0), 1.0)  # the last one: before the stream
    taps = tap_table(coding.config, 300)
    planes = signs[taps].prod(axis=2)
    levels = np.array(LEVELS[plan.planes], float)
    bits = (planes < 0).astype(int)
    weigh = 1 << np.arange(plan.planes)
    scales = (
        coding.coded(latent)
        .quantized.scales.astype(float)
        .repeat(300 // len(coding.scales), axis=0)
        .reshape(-1)
    )
    to_value = given.numpy().reshape(-1) * scales
    expected = np.zeros(x.size + 1)
    for b in range(plan.planes):
        low = levels[(bits * weigh).sum(axis=1) & ~(1 << b)]
        high = levels[(bits * weigh).sum(axis=1) | 1 << b]
        for t in range(coding.config.taps):
            others = np.delete(signs[taps[:, b]], t, axis=1).prod(axis=1)
            np.add.at(expected, taps[:, b, t], to_value * (low - high) / 2 * others)
    expected = expected[:-1] * coding.slope * (1 - np.tanh(coding.slope * x) ** 2)
    np.testing.assert_allclose(latent.grad.numpy(), expected, rtol=1e-3, atol=1e-4)
    total = (given.numpy() * levels[(bits * weigh).sum(axis=1)].reshape(6, 50)).sum()
    assert float(coding.scales.grad.sum()) == pytest.approx(total, rel=1e-4)


def test_training_moves_seeds_and_scales_and_stays_exact():
    module, handle = linear(PLANS[0])
    coding, latent = handle.codings["weight"], handle.latent("weight")
    before = handle.coded("weight")
    target, x = torch.randn(24, 64) * 0.1, torch.randn(256, 64)
    (group,) = coding.training_parameters()
    scales = {"params": group["params"], "lr": 4e-3 * group["lr_factor"]}
    optimizer = torch.optim.Adam([{"params": [latent, module.bias], "lr": 4e-3}, scales])
    losses = []
    for _ in range(80):
        loss = ((module(x) - x @ target.T) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    after = handle.coded("weight")
    assert (after.quantized.codes != before.quantized.codes).any()
    assert (after.quantized.scales != before.quantized.scales).all()
    np.testing.assert_array_equal(golden_weights(after, (24, 64)), module.weight.detach().numpy())


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"rate {plan.rate}")
def test_file_brings_back_exactly_the_weights_in_training(plan, tmp_path):
    _, handle = linear(plan, inputs=333)
    coded = handle.coded("weight")
    weight = handle.weight("weight").detach().numpy()
    model = as_model({"weight": np.zeros_like(weight)})
    stored = TensorPlan(config=coded.value, quantizer=coded.quantizer)
    given = UserArrays(quantized={"weight": coded.quantized}, seeds={"weight": coded.seeds})
    compress_model(model, tmp_path / "c", {"weight": stored}, given=given)
    assert all(verdict.ok for verdict in verify_model(read_container(tmp_path / "c"), golden=True))
    decompress_model(tmp_path / "c", tmp_path / "d.safetensors")
    assert load_file(tmp_path / "d.safetensors")["weight"].tobytes() == weight.tobytes()


def test_training_can_begin_with_what_a_search_chose():
    weight = np.random.default_rng(4).standard_normal((20, 30)).astype(np.float32)
    config = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
    for scale, order in (("row", "column"), ("tensor", "skewed")):
        quantizer = Quantizer("trellis", 3, scale)
        choice = choose(weight, config, quantizer, order=order)
        levels = choice.streams.levels
        chosen = Quantized(np.ones((20, 30), np.bool_), choice.codes, choice.scales, levels=levels)
        coding = SeedCoding.from_choice(choice, config, quantizer)
        latent = coding.right_inverse(torch.zeros(20, 30)).requires_grad_()
        found = coding(latent)
        np.testing.assert_array_equal(found.detach().numpy(), dequantize(chosen, quantizer))
        coded = coding.coded(latent)
        assert pack_direct(coded.seeds, config) == pack_direct(choice.streams, config)


@pytest.mark.parametrize("order", ["column", "strided", "skewed"])
def test_gradient_follows_the_order_of_weights(order):
    weight = np.random.default_rng(4).standard_normal((20, 30)).astype(np.float32)
    config = DirectConfig(n_in=8, n_out=40, planes=1, window=8, bus_bits=32)
    quantizer = Quantizer("trellis", 1, "tensor")
    choice = choose(weight, config, quantizer, order=order)
    coding = SeedCoding.from_choice(choice, config, quantizer)
    latent = coding.right_inverse(torch.zeros(20, 30)).requires_grad_()
    found, given = coding(latent), torch.randn(20, 30)
    (found * given).sum().backward()
    for i in range(0, latent.numel(), 9):  # with one plane, weights are linear in every sign
        with torch.no_grad():
            flipped = latent.clone()
            flipped[i] *= -1
            change = ((found - coding(flipped)) * given).sum() * torch.sign(latent[i]) / 2
            soft = coding.slope * (1 - torch.tanh(coding.slope * latent[i]) ** 2)
        assert latent.grad[i] == pytest.approx(float(change * soft), rel=1e-2, abs=1e-2)


def test_choice_that_does_not_fit_is_refused():
    config = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
    weight = np.ones((20, 30), np.float32)
    quantizer = Quantizer("trellis", 3)
    choice = choose(weight, config, quantizer, slices_per_stream=100)
    with pytest.raises(ConfigError, match="fc: 2 streams of seeds, but one is trained"):
        SeedCoding.from_choice(choice, config, quantizer, name="fc")
    quantizer = Quantizer("trellis", 3, "group", 60)
    choice = choose(weight, config, quantizer)
    with pytest.raises(ConfigError, match="scales must be of the tensor, or of rows of axis 0"):
        SeedCoding.from_choice(choice, config, quantizer)


def test_scales_beyond_float16_are_told(caplog):
    SeedCoding.of(torch.full((8, 40), 1e-6), PLANS[0], name="fc")
    assert "xorloom: fc: scales are float32: in float16" in caplog.text


def test_state_dict_brings_the_same_weights():
    module, _ = linear(PLANS[1])
    with torch.no_grad():
        module.parametrizations.weight.original.neg_()
    fresh, _ = linear(PLANS[1])
    assert (fresh.weight != module.weight).any()
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh.weight, module.weight)


def test_state_dict_brings_the_dtype_of_scales():
    module, _ = linear(PLANS[0])
    fresh = torch.nn.Linear(64, 24)
    with torch.no_grad():
        fresh.weight.mul_(1e-5)
    other = prune(fresh, {"weight": PLANS[0]})
    assert other.coded("weight").quantized.scales.dtype == np.float32
    fresh.load_state_dict(module.state_dict())
    assert other.coded("weight").quantized.scales.dtype == np.float16
    assert torch.equal(fresh.weight, module.weight)


def test_state_dict_of_another_network_is_refused():
    module, _ = linear(PLANS[0])
    fresh, _ = linear(replace(PLANS[0], seed=1))
    with pytest.raises(ConfigError, match=r"state dict is of the network .*,0, order row, not .*"):
        fresh.load_state_dict(module.state_dict())


def test_weights_of_one_name_begin_alike_and_of_two_names_apart():
    weight = torch.randn(8, 40)
    one, same = (SeedCoding.of(weight, PLANS[0], name="a").right_inverse(weight) for _ in range(2))
    other = SeedCoding.of(weight, PLANS[0], name="b").right_inverse(weight)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_plan_that_does_not_fit_is_refused():
    weight = torch.randn(4, 8)
    plan = LayerPlan(mask="all", value="direct")
    with pytest.raises(ConfigError, match=r"fc: value direct needs a rate, such as"):
        SeedCoding.of(weight, plan, name="fc")
    with pytest.raises(ConfigError, match="fc: an importance goes with a mask"):
        SeedCoding.of(weight, PLANS[0], name="fc", importance=np.ones((4, 8)))


def test_default_network_has_two_taps_of_the_longest_window():
    config = SeedCoding.of(torch.ones(8, 40), PLANS[0]).config
    assert (config.rate, config.window, config.taps) == (Fraction(1, 10), 16, 2)
