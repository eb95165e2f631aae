# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.moments import Moments, MomentsBuilder


def test_moments_are_means_over_all_inputs():
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((2500, 6)) + 1, rng.standard_normal((2500, 6))
    builder = MomentsBuilder(6)
    for at in (0, 7, 1500):
        end = {0: 7, 7: 1500, 1500: 2500}[at]
        builder.add(x[at:end], z[at:end])
    found = builder.moments()
    assert found.samples == 2500
    assert found.columns == 6
    for array, expected in (
        (found.second, x.T @ x / 2500),
        (found.mean, x.mean(axis=0)),
        (found.cross, z.T @ x / 2500),
        (found.original_mean, z.mean(axis=0)),
    ):
        assert array.dtype == np.float32
        assert array == pytest.approx(expected, abs=1e-5)


def test_sums_are_double_precision():
    builder = MomentsBuilder(1)
    for _ in range(300):
        builder.add(np.full((1024, 1), 1.1, np.float32))
    exact = float(np.float32(1.1)) ** 2
    assert builder.moments().second[0, 0] == pytest.approx(exact, rel=2e-7)


@pytest.mark.parametrize(
    ("inputs", "originals", "text"),
    [
        (np.zeros((3, 5)), None, r"inputs have shape \(3, 5\), must be \(tokens, 4\)"),
        (np.zeros(4), None, r"inputs have shape \(4,\)"),
        (np.zeros((3, 4)), np.zeros((2, 4)), "2 original inputs for 3 inputs"),
        (np.full((3, 4), np.nan), None, "inputs are not finite"),
        (np.zeros((3, 4)), np.full((3, 4), np.inf), "original inputs are not finite"),
    ],
)
def test_builder_rejects_what_it_cannot_add(inputs, originals, text):
    with pytest.raises(ConfigError, match=text):
        MomentsBuilder(4).add(inputs, originals)


def test_builder_wants_originals_always_or_never():
    builder = MomentsBuilder(2)
    builder.add(np.ones((1, 2)))
    with pytest.raises(ConfigError, match="with every call, or with none"):
        builder.add(np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(ConfigError, match="no inputs reached the matrix"):
        MomentsBuilder(2).moments()


def changed(array, at, value):
    array = array.copy()
    array[at] = value
    return array


EYE, LINE = np.eye(3), np.zeros(3)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"second": np.zeros((3, 2))}, r"shape \(3, 2\), must be a square matrix"),
        ({"second": LINE}, r"shape \(3,\), must be a square matrix"),
        ({"second": EYE.astype(int)}, "is int64, must be float32 or float64"),
        ({"second": changed(EYE, (1, 2), np.nan)}, r"second moment at \(1, 2\) is nan"),
        ({"second": changed(EYE, (1, 2), 0.5)}, "is not symmetric"),
        ({"second": changed(EYE, (1, 1), -0.5)}, r"at \(1, 1\) is -0.5, must not be negative"),
        ({"second": 1e31 * EYE}, r"second moment at \(0, 0\) is 1e\+31, must be at most 1e\+30"),
        ({"second": 1e-31 * EYE}, "second moment is at most 1e-31: it must be 0 or reach 1e-30"),
        ({"second": EYE + 2 * (1 - EYE)}, r"at \(0, 1\) is 2, more than its diagonal allows"),
        ({"mean": changed(LINE, 1, -1.2)}, r"mean at \(1,\) is -1.2, more than the second"),
        ({"second": 0 * EYE, "mean": LINE + 1}, r"mean at \(0,\) is 1, more than the second"),
        ({"mean": np.zeros(2)}, r"mean has shape \(2,\), must be \(3,\)"),
        ({"mean": changed(LINE, 2, np.inf)}, r"mean at \(2,\) is inf"),
        ({"cross": EYE}, "cross and original_mean go together"),
        ({"cross": np.eye(2), "original_mean": LINE}, r"cross has shape \(2, 2\)"),
        ({"cross": EYE, "original_mean": np.zeros(1)}, r"original_mean has shape \(1,\)"),
    ],
)
def test_moments_that_cannot_be_are_rejected(fields, text):
    with pytest.raises(ConfigError, match=text):
        Moments(**{"second": EYE, **fields})
