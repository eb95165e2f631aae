# SPDX-License-Identifier: Apache-2.0
"""Files of torch, with a stand-in for it; the same with torch itself is in test_torch_real.py."""

import pickle
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError, FormatError, ToolError
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers.torch_stub import Parameter, Tensor, make_torch

F32 = (np.arange(12, dtype=np.float32) - 6).reshape(3, 4)


@pytest.mark.parametrize("ending", ["pt", "pth", "bin"])
def test_torch_missing_names_the_extra(ending, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / f"m.{ending}"
    path.write_bytes(b"x")
    with pytest.raises(ToolError) as caught:
        open_model(path)
    expected = (
        "torch is not installed: make setup EXTRAS=torch (in the folder of xorloom's sources)"
    )
    assert str(caught.value) == expected


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Open a checkpoint whose contents a stand-in for torch returns."""

    def opened(state, name="m.pt", data=b"\x80"):
        monkeypatch.setitem(sys.modules, "torch", make_torch(state))
        (tmp_path / name).write_bytes(data)
        return open_model(tmp_path / name)

    return opened


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.bin", "m.ckpt", "m.PT"])
def test_nested_checkpoint_is_walked_whole(name, load):
    model = load(
        {
            "model": {"w": Tensor(F32), "b": Tensor(F32[0])},
            "running": Parameter(F32 + 1),
            "epoch": 3,
            "optimizer": {"lr": 0.1, "groups": [{"params": [1, 2]}]},
            "layers": [Tensor(F32 + 2), (Tensor(F32 + 3), {"a": Tensor(F32 + 4), "note": "x"})],
            7: Tensor(F32 + 5),
        },
        name,
    )
    assert list(model) == [
        "model.w",
        "model.b",
        "running",
        "layers.0",
        "layers.1.0",
        "layers.1.1.a",
        "7",
    ]
    assert (model["model.w"].load() == F32).all()
    assert (model["layers.1.1.a"].load() == F32 + 4).all()
    assert model.notes == ("left out, not tensors: epoch, optimizer, layers.1.1.note",)


def test_state_dict_keeps_its_path(load):
    model = load({"state_dict": {"w": Tensor(F32)}, "epoch": 3})
    assert list(model) == ["state_dict.w"]
    assert model.metadata == {"format": "pt"}


def test_file_of_one_tensor_is_called_like_the_file(load):
    assert list(load(Tensor(F32))) == ["m"]


def test_container_that_holds_itself_is_walked_once(load):
    state = {"w": Tensor(F32)}
    state["me"] = state
    assert list(load(state)) == ["w"]


@pytest.mark.parametrize("name", ["__metadata__", "w\udc80"])
@pytest.mark.parametrize("tied", [True, False])
def test_name_that_safetensors_cannot_hold_is_refused(name, tied, load):
    w = Tensor(F32)
    with pytest.raises(FormatError) as caught:
        load({"w": w, name: w if tied else Tensor(F32)})
    assert str(caught.value).endswith(
        f"m.pt: tensor {name!r} has a name that safetensors cannot hold: rename it"
    )


def test_two_tensors_of_one_path_are_refused(load):
    with pytest.raises(FormatError, match=r"m\.pt: two tensors have the path 'a\.b': rename a key"):
        load({"a.b": Tensor(F32), "a": {"b": Tensor(F32)}})


@pytest.mark.parametrize(
    ("state", "held"),
    [({"epoch": 3, "name": "x"}, "dict of epoch, name"), ([], "list"), (7, "int")],
)
def test_file_without_a_tensor_is_refused(state, held, load):
    with pytest.raises(FormatError) as caught:
        load(state)
    assert f"m.pt: holds no tensor, but {held}: save the weights alone" in str(caught.value)


@pytest.mark.parametrize(
    ("array", "dtype", "known"),
    [
        (F32.astype(ml_dtypes.bfloat16), None, "BF16"),
        (F32.astype(ml_dtypes.float8_e4m3fn), None, "F8_E4M3"),
        (F32.astype(ml_dtypes.float8_e5m2), None, "F8_E5M2"),
        (np.ones((2, 2), ml_dtypes.float8_e8m0fnu), None, "F8_E8M0"),
        (F32 > 0, None, "BOOL"),
        (F32.astype(np.complex64), None, "C64"),
        (np.array(3, np.int64), None, "I64"),
        (np.zeros((0, 3), np.float16), None, "F16"),
    ],
)
def test_dtypes_of_safetensors_come_as_they_are(array, dtype, known, load):
    tensor = load({"w": Tensor(array, dtype)})["w"]
    assert (tensor.dtype, tensor.shape, tensor.foreign) == (known, array.shape, "")
    assert tensor.raw() == array.tobytes()
    assert tensor.load().shape == array.shape


def test_four_bit_floats_are_counted_as_safetensors_counts_them(load):
    tensor = load({"w": Tensor(np.arange(8, dtype=np.uint8).reshape(2, 4), "float4_e2m1fn_x2")})[
        "w"
    ]
    assert (tensor.dtype, tensor.shape, tensor.is_float) == ("F4", (2, 8), False)
    assert tensor.raw() == bytes(range(8))


def test_conjugate_view_is_resolved(load):
    values = np.array([1 + 2j], np.complex64)
    assert load({"w": Tensor(values, conjugate=True)})["w"].load() == np.conj(values)


@pytest.mark.parametrize(
    ("tensor", "dtype", "shape"),
    [
        (Tensor(F32, "qint8", is_quantized=True), "torch.qint8", (3, 4)),
        (Tensor(F32, layout="torch.sparse_coo"), "torch.sparse_coo torch.float32", (3, 4)),
        (Tensor(F32, is_nested=True), "torch.nested torch.float32", (3,)),
        (Tensor(F32.astype(np.complex128)), "torch.complex128", (3, 4)),
        (Tensor(F32, "bits8"), "torch.bits8", (3, 4)),
        (Tensor(F32, "of_tomorrow"), "torch.of_tomorrow", (3, 4)),
    ],
)
def test_other_types_are_kept_as_torch_saves_them(tensor, dtype, shape, load):
    model = load({"w": Tensor(F32), "odd": tensor})
    found = model["odd"]
    assert (found.foreign, found.dtype, found.shape) == ("torch", dtype, shape)
    assert not found.is_float
    assert found.raw().endswith(tensor.array.tobytes())
    assert found.raw().startswith(f"saved {tensor.dtype} {tensor.layout} ".encode())
    assert model.notes == (f"kept as they are, of types that safetensors lacks: odd ({dtype})",)


def test_same_memory_in_the_same_shape_is_a_tie(load):
    w = Tensor(F32)
    views = {"same": Tensor(F32, like=w), "turned": Tensor(F32.T, like=w, stride=(1, 4))}
    views |= {"second": Tensor(F32[1:], like=w, offset=4), "other": Tensor(F32)}
    model = load({"w": w, "empty": Tensor(F32[:0]), "none": Tensor(F32[:0]), "w2": w, **views})
    assert list(model) == ["w", "empty", "none", "turned", "second", "other"]
    assert model.ties == {"w2": "w", "same": "w"}
    assert (model["turned"].load() == F32.T).all()
    assert model.notes == (
        "views of the same memory, stored as tensors of their own: turned, w, second",
    )


def test_conjugate_view_of_the_same_memory_is_no_tie(load):
    w = Tensor(F32.astype(np.complex64) * 1j)
    model = load({"w": w, "turned": Tensor(w.array, like=w, conjugate=True)})
    assert (list(model), model.ties) == (["w", "turned"], {})
    assert np.array_equal(model["turned"].load(), w.array.conj())


def test_views_that_do_not_overlap_are_tensors_like_others(load):
    whole = Tensor(F32)
    parts = {"a": Tensor(F32[:1], like=whole), "b": Tensor(F32[1:], like=whole, offset=4)}
    assert load(parts).notes == ()


def test_pruned_pair_is_one_tensor(load):
    mask = (F32 > 0).astype(np.float32)
    model = load({"fc": {"weight_orig": Tensor(F32), "weight_mask": Tensor(mask)}})
    assert list(model) == ["fc.weight"]
    assert model["fc.weight"].pruned
    assert (model["fc.weight"].load() == F32 * mask).all()


def test_tensor_without_data_is_named(load):
    with pytest.raises(FormatError, match=r"m\.pt: tensor 'w' is on the meta device: only its sh"):
        load({"w": Tensor(F32, is_meta=True)})


def test_tensor_of_a_class_of_its_own_is_named(load):
    class Packed(Tensor):
        pass

    with pytest.raises(FormatError, match=r"m\.pt: tensor 'w' is of class Packed: save plain tens"):
        load({"w": Packed(F32)})


REFUSAL = (
    "Weights only load failed. Re-running `torch.load` with `weights_only` set to `False` will "
    "likely succeed. Unsupported global: GLOBAL yolo.Model was not an allowed global by default."
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (pickle.UnpicklingError(REFUSAL), "holds objects of Python (yolo.Model), which are not lo"),
        (pickle.UnpicklingError("weights_only: Unsupported operand 120"), "is no file of torch.sa"),
        (EOFError(), "is no file of torch.save, or damaged: get it again"),
        (RuntimeError("PytorchStreamReader failed"), "is no file of torch.save, or damaged"),
    ],
)
def test_advice_of_torch_to_unpickle_is_not_let_through(error, text, load):
    with pytest.raises(FormatError) as caught:
        load(error)
    assert f"m.pt: {text}" in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_torchscript_is_refused_whatever_its_ending(load, tmp_path):
    with zipfile.ZipFile(tmp_path / "script.zip", "w") as archive:
        archive.writestr("m/data.pkl", "")
        archive.writestr("m/constants.pkl", "")
    with pytest.raises(ConfigError, match=r"m\.pt is a TorchScript program: load it with torch\.j"):
        load({}, data=(tmp_path / "script.zip").read_bytes())
