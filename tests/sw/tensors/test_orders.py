# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.orders import (
    ORDERS,
    check_order,
    gather,
    lanes,
    needs_transpose,
    slice_count,
)


def slices_of(order, weights, per_slice):
    """Weights of every slice, lane by lane: the docstring of ``Lanes`` in plain Python."""
    where = lanes(order, weights, per_slice)
    found = []
    for e in range(slice_count(weights, per_slice)):
        found.append([])
        for start, length, turn in zip(where.start, where.length, where.turn, strict=True):
            if e < length:
                found[-1].append(int(start) + where.step * ((e + int(turn)) % int(length)))
    return found


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


@given(st.data())
def test_gather_cuts_out_what_the_definition_says(data):
    order = data.draw(st.sampled_from(ORDERS))
    planes = data.draw(st.integers(1, 8))
    n_out = data.draw(st.sampled_from([64, 192]))
    weights = data.draw(st.integers(1, 700))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(weights) >= data.draw(st.floats(0, 1))
    codes = rng.integers(0, 1 << planes, weights, dtype=np.uint8)
    per_slice = n_out // planes
    slices = slices_of(order, weights, per_slice)
    first = data.draw(st.integers(0, len(slices) - 1))
    last = data.draw(st.integers(first + 1, len(slices)))
    care = np.zeros((last - first, n_out // 64), np.uint64)
    value = np.zeros_like(care)
    gather(mask, codes, lanes(order, weights, per_slice), planes, first, care, value)
    for k, e in enumerate(range(first, last)):
        kept = bits = 0
        for lane, weight in enumerate(slices[e]):
            if mask[weight]:
                kept |= ((1 << planes) - 1) << (lane * planes)
                bits |= int(codes[weight]) << (lane * planes)
        assert int.from_bytes(care[k].tobytes(), "little") == kept
        assert int.from_bytes(value[k].tobytes(), "little") == bits


def test_gather_kernel_equals_its_python_function(rng):
    mask, codes = rng.random(150) > 0.4, rng.integers(0, 8, 150, dtype=np.uint8)
    outcomes = []
    for kernel in (gather, gather.py_func):
        care, value = np.zeros((4, 2), np.uint64), np.zeros((4, 2), np.uint64)
        kernel(mask, codes, lanes("skewed", 150, 42), 3, 0, care, value)
        outcomes.append((care.tolist(), value.tolist()))
    assert outcomes[0] == outcomes[1]


def test_check_order_names_the_orders():
    assert [check_order(order) for order in ORDERS] == list(ORDERS)
    with pytest.raises(
        ConfigError, match=r"order must be one of row, column, strided, .*, not 'x'"
    ):
        check_order("x")
