# SPDX-License-Identifier: Apache-2.0
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.prune import (
    check_sparsity,
    check_weights,
    global_cuts,
    own_mask,
    prune_pattern,
    prune_rows,
    prune_tensor,
)


@given(
    st.lists(st.sampled_from([0.0, -0.0]) | st.floats(-4, 4, width=16), min_size=1, max_size=60),
    st.floats(0, 1, exclude_max=True),
)
def test_prune_tensor_keeps_the_largest_magnitudes_and_of_equal_ones_the_first(values, sparsity):
    weights = np.array(values, np.float32)
    count = len(values) - round(sparsity * len(values))
    order = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))
    mask = prune_tensor(weights, sparsity)
    assert mask.dtype == np.bool_
    assert np.flatnonzero(mask).tolist() == sorted(i for i in order[:count] if values[i])


@pytest.mark.parametrize(
    ("sparsity", "kept"), [(0, 1000), (0.5, 500), (0.9, 100), (0.91, 90), (0.999, 1), (0.9999, 0)]
)
def test_prune_tensor_meets_the_count_exactly(sparsity, kept, rng):
    weights = rng.standard_normal((10, 100)).astype(np.float32)
    assert np.count_nonzero(prune_tensor(weights, sparsity)) == kept


def test_prune_tensor_meets_the_count_with_all_equal_weights():
    mask = prune_tensor(np.full((4, 5), -2.0, np.float32), 0.75)
    assert mask.reshape(-1).tolist() == [True] * 5 + [False] * 15


def test_prune_tensor_keeps_shape_and_takes_half_precision():
    assert prune_tensor(np.ones((2, 3, 4), np.float16), 0.5).shape == (2, 3, 4)
    assert prune_tensor(np.ones((), np.float32), 0.0).tolist() is True
    assert prune_tensor(np.ones((0, 3), np.float32), 0.5).shape == (0, 3)


@pytest.mark.parametrize(
    "dtype",
    [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, np.float64],
)
def test_prune_takes_weights_of_any_dtype(dtype, rng):
    weights = rng.standard_normal((8, 9)).astype(dtype)
    weights[3] *= 0
    single = weights.astype(np.float32)
    for sparsity in (0.0, 0.5):
        assert (prune_tensor(weights, sparsity) == prune_tensor(single, sparsity)).all()
        assert (prune_rows(weights, sparsity) == prune_rows(single, sparsity)).all()
        (cut,) = global_cuts([lambda: single], sparsity)
        assert (cut.mask(weights) == prune_tensor(single, sparsity)).all()
    weights[:4] *= 0
    assert (own_mask(weights) == (single[:] != 0) & (np.arange(8) >= 4)[:, None]).all()


def test_prune_rows_prunes_every_row_alike():
    weights = np.array([[1, 2, 3, 4], [40, 10, 30, 20], [-5, 5, 5, 5]], np.float32)
    assert prune_rows(weights, 0.5).tolist() == [
        [False, False, True, True],
        [True, False, True, False],
        [True, True, False, False],
    ]


def test_prune_rows_takes_the_first_axis_of_any_rank(rng):
    weights = rng.standard_normal((6, 4, 5)).astype(np.float32)
    mask = prune_rows(weights, 0.8)
    assert mask.shape == (6, 4, 5)
    assert mask.sum(axis=(1, 2)).tolist() == [4] * 6


def test_prune_rows_of_a_vector_is_one_row():
    assert prune_rows(np.array([1.0, -3.0, 2.0]), 0.34).tolist() == [False, True, True]


def pruned_already():
    """A tensor of which 95 % are zeros, some of them negative: 3,238 weights are left."""
    weights = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    weights[np.random.default_rng(1).random(weights.shape) < 0.95] *= 0
    assert np.signbit(weights[weights == 0]).any()
    return weights


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.95])
def test_prune_never_keeps_a_zero(sparsity):
    weights = pruned_already()
    most = weights.size - round(sparsity * weights.size)
    for mask in (prune_tensor(weights, sparsity), *prune_global([weights], sparsity)):
        assert np.count_nonzero(mask) == min(3238, most)
        assert weights[mask].all()
    rows = prune_rows(weights, sparsity)
    left = np.count_nonzero(weights, axis=1)
    assert rows.sum(axis=1).tolist() == np.minimum(left, 256 - round(sparsity * 256)).tolist()
    assert weights[rows].all()


def test_prune_global_takes_what_another_tensor_has_no_weights_for():
    tensors = [np.zeros((4, 4), np.float32), np.arange(1, 5, dtype=np.float32)]
    assert [int(mask.sum()) for mask in prune_global(tensors, 0.5)] == [0, 4]
    assert [int(mask.sum()) for mask in prune_global(tensors, 0.9)] == [0, 2]
    assert [int(mask.sum()) for mask in prune_global(tensors[:1], 0.0)] == [0]


def test_prune_takes_for_zero_what_single_precision_makes_zero():
    weights = np.array([1e-60, -1e-45, 1.0])
    for mask in (prune_tensor(weights, 0.0), *prune_global([weights], 0.0)):
        assert mask.tolist() == [False, True, True]


def test_own_mask_is_that_of_a_tensor_that_is_pruned_already():
    weights = pruned_already()
    mask = own_mask(weights)
    assert mask.dtype == np.bool_
    assert np.count_nonzero(mask) == 3238
    assert (mask == (weights != 0)).all()


@pytest.mark.parametrize(
    ("weights", "own"),
    [
        ([1.0, 0.0, -0.0, 2.0], True),  # 2 of 4
        ([1.0, 0.0, 3.0, 2.0], False),
        ([0.0, 0.0], True),
        (0.0, True),
        (1.0, False),
        ([], False),
    ],
)
def test_own_mask_needs_half_of_the_weights_to_be_zero(weights, own):
    mask = own_mask(np.array(weights, np.float32))
    assert (mask is not None) == own
    if own:
        assert mask.tolist() == (np.array(weights) != 0).tolist()


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_prune_rows_of_an_empty_matrix_is_empty(shape):
    assert prune_rows(np.zeros(shape, np.float32), 0.5).shape == shape


def prune_global(tensors, sparsity):
    """Masks of tensors by their common cut."""
    cuts = global_cuts([lambda t=t: t for t in tensors], sparsity)
    return [cut.mask(t) for cut, t in zip(cuts, tensors, strict=True)]


def test_prune_global_shares_the_count_over_tensors():
    tensors = [np.array([[1.0, 9.0], [2.0, 8.0]]), np.array([7.0, -10.0]), np.zeros((2, 0))]
    masks = prune_global(tensors, 0.5)
    assert [mask.tolist() for mask in masks] == [
        [[False, True], [False, True]],
        [False, True],
        [[], []],
    ]


def test_prune_global_meets_the_count_exactly(rng):
    tensors = [(rng.standard_normal((30, 10)) * n).astype(np.float32) for n in (1, 2, 4)]
    masks = prune_global(tensors, 0.9)
    counts = [int(mask.sum()) for mask in masks]
    assert sum(counts) == 90
    assert counts == sorted(counts)
    largest = np.sort(np.abs(np.concatenate([t.reshape(-1) for t in tensors])))[-90]
    kept = zip(masks, tensors, strict=True)
    assert all((mask == (np.abs(tensor) >= largest)).all() for mask, tensor in kept)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.97, 0.999])
def test_prune_global_is_that_of_all_weights_in_one_tensor(sparsity, rng):
    # Few values, so that many are equal to the cut; also zero, the smallest and the largest.
    values = np.array([0, -0.0, 1e-45, -1e-45, 1, -1, 2, 3.4e38, -3.4e38], np.float32)
    tensors = [rng.choice(values, shape) for shape in ((5, 7), (3,), (0, 2), (4, 4, 4))]
    whole = prune_tensor(np.concatenate([t.reshape(-1) for t in tensors]), sparsity)
    masks = prune_global(tensors, sparsity)
    assert [mask.shape for mask in masks] == [t.shape for t in tensors]
    assert (np.concatenate([mask.reshape(-1) for mask in masks]) == whole).all()


def test_prune_global_of_no_tensors_is_nothing():
    assert prune_global([], 0.5) == []


@pytest.mark.parametrize("sparsity", [-0.01, 1.0, 90.0, float("nan"), float("inf")])
@pytest.mark.parametrize("prune", [prune_tensor, prune_rows])
def test_prune_rejects_sparsity_out_of_range(prune, sparsity):
    with pytest.raises(ConfigError) as caught:
        prune(np.ones((2, 2)), sparsity)
    expected = f"sparsity must be in [0, 1), not {sparsity!r} (a fraction, not percent)"
    assert str(caught.value) == expected
    with pytest.raises(ConfigError, match="a fraction, not percent"):
        prune_global([np.ones(2)], sparsity)


def test_check_sparsity_returns_a_float():
    assert isinstance(check_sparsity(0), float)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("prune", [prune_tensor, prune_rows])
def test_prune_rejects_weights_that_are_not_finite(prune, bad):
    weights = np.ones((2, 3), np.float32)
    weights[1, 2] = weights[1, 0] = bad
    with pytest.raises(ConfigError) as caught:
        prune(weights, 0.5)
    assert str(caught.value) == f"weights: weight at (1, 0) is {bad}, must be finite"


def test_check_weights_names_the_tensor():
    with pytest.raises(ConfigError, match=r"fc\.w: weight at \(0,\) is nan, must be finite"):
        check_weights(np.array([np.nan]), "fc.w")


@pytest.mark.parametrize("bad", [1e60, -1e60])
@pytest.mark.parametrize("prune", [prune_tensor, prune_rows])
def test_prune_rejects_weights_beyond_float32(prune, bad):
    with pytest.raises(ConfigError) as caught:
        prune(np.array([[1.0, bad]]), 0.5)
    assert str(caught.value) == (
        f"weights: weight at (0, 1) is {bad}, beyond float32, whose largest is 3.4e+38 "
        "(scale the tensor down)"
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_check_weights_returns_float32(dtype):
    checked = check_weights(np.array([[0.5, -2.0]]).astype(dtype), "w")
    assert checked.dtype == np.float32
    assert checked.tolist() == [[0.5, -2.0]]


def test_patterns_keep_the_largest_of_every_group_and_of_the_rest():
    worth = np.array([[5, 1, -9, 9, 0, 3, 7], [1, 2, 3, 3, 2, 1, 0]], np.float32)
    mask = prune_pattern(worth, 1, 3)
    assert mask.astype(int).tolist() == [[0, 0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0]]
    assert prune_pattern(worth, 2, 4).sum(1).tolist() == [3, 3]  # 2 of 4, and 1 of the rest of 3
    assert not prune_pattern(np.zeros((2, 8), np.float32), 1, 4).any()
    assert prune_pattern(np.arange(8.0), 1, 4).tolist() == [False] * 3 + [True] + [False] * 3 + [
        True
    ]
