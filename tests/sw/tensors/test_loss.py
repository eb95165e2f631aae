# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from xorloom.sw.tensors import loss
from xorloom.sw.tensors.loss import (
    gaussian_error,
    relative_error,
    share_of_dense_bound,
    worse_than,
)
from xorloom.sw.tensors.prune import prune_tensor
from xorloom.sw.tensors.quantize import Quantizer, dequantize, quantize


def error_of(weights, mask, quantizer):
    return relative_error(weights, quantize(weights, mask, quantizer), quantizer)


def two_heights(*shape):
    """Weights of magnitude 0.3 and 1, and one of 12 in each row: uniform levels fit them badly."""
    rng = np.random.default_rng(3)
    weights = rng.choice([0.3, 1.0], shape) * rng.choice([-1, 1], shape)
    weights[:, 0] = 12
    return weights.astype(np.float32)


def test_relative_error_is_by_hand():
    weights = np.array([[3.0, 1.0, -2.0, 0.0]], np.float32)
    mask = np.array([[True, True, False, False]])
    quantizer = Quantizer("binary", 1, scale_dtype="float32")
    q = quantize(weights, mask, quantizer)  # both come back as 2
    assert relative_error(weights, q, quantizer) == pytest.approx((1 + 1 + 4) / 14)


def test_relative_error_goes_through_a_large_tensor_in_parts(rng):
    weights = rng.standard_normal((1100, 1000)).astype(np.float32)
    mask = prune_tensor(weights, 0.5)
    q = quantize(weights, mask, Quantizer())
    zero = quantize(weights, np.zeros(mask.shape, np.bool_), Quantizer())
    found = relative_error(weights, q, Quantizer())
    lost = np.square(weights.astype(np.float64) - dequantize(q, Quantizer())).sum()
    assert found == pytest.approx(lost / np.square(weights.astype(np.float64)).sum())
    assert relative_error(weights, zero, Quantizer()) == 1


@pytest.mark.parametrize("scale", ["tensor", "row", "group"])
def test_worse_than_finds_fewer_planes_with_less_error(scale):
    weights = two_heights(64, 128)
    mask = np.ones(weights.shape, np.bool_)
    quantizer = Quantizer("uniform", 4, scale)
    found = worse_than(weights, mask, quantizer)
    assert found.used == quantizer
    assert found.better.method == "alternating"
    assert found.better.planes < 4
    assert found.better.scale == scale
    for how, said in ((found.used, found.used_error), (found.better, found.better_error)):
        assert said == pytest.approx(error_of(weights, mask, how), rel=0.1)
    assert str(found) == (
        f"uniform with 4 planes has error {found.used_error:.4g}; alternating with "
        f"{found.better.planes} planes has {found.better_error:.4g}"
    )
    assert found.better_error < found.used_error


def test_worse_than_warns_of_uniform_levels_for_heavy_tails():
    weights = np.random.default_rng(0).standard_t(2, size=(256, 256)).astype(np.float32)
    mask = np.ones(weights.shape, np.bool_)
    four, two = Quantizer("uniform", 4), Quantizer("alternating", 2)
    assert error_of(weights, mask, four) > 2 * error_of(weights, mask, two)
    assert worse_than(weights, mask, four).better == two


@pytest.mark.parametrize("shape", [(4, 200_000), (200_000, 4), (8, 100, 1000)])
def test_worse_than_needs_few_weights_of_any_shape(shape, monkeypatch):
    sizes = []

    def watched(weights, *rest):
        sizes.append(weights.size)
        return quantize(weights, *rest)

    monkeypatch.setattr(loss, "quantize", watched)
    weights = np.random.default_rng(0).standard_t(2, size=shape).astype(np.float32)
    worse_than(weights, np.ones(shape, np.bool_), Quantizer("uniform", 4))
    assert min(sizes) > 3000
    assert max(sizes) < 9000


def test_worse_than_looks_at_rows_along_the_axis():
    weights = two_heights(64, 128) * np.geomspace(1, 1000, 64, dtype=np.float32)[:, None]
    mask = np.ones(weights.shape, np.bool_)
    first = worse_than(weights, mask, Quantizer("uniform", 4))
    turned = worse_than(weights.T, mask.T, Quantizer("uniform", 4, axis=-1))
    assert turned.used_error == pytest.approx(first.used_error)
    assert turned.better == Quantizer("alternating", first.better.planes, axis=-1)


def test_worse_than_has_nothing_to_say_where_more_planes_are_better(rng):
    weights = rng.standard_normal((64, 128)).astype(np.float32)
    mask = prune_tensor(weights, 0.5)
    for method, planes in (("uniform", 4), ("alternating", 3), ("binary", 1), ("ternary", 1)):
        assert worse_than(weights, mask, Quantizer(method, planes)) is None
    assert worse_than(weights, np.zeros(mask.shape, np.bool_), Quantizer("uniform", 4)) is None
    short = rng.standard_normal((2, 50)).astype(np.float32)
    assert worse_than(short, short != 0, Quantizer("uniform", 4, "group", 70)) is None


def test_worse_than_says_that_greedy_terms_are_many(rng):
    weights = rng.standard_normal((64, 128)).astype(np.float32)
    found = worse_than(weights, np.ones(weights.shape, np.bool_), Quantizer("binary", 8))
    assert found.better.planes < 6
    assert found.better.method in ("alternating", "uniform")


@pytest.mark.parametrize("planes", range(2, 9))
@pytest.mark.parametrize("method", ["uniform", "binary"])
def test_more_planes_of_one_method_are_never_worse(method, planes, rng):
    for weights in (rng.standard_normal((8, 60)), rng.standard_cauchy((8, 60)), two_heights(8, 60)):
        weights = weights.astype(np.float32)
        mask = prune_tensor(weights, 0.5)
        few, many = (Quantizer(method, p, scale_dtype="float32") for p in (planes - 1, planes))
        assert error_of(weights, mask, many) <= error_of(weights, mask, few) * (1 + 1e-6)


@pytest.mark.parametrize(
    ("rate", "error"), [(0, 1), (0.5, 0.5), (1, 0.25), (2, 0.0625), (3, 1 / 64)]
)
def test_dense_gaussian_weights_lose_a_quarter_for_each_bit(rate, error):
    assert gaussian_error(rate) == error
    if rate:
        assert share_of_dense_bound(error, rate) == pytest.approx(1)


def test_share_of_the_dense_bound_is_by_hand():
    # 2**-0.5168 = 0.69892, so 0.30108 could be caught; 0.274 was.
    assert share_of_dense_bound(0.7260, 0.2584) == pytest.approx(0.2740 / 0.30108, abs=1e-4)
    assert share_of_dense_bound(1.0, 0.3) == 0
    assert share_of_dense_bound(0.5, 0.0) == 0, "nothing stored"
    assert share_of_dense_bound(1 - 1e-9, 1e-9) == pytest.approx(1 / (2 * np.log(2)), rel=1e-6)


def test_heavy_tails_exceed_the_dense_bound():
    """One weight of 100 holds nearly all: its place and sign take a tenth of a bit per weight."""
    weights = np.full((100, 100), 0.01, np.float32)
    weights[:, 7] = 10
    how = Quantizer(scale="tensor")
    error = relative_error(weights, quantize(weights, weights > 1, how), how)
    assert share_of_dense_bound(error, 0.0808 + 0.01) > 8
