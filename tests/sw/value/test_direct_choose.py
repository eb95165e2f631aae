# SPDX-License-Identifier: Apache-2.0
"""Values that the direct codec chooses: errors near the bound, scales, levels, bad input."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.direct_preset import direct_config
from xorloom.sw.tensors.orders import ORDERS
from xorloom.sw.tensors.quantize import Quantized, Quantizer, dequantize
from xorloom.sw.value.direct.choose import choose, sequence
from xorloom.sw.value.direct.codec import decode
from xorloom.sw.value.direct.levels import fit_levels, gaussian_levels, stored_levels
from xorloom.sw.value.direct.stream import pack_direct, unpack_direct

CONFIG = DirectConfig(n_in=8, n_out=16, planes=4, window=8, taps=3, bus_bits=32)
TRELLIS = Quantizer(method="trellis", planes=4)


def values_of(choice, quantizer):
    mask = np.ones(choice.codes.shape, np.bool_)
    quantized = Quantized(mask, choice.codes, choice.scales, levels=choice.streams.levels)
    return dequantize(quantized, quantizer)


def error(weights, choice, quantizer=TRELLIS):
    rest = values_of(choice, quantizer) - weights
    return float(np.mean(rest**2) / np.mean(weights**2))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(7,), (33, 41), (5, 6, 7), (1, 0), (1, 1)])
def test_choose_makes_streams_that_decode_to_its_codes(order, shape, rng):
    weights = rng.standard_normal(shape).astype(np.float32)
    choice = choose(weights, CONFIG, TRELLIS, order=order, slices_per_stream=20)
    data, _ = pack_direct(choice.streams, CONFIG)
    found = unpack_direct(data, CONFIG, order=order, weights=weights.size, slices_per_stream=20)
    assert (decode(found, shape, CONFIG) == choice.codes).all()
    assert choice.codes.shape == shape
    assert choice.scales.shape == TRELLIS.scale_shape(shape)


def test_choose_runs_down_the_columns_by_default(rng):
    weights = rng.standard_normal((3, 4)).astype(np.float32)
    assert choose(weights, CONFIG, TRELLIS).streams.order == "column"
    assert (sequence(weights, "column", CONFIG) == weights.T.reshape(-1)).all()
    # Strided lanes: weights 0, 3, 6, 9 are the first beat's.
    assert sequence(np.arange(12), "strided", CONFIG)[:4].tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("scale", ["tensor", "row", "group"])
def test_choose_comes_near_the_bound(scale, rng):
    weights = rng.standard_normal((256, 256)).astype(np.float32)
    quantizer = replace(TRELLIS, scale=scale)
    own = error(weights, choose(weights, CONFIG, quantizer), quantizer)
    fixed = error(weights, choose(weights, CONFIG, quantizer, own_levels=False), quantizer)
    assert own < 0.098
    assert fixed < 0.099
    assert own < 1.005 * fixed


def test_choose_own_levels_follow_the_weights(rng):
    weights = rng.laplace(size=(256, 256)).astype(np.float32)
    quantizer = replace(TRELLIS, scale="tensor")
    own = error(weights, choose(weights, CONFIG, quantizer), quantizer)
    fixed = error(weights, choose(weights, CONFIG, quantizer, own_levels=False), quantizer)
    assert own < 0.95 * fixed


def test_choose_scales_follow_the_rows_down_to_zeros(rng):
    weights = rng.standard_normal((6, 512)) * np.array([1, 0.1, 0, 30, 0, 2])[:, None]
    choice = choose(weights.astype(np.float32), CONFIG, TRELLIS)
    rest = values_of(choice, TRELLIS) - weights
    share = np.mean(rest**2, axis=1)[[0, 1, 3, 5]] / np.mean(weights**2, axis=1)[[0, 1, 3, 5]]
    # What counts is the tensor's error: rows of little weight are served last.
    assert share[2] < 0.12
    assert share.max() < 1
    assert choice.scales[[2, 4]].tolist() == [[0], [0]]
    assert choice.notes == ("2 of 6 scale rows are all zeros: their scale is 0",)


def test_choose_importance_decides_what_is_near(rng):
    weights = rng.standard_normal((64, 512)).astype(np.float32)
    importance = np.where(np.arange(512) % 2, 8.0, 0.5) * np.ones((64, 1))
    plain = (values_of(choose(weights, CONFIG, TRELLIS, order="row"), TRELLIS) - weights) ** 2
    chosen = choose(weights, CONFIG, TRELLIS, order="row", importance=importance)
    rest = (values_of(chosen, TRELLIS) - weights) ** 2
    assert (importance * rest).sum() < 0.7 * (importance * plain).sum()
    assert rest[:, 1::2].sum() < plain[:, 1::2].sum()


def test_choose_is_the_same_for_any_number_of_threads(rng):
    weights = rng.standard_normal((300, 500)).astype(np.float32)
    one, three = (choose(weights, CONFIG, TRELLIS, threads=n) for n in (1, 3))
    assert (one.codes == three.codes).all()
    assert (one.scales == three.scales).all()


def test_choose_refuses_what_it_cannot_use(rng):
    weights = rng.standard_normal((4, 8)).astype(np.float32)
    bad = weights.copy()
    bad[2, 3] = np.nan
    with pytest.raises(ConfigError, match=r"layer: weight at \(2, 3\) is nan, must be finite"):
        choose(bad, CONFIG, TRELLIS, name="layer")
    with pytest.raises(ConfigError, match=r"layer: importance must have the weights' shape"):
        choose(weights, CONFIG, TRELLIS, importance=weights[0], name="layer")
    with pytest.raises(ConfigError, match="layer: importance must be finite and not negative"):
        choose(weights, CONFIG, TRELLIS, importance=-np.abs(weights), name="layer")
    with pytest.raises(ConfigError, match="planes must be 4"):
        choose(weights, CONFIG, replace(TRELLIS, planes=3))


def test_stored_levels_use_all_of_int8():
    stored, unit = stored_levels(np.array([-2.54, 0.02, 1.27, 0], np.float32))
    assert stored.tolist() == [-127, 1, 64, 0]
    assert unit == pytest.approx(0.02)
    assert stored_levels(np.zeros(4, np.float32))[0].tolist() == [0, 0, 0, 0]


def test_fit_levels_lowers_the_error(rng):
    x = rng.standard_normal(8000).astype(np.float32)
    start = np.linspace(-1, 1, 16, dtype=np.float32)
    errors = [fit_levels(x, None, start, CONFIG, rounds=rounds)[1] for rounds in (1, 2, 5)]
    assert errors == sorted(errors, reverse=True)
    found, again = (fit_levels(x, None, gaussian_levels(CONFIG), CONFIG, rounds=1) for _ in "ab")
    assert found[1] < errors[-1] * 1.02
    assert (found[0] == again[0]).all()


@pytest.mark.parametrize("rate", [3, 4])
@pytest.mark.parametrize("size", [33, -100, 1e4])
def test_choose_takes_outliers_for_what_they_are(rate, size):
    config = direct_config(rate=Fraction(rate), window=8)
    weights = np.random.default_rng(1).standard_normal((64, 256)).astype(np.float32)
    weights[3, 9] = size
    quantizer = Quantizer("trellis", config.planes, scale_dtype="float32")
    choice = choose(weights, config, quantizer)
    values = choice.streams.levels[choice.codes] * choice.scales
    assert values[3, 9] * np.sign(size) == np.abs(values[3]).max()
