# SPDX-License-Identifier: Apache-2.0
"""Scales that a dtype cannot hold, dead rows, zeros, and what is said of them."""

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors import fit
from xorloom.sw.tensors.loss import relative_error
from xorloom.sw.tensors.prune import prune_tensor
from xorloom.sw.tensors.quantize import METHODS, Quantizer, dequantize, quantize

ALL = np.ones((256, 256), np.bool_)


def gaussian(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def planes_of(method):
    return 1 if method == "ternary" else 4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [3e-7, 1e-9, 1e-30, 1e6, 1e30])
def test_scales_are_float32_where_float16_cannot_hold_them(method, size):
    weights = gaussian(256, 256) * np.float32(size)
    quantizer = Quantizer(method, planes_of(method))
    wide = Quantizer(method, planes_of(method), scale_dtype="float32")
    q = quantize(weights, ALL, quantizer)
    assert q.scales.dtype == np.float32
    assert q.scales.tobytes() == quantize(weights, ALL, wide).scales.tobytes()
    assert q.notes[-1].startswith("scales are float32: in float16 ")
    found = relative_error(weights, q, quantizer)
    unit = quantize(gaussian(256, 256), ALL, quantizer)
    assert unit.scales.dtype == np.float16
    assert unit.notes == ()
    assert found == pytest.approx(relative_error(gaussian(256, 256), unit, quantizer), rel=1e-3)


def test_scales_say_why_they_are_float32():
    weights = gaussian(256, 256)
    weights[3] *= 1e-6
    scale = float(np.abs(weights[3].astype(np.float64)).mean())
    loss = abs(float(np.float16(scale)) - scale) / scale
    assert loss > 0.01
    (note,) = quantize(weights, ALL, Quantizer()).notes
    assert note == (
        f"scales are float32: in float16 1 of 256 scale rows would lose up to {loss:.1%}"
    )
    weights[3:5] *= 1e12
    (note,) = quantize(weights, ALL, Quantizer()).notes
    assert note == "scales are float32: in float16 2 of 256 scale rows would be beyond it"


@pytest.mark.parametrize(("planes", "dtype"), [(1, np.float16), (4, np.float16), (8, np.float32)])
def test_more_planes_need_finer_scales(planes, dtype):
    # Scales of about 1e-5 are subnormal: float16 costs up to 0.4 % of them.
    weights = gaussian(256, 256) * np.float32(1e-5 * 2 ** (planes - 1))
    quantizer = Quantizer("uniform", planes)
    q = quantize(weights, ALL, quantizer)
    assert q.scales.dtype == dtype
    wide = Quantizer("uniform", planes, scale_dtype="float32")
    least = relative_error(weights, quantize(weights, ALL, wide), wide)
    assert relative_error(weights, q, quantizer) <= least * 1.02


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dead", [1e-18, 1e-9, 1e-45])
def test_a_dead_row_is_pruned_and_changes_nothing_else(method, axis, dead):
    weights = gaussian(256, 256)
    row = (10, slice(None)) if axis == 0 else (slice(None), 10)
    weights[row] = dead
    quantizer = Quantizer(method, planes_of(method), axis=axis)
    q = quantize(weights, ALL, quantizer)
    assert q.scales.dtype == np.float16
    assert not q.scales[10].any()
    assert not q.mask[row].any()
    assert not dequantize(q, quantizer)[row].any()
    (note,) = q.notes
    assert note.startswith("1 of 256 scale rows dead: weights up to ")
    assert note.endswith(" come back as 0")
    weights[row] = 0
    none = quantize(weights, weights != 0, quantizer)
    assert none.notes == ()
    for a, b in ((q.mask, none.mask), (q.codes, none.codes), (q.scales, none.scales)):
        assert (a == b).all()


def test_a_dead_row_of_a_fixed_mask_comes_back_as_zero():
    for method in ("binary", "alternating", "uniform"):
        weights = gaussian(256, 256)
        weights[10] = -1e-18
        weights[11] = 0
        quantizer = Quantizer(method, 3)
        q = quantize(weights, ALL, quantizer, fixed_mask=True)
        assert q.mask.all()
        assert q.scales.dtype == np.float16
        back = dequantize(q, quantizer)[10:12]
        assert not back.any()
        assert not np.signbit(back).any()


def test_rows_beside_a_giant_are_not_dead():
    # Beside 6e4 all others are below 2**-24, but float16 holds them, so they stay.
    weights = gaussian(256, 256) * np.float32(5e-4)
    weights[0] = 6e4
    q = quantize(weights, ALL, Quantizer())
    assert q.mask.all()
    assert q.notes == ()
    assert q.scales.dtype == np.float16
    weights[0] = 1e10  # float16 cannot hold this one, float32 holds all
    q = quantize(weights, ALL, Quantizer())
    assert q.mask.all()
    assert q.scales.dtype == np.float32
    assert (q.scales > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_all_rows_small_alike_are_alive(method):
    weights = gaussian(256, 256) * np.float32(1e-18)
    quantizer = Quantizer(method, planes_of(method))
    assert relative_error(weights, quantize(weights, ALL, quantizer), quantizer) < 0.5


@pytest.mark.parametrize("scale_dtype", ["float16", "float32"])
def test_weights_below_the_scales_of_float32_are_dead(scale_dtype):
    # 128 levels of a weight of 1e-45 take a scale that float32 has not.
    weights = np.full((2, 4), 1e-45, np.float32)
    quantizer = Quantizer("uniform", 8, scale_dtype=scale_dtype)
    q = quantize(weights, np.ones((2, 4), np.bool_), quantizer)
    assert q.scales.dtype == np.float32
    assert not q.scales.any()
    assert not q.mask.any()
    assert q.notes[-1] == (
        "2 of 2 scale rows dead: weights up to 1.4e-45 beside 1.4e-45 come back as 0"
    )
    binary = Quantizer("binary", 1, scale_dtype=scale_dtype)
    assert (dequantize(quantize(weights, weights > 0, binary), binary) == weights).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", ["tensor", "row", "group"])
@pytest.mark.parametrize("fixed_mask", [False, True])
def test_a_tensor_of_zeros_comes_back_as_zeros(method, scale, fixed_mask):
    if fixed_mask and method == "ternary":
        return
    weights = np.zeros((3, 5), np.float32)
    weights[1] = -0.0
    mask = np.ones((3, 5), np.bool_)
    quantizer = Quantizer(method, planes_of(method), scale)
    q = quantize(weights, mask, quantizer, fixed_mask=fixed_mask)
    assert q.mask.all() == fixed_mask
    assert q.mask.any() == fixed_mask
    assert dequantize(q, quantizer).tobytes() == bytes(4 * 15)
    assert relative_error(weights, q, quantizer) == 0


@pytest.mark.parametrize("method", METHODS)
def test_zeros_of_a_given_mask_are_pruned(method):
    weights = gaussian(256, 256)
    weights[np.random.default_rng(1).random(weights.shape) < 0.95] *= 0
    assert np.signbit(weights[weights == 0]).any()
    quantizer = Quantizer(method, planes_of(method))
    q = quantize(weights, ALL, quantizer)
    assert q.mask.sum() <= 3238
    assert (method == "ternary") != (q.mask.sum() == 3238)
    assert weights[q.mask].all()
    assert q.notes == ("62298 zeros of the mask are pruned: no code is a zero",)
    own = quantize(weights, prune_tensor(weights, 0.9), quantizer)
    assert own.notes == ()
    assert own.scales.tobytes() == q.scales.tobytes()
    assert own.codes.tobytes() == q.codes.tobytes()


def test_zeros_of_a_fixed_mask_count_in_scales_and_have_both_signs():
    weights = np.array([[3.0, 0.0, -0.0, 0.0, 0.0, -1.0]], np.float32)
    quantizer = Quantizer("binary", 1, scale_dtype="float32")
    q = quantize(weights, np.ones((1, 6), np.bool_), quantizer, fixed_mask=True)
    assert q.scales.tolist() == [[np.float32(4 / 6)]]
    assert q.codes.tolist() == [[1, 1, 0, 1, 0, 0]]
    assert q.notes == ("4 zeros are kept by the index, and come back as the smallest level",)


def test_ternary_cannot_have_a_fixed_mask():
    with pytest.raises(ConfigError) as caught:
        quantize(gaussian(2, 2), ALL[:2, :2], Quantizer("ternary"), fixed_mask=True, name="fc")
    assert str(caught.value) == "fc: the ternary quantizer prunes, so the mask cannot be fixed"


def test_what_is_beyond_float32_becomes_its_largest_number():
    largest = np.finfo(np.float32).max
    weights = np.array([[largest, largest, 1.0]], np.float32)
    quantizer = Quantizer("binary", 2)  # greedy coding gives the first two 1.1 times their size
    q = quantize(weights, weights > 0, quantizer)
    assert dequantize(q, quantizer)[0, :2].tolist() == [largest, largest]
    assert relative_error(weights, q, quantizer) < 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", [1, -1])
def test_terms_that_coincide_share_a_constant(method, sign):
    weights = np.full((64, 64), sign * 0.5, np.float32)
    quantizer = Quantizer(method, min(2, planes_of(method)), "tensor")
    q = quantize(weights, np.ones(weights.shape, np.bool_), quantizer)
    assert np.isfinite(q.scales).all()
    assert (dequantize(q, quantizer) == weights).all()


@pytest.mark.long
def test_terms_that_coincide_in_very_many_weights_are_solved_for():
    # A ridge that does not grow with the count is lost in 2**24 products: "Singular matrix".
    values = np.full(1 << 24, 0.5)
    codes, scales = fit.alternating(values, np.zeros(values.size, np.intp), 1, 2)
    assert np.allclose(scales, 0.25)
    assert (codes == 3).all()


def test_uniform_with_eight_planes_has_both_ends():
    weights = np.array([[-128.0, 128.0, 1.0, -1.0]], np.float32)
    quantizer = Quantizer("uniform", 8)
    q = quantize(weights, weights != 0, quantizer)
    assert q.codes.tolist() == [[127, 255, 128, 0]]
    assert (dequantize(q, quantizer) == weights).all()


def test_float16_weights_are_not_added_in_float16():
    # 4,096 weights of 60,000 sum to far more than 65,504.
    weights = np.full((1, 4096), 60000, np.float16)
    q = quantize(weights, np.ones(weights.shape, np.bool_), Quantizer())
    assert q.scales.tolist() == [[60000]]


def test_messages_name_the_tensor():
    for weights, options, text in (
        (np.array([[1e60]]), {}, r"fc\.w: weight at \(0, 0\) is 1e\+60, beyond float32"),
        (np.array([[np.nan]]), {}, r"fc\.w: weight at \(0, 0\) is nan"),
        (np.ones((1, 1)), {"axis": 2}, r"fc\.w: axis must be between -2 and 1 for shape \(1, 1\)"),
    ):
        with pytest.raises(ConfigError, match=text):
            quantize(weights, ALL[:1, :1], Quantizer(**options), name="fc.w")


def test_dequantize_rejects_scales_that_are_not_finite():
    q = quantize(gaussian(4, 4), ALL[:4, :4], Quantizer())
    q.scales[2] = np.nan
    with pytest.raises(ConfigError) as caught:
        dequantize(q, Quantizer(), name="fc")
    assert str(caught.value) == "fc: scales of row 2 are [nan], must be finite"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"axis": 64}, "axis must be between -64 and 63, not 64"),
        ({"axis": 0.5}, "axis must be an integer, not 0.5"),
        (
            {"axis": 1, "scale": "tensor"},
            "axis goes with scale row, not tensor (leave axis at 0)",
        ),
        (
            {"axis": -1, "scale": "group"},
            "axis goes with scale row, not group (leave axis at 0)",
        ),
    ],
)
def test_quantizer_rejects_an_axis(values, text):
    with pytest.raises(ConfigError) as caught:
        Quantizer(**values)
    assert str(caught.value) == text


@pytest.mark.parametrize("axis", [1, -1, 5])
def test_a_vector_has_one_scale_whatever_the_axis(axis):
    quantizer = Quantizer(axis=axis)
    assert quantizer.scale_shape((7,)) == (1, 1)
    assert quantizer.scale_shape(()) == (1, 1)
    assert quantizer.axis_of((7,)) == 0
    assert quantize(gaussian(7), np.ones(7, np.bool_), quantizer).scales.shape == (1, 1)
