# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.orders import (
    ORDERS,
    beats,
    check_order,
    lanes,
    needs_transpose,
    slice_count,
)

from tests.helpers.orders import slices_of

# 10 weights, 4 lanes: 3 slices, of which the last has 2 lanes. Runs of strided lanes are
# 0-2, 3-5, 6-7, 8-9; a skewed lane l begins (l * 40503 mod 65536) / 65536 into its run.
LITERAL = {
    "row": [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]],
    "strided": [[0, 3, 6, 8], [1, 4, 7, 9], [2, 5]],
    "skewed": [[0, 4, 6, 9], [1, 5, 7, 8], [2, 3]],
}


@pytest.mark.parametrize("order", LITERAL)
@pytest.mark.parametrize("suffix", ["", "-column"])
def test_lanes_are_these_in_a_small_tensor(order, suffix):
    name = {"row-column": "column"}.get(order + suffix, order + suffix)
    assert name in ORDERS
    assert slices_of(name, 10, 4) == LITERAL[order]
    assert needs_transpose(name) == bool(suffix)


def test_lanes_of_a_long_skewed_run_begin_at_multiples_of_the_golden_ratio():
    where = lanes("skewed", 4 * 65536, 4)
    assert where.start.tolist() == [0, 65536, 131072, 196608]
    assert where.turn.tolist() == [0, 40503, 2 * 40503 - 65536, 3 * 40503 - 65536]
    assert abs(40503 / 65536 - (5**0.5 - 1) / 2) < 1e-5


@pytest.mark.parametrize("order", ORDERS)
@given(weights=st.integers(1, 3000), per_slice=st.integers(1, 300))
def test_lanes_place_every_weight_once(order, weights, per_slice):
    found = slices_of(order, weights, per_slice)
    assert [len(part) for part in found[:-1]] == [per_slice] * (len(found) - 1)
    assert len(found[-1]) == weights - (len(found) - 1) * per_slice
    assert sorted(weight for part in found for weight in part) == list(range(weights))


@pytest.mark.parametrize("order", ORDERS)
def test_lanes_of_many_weights_stay_in_the_tensor(order):
    weights = (1 << 32) + 12345  # turn * length must not wrap
    where = lanes(order, weights, 2048)
    assert (where.turn >= 0).all()
    assert (where.turn < where.length).all()
    assert int((where.start + where.step * (where.length - 1)).max()) == weights - 1
    assert int(where.length.sum()) == weights


@pytest.mark.parametrize("order", ORDERS)
def test_lanes_of_nothing_have_no_slices(order):
    assert slice_count(0, 64) == 0
    assert slices_of(order, 0, 64) == []


def test_check_order_names_the_orders():
    assert [check_order(order) for order in ORDERS] == list(ORDERS)
    with pytest.raises(
        ConfigError, match=r"order must be one of row, column, strided, .*, not 'x'"
    ):
        check_order("x")


@pytest.mark.parametrize("order", ORDERS)
def test_beats_of_some_runs_are_those_of_all(order):
    array = np.arange(1, 1 + 37 * 11, dtype=np.float32).reshape(37, 11)
    whole = beats(array, order, 16)
    some = [(3, 2), (0, 1), (20, 6)]
    runs = [whole[first : first + count] for first, count in some]
    assert (beats(array, order, 16, some) == np.concatenate(runs)).all()
    assert not whole[25, 7:].any(), "the last slice has 7 weights"
