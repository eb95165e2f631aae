# SPDX-License-Identifier: Apache-2.0
import os

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.tensors.checkpoint import FORMATS, open_model

from tests.helpers.checkpoints import ARRAYS, raw_safetensors


def test_safetensors_written_by_the_package_reads_back(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file(ARRAYS, path, {"format": "np"})
    model = open_model(path)
    assert set(model) == set(ARRAYS)
    assert (model.path, model.metadata, model.ties, model.notes) == (path, {"format": "np"}, {}, ())
    assert model.files == (path,)
    for name, array in ARRAYS.items():
        tensor = model[name]
        assert (tensor.name, tensor.shape, tensor.size) == (name, array.shape, array.size)
        assert tensor.load().dtype == array.dtype
        assert (tensor.load() == array).all()
        assert tensor.raw() == array.tobytes()
        assert tensor.is_float == (array.dtype.kind == "f")
        assert tensor.label == f"{path}: tensor {name!r}"
    assert model["f16"].dtype == "F16"


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("BF16", ml_dtypes.bfloat16),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn),
        ("F8_E5M2", ml_dtypes.float8_e5m2),
        ("F8_E5M2FNUZ", ml_dtypes.float8_e5m2fnuz),
    ],
)
def test_safetensors_reads_narrow_floats(name, dtype, tmp_path):
    values = np.array([[1.5, -0.25, 0.0], [2.0, -3.0, 0.5]], np.float32)
    data = values.astype(dtype).tobytes()
    header = {"w": {"dtype": name, "shape": [2, 3], "data_offsets": [0, len(data)]}}
    model = open_model(raw_safetensors(tmp_path / "m.safetensors", header, data))
    assert model["w"].is_float
    assert (model["w"].weights() == values).all()
    assert model["w"].raw() == data


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [
        ("F8_E8M0", (3,), 3),
        ("F4", (2, 4), 4),
        ("F6_E2M3", (4,), 3),
        ("F2_OF_TOMORROW", (7, 7), 5),
    ],
)
def test_safetensors_passes_dtypes_on_that_are_no_weights(dtype, shape, size, tmp_path):
    data = bytes(range(1, size + 1))
    header = {"w": {"dtype": dtype, "shape": list(shape), "data_offsets": [0, size]}}
    tensor = open_model(raw_safetensors(tmp_path / "m.safetensors", header, data))["w"]
    # What today's safetensors does not know is stored as bytes, so that it opens what comes of it.
    foreign = "safetensors" if dtype.startswith("F2") else ""
    assert (tensor.dtype, tensor.shape, tensor.foreign) == (dtype, shape, foreign)
    assert not tensor.is_float
    assert tensor.raw() == data


def test_safetensors_that_shrinks_after_it_was_opened_names_the_tensor(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": np.ones(99, np.float32)}, path)
    model = open_model(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FormatError, match=r"m\.safetensors: tensor 'w' cannot be read: mmap"):
        model["w"].load()


def test_open_model_rejects_missing_files_and_what_is_no_file(tmp_path):
    with pytest.raises(ConfigError) as caught:
        open_model(tmp_path / "no.safetensors")
    assert str(caught.value) == f"{tmp_path}/no.safetensors: no such file"
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ConfigError) as caught:
        open_model(tmp_path / "pipe.npz")
    assert str(caught.value) == f"{tmp_path}/pipe.npz: not a file"


@pytest.mark.parametrize("name", ["m", "m.safetensors.gz", "m.json"])
def test_open_model_rejects_unknown_endings(name, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError) as caught:
        open_model(tmp_path / name)
    assert f"{name}: unknown checkpoint type, use one of .safetensors, .npz" in str(caught.value)
    assert all(ending in str(caught.value) for ending in FORMATS)


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("m.gguf", b"GGUF", "a GGUF file: take the safetensors files that it was made from"),
        ("m.GGUF", b"x", "a GGUF file: take the safetensors files"),
        ("m.bin", b"GGUF", "a GGUF file: take the safetensors files"),
        ("m.bin", b"lmgg", "a GGUF file: take the safetensors files"),
        ("m.jit", b"PK", "a TorchScript program: load it with torch.jit.load and save its state_d"),
        ("m.tflite", b"x", "a TensorFlow Lite file: convert it with python -m tf2onnx.convert"),
        ("m.bin", b"\x1c\0\0\0TFL3", "a TensorFlow Lite file: convert it"),
        ("m.h5", b"x", "a Keras file: convert it with tf2onnx, or save model.get_weights()"),
        ("m.bin", b"\x89HDF\r\n\x1a\n", "a Keras file"),
        ("m.pb", b"x", "a TensorFlow graph: convert it with python -m tf2onnx.convert --graphdef"),
        ("m.msgpack", b"x", "a Flax file: load it in Flax and save its parameters with safetens"),
        ("m.pkl", b"x", "a pickle, which can run code: save the arrays with numpy.savez"),
        ("m.ckpt", b"x", "a .ckpt, but not of torch: convert it with tf2onnx if it is TensorF"),
        ("m.safetensors", b"version https://git-lfs\n", "a pointer of Git LFS, not the file"),
        ("m.onnx", b"<!DOCTYPE html>", "a page of the web, not a checkpoint: download the file"),
    ],
)
def test_open_model_says_what_to_do_with_other_files(name, data, what, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        open_model(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path}/{name} is {what}")


@pytest.mark.parametrize("ending", ["safetensors", "npz", "npy", "onnx", "NPZ", "ONNX"])
def test_open_model_rejects_garbage_and_empty_files(ending, tmp_path):
    path = tmp_path / f"m.{ending}"
    for data in (b"", b"garbage, not a checkpoint" * 9, b"\xff" * 100, bytes(64)):
        path.write_bytes(data)
        with pytest.raises(FormatError) as caught:
            open_model(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "pickle" not in str(caught.value)
