# SPDX-License-Identifier: Apache-2.0
"""Kernels on arrays of bytes against NumPy."""

import numpy as np
import pytest
from xorloom.sw.bits.byte_arrays import count_bytes, kept_bytes, put_bytes


@pytest.mark.parametrize("size", [0, 1, 3, 4, 1001])
def test_count_bytes_is_bincount(size, rng):
    data = rng.integers(0, 256, size, dtype=np.uint8)
    assert (count_bytes(data) == np.bincount(data, minlength=256)).all()


@pytest.mark.parametrize("shape", [(0,), (0, 5), (1,), (63,), (64,), (65,), (30, 40), (7, 9, 11)])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_kept_bytes_is_boolean_indexing(shape, density, rng):
    data = rng.integers(0, 256, shape, dtype=np.uint8)
    mask = rng.random(shape) < density
    assert (kept_bytes(data, mask) == data[mask]).all()
    turned = kept_bytes(data.T, mask.T)
    assert (turned == data.T[mask.T]).all()


@pytest.mark.parametrize("shape", [(0,), (0, 5), (1,), (63,), (64,), (65,), (30, 40), (7, 9, 11)])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_put_bytes_is_boolean_assignment(shape, density, rng):
    data = rng.integers(1, 256, shape, dtype=np.uint8)
    mask = rng.random(shape) < density
    expected = np.where(mask, data, 0)
    assert (put_bytes(data[mask], mask) == expected).all()


@pytest.mark.parametrize("size", [1, 3])
def test_put_bytes_refuses_another_number_than_the_mask_keeps(size):
    with pytest.raises(ValueError, match=f"keeps 2 bytes, not {size}"):
        put_bytes(np.ones(size, np.uint8), np.array([True, False, True]))
