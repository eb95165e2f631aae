# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.moments import Moments, MomentsBuilder
from xorloom.sw.value.direct.compensate import (
    compensate,
    corrected_bias,
    fit_scales,
    objective,
)

LEVELS = np.array([-1.5, -0.5, 0.5, 1.5], np.float32)


def nearest(column):
    return np.abs(column[:, None] - LEVELS).argmin(axis=1).astype(np.uint8)


def case(rows=12, columns=96, tokens=400, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((columns, columns)) / columns**0.5
    x = (rng.standard_normal((tokens, columns)) @ mix + 0.3 * mix[0] + shift).astype(np.float32)
    return rng.standard_normal((rows, columns)).astype(np.float32), x


def moments_of(x, originals=None):
    builder = MomentsBuilder(x.shape[1])
    builder.add(x, originals)
    return builder.moments()


def gptq(weights, second, damping, scales):
    """Columns in turn by the inverse's Cholesky factor, as in GPTQ's algorithm 1, in float64."""
    rest = weights.astype(np.float64)
    inverse = np.linalg.inv(second + damping * second.diagonal().mean() * np.eye(len(second)))
    upper = np.linalg.cholesky(inverse).T
    codes = np.zeros(weights.shape, np.uint8)
    for j in range(weights.shape[1]):
        codes[:, j] = nearest((rest[:, j] / scales).astype(np.float32))
        error = (rest[:, j] - LEVELS[codes[:, j]] * scales) / upper[j, j]
        rest[:, j:] -= np.outer(error, upper[j, j:])
    return codes


def test_compensation_chooses_what_gptq_chooses():
    weights, x = case()
    moments = moments_of(x)
    scales = weights.std(axis=1)
    aim = objective(weights, moments, damping=0.05, has_bias=False)
    expected = gptq(weights, moments.second.astype(np.float64), 0.05, scales)
    found = compensate(aim, LEVELS, scales, nearest)
    # Sums in another order and precision may move a weight across a threshold, once.
    assert (found != expected).mean() < 0.01
    assert (found[:, :60] == expected[:, :60]).all()


def test_compensation_lessens_the_error_of_outputs():
    weights, x = case()
    scales = weights.std(axis=1)
    aim = objective(weights, moments_of(x), damping=0.01, has_bias=False)
    plain = nearest((weights / scales[:, None]).reshape(-1)).reshape(weights.shape)

    def output_error(codes):
        return float(np.square(x @ (LEVELS[codes] * scales[:, None] - weights).T).sum())

    assert output_error(compensate(aim, LEVELS, scales, nearest)) < 0.6 * output_error(plain)


def test_columns_come_in_order():
    weights, x = case(columns=70)
    seen = []

    def step(column):
        seen.append(column)
        return nearest(column)

    scales = weights.std(axis=1)
    aim = objective(weights, moments_of(x), damping=0.1, has_bias=False)
    compensate(aim, LEVELS, scales, step)
    assert len(seen) == 70
    assert {(column.shape, column.dtype.name) for column in seen} == {((12,), "float32")}
    assert seen[0] == pytest.approx(weights[:, 0] / scales, rel=1e-5)


def test_objective_with_originals_is_the_outputs_error_and_the_damping():
    weights, x = case(rows=3, columns=10)
    _, noise = case(rows=3, columns=10, seed=1)
    z = x + noise / 3
    moments = moments_of(x, z)
    rng = np.random.default_rng(0)
    bias = rng.standard_normal(3)
    damping = 0.1 * np.mean(np.cov(x.T, bias=True).diagonal())
    for has_bias in (True, False):
        aim = objective(weights, moments, damping=0.1, has_bias=has_bias)
        if not has_bias:
            damping = 0.1 * np.mean((x.T @ x / len(x)).diagonal())
        gaps = []
        for seed in range(4):
            values = np.random.default_rng(seed).standard_normal((3, 10)).astype(np.float32)
            new = corrected_bias(bias, weights, values, moments) if has_bias else bias
            outputs = z @ weights.T + bias - (x @ values.T + new)
            direct = np.square(outputs).sum() / len(x) + damping * np.square(values - weights).sum()
            gaps.append(direct - aim.error(values))
        assert gaps == pytest.approx([gaps[0]] * 4, rel=1e-3)  # the same constant for all values


def test_scales_are_the_least_squares_ones():
    weights, x = case()
    aim = objective(weights, moments_of(x), damping=0.1, has_bias=False)
    scales = weights.std(axis=1)
    values = LEVELS[compensate(aim, LEVELS, scales, nearest)]
    best = fit_scales(aim, values, scales)
    least = aim.error(values * best[:, None])
    assert least < aim.error(values * scales[:, None])
    for factor in (0.99, 1.01):
        assert least < aim.error(values * (factor * best)[:, None])


def test_bias_takes_up_the_mean_of_the_error():
    weights, x = case()
    _, z = case(seed=3)
    values = np.round(weights)
    bias = np.arange(12, dtype=np.float32)
    moments = moments_of(x, z)
    new = corrected_bias(bias, weights, values, moments)
    assert new.dtype == np.float32
    expected = (z @ weights.T + bias).mean(axis=0)
    assert (x @ values.T + new).mean(axis=0) == pytest.approx(expected, abs=1e-4)
    plain = Moments(moments.second)
    assert corrected_bias(bias, weights, values, plain) is bias


def test_rows_of_zeros_and_dead_inputs_do_no_harm():
    weights, x = case()
    weights[4] = 0
    x[:, 7] = 0
    scales = weights.std(axis=1)
    aim = objective(weights, moments_of(x), damping=0.05, has_bias=True)
    codes = compensate(aim, LEVELS, scales, nearest)
    alive = np.arange(12) != 4
    sub = objective(weights[alive], moments_of(x), damping=0.05, has_bias=True)
    assert np.array_equal(codes[alive], compensate(sub, LEVELS, scales[alive], nearest))
    assert np.isfinite(fit_scales(aim, LEVELS[codes], scales)).all()
    assert fit_scales(aim, LEVELS[codes], scales)[4] == 0
    # A dead input's column is rounded to the nearest: its errors reach nobody.
    assert np.array_equal(codes[:, 7], nearest(weights[:, 7] / np.maximum(scales, 1e-9)))


def test_inputs_that_are_all_zero_make_all_weights_equal():
    weights, x = case()
    aim = objective(weights, moments_of(0 * x), damping=0.05, has_bias=True)
    assert np.array_equal(aim.metric, np.eye(96, dtype=np.float32))
    scales = weights.std(axis=1)
    codes = compensate(aim, LEVELS, scales, nearest)
    assert np.array_equal(codes[0], nearest(weights[0] / scales[0]))


def test_moments_that_cannot_be_are_rejected():
    weights, x = case()
    second = np.eye(96, dtype=np.float32)
    second[:3, :3] = 1.9 * np.eye(3, dtype=np.float32) - 0.9
    with pytest.raises(ConfigError, match=r"not positive definite, even with damping 0.01 \(coll"):
        objective(weights, Moments(second), damping=0.01, has_bias=False)
    with pytest.raises(ConfigError, match="is of 96 columns, the tensor has 95"):
        objective(weights[:, :95], moments_of(x), damping=0.01, has_bias=False)


def test_cross_moments_of_another_model_are_refused():
    weights, x = case()
    second = (x.T @ x / len(x)).astype(np.float32)
    mean = np.zeros(len(second), np.float32)
    wrong = Moments(second, mean, len(x), 100 * second, mean)
    with pytest.raises(ConfigError, match="change by more than 10 times themselves"):
        objective(weights, wrong, damping=0.01, has_bias=False)
