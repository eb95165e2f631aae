# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.tensors import fit

NUMBERS = st.floats(-4, 4, width=16)


@given(st.integers(1, 8), st.integers(1, 3), st.data())
def test_nearest_is_the_nearest_of_all_levels(terms, groups, data):
    scales = data.draw(st.lists(NUMBERS, min_size=groups * terms, max_size=groups * terms))
    scales = np.array(scales).reshape(groups, terms)
    values = np.array(data.draw(st.lists(NUMBERS, min_size=1, max_size=30)))
    group = np.array([data.draw(st.integers(0, groups - 1)) for _ in values])
    codes = fit.nearest(values, group, scales)
    assert codes.dtype == np.uint8
    for value, row, code in zip(values, scales[group], codes.tolist(), strict=True):
        levels = [
            sum(a if c >> b & 1 else -a for b, a in enumerate(row)) for c in range(1 << terms)
        ]
        assert code < 1 << terms
        nearest = min(abs(value - level) for level in levels)
        assert abs(value - levels[code]) <= nearest + 1e-12


def test_nearest_gives_zeros_of_opposite_sign_opposite_levels():
    scales = np.array([[2.0, -0.5, 0.25]])
    codes = fit.nearest(np.array([0.0, -0.0]), np.zeros(2, np.intp), scales)
    assert codes[0] ^ codes[1] == 0b111


@pytest.mark.parametrize("method", [fit.greedy, fit.alternating, fit.uniform])
def test_fits_do_not_let_groups_touch_each_other(method, rng):
    values = rng.standard_normal(90)
    group = np.repeat([0, 2, 3], 30)
    codes, scales = method(values, group, 5, 3)
    assert not scales[[1, 4]].any()
    for g in (0, 2, 3):
        own = group == g
        alone, scale = method(values[own] * 1e6, np.zeros(30, np.intp), 1, 3)
        assert (alone == codes[own]).all()
        assert np.allclose(scale[0], scales[g] * 1e6)


def test_fits_of_nothing_are_nothing():
    for method in (fit.greedy, fit.alternating, fit.uniform):
        codes, scales = method(np.zeros(0), np.zeros(0, np.intp), 2, 3)
        assert codes.shape == (0,)
        assert not scales.any()


def test_balanced_zeros_are_positive_and_negative_in_turn():
    values = fit.balanced(np.array([-0.0, 1.0, -0.0, -2.0, 0.0]))
    assert np.signbit(values).tolist() == [False, False, True, True, False]
    assert values.tolist() == [0, 1, 0, -2, 0]
