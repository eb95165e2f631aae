# SPDX-License-Identifier: Apache-2.0
"""Rate-distortion bound against closed forms and Blahut-Arimoto; what masks keep, by hand."""

from itertools import pairwise
from math import exp, log2, pi
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.rate_distortion import (
    kept_share,
    nm_share,
    rate_bound,
    share_bound,
    sign_error,
)


def h(*p):
    return -sum(x * log2(x) for x in p if x > 0)


def gaussian(size, seed=1):
    return np.abs(np.random.default_rng(seed).normal(size=size))


def two_valued(share, density, rate):
    """Weights of 1 (``share`` of them) and 0: the most of the ones that a mask can keep.

    By bisection on P(keep | 1) = a: the others follow from the density, the rate is the mutual
    information of weight and mask.
    """
    low, high = density, min(1.0, density / share)
    for _ in range(80):
        a = (low + high) / 2
        b = (density - share * a) / (1 - share)
        used = h(density, 1 - density) - share * h(a, 1 - a) - (1 - share) * h(b, 1 - b)
        low, high = (low, a) if used > rate else (a, high)
    return low * share / min(share, density)


def blahut_arimoto(values, density, slope):
    """(rate, kept importance) for equally frequent weights at a slope, by alternation.

    The multiplier ``a`` of the density is found by bisection around the alternation of
    P(keep | w) and P(keep), which starts at one half.
    """
    low, high = -60.0, 60.0
    for _ in range(70):
        a, keep = (low + high) / 2, 0.5
        for _ in range(400):
            on = [keep * exp(slope * w + a) for w in values]
            p = [x / (x + 1 - keep) for x in on]
            new = sum(p) / len(p)
            if abs(new - keep) < 1e-13:
                break
            keep = new
        low, high = (a, high) if keep < density else (low, a)
    mean = sum(p) / len(p)
    rate = h(mean, 1 - mean) - sum(h(x, 1 - x) for x in p) / len(p)
    return mean, rate, sum(x * w for x, w in zip(p, values, strict=True)) / len(p)


@pytest.mark.parametrize(("share", "density"), [(0.1, 0.1), (0.25, 0.1), (0.05, 0.2), (0.5, 0.5)])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.2])
def test_share_bound_of_two_values_is_the_closed_form(share, density, rate):
    weights = np.zeros(4000)
    weights[: round(4000 * share)] = 3.0
    expected = two_valued(share, density, rate)
    assert share_bound(weights, density, rate) == pytest.approx(expected, abs=2e-6)
    if expected < 0.9999:
        assert rate_bound(weights, density, expected) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("slope", [0.3, 1.0, 2.5])
def test_share_bound_is_what_blahut_and_arimoto_find(slope):
    values = [0.1, 0.4, 0.5, 1.1, 1.3, 2.0, 2.2, 3.7]
    density, rate, kept = blahut_arimoto(values, 0.25, slope)
    assert density == pytest.approx(0.25, abs=1e-4)
    top = (3.7 + 2.2) / 8
    weights = np.array(values * 500)
    assert share_bound(weights, 0.25, rate) == pytest.approx(kept / top, abs=1e-3)
    assert rate_bound(weights, 0.25, kept / top) == pytest.approx(rate, rel=1e-2)


@pytest.mark.parametrize(
    ("density", "rate", "share"), [(0.09, 1 / 6, 0.845), (0.09, 0.1, 0.747), (0.3, 1 / 6, 0.7945)]
)
def test_share_bound_of_gaussian_weights(density, rate, share):
    # A numerical solution for |w|, normal, made apart from this code.
    assert share_bound(gaussian(400_000), density, rate) == pytest.approx(share, abs=0.003)


@settings(max_examples=20)
@given(st.floats(0.02, 0.5), st.floats(0.02, 0.98), st.integers(0, 9))
def test_bounds_are_inverse_of_each_other(density, part, seed):
    weights = gaussian(500, seed)
    least = share_bound(weights, density, 0.0)
    kept = least + part * (1 - least)
    rate = rate_bound(weights, density, kept)
    assert 0 <= rate <= h(density, 1 - density)
    assert share_bound(weights, density, rate) == pytest.approx(kept, abs=1e-4)


def test_bounds_are_monotone():
    weights = gaussian(2000)
    shares = [share_bound(weights, 0.1, rate) for rate in np.linspace(0, 0.46, 10)]
    assert all(b > a for a, b in pairwise(shares))
    rates = [rate_bound(weights, 0.1, kept) for kept in np.linspace(0.4, 0.99, 10)]
    assert all(b > a for a, b in pairwise(rates))


def test_bounds_at_their_limits():
    weights = gaussian(20_000)
    top = np.sort(weights)[-2000:].sum() / weights.sum()
    # No bits: a random mask keeps its density; all bits of the entropy: the ideal mask.
    assert share_bound(weights, 0.1, 0.0) == pytest.approx(0.1 / top, rel=1e-3)
    assert share_bound(weights, 0.1, h(0.1, 0.9)) == 1.0
    assert share_bound(weights, 0.1, 3.0) == 1.0
    assert share_bound(weights, 0.1, h(0.1, 0.9) - 0.005) > 0.999
    assert rate_bound(weights, 0.1, 0.05) == pytest.approx(0, abs=1e-9)
    assert h(0.1, 0.9) - 0.01 < rate_bound(weights, 0.1, 1.0) <= h(0.1, 0.9)


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_weights_that_are_all_alike_need_no_bits(value):
    weights = np.full(1000, value)
    for rate in (0.0, 0.1, 0.9):
        assert share_bound(weights, 0.1, rate) == pytest.approx(1.0)
    assert rate_bound(weights, 0.1, 0.9) == pytest.approx(0.0, abs=1e-9)


def test_bounds_do_not_depend_on_scale_shape_or_order():
    weights = gaussian(9000)
    first = share_bound(weights, 0.2, 0.1)
    assert share_bound(weights.reshape(90, 100) * 1e6, 0.2, 0.1) == pytest.approx(first)
    assert share_bound(weights[::-1] * 1e-6, 0.2, 0.1) == pytest.approx(first)


def test_bound_of_few_weights():
    assert share_bound(np.array([1.0]), 0.5, 0.1) == pytest.approx(1.0)
    assert 0.5 < share_bound(np.array([1.0, 3.0, 2.0]), 0.4, 0.1) < 1


@pytest.mark.parametrize("weights", [[], [1.0, np.nan], [1.0, np.inf], [1.0, -0.1]])
@pytest.mark.parametrize("bound", [share_bound, rate_bound])
def test_bound_of_bad_importance_is_an_error(weights, bound):
    with pytest.raises(ConfigError, match="importance must be finite, not negative, and not empty"):
        bound(np.array(weights), 0.1, 0.1)


def test_kept_share_by_hand():
    weights = np.array([[4.0, -3.0, 2.0], [-1.0, 0.5, 0.0]])
    mask = np.array([[True, False, True], [False, False, False]])
    kept = kept_share(weights, mask)
    assert kept.density == pytest.approx(2 / 6)
    assert kept.magnitude == pytest.approx(6 / 7)  # the ideal mask keeps 4 and 3
    assert kept.energy == pytest.approx(20 / 25)
    assert kept.energy_total == pytest.approx(20 / 30.25)


@pytest.mark.parametrize(
    ("weights", "mask", "expected"),
    [
        ([1.0, 2.0], [False, False], (0, 1, 1, 0)),
        ([1.0, 2.0], [True, True], (1, 1, 1, 1)),
        ([0.0, 0.0], [True, False], (0.5, 1, 1, 1)),
        ([], [], (0, 1, 1, 1)),
    ],
)
def test_kept_share_at_its_limits(weights, mask, expected):
    kept = kept_share(np.array(weights), np.array(mask, np.bool_))
    assert (kept.density, kept.magnitude, kept.energy, kept.energy_total) == expected


def test_kept_share_of_float16_does_not_overflow():
    kept = kept_share(np.full(4, 60000, np.float16), np.array([True, True, False, False]))
    assert (kept.magnitude, kept.energy, kept.energy_total) == (1, 1, 0.5)


def test_kept_share_of_another_shape_is_an_error():
    with pytest.raises(ConfigError, match=r"mask is \(3,\), must be \(2, 2\) like the weights"):
        kept_share(np.ones((2, 2)), np.ones(3, np.bool_))


def test_nm_share_by_hand():
    weights = np.array([[1.0, -5.0, 2.0, 3.0], [-4.0, 1.0, 0.0, 2.0]])
    kept, bits = nm_share(weights, 1, 4)
    assert bits == 2 / 4
    assert kept.density == 2 / 8
    assert kept.energy_total == pytest.approx((25 + 16) / 60)
    assert kept.magnitude == 1.0
    kept, bits = nm_share(weights, 2, 4)
    assert bits == 3 / 4  # six patterns
    assert kept.magnitude == pytest.approx((5 + 3 + 4 + 2) / 14)
    assert kept.energy_total == pytest.approx((25 + 9 + 16 + 4) / 60)


def test_nm_share_keeps_what_is_beyond_the_last_group():
    kept, bits = nm_share(np.array([3.0, 1.0, 2.0, 5.0, 0.5]), 1, 2)
    assert bits == 0.5
    assert kept.density == 3 / 5
    assert kept.energy_total == pytest.approx((9 + 25 + 0.25) / 39.25)


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 4), (5, 4), (1, 9), (-1, 4)])
def test_nm_share_of_a_bad_pattern_is_an_error(n, m):
    with pytest.raises(ConfigError, match=f"n:m must be 0 < n < m <= 8, not {n}:{m}"):
        nm_share(np.ones(8), n, m)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.27, 0.6])
def test_signs_of_the_largest_gaussian_weights_catch_what_the_integral_tells(density):
    """E |w| over |w| > t is 2 phi(t); one scale catches its square over the density."""
    normal = NormalDist()
    caught = (2 * normal.pdf(normal.inv_cdf(1 - density / 2))) ** 2 / density
    squares = gaussian(1 << 20) ** 2
    assert sign_error(squares, density, 1.0) == pytest.approx(1 - caught, abs=2e-3)


def test_signs_under_a_mask_that_knows_nothing_catch_the_mean_magnitude():
    found = sign_error(gaussian(1 << 18) ** 2, 0.3, 1e-7)
    assert found == pytest.approx(1 - 0.3 * 2 / pi, abs=2e-3)


def test_signs_lose_less_the_more_bits_a_mask_has():
    squares = gaussian(1 << 16) ** 2
    errors = [sign_error(squares, 0.1, rate) for rate in (0.02, 0.1, 0.2, 0.4, 1)]
    assert errors == sorted(errors, reverse=True)
    assert sign_error(np.zeros(50), 0.1, 0.2) == 0
    with pytest.raises(ConfigError, match="must be finite"):
        sign_error(np.array([1.0, np.inf]), 0.1, 0.2)
