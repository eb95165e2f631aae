# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct_preset import direct_config
from xorloom.sw.tensors.quantize import Quantized, Quantizer, dequantize

torch = pytest.importorskip("torch")

from xorloom.sw.torch.coding.base import Coded  # noqa: E402
from xorloom.sw.torch.coding.frozen import FrozenCoding  # noqa: E402

DIRECT = direct_config(rate=Fraction(2), window=8)


def coded(
    method: str, planes: int, scale: str = "row", dtype: type = np.float16, rotation: int | None = 3
) -> Coded:
    """A weight of 6 x 24 with random codes and scales."""
    rng = np.random.default_rng(planes)
    shape, quantizer = (6, 24), Quantizer(method, planes, scale=scale)
    trellis = method == "trellis"
    mask = np.ones(shape, np.bool_) if trellis else rng.random(shape) < 0.5
    codes = np.where(mask, rng.integers(0, 1 << planes, shape), 0).astype(np.uint8)
    scales = rng.uniform(0.01, 0.1, quantizer.scale_shape(shape)).astype(dtype)
    levels = rng.integers(-127, 128, 1 << planes).astype(np.int8) if trellis else None
    own = rotation if trellis else None
    quantized = Quantized(mask, codes, scales, levels=levels, rotation=own)
    return Coded(quantized, quantizer, DIRECT if trellis else WindowConfig())


CASES = [
    coded("trellis", 4),
    coded("trellis", 4, rotation=None),
    coded("trellis", 4, dtype=np.float32),
    coded("trellis", 4, scale="tensor"),
    coded("alternating", 3),
    coded("alternating", 2, scale="tensor", dtype=np.float32),
    coded("uniform", 4),
    coded("ternary", 1),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.quantizer.method}-{c.quantizer.scale}")
def test_frozen_weights_are_those_of_the_file(case: Coded) -> None:
    coding = FrozenCoding(case)
    latent = torch.zeros(case.quantized.mask.shape)
    for factor in (1.0, 1.2345678):  # as they came, and after training
        with torch.no_grad():
            coding.scales *= factor
        found = coding.coded(latent)
        expected = dequantize(found.quantized, found.quantizer)
        assert np.array_equal(coding(latent).detach().numpy(), expected)
    assert np.array_equal(found.quantized.codes, case.quantized.codes)
    assert found.quantized.scales.dtype == case.quantized.scales.dtype
    assert not np.array_equal(found.quantized.scales, case.quantized.scales)
    assert found.quantized.rotation == case.quantized.rotation


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.quantizer.method}-{c.quantizer.scale}")
def test_gradient_of_scales_is_that_of_dequantize(case: Coded) -> None:
    coding = FrozenCoding(case)
    wanted = torch.randn(case.quantized.mask.shape, generator=torch.Generator().manual_seed(0))
    (coding(torch.zeros(wanted.shape)) * wanted).sum().backward()
    grad = coding.scales.grad
    assert grad is not None
    scales = case.quantized.scales.astype(np.float32)
    for at in np.ndindex(scales.shape):
        one = np.zeros_like(scales)
        one[at] = 1
        values = dequantize(replace(case.quantized, scales=one), case.quantizer)
        assert float(grad[at]) == pytest.approx(float((values * wanted.numpy()).sum()), abs=1e-4)


def test_frozen_tells_of_scales_that_it_cannot_train() -> None:
    case = coded("alternating", 1)
    for scale, axis in (("group", 0), ("row", 1)):
        quantizer = Quantizer("alternating", 1, scale=scale, axis=axis, group=8)
        with pytest.raises(ConfigError, match=r"fc: scales that are trained must be those of rows"):
            FrozenCoding(replace(case, quantizer=quantizer), name="fc")
    coding = FrozenCoding(case, name="fc")
    with torch.no_grad():
        coding.scales[0] = 1e9
    with pytest.raises(ConfigError, match=r"fc: a scale is beyond float16 .*lower learning rate"):
        coding.coded(torch.zeros(6, 24))
