# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.tensors import fit, fit_kernels

NUMBERS = st.floats(-4, 4, width=16)


def nearest_codes(values, group, scales):
    codes = np.zeros(values.size, np.uint8)
    moving = np.ones(len(scales), np.bool_)
    changed = fit.nearest(values, group, scales, codes, moving)
    assert changed.tolist() == [codes[group == g].any() for g in range(len(scales))]
    return codes


def signs_of(codes, terms):
    return (codes[:, None] >> np.arange(terms) & 1) * 2.0 - 1


def alternating_by_formula(values, group, groups, terms):
    """Group by group, all levels tried, as the paper has it; sums in the order of the values."""
    codes, scales = np.zeros(values.size, np.uint8), np.zeros((groups, terms))
    for g in np.unique(group):
        own = values[group == g]
        rest, code = own.copy(), np.zeros(own.size, np.uint8)
        for b in range(terms):
            scale = np.add.accumulate(np.abs(rest))[-1] / own.size
            code |= (~np.signbit(rest)).astype(np.uint8) << np.uint8(b)
            rest -= np.where(np.signbit(rest), -1.0, 1.0) * scale
        for _ in range(15):
            signs = signs_of(code, terms)
            right = [np.add.accumulate(signs[:, i] * own)[-1] / own.size for i in range(terms)]
            normal = signs.T @ signs / own.size + 1e-9 * np.eye(terms)
            scale = np.linalg.solve(normal, right)
            levels = signs_of(np.arange(1 << terms), terms) @ scale
            gap = np.abs(own[:, None] - levels)
            new = gap.argmin(axis=1).astype(np.uint8)
            sure = np.sort(gap, axis=1)[:, 1] - gap.min(axis=1) > 1e-9
            if not sure.all():
                return None  # ties: which of two levels is as good
            if (new == code).all():
                break
            code = new
        codes[group == g], scales[g] = code, scale
    return codes, scales


@given(st.integers(2, 4), st.integers(1, 5), st.integers(1, 60), st.integers(0, 1 << 20))
def test_alternating_is_the_papers_formula(terms, groups, size, seed):
    rng = np.random.default_rng(seed)
    values, group = rng.standard_normal(size) * 3, rng.integers(0, groups, size)
    expected = alternating_by_formula(values, group, groups, terms)
    if expected is not None:
        codes, scales = fit.alternating(values, group, groups, terms)
        assert (codes == expected[0]).all()
        assert np.allclose(scales, expected[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", fit_kernels.__all__)
def test_a_kernel_is_its_python_function(name, monkeypatch, rng):
    values, group = rng.standard_normal(200), rng.integers(0, 4, 200)
    compiled = fit.alternating(values, group, 5, 3)
    monkeypatch.setattr(fit, name, getattr(fit_kernels, name).py_func)
    plain = fit.alternating(values, group, 5, 3)
    for a, b in zip(compiled, plain, strict=True):
        assert a.tobytes() == b.tobytes()


@given(st.integers(1, 8), st.integers(1, 3), st.data())
def test_nearest_is_the_nearest_of_all_levels(terms, groups, data):
    scales = data.draw(st.lists(NUMBERS, min_size=groups * terms, max_size=groups * terms))
    scales = np.array(scales).reshape(groups, terms)
    values = np.array(data.draw(st.lists(NUMBERS, min_size=1, max_size=30)))
    group = np.array([data.draw(st.integers(0, groups - 1)) for _ in values])
    codes = nearest_codes(values, group, scales)
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
    codes = nearest_codes(np.array([0.0, -0.0]), np.zeros(2, np.intp), scales)
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
