# SPDX-License-Identifier: Apache-2.0
"""Quantizers against a slow oracle: one weight at a time, in Python's own numbers."""

import itertools
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from xorloom.sw.tensors.loss import relative_error
from xorloom.sw.tensors.quantize import METHODS, Quantizer, dequantize, quantize, stored_quantizer

DTYPES = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
SHAPES = st.one_of(st.just(()), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
VALUES = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0]), st.floats(-9, 9, width=16))


@st.composite
def cases(draw):
    """Weights of any dtype and shape, a mask, a quantizer with float32 scales."""
    shape = draw(SHAPES)
    size = math.prod(shape)
    values = draw(st.lists(VALUES, min_size=size, max_size=size))
    kept = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    method = draw(st.sampled_from(METHODS))
    scale = draw(st.sampled_from(["tensor", "row", "group"]))
    axis = 0
    if scale == "row" and len(shape) >= 2:
        axis = draw(st.integers(-len(shape), len(shape) - 1))
    quantizer = Quantizer(
        method,
        1 if method == "ternary" else draw(st.integers(1, 8)),
        scale,
        draw(st.integers(1, 7)),
        "float32",
        axis,
    )
    weights = np.array(values, np.float64).reshape(shape).astype(draw(st.sampled_from(DTYPES)))
    return weights, np.array(kept, np.bool_).reshape(shape), quantizer


def members(shape, quantizer):
    """Positions of the weights that every row of scales serves."""
    rows = {}
    for ordinal, place in enumerate(itertools.product(*map(range, shape))):
        if quantizer.scale == "group":
            row = ordinal // quantizer.group
        elif quantizer.scale == "row" and len(shape) >= 2:
            row = place[quantizer.axis]
        else:
            row = 0
        rows.setdefault(row, []).append(place)
    return rows


def levels(method, planes, scales):
    """All values that codes can mean."""
    if method == "uniform":
        return [s * m * scales[0] for m in range(1, 2 ** (planes - 1) + 1) for s in (1, -1)]
    signs = itertools.product((1, -1), repeat=len(scales))
    return [math.fsum(s * a for s, a in zip(row, scales, strict=True)) for row in signs]


def least_error(method, planes, values):
    """Squared error that the method reaches on the kept values of one row of scales."""
    if method == "uniform":
        half, largest = 2 ** (planes - 1), max(map(abs, values))
        tries = [[largest / half * step / 40] for step in range(1, 41)]
        return min(
            math.fsum(min((v - n) ** 2 for n in levels(method, planes, s)) for v in values)
            for s in tries
        )
    rest = list(values)
    for _ in range(planes):
        scale = math.fsum(map(abs, rest)) / len(rest)
        rest = [v - math.copysign(scale, v) for v in rest]
    return math.fsum(v * v for v in rest)


@given(cases())
def test_quantize_is_the_oracle_on_every_row_of_scales(case):
    weights, mask, quantizer = case
    q = quantize(weights, mask, quantizer)
    decoded = dequantize(q, quantizer)
    assert q.scales.dtype == np.float32
    assert q.codes.dtype == np.uint8
    assert not (q.codes.astype(int) >> quantizer.planes).any()
    assert decoded.dtype == np.float32
    assert decoded.shape == weights.shape
    assert not decoded[~q.mask].any()
    assert not q.codes[~q.mask].any()
    rows = members(weights.shape, quantizer)
    assert q.scales.shape[0] == len(rows) or (q.scales.shape[0] == 1 and not rows)
    for row, places in rows.items():
        kept = [p for p in places if mask[p] and weights[p] != 0]
        if quantizer.method == "ternary" and kept:
            mean = math.fsum(abs(float(weights[p])) for p in kept) / len(kept)
            kept = [p for p in kept if abs(float(weights[p])) > 0.7 * mean]
        assert [p for p in places if q.mask[p]] == kept
        if not kept:
            assert not q.scales[row].any()
            continue
        values = [float(weights[p]) for p in kept]
        scales = [float(s) for s in q.scales[row]]
        allowed = levels(quantizer.method, quantizer.planes, scales)
        peak = max(map(abs, values))
        assert all(min(abs(decoded[p] - n) for n in allowed) <= 1e-6 * peak for p in kept)
        found = math.fsum((float(weights[p]) - float(decoded[p])) ** 2 for p in kept)
        least = least_error(quantizer.method, quantizer.planes, values)
        near = 1e-5 * peak * peak * len(kept)
        assert found <= least * (1 + 1e-5) + near
        if quantizer.method != "alternating":
            assert found >= least * (1 - 1e-5) - near


@given(cases())
def test_relative_error_counts_what_is_pruned(case):
    weights, mask, quantizer = case
    q = quantize(weights, mask, quantizer)
    decoded = dequantize(q, quantizer)
    places = list(np.ndindex(weights.shape))
    total = math.fsum(float(weights[p]) ** 2 for p in places)
    lost = math.fsum((float(weights[p]) - float(decoded[p])) ** 2 for p in places)
    found = relative_error(weights, q, quantizer)
    assert math.isclose(found, lost / total if total else 0.0, rel_tol=1e-9, abs_tol=1e-12)


@given(cases())
def test_stored_quantizer_decodes_alike_with_an_axis_from_the_front(case):
    weights, mask, quantizer = case
    q = quantize(weights, mask, quantizer)
    stored = stored_quantizer(quantizer, q)
    assert stored.axis >= 0
    assert stored.axis < max(1, weights.ndim)
    assert dequantize(q, stored).tobytes() == dequantize(q, quantizer).tobytes()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("method", METHODS)
def test_scales_along_an_axis_are_those_of_rows_of_the_turned_tensor(method, axis, rng):
    weights = rng.standard_normal((6, 7, 5)).astype(np.float32)
    mask = rng.random(weights.shape) < 0.6
    planes = 1 if method == "ternary" else 3
    along = Quantizer(method, planes, axis=axis)
    first = Quantizer(method, planes)
    turned = quantize(np.moveaxis(weights, axis, 0), np.moveaxis(mask, axis, 0), first)
    q = quantize(weights, mask, along)
    assert q.scales.tobytes() == turned.scales.tobytes()
    assert (q.codes == np.moveaxis(turned.codes, 0, axis)).all()
    assert (dequantize(q, along) == np.moveaxis(dequantize(turned, first), 0, axis)).all()


@given(cases())
def test_a_fixed_mask_keeps_all_and_zeros_become_the_smallest_level(case):
    weights, mask, quantizer = case
    if quantizer.method == "ternary":
        quantizer = Quantizer("binary", 1, scale_dtype="float32")
    q = quantize(weights, mask, quantizer, fixed_mask=True)
    assert (q.mask == mask).all()
    decoded = dequantize(q, quantizer)
    zeros = mask & (weights == 0)
    assert any("zeros are kept by the index" in note for note in q.notes) == zeros.any()
    for row, places in members(weights.shape, quantizer).items():
        kept = [p for p in places if mask[p]]
        at_zero = [float(decoded[p]) for p in kept if zeros[p]]
        if not q.scales[row].any():
            assert not any(decoded[p] for p in kept)
            continue
        if quantizer.method != "binary" and at_zero:
            scales = [float(s) for s in q.scales[row]]
            least = min(map(abs, levels(quantizer.method, quantizer.planes, scales)))
            peak = max(abs(float(weights[p])) for p in kept)
            assert all(abs(abs(v) - least) <= 1e-6 * peak for v in at_zero)
        if quantizer.scale == "tensor":
            assert abs(sum(np.sign(at_zero))) <= 1
