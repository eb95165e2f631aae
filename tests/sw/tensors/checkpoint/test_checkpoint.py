# SPDX-License-Identifier: Apache-2.0
import json
import sys
import types

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError, FormatError, ToolError
from xorloom.sw.tensors.checkpoint import FORMATS, open_model
from xorloom.sw.tensors.safetensors_file import (
    DTYPES,
    dtype_name,
    header_bytes,
    read_header,
    write_tensors,
)

ARRAYS = {
    "f32": (np.arange(12, dtype=np.float32) - 6).reshape(3, 4),
    "f16": np.array([[0.5, -2.0]], np.float16),
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "steps": np.array([1, -2, 3], np.int64),
    "flags": np.array([True, False]),
}


def raw_safetensors(path, header, data=b"", pad=0):
    """Write a safetensors file by hand; ``header`` is bytes or goes through JSON."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    raw += b" " * pad
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_safetensors_written_by_the_package_reads_back(tmp_path):
    save_file(ARRAYS, tmp_path / "m.safetensors", {"format": "np"})
    model = open_model(tmp_path / "m.safetensors")
    assert set(model) == set(ARRAYS)
    for name, array in ARRAYS.items():
        tensor = model[name]
        assert (tensor.name, tensor.shape, tensor.size) == (name, array.shape, array.size)
        assert tensor.load().dtype == array.dtype
        assert (tensor.load() == array).all()
        assert tensor.raw() == array.tobytes()
        assert tensor.is_float == (array.dtype.kind == "f")
        assert tensor.weights().dtype == np.float32
    assert model["f16"].dtype == "F16"


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("BF16", ml_dtypes.bfloat16),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn),
        ("F8_E5M2", ml_dtypes.float8_e5m2),
    ],
)
def test_safetensors_reads_narrow_floats(name, dtype, tmp_path):
    values = np.array([[1.5, -0.25, 0.0], [2.0, -3.0, 0.5]], np.float32)
    data = values.astype(dtype).tobytes()
    header = {"w": entry(name, (2, 3), (0, len(data)))}
    model = open_model(raw_safetensors(tmp_path / "m.safetensors", header, data))
    assert model["w"].is_float
    assert (model["w"].weights() == values).all()
    assert model["w"].raw() == data


@pytest.mark.parametrize("name", DTYPES)
def test_safetensors_dtypes_have_the_names_and_sizes_of_the_package(name, tmp_path):
    path = tmp_path / "m.safetensors"
    array = np.zeros((2, 4), DTYPES[name])
    header = header_bytes({"t": (name, (2, 4), array.nbytes)}, {"a": "b"})
    write_tensors(path, header, [array.tobytes()])
    with safe_open(path, "np") as file:
        assert file.metadata() == {"a": "b"}
        assert file.get_slice("t").get_dtype() == name
        assert file.get_slice("t").get_shape() == [2, 4]
    assert dtype_name(np.dtype(DTYPES[name])) == name


def test_dtype_name_rejects_what_safetensors_has_not():
    with pytest.raises(FormatError, match="safetensors cannot store dtype complex128"):
        dtype_name(np.dtype(np.complex128))


def test_npz_reads_back(tmp_path):
    np.savez(tmp_path / "m.npz", **ARRAYS)
    model = open_model(tmp_path / "m.npz")
    assert list(model) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (model[name].load() == array).all()
        assert model[name].shape == array.shape


def test_npz_in_fortran_order_gives_row_major_bytes(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.savez(tmp_path / "m.npz", w=np.asfortranarray(array))
    assert open_model(tmp_path / "m.npz")["w"].raw() == array.tobytes()


def test_npz_in_big_endian_order_gives_little_endian_bytes(tmp_path):
    array = np.array([[1.0, 2.0], [3.0, 4.0]], ">f4")
    np.savez(tmp_path / "m.npz", w=array)
    tensor = open_model(tmp_path / "m.npz")["w"]
    assert (tensor.dtype, tensor.weights().tolist()) == ("F32", array.tolist())
    assert tensor.raw() == array.astype("<f4").tobytes()


def test_npz_never_unpickles(tmp_path):
    np.savez(tmp_path / "m.npz", w=np.array([{"a": 1}], object))
    with pytest.raises(FormatError, match=r"cannot be read as \.npz: Object arrays cannot"):
        open_model(tmp_path / "m.npz")


def test_npz_rejects_dtypes_that_safetensors_has_not(tmp_path):
    np.savez(tmp_path / "m.npz", w=np.array(["text"]))
    with pytest.raises(FormatError, match="safetensors cannot store dtype <U4"):
        open_model(tmp_path / "m.npz")


def save_onnx(path, arrays):
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", [next(iter(arrays))], ["y"])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [], [y], initializers)), path)


def test_onnx_initializers_read_back(tmp_path):
    arrays = {k: v for k, v in ARRAYS.items() if k != "empty"}
    arrays["bf16"] = np.array([[1.5, -2.0]], ml_dtypes.bfloat16)
    save_onnx(tmp_path / "m.onnx", arrays)
    model = open_model(tmp_path / "m.onnx")
    assert list(model) == list(arrays)
    for name, array in arrays.items():
        assert (model[name].load() == array).all()
        assert model[name].shape == array.shape
    assert model["bf16"].dtype == "BF16"


@pytest.mark.parametrize("ending", ["pt", "pth", "bin"])
def test_torch_missing_names_the_extra(ending, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / f"m.{ending}"
    path.write_bytes(b"x")
    with pytest.raises(ToolError) as caught:
        open_model(path)
    expected = f"{path}: reading torch checkpoints needs torch: pip install 'xorloom[torch]'"
    assert str(caught.value) == expected


class FakeTensor:
    """As much of torch.Tensor as the reader touches, over a NumPy array."""

    def __init__(self, array, dtype="float32"):
        self.array, self.dtype = array, dtype

    def detach(self):
        return self

    contiguous = detach

    def view(self, dtype):
        assert (self.dtype, dtype) == ("bfloat16", "uint16")
        return FakeTensor(self.array.view(np.uint16))

    def numpy(self):
        return self.array


@pytest.fixture
def load_fake_torch(tmp_path, monkeypatch):
    """Open a checkpoint whose contents a stand-in for torch returns."""

    def opened(state):
        def load(path, map_location, weights_only):
            assert (map_location, weights_only) == ("cpu", True)
            return state

        fake = types.SimpleNamespace(
            load=load, Tensor=FakeTensor, bfloat16="bfloat16", uint16="uint16"
        )
        monkeypatch.setitem(sys.modules, "torch", fake)
        (tmp_path / "m.pt").write_bytes(b"x")
        return open_model(tmp_path / "m.pt")

    return opened


@pytest.mark.parametrize("nested", [False, True])
def test_torch_state_dict_gives_its_tensors(nested, load_fake_torch):
    bf16 = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    state = {"w": FakeTensor(ARRAYS["f32"]), "b": FakeTensor(bf16, "bfloat16"), "epoch": 3}
    model = load_fake_torch({"state_dict": state, "epoch": 3} if nested else state)
    assert list(model) == ["w", "b"]
    assert (model["w"].load() == ARRAYS["f32"]).all()
    assert (model["b"].dtype, model["b"].weights().tolist()) == ("BF16", [1.5, -2.0])


def test_torch_of_no_dict_is_an_error(load_fake_torch):
    with pytest.raises(FormatError, match=r"m\.pt: expected a dict of tensors, found list"):
        load_fake_torch([1, 2])


def test_open_model_rejects_missing_files(tmp_path):
    for path in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(ConfigError) as caught:
            open_model(path)
        assert str(caught.value) == f"{path}: no such file"


@pytest.mark.parametrize("name", ["m.h5", "m", "m.safetensors.gz"])
def test_open_model_rejects_unknown_endings(name, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError) as caught:
        open_model(tmp_path / name)
    assert f"{name}: unknown checkpoint type, use one of .safetensors, .npz" in str(caught.value)
    assert all(ending in str(caught.value) for ending in FORMATS)


@pytest.mark.parametrize("ending", ["safetensors", "npz", "onnx"])
def test_open_model_rejects_garbage_and_empty_files(ending, tmp_path):
    path = tmp_path / f"m.{ending}"
    for data in (b"", b"garbage, not a checkpoint" * 9, b"\xff" * 100, bytes(64)):
        path.write_bytes(data)
        with pytest.raises(FormatError) as caught:
            open_model(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_open_model_rejects_an_array_that_is_called_npz(tmp_path):
    with (tmp_path / "m.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(FormatError, match=r"cannot be read as \.npz"):
        open_model(tmp_path / "m.npz")


def test_open_model_rejects_every_truncated_npz(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, w=ARRAYS["f32"])
    data = path.read_bytes()
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(FormatError, match=r"cannot be read as \.npz"):
            open_model(path)


def test_open_model_rejects_damaged_npz_data(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, w=np.ones(100, np.float32))
    data = path.read_bytes()
    at = data.index(np.ones(4, np.float32).tobytes())
    path.write_bytes(data[:at] + b"\x01" + data[at + 1 :])
    with pytest.raises(FormatError, match=r"cannot be read as \.npz: Bad CRC-32"):
        open_model(path)


def test_open_model_rejects_a_truncated_onnx(tmp_path):
    path = tmp_path / "m.onnx"
    save_onnx(path, {"w": ARRAYS["f32"]})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FormatError, match=r"cannot be read as \.onnx"):
        open_model(path)


def test_open_model_rejects_every_truncated_safetensors(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": ARRAYS["f32"], "v": ARRAYS["f16"]}, path)
    data = path.read_bytes()
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(FormatError):
            open_model(path)


def test_read_header_rejects_what_is_too_short_for_its_length(tmp_path):
    path = tmp_path / "m.safetensors"
    for data in (b"\x01" * 7, (2**63).to_bytes(8, "little"), (99).to_bytes(8, "little") + b"{}"):
        path.write_bytes(data)
        with pytest.raises(FormatError, match="not a safetensors file, or truncated"):
            read_header(path)


def test_read_header_rejects_headers_that_are_no_json(tmp_path):
    for raw in (b"not json", b"\xff\xfe\xfd\xfc", b"[" * 100_000, b'{"a": 1', b""):
        with pytest.raises(FormatError, match="safetensors header is not JSON"):
            read_header(raw_safetensors(tmp_path / "m.safetensors", raw))


def test_read_header_rejects_headers_that_are_no_object_or_cut(tmp_path):
    path = raw_safetensors(tmp_path / "m.safetensors", [1])
    with pytest.raises(FormatError, match="header is truncated or not an object"):
        read_header(path)
    path.write_bytes((12).to_bytes(8, "little") + b"{}     ")
    with pytest.raises(FormatError, match="header is truncated or not an object"):
        read_header(path)


@pytest.mark.parametrize("metadata", [{"a": 1}, ["a"], {"a": None}])
def test_read_header_rejects_metadata_that_is_no_strings(metadata, tmp_path):
    path = raw_safetensors(tmp_path / "m.safetensors", {"__metadata__": metadata})
    with pytest.raises(FormatError, match="safetensors metadata must be strings"):
        read_header(path)


@pytest.mark.parametrize(
    "bad",
    [
        5,
        {},
        entry() | {"more": 1},
        entry(dtype="F128"),
        entry(dtype=["F32"]),
        entry(dtype={}),
        entry(dtype=None),
        entry(shape=[3]),
        entry(shape=[-2]),
        entry(shape=[2.0]),
        entry(shape=[True, 2]),
        entry(shape=[2**62, 2**62]),
        entry() | {"shape": "2"},
        entry(offsets=[0, 8, 8]),
        entry(offsets=[8, 0]),
        entry(offsets=[8, 16]),
        entry(offsets=[-8, 0]),
    ],
)
def test_read_header_rejects_bad_entries(bad, tmp_path):
    path = raw_safetensors(tmp_path / "m.safetensors", {"w": bad}, bytes(8))
    with pytest.raises(FormatError, match="tensor 'w' has a bad header entry"):
        read_header(path)


@pytest.mark.parametrize(
    "offsets", [((0, 8), (4, 12)), ((0, 8), (12, 20)), ((8, 16), (16, 24)), ((0, 8), (0, 8))]
)
def test_read_header_rejects_gaps_and_overlaps(offsets, tmp_path):
    header = {name: entry(offsets=o) for name, o in zip("ab", offsets, strict=True)}
    path = raw_safetensors(tmp_path / "m.safetensors", header, bytes(24))
    with pytest.raises(FormatError, match="tensor data has a gap or overlap at byte"):
        read_header(path)


def test_read_header_rejects_bytes_of_no_tensor(tmp_path):
    path = raw_safetensors(tmp_path / "m.safetensors", {"w": entry()}, bytes(9))
    size = path.stat().st_size
    with pytest.raises(FormatError, match=f"must be {size - 1} bytes, found {size}"):
        read_header(path)


def test_read_header_returns_entries_metadata_bytes_and_start(tmp_path):
    header = {"__metadata__": {"k": "v"}, "w": entry()}
    path = raw_safetensors(tmp_path / "m.safetensors", header, bytes(8), pad=3)
    entries, metadata, raw, start = read_header(path)
    assert entries == {"w": entry()}
    assert metadata == {"k": "v"}
    assert json.loads(raw) == header
    assert start == 8 + len(raw) == path.stat().st_size - 8


def test_write_tensors_aligns_data_and_keeps_order(tmp_path):
    path = tmp_path / "m.safetensors"
    entries = {"é": ("U8", (3,), 3), "a": ("F32", (1,), 4)}
    write_tensors(path, header_bytes(entries, {}), [b"xyz", np.float32(2).tobytes()])
    found, _, raw, start = read_header(path)
    assert list(found) == ["é", "a"]
    assert start % 8 == len(raw) % 8 == 0
    with safe_open(path, "np") as file:
        assert file.get_tensor("é").tobytes() == b"xyz"
        assert file.get_tensor("a").tolist() == [2.0]
