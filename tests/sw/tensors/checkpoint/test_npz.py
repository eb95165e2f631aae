# SPDX-License-Identifier: Apache-2.0
import io
import warnings
import zipfile

import ml_dtypes
import numpy as np
import pytest
from xorloom.sw.base.errors import FormatError
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.checkpoint.npz import write_npz

from tests.helpers.checkpoints import ARRAYS

STRANGE = {
    "text": np.array(["text", "more"]),
    "bytes": np.array([b"ab", b"c"]),
    "complex": np.array([[1 + 2j]], np.complex128),
    "long": np.array([1.5], np.longdouble),
    "day": np.array(["2026-01-17"], "datetime64[D]"),
    "record": np.array([(1, 2.5)], [("a", "<i4"), ("é", "<f8")]),
    "greek": np.array([(1, 2.5)], [("λ", "<i4"), ("μ", "<f8")]),
}


def test_npz_reads_back(tmp_path):
    np.savez(tmp_path / "m.npz", **ARRAYS)
    model = open_model(tmp_path / "m.npz")
    assert list(model) == list(ARRAYS)
    assert model.notes == ()
    for name, array in ARRAYS.items():
        assert (model[name].load() == array).all()
        assert model[name].load().dtype == array.dtype
        assert model[name].shape == array.shape
        assert model[name].raw() == array.tobytes()


def test_npz_is_written_as_it_was_read(tmp_path):
    arrays = {"none": np.zeros((0, 3)), "number": np.float32(5), "turned": np.eye(3, 4).T}
    write_npz(tmp_path / "m.npz", arrays)
    with np.load(tmp_path / "m.npz") as found:
        for name, array in arrays.items():
            assert found[name].shape == array.shape
            assert np.array_equal(found[name], array)


def test_npy_is_one_tensor_with_the_name_of_the_file(tmp_path):
    np.save(tmp_path / "embedding.npy", ARRAYS["f32"])
    model = open_model(tmp_path / "embedding.npy")
    assert list(model) == ["embedding"]
    assert (model["embedding"].load() == ARRAYS["f32"]).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_in_fortran_order_gives_row_major_bytes(save, tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    save(tmp_path / "m.npz", w=np.asfortranarray(array))
    assert open_model(tmp_path / "m.npz")["w"].raw() == array.tobytes()


def test_npz_in_big_endian_order_gives_little_endian_bytes(tmp_path):
    array = np.array([[1.0, 2.0], [3.0, 4.0]], ">f4")
    np.savez(tmp_path / "m.npz", w=array)
    tensor = open_model(tmp_path / "m.npz")["w"]
    assert (tensor.dtype, tensor.weights().tolist()) == ("F32", array.tolist())
    assert tensor.raw() == array.astype("<f4").tobytes()


def test_npz_never_unpickles(tmp_path):
    np.savez(tmp_path / "m.npz", v=np.ones(2), w=np.array([{"a": 1}], object))
    with pytest.raises(FormatError) as caught:
        open_model(tmp_path / "m.npz")
    assert str(caught.value) == (
        f"{tmp_path}/m.npz: tensor 'w' holds Python objects, which xorloom never unpickles: save "
        "it as numbers"
    )


def test_npz_keeps_what_safetensors_has_not_as_it_is(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy: names beyond Latin-1 need version 3
        np.savez(tmp_path / "m.npz", w=ARRAYS["f32"], **STRANGE)
    model = open_model(tmp_path / "m.npz")
    assert list(model) == ["w", *STRANGE]
    for name, array in STRANGE.items():
        tensor = model[name]
        assert (tensor.foreign, tensor.dtype, tensor.shape) == (
            "npy",
            str(array.dtype),
            (*array.shape,),
        )
        assert not tensor.is_float
        restored = np.load(io.BytesIO(tensor.raw()), allow_pickle=False)
        assert restored.dtype == array.dtype
        assert (restored == array).all()
    (note,) = model.notes
    assert note == (
        "kept as they are, of types that safetensors lacks: text (<U4), bytes (|S2), "
        "complex (complex128), long (float128), day (datetime64[D]) and 2 more"
    )


def test_npz_says_that_it_does_not_know_bfloat16(tmp_path):
    np.savez(tmp_path / "m.npz", w=np.ones((2, 2), ml_dtypes.bfloat16))
    model = open_model(tmp_path / "m.npz")
    assert model.notes == ("kept as they are, of types that safetensors lacks: w (|V2)",)


def test_npz_names_members_that_are_no_arrays(tmp_path):
    np.savez(tmp_path / "m.npz", w=ARRAYS["f32"])
    with zipfile.ZipFile(tmp_path / "m.npz", "a") as archive:
        archive.writestr("README.txt", "trained on sand")
    model = open_model(tmp_path / "m.npz")
    assert list(model) == ["w"]
    assert model.notes == ("left out, not arrays: README.txt",)


def test_npz_with_a_name_twice_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", w=ARRAYS["f32"])
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "m.npz", "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("w.npy", archive.read("w.npy"))
    with pytest.raises(FormatError, match=r"m\.npz: tensor 'w' comes twice"):
        open_model(tmp_path / "m.npz")


def test_open_model_rejects_an_array_that_is_called_npz(tmp_path):
    with (tmp_path / "m.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(FormatError, match=r"cannot be read as \.npz: File is not a zip file"):
        open_model(tmp_path / "m.npz")


def test_open_model_rejects_every_truncated_npz(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, w=ARRAYS["f32"])
    data = path.read_bytes()
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(FormatError, match=r"cannot be read as \.npz"):
            open_model(path)


def test_truncated_npy_names_the_tensor(tmp_path):
    path = tmp_path / "w.npy"
    np.save(path, np.ones(100, np.float32))
    data = path.read_bytes()
    for n in (0, 5, 9, 60):
        path.write_bytes(data[:n])
        with pytest.raises(FormatError, match="tensor 'w' has a header that cannot be read: dam"):
            open_model(path)
    path.write_bytes(data[:-4])
    with pytest.raises(FormatError, match=r"tensor 'w' must have 528 bytes, not 524 \(truncated"):
        open_model(path)


def test_small_npz_cannot_ask_for_any_memory(tmp_path):
    path = tmp_path / "w.npy"
    np.save(path, np.ones((100, 100)))
    path.write_bytes(
        path.read_bytes().replace(b"(100, 100)", b"(9999, 9999)").replace(b"  ", b"", 1)
    )
    with pytest.raises(FormatError, match=r"'w' must have 799840136 bytes, not 80128 \(truncated"):
        open_model(path)


def test_header_beyond_numpys_limit_gives_no_advice_to_unpickle(tmp_path):
    fields = [(f"field_{n}", "<f4") for n in range(2000)]
    np.savez(tmp_path / "m.npz", w=np.zeros(1, fields))
    with pytest.raises(FormatError) as caught:
        open_model(tmp_path / "m.npz")
    assert str(caught.value) == (
        f"{tmp_path}/m.npz: tensor 'w' has a header that cannot be read: damaged, or too long"
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_npz_data_name_the_tensor(save, tmp_path):
    path = tmp_path / "m.npz"
    save(path, v=np.ones(3), w=np.random.default_rng(1).normal(size=1000))
    data = bytearray(path.read_bytes())
    data[len(data) - 2000] ^= 1
    path.write_bytes(data)
    model = open_model(path)
    assert model["v"].load().all()
    with pytest.raises(FormatError, match=r"m\.npz: tensor 'w' cannot be read: "):
        model["w"].load()


def test_npz_of_many_arrays_has_its_list_of_members_read_once(tmp_path, monkeypatch):
    np.savez(tmp_path / "m.npz", **{f"w{k}": np.full((2, 3), k) for k in range(20)})
    opened = []

    class Archive(zipfile.ZipFile):
        def __init__(self, *given):
            opened.append(given)
            super().__init__(*given)

    monkeypatch.setattr(zipfile, "ZipFile", Archive)
    model = open_model(tmp_path / "m.npz")
    assert [int(tensor.load()[0, 0]) for tensor in model.values()] == list(range(20))
    assert len(opened) == 1
