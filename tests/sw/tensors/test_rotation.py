# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors import rotation
from xorloom.sw.tensors.rotation import block, note, rotate, rotate_moments, signs, unrotate


def popcount_parity(i):
    return bin(i).count("1") % 2


def matrix(columns, seed):
    """R, entry by entry: no butterflies, its own SplitMix64."""
    order = 1
    while columns % (2 * order) == 0:
        order *= 2
    state, words = seed, []
    for _ in range(-(-columns // 64)):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        words.append(z ^ (z >> 31))
    full = np.zeros((columns, columns))
    for i in range(columns):
        for j in range(columns):
            if i // order == j // order:
                sign = words[i // 64] >> (i % 64) & 1 ^ popcount_parity(i % order & j % order)
                full[i, j] = (1 - 2 * sign) / order**0.5
    return full


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 12, 64, 96, 130, 384])
def test_rotation_is_the_explicit_matrix_and_orthogonal(columns):
    rng = np.random.default_rng(columns)
    full = matrix(columns, 9)
    assert np.abs(full @ full.T - np.eye(columns)).max() < 1e-12
    assert np.abs(rotate_moments(np.eye(columns), 9) - np.eye(columns)).max() < 1e-12
    weights = rng.standard_normal((5, columns)).astype(np.float32)
    turned = rotate(weights, 9)
    assert turned.dtype == np.float32
    assert np.abs(turned - weights.astype(np.float64) @ full).max() < 1e-6
    assert np.abs(unrotate(weights, 9) - weights.astype(np.float64) @ full.T).max() < 1e-6
    assert np.abs(unrotate(turned, 9) - weights).max() < 2e-6
    second = rng.standard_normal((columns, columns))
    assert np.abs(rotate_moments(second, 9) - full.T @ second @ full).max() < 1e-12
    mean = rng.standard_normal(columns)
    assert np.abs(rotate_moments(mean, 9) - full.T @ mean).max() < 1e-12


def test_rotated_weights_times_rotated_inputs_is_the_product():
    rng = np.random.default_rng(0)
    weights, x = rng.standard_normal((4, 96)).astype(np.float32), rng.standard_normal(96)
    assert rotate(weights, 3) @ rotate_moments(x, 3) == pytest.approx(weights @ x, abs=1e-5)


@given(st.integers(1, 40), st.integers(0, 2**64 - 1))
def test_rotation_and_back_is_the_identity(columns, seed):
    weights = np.arange(3 * columns, dtype=np.float32).reshape(3, columns) - columns
    assert np.abs(unrotate(rotate(weights, seed), seed) - weights).max() < 1e-4


def test_rotation_takes_every_shape_the_first_dimension_being_rows():
    weights = np.random.default_rng(1).standard_normal((6, 4, 3, 2)).astype(np.float32)
    rows = rotate(weights.reshape(6, 24), 5)
    assert np.array_equal(rotate(weights, 5), rows.reshape(weights.shape))
    assert np.array_equal(rotate(weights.reshape(-1), 5), rotate(weights.reshape(1, -1), 5)[0])
    for shape in ((0, 8), (8, 0), (0,)):
        assert rotate(np.zeros(shape, np.float32), 1).shape == shape
    assert abs(rotate(np.float32(2.0), 1)) == 2


def transformed(line):
    """Sylvester's construction: the halves' transforms, their sum and their difference."""
    if len(line) == 1:
        return line
    half = len(line) // 2
    first, second = transformed(line[:half]), transformed(line[half:])
    sums = [a + b for a, b in zip(first, second, strict=True)]
    return sums + [a - b for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize("columns", [12, 40, 384])
def test_rotation_is_exact_to_the_last_bit_of_its_order_of_additions(columns):
    weights = np.random.default_rng(columns).standard_normal((3, columns)).astype(np.float32)
    order, sign = block(columns), signs(2020, columns).tolist()
    for r, row in enumerate(weights.astype(np.float64).tolist()):
        for back in (False, True):
            line = row if back else [w * s for w, s in zip(row, sign, strict=True)]
            parts = [transformed(line[at : at + order]) for at in range(0, columns, order)]
            line = [v * (1 / math.sqrt(order)) for part in parts for v in part]
            if back:
                line = [v * s for v, s in zip(line, sign, strict=True)]
            found = (unrotate if back else rotate)(weights, 2020)[r]
            assert np.array_equal(found, np.array(line).astype(np.float32))


def test_worked_example_of_the_format():
    row = np.arange(1, 13, dtype=np.float32)[None]
    assert signs(1, 12).tolist() == [-1, 1, 1, 1, 1, 1, -1, -1, 1, 1, -1, -1]
    assert unrotate(row, 1).tolist() == [[-5, -1, -2, 0, 13, -1, 2, 0, 21, -1, 2, 0]]


def test_kernel_is_its_python_text():
    rng = np.random.default_rng(2)
    rows, marks = rng.standard_normal((3, 24)), signs(4, 24)
    for back in (False, True):
        for dtype in (np.float32, np.float64):
            found, expected = np.empty((3, 24), dtype), np.empty((3, 24), dtype)
            rotation.turn(rows, marks, 8, 8**-0.5, back, found)
            rotation.turn.py_func(rows, marks, 8, 8**-0.5, back, expected)
            assert np.array_equal(found, expected)


def test_numbers_beyond_float32_become_its_largest():
    most = np.finfo(np.float32).max
    row = np.full((1, 4), most, np.float32)
    assert unrotate(row, 0).tolist() == [[signs(0, 4)[0] * most, 0, 0, 0]]


def test_weights_beyond_float32_when_rotated_are_refused():
    row = np.full((1, 4), np.finfo(np.float32).max, np.float32) * signs(0, 4).astype(np.float32)
    with pytest.raises(
        ConfigError, match=r"w: rotated weights are beyond float32, .*do not rotate"
    ):
        rotate(row, 0, name="w")
    assert rotate(row / 4, 0)[0, 0] == pytest.approx(np.abs(row).max() / 2)


def test_odd_columns_are_told():
    assert [block(n) for n in (1, 2, 12, 15, 384, 1536)] == [1, 2, 4, 1, 128, 512]
    assert note((8, 15)) == "rotation of 15 columns, an odd number, changes signs only"
    assert note((15,)) == "rotation of 15 columns, an odd number, changes signs only"
    assert note((3, 5, 2)) is None


def test_rotation_rejects_bad_seeds_and_weights():
    with pytest.raises(ConfigError, match="rotation must be between 0 and 18446744073709551615"):
        rotate(np.zeros((2, 2), np.float32), -1)
    weights = np.zeros((2, 2), np.float32)
    weights[1, 0] = np.nan
    with pytest.raises(ConfigError, match=r"a\.weight: weight at \(1, 0\) is nan, must be finite"):
        rotate(weights, 1, name="a.weight")
