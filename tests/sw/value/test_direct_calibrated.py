# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.moments import Moments, MomentsBuilder
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.tensors.rotation import rotate
from xorloom.sw.value.direct import calibrated
from xorloom.sw.value.direct.calibrated import (
    compensated,
    compensated_scalar,
    direct_plan,
    weights_of,
)
from xorloom.sw.value.direct.codec import decode
from xorloom.sw.value.direct.compensate import corrected_bias
from xorloom.sw.value.direct.stream import pack_direct, unpack_direct

CONFIG = DirectConfig(n_in=64, n_out=128, planes=4, window=8, taps=3)
ROWS = Quantizer("trellis", 4)
SCALAR = Quantizer("trellis", 2)


def case(rows=40, columns=96, tokens=600):
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((columns // 2, columns)) / columns**0.5
    x = rng.standard_normal((tokens, columns // 2)) @ mix + 0.1 * rng.standard_normal(columns)
    builder = MomentsBuilder(columns)
    builder.add(x)
    weights = rng.standard_normal((rows, columns)) * np.exp(rng.standard_normal((rows, 1)))
    return weights.astype(np.float32), x, builder.moments()


def output_error(weights, values, x, moments):
    bias = corrected_bias(np.zeros(len(weights)), weights, values, moments)
    wanted = x @ weights.T
    return float(np.square(x @ values.T + bias - wanted).sum() / np.square(wanted).sum())


@pytest.mark.parametrize("rotation", [None, 7])
@pytest.mark.parametrize("scale", ["row", "tensor"])
def test_streams_decode_to_the_codes_whose_values_come_near(rotation, scale):
    weights, x, moments = case()
    quantizer = Quantizer("trellis", 4, scale)
    choice = compensated(weights, CONFIG, moments, quantizer, rotation=rotation)
    assert choice.streams.order == "column"
    assert choice.streams.levels.dtype == np.int8
    assert np.abs(choice.streams.levels).max() == 127
    assert choice.codes.shape == weights.shape
    assert choice.scales.shape == ((40, 1) if scale == "row" else (1, 1))
    assert choice.scales.dtype == np.float16
    assert np.array_equal(decode(choice.streams, weights.shape, CONFIG), choice.codes)
    packed, _ = pack_direct(choice.streams, CONFIG)
    read = unpack_direct(
        packed,
        CONFIG,
        order="column",
        weights=weights.size,
        slices_per_stream=choice.streams.slices_per_stream,
        where="w",
    )
    assert np.array_equal(decode(read, weights.shape, CONFIG), choice.codes)
    values = weights_of(choice, quantizer, rotation)
    table = choice.streams.levels.astype(np.float32)[choice.codes] * choice.scales
    stored = weights if rotation is None else rotate(weights, rotation)
    most = 0.3 if scale == "row" else 0.6
    assert np.square(table - stored).sum() < most * np.square(stored).sum()
    assert np.square(values - weights).sum() == pytest.approx(
        np.square(table - stored).sum(), rel=1e-3
    )
    assert output_error(weights, values, x, moments) < (0.06 if scale == "row" else 0.2)


def test_trellis_beats_the_scalar_quantizer_of_as_many_bits():
    weights, x, moments = case()
    trellis = weights_of(compensated(weights, CONFIG, moments, ROWS, rotation=1), ROWS, 1)
    scalar = weights_of(compensated_scalar(weights, moments, SCALAR, rotation=1), SCALAR, 1)
    found = output_error(weights, trellis, x, moments)
    assert found < 0.8 * output_error(weights, scalar, x, moments)


def test_choice_is_the_same_every_time():
    weights, _, moments = case()
    first, second = (compensated(weights, CONFIG, moments, ROWS, rotation=1) for _ in range(2))
    assert np.array_equal(first.streams.streams[0].seeds, second.streams.streams[0].seeds)
    assert np.array_equal(first.scales, second.scales)


def test_damping_follows_what_is_known_of_the_inputs():
    weights, _, moments = case()
    known = replace(moments, cross=moments.second, original_mean=moments.mean)
    for given, usual in ((moments, 0.05), (known, 0.2)):
        found = [
            compensated(weights, CONFIG, given, ROWS, damping=damping).codes
            for damping in (None, 0.05, 0.2)
        ]
        equal = [
            damping
            for damping, codes in zip((0.05, 0.2), found[1:], strict=True)
            if np.array_equal(codes, found[0])
        ]
        assert equal == [usual]


def test_plan_gives_the_weights_that_the_choice_comes_back_as():
    weights, _, moments = case()
    choice = compensated(weights, CONFIG, moments, ROWS, rotation=3, has_bias=False)
    found = direct_plan(CONFIG, ROWS, rotation=3)("w", weights, moments, False)
    assert np.array_equal(found, weights_of(choice, ROWS, 3))


def test_all_dimensions_but_the_first_are_columns():
    weights, _, moments = case()
    flat = compensated(weights, CONFIG, moments, ROWS, rotation=3)
    deep = compensated(weights.reshape(40, 6, 4, 4), CONFIG, moments, ROWS, rotation=3)
    assert np.array_equal(deep.codes.reshape(40, 96), flat.codes)
    assert np.array_equal(decode(deep.streams, deep.codes.shape, CONFIG), deep.codes)


def test_rows_of_zeros_come_back_as_zeros_and_are_told():
    weights, _, moments = case()
    weights[[3, 9]] = 0
    choice = compensated(weights, CONFIG, moments, ROWS, rotation=3)
    assert choice.notes == ("2 of 40 rows are zeros, and come back as zeros",)
    assert not weights_of(choice, ROWS, 3)[[3, 9]].any()
    assert not compensated(0 * weights, CONFIG, moments, ROWS).scales.any()


def test_rotation_that_does_little_is_told():
    weights, _, moments = case()
    part = Moments(moments.second[:95, :95], moments.mean[:95])
    choice = compensated(weights[:, :95], CONFIG, part, ROWS, rotation=3)
    assert choice.notes == ("rotation of 95 columns, an odd number, changes signs only",)


def test_what_cannot_be_compensated_is_told_by_the_tensors_name(monkeypatch):
    weights, _, moments = case()
    for quantizer in (Quantizer("trellis", 4, "group"), Quantizer("trellis", 4, axis=1)):
        with pytest.raises(ConfigError, match="a: compensation goes with scale row of axis 0"):
            compensated(weights, CONFIG, moments, quantizer, name="a")
    with pytest.raises(ConfigError, match=r"a: calibration is of matrices, not of shape \(96,\)"):
        compensated(weights[0], CONFIG, moments, ROWS, name="a")
    with pytest.raises(ConfigError, match="a: calibration is of 96 columns, the tensor has 95"):
        compensated(weights[:, 1:], CONFIG, moments, ROWS, name="a")
    with pytest.raises(ConfigError, match=r"a: weight at \(0, 0\) is nan, must be finite"):
        compensated(weights * np.nan, CONFIG, moments, ROWS, name="a")
    monkeypatch.setattr(calibrated, "slices_per_stream", lambda weights, config: 5)
    with pytest.raises(CapacityError, match="a: 3840 weights need several streams"):
        compensated(weights, CONFIG, moments, ROWS, name="a")


@pytest.mark.parametrize("rotation", [None, 7])
@pytest.mark.parametrize("scale", ["row", "tensor"])
def test_weights_of_any_magnitude_are_chosen_alike(scale, rotation):
    weights, _, moments = case()
    quantizer = Quantizer("trellis", 4, scale, scale_dtype="float32")
    plain = compensated(weights, CONFIG, moments, quantizer, rotation=rotation)
    for power in (-110, 120):
        given = np.ldexp(weights, power)
        found = compensated(given, CONFIG, moments, quantizer, rotation=rotation)
        assert np.array_equal(found.codes, plain.codes)
        assert np.array_equal(found.scales, np.ldexp(plain.scales, power))
