# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.quantize import Quantized, Quantizer, dequantize, quantize


def made(method, planes, **options):
    return Quantizer(method, planes, **{"scale": "tensor", "scale_dtype": "float32"} | options)


def error(weights, mask, quantizer):
    values = dequantize(quantize(weights, mask, quantizer), quantizer)
    return float((((weights - values) * mask) ** 2).sum())


def random_case(rng, shape=(12, 40), density=0.4):
    return rng.standard_normal(shape).astype(np.float32), rng.random(shape) < density


def test_binary_first_term_is_mean_magnitude_and_sign():
    weights = np.array([[0.5, -1.5, 1.0], [2.0, 7.0, -4.0]], np.float32)
    mask = np.array([[1, 1, 1], [1, 0, 1]], np.bool_)
    q = quantize(weights, mask, made("binary", 1))
    assert q.scales.tolist() == [[np.float32((0.5 + 1.5 + 1 + 2 + 4) / 5)]]
    assert q.codes.tolist() == [[1, 0, 1], [1, 0, 0]]
    assert (q.mask == mask).all()


def test_binary_later_terms_code_what_is_left():
    weights = np.array([3.0, 1.0, -1.0, -3.0], np.float32)
    q = quantize(weights, np.ones(4, np.bool_), made("binary", 2))
    assert q.scales.tolist() == [[2.0, 1.0]]
    assert q.codes.tolist() == [0b11, 0b01, 0b10, 0b00]
    assert dequantize(q, made("binary", 2)).tolist() == weights.tolist()


@pytest.mark.parametrize("planes", range(1, 9))
def test_binary_follows_the_greedy_rule_row_by_row(planes, rng):
    weights, mask = random_case(rng)
    q = quantize(weights, mask, made("binary", planes, scale="row"))
    for row, keep, codes, scales in zip(weights, mask, q.codes, q.scales, strict=True):
        rest = row[keep].astype(np.float64)
        for b in range(planes):
            sign = np.where(rest >= 0, 1, -1)
            assert np.isclose(scales[b], np.abs(rest).mean(), rtol=1e-6)
            assert ((codes[keep] >> b) & 1 == (sign > 0)).all()
            rest -= sign * np.abs(rest).mean()


@pytest.mark.parametrize("scale", ["tensor", "row", "group"])
@pytest.mark.parametrize("planes", range(1, 9))
def test_alternating_is_no_worse_than_greedy(planes, scale, rng):
    for density in (0.02, 0.4, 1.0):
        weights, mask = random_case(rng, density=density)
        greedy = error(weights, mask, made("binary", planes, scale=scale, group=16))
        refined = error(weights, mask, made("alternating", planes, scale=scale, group=16))
        assert refined <= greedy * (1 + 1e-5) + 1e-6


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_alternating_scales_and_codes_fit_each_other(planes, seed):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(30).astype(np.float32)
    mask = np.ones(30, np.bool_)
    q = quantize(weights, mask, made("alternating", planes))
    levels = [
        sum(q.scales[0, b] * (1 if code >> b & 1 else -1) for b in range(planes))
        for code in range(1 << planes)
    ]
    nearest = np.abs(weights[:, None] - np.array(levels)).min(axis=1)
    chosen = np.abs(weights - np.array(levels)[q.codes])
    # The last least-squares step moves scales after the codes were chosen, by a little at most.
    assert float((chosen**2).sum()) <= float((nearest**2).sum()) * 1.02 + 1e-6


def test_ternary_prunes_below_seven_tenths_of_the_mean():
    weights = np.array([1.0, -1.0, 0.71, 0.69, -1.6, 9.0], np.float32)
    mask = np.array([1, 1, 1, 1, 1, 0], np.bool_)
    q = quantize(weights, mask, made("ternary", 1))  # mean 1.0, threshold 0.7
    assert q.mask.tolist() == [True, True, True, False, True, False]
    assert q.codes.tolist() == [1, 0, 1, 0, 0, 0]
    assert np.allclose(q.scales, (1 + 1 + 0.71 + 1.6) / 4)
    assert mask.tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("scale", ["row", "group"])
def test_ternary_threshold_is_that_of_the_group(scale):
    weights = np.array([[1.0, 1.0, 0.1], [100.0, 100.0, 1.0]], np.float32)
    q = quantize(weights, np.ones((2, 3), np.bool_), made("ternary", 1, scale=scale, group=3))
    assert q.mask.tolist() == [[True, True, False]] * 2
    assert q.scales.tolist() == [[1.0], [100.0]]


def brute_force_uniform(values, planes):
    """Best of 40 clip steps; every weight takes the nearest of the explicit levels."""
    half = 1 << (planes - 1)
    levels = np.array([m for m in range(-half, half + 1) if m])
    best = None
    for step in range(1, 41):
        scale = float(np.abs(values).max()) / half * (step / 40)
        distance = (values[:, None] - levels * scale) ** 2
        total = float(distance.min(axis=1).sum())
        if best is None or total < best[0]:
            best = total, scale
    return best


@pytest.mark.parametrize("planes", range(1, 6))
def test_uniform_finds_the_best_clip_step(planes, rng):
    for _ in range(6):
        weights = (rng.standard_normal(25) ** 3).astype(np.float32)
        total, scale = brute_force_uniform(weights.astype(np.float64), planes)
        quantizer = made("uniform", planes)
        q = quantize(weights, np.ones(25, np.bool_), quantizer)
        found = float(((weights - dequantize(q, quantizer)).astype(np.float64) ** 2).sum())
        assert np.isclose(found, total, rtol=1e-5)
        assert np.isclose(q.scales[0, 0], scale, rtol=1e-6)


def test_uniform_code_is_sign_bit_and_level():
    weights = np.array([-2.0, -1.0, 1.0, 2.0], np.float32)
    quantizer = made("uniform", 2)
    q = quantize(weights, np.ones(4, np.bool_), quantizer)
    assert q.codes.tolist() == [0b01, 0b00, 0b10, 0b11]
    assert dequantize(q, quantizer).tolist() == weights.tolist()


def test_uniform_uses_all_codes_of_eight_planes(rng):
    weights = np.concatenate([np.arange(-128, 0), np.arange(1, 129)]).astype(np.float32)
    quantizer = made("uniform", 8)
    q = quantize(weights, np.ones(256, np.bool_), quantizer)
    assert len(set(q.codes.tolist())) == 256
    assert dequantize(q, quantizer).tolist() == weights.tolist()


@pytest.mark.parametrize("method", ["binary", "alternating", "ternary", "uniform"])
@pytest.mark.parametrize(
    ("shape", "scale", "group", "groups"),
    [
        ((4, 6), "tensor", 5, 1),
        ((4, 6), "row", 5, 4),
        ((4, 2, 3), "row", 5, 4),
        ((24,), "row", 5, 1),
        ((), "row", 5, 1),
        ((4, 6), "group", 5, 5),
        ((4, 6), "group", 24, 1),
        ((4, 6), "group", 100, 1),
        ((0, 6), "row", 5, 0),
        ((3, 0), "group", 5, 0),
    ],
)
def test_quantize_makes_one_scale_row_a_group(method, shape, scale, group, groups, rng):
    planes = 1 if method == "ternary" else 3
    quantizer = made(method, planes, scale=scale, group=group)
    weights = np.asarray(rng.standard_normal(shape), np.float32)
    q = quantize(weights, np.ones(shape, np.bool_), quantizer)
    terms = 3 if method in ("binary", "alternating") else 1
    assert quantizer.terms == terms
    assert q.scales.shape == (groups, terms)
    assert q.codes.dtype == np.uint8
    values = dequantize(q, quantizer)
    assert values.dtype == np.float32
    assert values.shape == shape


@pytest.mark.parametrize("scale", ["row", "group"])
def test_quantize_scales_serve_their_own_weights_only(scale):
    weights = np.array([[1, -1, 1], [8, 8, -8], [5, 5, 5]], np.float32)
    mask = np.array([[1, 1, 1], [1, 1, 1], [0, 0, 0]], np.bool_)
    quantizer = made("binary", 1, scale=scale, group=3)
    q = quantize(weights, mask, quantizer)
    assert q.scales.tolist() == [[1.0], [8.0], [0.0]]
    assert (dequantize(q, quantizer) == weights * mask).all()


@pytest.mark.parametrize("method", ["binary", "alternating", "ternary", "uniform"])
def test_quantize_of_nothing_kept_or_all_zero_is_zero(method):
    quantizer = made(method, 1)
    weights = np.zeros((3, 4), np.float32)
    for mask in (np.zeros((3, 4), np.bool_), np.ones((3, 4), np.bool_)):
        q = quantize(weights, mask, quantizer)
        assert not q.codes[~q.mask].any()
        assert not dequantize(q, quantizer).any()


@pytest.mark.parametrize("method", ["binary", "alternating", "ternary", "uniform"])
def test_dequantize_follows_the_formula_of_the_format(method, rng):
    planes = 1 if method == "ternary" else 3
    quantizer = made(method, planes, scale="row", scale_dtype="float16")
    weights, mask = random_case(rng, (5, 7))
    q = quantize(weights, mask, quantizer)
    assert q.scales.dtype == np.float16
    values = dequantize(q, quantizer)
    for (i, j), value in np.ndenumerate(values):
        a, code = q.scales[i].astype(np.float64), int(q.codes[i, j])
        if not q.mask[i, j]:
            expected = 0.0
        elif method == "uniform":
            expected = (code % 4 + 1) * a[0] * (1 if code >> 2 else -1)
        else:
            expected = sum(a[b] * (2 * (code >> b & 1) - 1) for b in range(planes))
        assert np.isclose(value, expected, rtol=1e-6)


def test_dequantize_adds_terms_in_order_in_single_precision():
    scales = np.array([[1e8, 1.0, 1.0, 1e8]], np.float32)
    quantizer = made("binary", 4)
    q = Quantized(np.ones(1, np.bool_), np.array([0b0111], np.uint8), scales)
    assert dequantize(q, quantizer).tolist() == [0.0]  # each 1.0 is lost beside 1e8
    low = Quantized(np.ones(1, np.bool_), np.array([0b1110], np.uint8), scales)
    assert dequantize(low, quantizer).tolist() == [0.0]


@pytest.mark.parametrize(
    "mask", [np.ones((2, 2), np.bool_), np.ones((2, 3), np.uint8), np.ones(6, np.bool_)]
)
def test_quantize_rejects_masks_that_do_not_fit(mask):
    with pytest.raises(ConfigError) as caught:
        quantize(np.ones((2, 3), np.float32), mask, Quantizer())
    expected = f"weights: mask must be bool of shape (2, 3), not {mask.dtype} of {mask.shape}"
    assert str(caught.value) == expected


def test_quantize_rejects_weights_that_are_not_finite():
    with pytest.raises(ConfigError, match=r"weight at \(1,\) is inf, must be finite"):
        quantize(np.array([1.0, np.inf]), np.ones(2, np.bool_), Quantizer())


def test_dequantize_rejects_scales_of_another_shape():
    mask = np.ones((4, 6), np.bool_)
    bad = Quantized(mask, mask.astype(np.uint8), np.ones((4, 2), np.float16))
    with pytest.raises(ConfigError) as caught:
        dequantize(bad, Quantizer("binary", 1, "row"))
    expected = "weights: scales must be (4, 1) for row scales of shape (4, 6), not (4, 2)"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"method": "log"},
            "method must be one of binary, alternating, ternary, uniform, trellis, not 'log'",
        ),
        ({"scale": "column"}, "scale must be one of tensor, row, group, not 'column'"),
        ({"scale_dtype": "int8"}, "scale_dtype must be one of float16, float32, not 'int8'"),
        ({"planes": 0}, "planes must be between 1 and 8, not 0"),
        ({"planes": 9}, "planes must be between 1 and 8, not 9"),
        ({"group": 0}, "group must be between 1 and 1073741824, not 0"),
        (
            {"method": "ternary", "planes": 2},
            "ternary has 1 plane, not 2 (use binary or uniform)",
        ),
    ],
)
def test_quantizer_rejects(values, text):
    with pytest.raises(ConfigError) as caught:
        Quantizer(**values)
    assert str(caught.value) == text
