# SPDX-License-Identifier: Apache-2.0
"""Masked coding: what forward passes see is what the file holds, and gradients go through."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from xorloom.sw.base.errors import ConfigError  # noqa: E402
from xorloom.sw.index.masks import check_choice  # noqa: E402
from xorloom.sw.tensors.quantize import dequantize  # noqa: E402
from xorloom.sw.torch import LayerPlan  # noqa: E402
from xorloom.sw.torch.coding.masked import MaskedCoding  # noqa: E402

PLANS = [
    LayerPlan("magnitude"),
    LayerPlan("magnitude", planes=3, scale="row"),
    LayerPlan("trellis", density=0.12, index_bits=0.1, planes=2),
    LayerPlan("lowrank", density=0.12),
    LayerPlan("hashed", density=0.25, scale="row"),
    LayerPlan("n:m", pattern=(2, 5)),
    LayerPlan("all", planes=2),
]


def weight(*shape, dtype=torch.float32):
    torch.manual_seed(3)
    return torch.nn.Parameter(torch.randn(*shape, dtype=dtype) * 0.05)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.mask}-{plan.planes}-{plan.scale}")
@pytest.mark.parametrize("shape", [(24, 200), (16, 20, 5, 3)])
def test_forward_is_what_the_file_decodes_to(plan, shape):
    latent = weight(*shape)
    coding = MaskedCoding.of(latent, plan)
    with torch.no_grad():  # scales and latents as a trainer leaves them, no longer fitted
        coding.scales.mul_(1.0377).add_(0.0003)
        latent.add_(torch.randn_like(latent) * 0.03)
    coded = coding.coded(latent)
    assert coded.quantized.scales.dtype == np.float16
    assert (dequantize(coded.quantized, coded.quantizer) == coding(latent).detach().numpy()).all()
    if coded.choice is not None:
        check_choice(coded.choice, "test")
        assert (coded.choice.mask == coded.quantized.mask).all()
    assert abs(coded.quantized.mask.mean() - plan.kept) < 0.03


def test_other_dtypes_and_scales_that_float16_cannot_hold():
    latent = weight(16, 300, dtype=torch.bfloat16)
    coding = MaskedCoding.of(latent, LayerPlan("magnitude", planes=2))
    assert coding(latent).dtype == torch.bfloat16
    small = MaskedCoding.of(weight(16, 300) * 1e-7, LayerPlan("magnitude"))
    assert small.coded(weight(16, 300)).quantized.scales.dtype == np.float32


@pytest.mark.parametrize("scale", ["tensor", "row"])
def test_gradients_are_those_of_the_same_sum_with_the_signs_held(scale):
    latent = weight(12, 40)
    coding = MaskedCoding.of(latent, LayerPlan("magnitude", density=0.3, planes=2, scale=scale))
    out = torch.randn(12, 40)
    (coding(latent) * out).sum().backward()
    mask = coding.mask
    assert torch.equal(latent.grad, torch.where(mask, out, 0.0))
    codes = torch.from_numpy(coding.coded(latent).quantized.codes.astype(np.int64))
    signs = [2.0 * (codes >> b & 1) - 1 for b in (0, 1)]
    expected = [(torch.where(mask, out, 0.0) * sign).sum(1) for sign in signs]
    expected = torch.stack(expected, 1)
    if scale == "tensor":
        expected = expected.sum(0, keepdim=True)
    torch.testing.assert_close(coding.scales.grad, expected)
    latent.grad, coding.clip = None, 1.0
    (coding(latent) * out).sum().backward()
    inside = latent.abs() <= coding.scales.half().float().sum(1)[:, None]
    assert torch.equal(latent.grad, torch.where(mask & inside, out, 0.0))
    coding.clip, coding.dense_gradient, latent.grad = None, True, None
    (coding(latent) * out).sum().backward()
    assert torch.equal(latent.grad, out)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"x: importance must have the weight's shape \(8, 600\)"):
        MaskedCoding.of(weight(8, 600), LayerPlan(), name="x", importance=np.ones((600, 8)))
    bad = weight(8, 600)
    with torch.no_grad():
        bad[1, 2] = float("nan")
    with pytest.raises(ConfigError, match=r"x: weight at \(1, 2\) is nan"):
        MaskedCoding.of(bad, LayerPlan(), name="x")
