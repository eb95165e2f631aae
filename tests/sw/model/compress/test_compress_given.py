# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.models import as_model, spec


def reject(arrays, tmp_path, options, **given):
    out = tmp_path / "never.safetensors"
    with pytest.raises(ConfigError) as caught:
        compress_model(as_model(arrays), out, options, given=UserArrays(**given))
    assert list(tmp_path.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float32])
@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_compress_keeps_the_users_mask(scope, dtype, arrays, round_trip, rng):
    mask = rng.random((20, 30)) < 0.2
    options = spec(scope=scope, sparsity=0.5)
    _, container, out = round_trip(arrays, options, masks={"enc.weight": mask.astype(dtype) * 3})
    assert (decode_tensor(container, "enc.weight").mask == mask).all()
    assert ((out["enc.weight"] != 0) == mask).all()
    assert decode_tensor(container, "dec.weight").mask.sum() == 200


@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_compress_takes_masks_of_all_tensors(scope, arrays, round_trip, rng):
    masks = {name: rng.random(arrays[name].shape) < 0.2 for name in ("enc.weight", "dec.weight")}
    _, container, _ = round_trip(arrays, spec(scope=scope), masks=masks)
    for name, mask in masks.items():
        assert (decode_tensor(container, name).mask == mask).all()


@pytest.mark.parametrize("search", [False, True])
def test_compress_gives_the_users_codes_back_untouched(search, arrays, round_trip, rng):
    mask = rng.random((20, 30)) < 0.3
    codes = (rng.integers(0, 8, (20, 30)) * mask).astype(np.uint8)
    options = spec(quantizer=Quantizer("binary", 3), search=search)
    given = {"masks": {"enc.weight": mask}, "codes": {"enc.weight": codes}}
    _, container, out = round_trip(arrays, options, **given)
    assert container.tensor("enc.weight").quantizer is None
    assert "enc.weight.xl_scale" not in container.names
    assert "dec.weight.xl_scale" in container.names
    assert out["enc.weight"].dtype == np.uint8
    assert (out["enc.weight"] == codes).all()
    assert out["enc.weight.mask"].dtype == np.bool_
    assert (out["enc.weight.mask"] == mask).all()


def test_compress_drops_the_users_codes_of_pruned_weights(arrays, round_trip):
    mask = np.zeros((20, 30), np.bool_)
    mask[3] = True
    given = {"masks": {"enc.weight": mask}, "codes": {"enc.weight": np.ones((20, 30), np.uint8)}}
    _, _, out = round_trip(arrays, spec(), **given)
    assert (out["enc.weight"] == mask).all()


@pytest.mark.parametrize("name", ["unknown", "enc.bias", "ids"])
def test_compress_rejects_masks_of_other_tensors(name, arrays, tmp_path):
    text = reject(arrays, tmp_path, spec(), masks={name: np.ones(3)})
    assert text == f"mask {name!r} belongs to no tensor that is compressed"


@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_compress_rejects_masks_of_another_shape(scope, arrays, tmp_path):
    masks = {"enc.weight": np.ones((30, 20))}
    text = reject(arrays, tmp_path, spec(scope=scope), masks=masks)
    assert text == "mask of 'enc.weight' is (30, 20), must be (20, 30) like the tensor"


def test_compress_rejects_codes_without_mask(arrays, tmp_path):
    codes = {"enc.weight": np.zeros((20, 30), np.uint8)}
    expected = "codes of 'enc.weight' need a compressed tensor and a mask of that name"
    assert reject(arrays, tmp_path, spec(), codes=codes) == expected
    masks = {"dec.weight": np.ones((10, 5, 8))}
    assert reject(arrays, tmp_path, spec(), codes=codes, masks=masks) == expected


def test_compress_rejects_codes_of_other_tensors(arrays, tmp_path):
    given = {"masks": {"ids": np.ones((20, 20))}, "codes": {"ids": np.zeros((20, 20), np.uint8)}}
    text = reject(arrays, tmp_path, spec(), **given)
    assert text == "codes of 'ids' need a compressed tensor and a mask of that name"


@pytest.mark.parametrize("search", [False, True])
def test_compress_rejects_codes_too_large_for_the_planes(search, arrays, tmp_path):
    mask = np.ones((20, 30), np.bool_)
    codes = np.zeros((20, 30), np.uint8)
    codes[1, 2] = 2
    given = {"masks": {"enc.weight": mask}, "codes": {"enc.weight": codes}}
    text = reject(arrays, tmp_path, spec(search=search), **given)
    assert text == (
        "tensor 'enc.weight': code 2 at (1, 2) must be between 0 and 1 for 1 planes of uint8 codes "
        "(use 2 planes)"
    )


def test_compress_rejects_codes_of_another_dtype(arrays, tmp_path):
    ones = np.ones((20, 30), np.int64)
    given = {"masks": {"enc.weight": ones}, "codes": {"enc.weight": ones}}
    expected = "tensor 'enc.weight': codes must be int8 or uint8, not int64"
    assert reject(arrays, tmp_path, spec(), **given) == expected


def test_compress_gives_int8_codes_back_untouched(arrays, round_trip, rng):
    mask = rng.random((20, 30)) < 0.3
    codes = (rng.integers(-4, 4, (20, 30)) * mask).astype(np.int8)
    options = spec(quantizer=Quantizer("binary", 3))
    given = {"masks": {"enc.weight": mask}, "codes": {"enc.weight": codes}}
    _, _, out = round_trip(arrays, options, **given)
    assert out["enc.weight"].dtype == np.int8
    assert (out["enc.weight"] == codes).all()
    assert (codes < 0).any()


def test_compress_rejects_codes_of_another_shape_than_the_tensor(arrays, tmp_path):
    given = {
        "masks": {"enc.weight": np.ones((30, 20), np.bool_)},
        "codes": {"enc.weight": np.ones((30, 20), np.uint8)},
    }
    assert "must be (20, 30) like the tensor" in reject(arrays, tmp_path, spec(), **given)


@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_compress_rejects_weights_that_are_not_finite(scope, arrays, tmp_path):
    arrays["enc.weight"][2, 7] = np.nan
    text = reject(arrays, tmp_path, spec(scope=scope))
    assert "weight at (2, 7) is nan, must be finite" in text


def test_compress_names_the_tensor_that_is_not_finite(arrays, tmp_path):
    arrays["dec.weight"][0, 1, 2] = np.inf
    text = reject(arrays, tmp_path, spec())
    assert text == "tensor 'dec.weight': weight at (0, 1, 2) is inf, must be finite"


@pytest.mark.parametrize("suffix", [".xl_stream", ".xl_index", ".xl_scale"])
def test_compress_rejects_tensors_in_the_way_of_its_own(suffix, arrays, tmp_path):
    arrays["enc.weight" + suffix] = np.arange(5, dtype=np.uint8)
    text = reject(arrays, tmp_path, spec())
    name = "enc.weight" + suffix
    assert text == f"tensor {name!r} is in the way of what 'enc.weight' becomes: rename it"


def test_compress_rejects_a_tensor_in_the_way_of_the_users_mask(arrays, tmp_path):
    arrays["enc.weight.mask"] = np.arange(5, dtype=np.float32)
    mask = np.eye(20, 30) != 0
    given = {"masks": {"enc.weight": mask}, "codes": {"enc.weight": mask.astype(np.uint8)}}
    text = reject(arrays, tmp_path, spec(), **given)
    assert "tensor 'enc.weight.mask' is in the way of what 'enc.weight' becomes" in text


def test_compress_keeps_a_tensor_called_mask_when_the_codes_are_its_own(arrays, round_trip):
    arrays["enc.weight.mask"] = np.arange(5, dtype=np.float32)
    _, _, out = round_trip(arrays, spec())
    assert out["enc.weight.mask"].tolist() == [0, 1, 2, 3, 4]


def test_compress_rejects_a_tensor_that_is_called_metadata(arrays, tmp_path):
    arrays["__metadata__"] = np.ones(3, np.float32)
    with pytest.raises((ConfigError, FormatError), match="__metadata__"):
        compress_model(as_model(arrays), tmp_path / "c.safetensors", spec())
    assert list(tmp_path.iterdir()) == []
