# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from xorloom.sw.index.rate_distortion import binary_entropy, code_entropy
from xorloom.sw.model.metrics import TensorBits, loss_row, mean_error
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.value.block.codec import encode
from xorloom.sw.value.block.stream import pack_block

from tests.helpers.index import pack_bitmap


@pytest.mark.parametrize(
    ("p", "bits"),
    [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0), (0.25, 0.8112781244591328), (0.91, 0.4364698)],
)
def test_binary_entropy_has_textbook_values(p, bits):
    assert binary_entropy(p) == pytest.approx(bits, abs=1e-7)
    assert binary_entropy(1 - p) == pytest.approx(bits, abs=1e-7)


def test_code_entropy_counts_kept_codes_only():
    codes = np.array([[0, 1, 2, 3], [9, 9, 9, 9]], np.uint8)
    mask = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], np.bool_)
    assert code_entropy(codes, mask) == 2.0
    assert code_entropy(codes, ~mask) == 0.0
    assert code_entropy(codes, np.zeros((2, 4), np.bool_)) == 0.0
    assert code_entropy(np.array([0, 0, 0, 1], np.uint8), np.ones(4, np.bool_)) == pytest.approx(
        0.8112781244591328
    )


@pytest.fixture
def counted(rng):
    config = BlockConfig(n_in=16, n_out=100, lanes=2)
    mask = rng.random((70, 90)) < 0.15
    codes = (rng.integers(0, 4, mask.shape) * mask).astype(np.uint8)
    data, value = pack_block(encode(mask, codes, 2, config), config)
    index = pack_bitmap(mask, config.bus_bits)
    overhead = 8 * len(index) - mask.size
    bits = TensorBits.of(mask, codes, 2, value, 8 * len(index), overhead, 160, config)
    return mask, codes, 8 * (len(data) + len(index)) + 160, bits


def test_tensor_bits_add_up_to_the_stored_bytes(counted):
    mask, _, stored, bits = counted
    assert bits.total == stored
    assert bits.weights == bits.index == mask.size == 6300
    assert bits.kept == mask.sum()
    assert bits.seeds == 63 * 2 * 16
    assert bits.overhead > 0
    assert (bits.planes, bits.scales) == (2, 160)


def test_tensor_bits_bounds_are_totals(counted):
    mask, codes, _, bits = counted
    p = np.bincount(codes[mask]) / mask.sum()
    assert bits.value_entropy == pytest.approx(mask.sum() * -(p * np.log2(p)).sum())
    density = mask.mean()
    expected = -density * np.log2(density) - (1 - density) * np.log2(1 - density)
    assert bits.mask_entropy == pytest.approx(6300 * expected)


def test_tensor_bits_per_weight_divides_by_the_weights(counted):
    _, _, stored, bits = counted
    row = bits.per_weight()
    assert row["total"] == pytest.approx(stored / 6300)
    parts = ("index", "seeds", "control", "scales", "overhead")
    assert sum(row[name] for name in parts) == pytest.approx(row["total"])
    assert row["bound"] == pytest.approx((bits.mask_entropy + bits.value_entropy + 160) / 6300)
    # Patches of 7 bits are a part of control, so they do not add up once more.
    assert row["patches"] == pytest.approx(bits.patches / 6300)
    assert 0 < bits.patches < bits.control
    assert bits.patches % 7 == 0
    assert row["value_efficiency"] == pytest.approx(2 * bits.kept / (bits.seeds + bits.control))
    assert 0.4 < row["value_efficiency"] < 1


def test_tensor_bits_sum_adds_all_but_planes(counted):
    bits = counted[-1]
    one = TensorBits(10, 1, 1, 10, 4, 3, 2, 1, 0.5, 0.25)
    both = bits + one
    assert both.planes == 2
    assert both.weights == 6310
    assert both.total == bits.total + one.total == bits.total + 20
    assert both.value_entropy == bits.value_entropy + 0.25


def test_tensor_bits_of_nothing_divides_by_nothing():
    empty = np.zeros((0, 3), np.bool_)
    config = BlockConfig()
    _, value = pack_block(encode(empty, empty.astype(np.uint8), 1, config), config)
    bits = TensorBits.of(empty, empty.astype(np.uint8), 1, value, 192, 192, 0, config)
    assert bits.per_weight()["value_efficiency"] == 0.0
    assert bits.mask_entropy == 0.0
    assert bits.total == bits.overhead == value.total + 192


def test_tensor_bits_go_to_json(counted):
    values = json.loads(json.dumps(counted[-1].to_dict()))
    assert values["kept"] == counted[-1].kept
    assert values["bits_per_weight"] == pytest.approx(counted[-1].per_weight())


def test_errors_of_several_tensors_count_by_their_weights(counted):
    many, one = counted[-1], TensorBits(700, 1, 1, 10, 4, 3, 2, 1, 0.5, 0.25)
    bits = {"a": many, "b": one}
    assert mean_error(bits, {"a": 0.5, "b": 0.1}) == pytest.approx((6300 * 0.5 + 700 * 0.1) / 7000)
    assert mean_error(bits, {"a": 0.5, "b": None}) is None, "your own codes"
    assert mean_error({}, {}) is None
    row = loss_row(many + one, 0.46)
    spent = (many.total + 20) / 7000
    assert row == {
        "error": 0.46,
        "share_of_dense_bound": pytest.approx(0.54 / (1 - 2 ** (-2 * spent))),
    }
    assert loss_row(one, None) == {"error": None, "share_of_dense_bound": None}
