# SPDX-License-Identifier: Apache-2.0
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.checkpoint.model import Checkpoint, from_arrays
from xorloom.sw.tensors.checkpoint.pairs import join_pairs

RNG = np.random.default_rng(14)
WEIGHT = RNG.normal(size=(6, 8)).astype(np.float32)
MASK = (RNG.random(WEIGHT.shape) < 0.25).astype(np.float32)
PAIR = {"fc.bias": np.ones(6, np.float32), "fc.weight_orig": WEIGHT, "fc.weight_mask": MASK}
NOTE = "pruned pairs X_orig, X_mask read as one tensor X each, their product: "


@pytest.mark.parametrize(("save", "ending"), [(save_file, "safetensors"), (None, "npz")])
def test_pruned_pair_is_one_tensor_with_its_mask(save, ending, tmp_path):
    path = tmp_path / f"m.{ending}"
    save(PAIR, path) if save else np.savez(path, **PAIR)
    model = open_model(path)
    assert sorted(model) == ["fc.bias", "fc.weight"]
    tensor = model["fc.weight"]
    assert (tensor.name, tensor.dtype, tensor.shape) == ("fc.weight", "F32", (6, 8))
    assert tensor.pruned
    assert not model["fc.bias"].pruned
    assert np.array_equal(tensor.load(), WEIGHT * MASK)
    assert b"".join(tensor.pieces()) == tensor.raw()
    assert model.notes == (NOTE + "fc.weight",)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("mask", [np.bool_, np.uint8, np.float32])
def test_product_has_the_dtype_of_the_weights(dtype, mask):
    arrays = {"w_orig": WEIGHT.astype(dtype), "w_mask": MASK.astype(mask)}
    found = join_pairs(from_arrays(arrays))["w"].load()
    assert found.dtype == dtype
    assert np.array_equal(found, WEIGHT.astype(dtype) * MASK.astype(dtype))


def test_mask_of_other_values_scales_as_torch_has_it():
    arrays = {"w_orig": np.array([3, 2, 5], "f"), "w_mask": np.array([0.5, 1, 0], "f")}
    assert join_pairs(from_arrays(arrays))["w"].load().tolist() == [1.5, 2, 0]


def test_pruned_infinity_is_a_zero():
    arrays = {"w_orig": np.array([np.inf, 2], "f"), "w_mask": np.array([0, 1], "f")}
    assert join_pairs(from_arrays(arrays))["w"].load().tolist() == [0, 2]


def test_pair_beside_a_tensor_of_its_name_is_refused(tmp_path):
    save_file(PAIR | {"fc.weight": WEIGHT}, tmp_path / "m.safetensors")
    with pytest.raises(ConfigError) as caught:
        open_model(tmp_path / "m.safetensors")
    assert str(caught.value) == (
        f"{tmp_path}/m.safetensors: tensor 'fc.weight' is there beside 'fc.weight_orig' and its "
        "mask: which of them are the weights? Rename or remove one"
    )


@pytest.mark.parametrize(
    "arrays",
    [
        {"w_orig": WEIGHT},
        {"w_mask": MASK},
        {"w_orig": WEIGHT, "w_mask": MASK[:3]},
        {"w_orig": MASK.astype(np.int32), "w_mask": MASK},
        {"_orig": WEIGHT, "_mask": MASK},
        {"w_orig": WEIGHT, "v_mask": MASK},
        {"w_orig": WEIGHT, "w_mask": MASK.astype(np.complex64)},
    ],
)
def test_what_is_no_pair_stays_apart(arrays):
    model = from_arrays(arrays)
    assert join_pairs(model) is model


def test_weight_that_two_pairs_share_is_masked_by_each():
    model = from_arrays({"a_orig": WEIGHT, "a_mask": MASK, "b_mask": 1 - MASK, "c": WEIGHT})
    ties = {"b_orig": "a_orig", "d": "a_orig", "e": "c"}
    joined = join_pairs(Checkpoint(model.tensors, ties=ties))
    assert list(joined) == ["a", "c", "b", "d"]
    assert np.array_equal(joined["a"].load(), WEIGHT * MASK)
    assert np.array_equal(joined["b"].load(), WEIGHT * (1 - MASK))
    assert np.array_equal(joined["d"].load(), WEIGHT)
    assert joined.ties == {"e": "c"}
