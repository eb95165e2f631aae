# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from xorloom.sw.base.errors import FormatError
from xorloom.sw.tensors.safetensors_file import (
    DTYPES,
    dtype_name,
    header_bytes,
    read_header,
    write_tensors,
)

from tests.helpers.checkpoints import raw_safetensors


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


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


def test_no_metadata_is_not_the_same_as_empty_metadata(tmp_path):
    path = tmp_path / "m.safetensors"
    write_tensors(path, header_bytes({"t": ("U8", (1,), 1)}, {}), [b"x"])
    with safe_open(path, "np") as file:
        assert file.metadata() is None


def test_dtype_name_rejects_what_safetensors_has_not():
    with pytest.raises(FormatError, match="safetensors cannot store dtype complex128"):
        dtype_name(np.dtype(np.complex128))


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


def test_read_header_rejects_every_truncation(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": np.ones((3, 4), np.float32), "v": np.ones((1, 2), np.float16)}, path)
    data = path.read_bytes()
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(FormatError):
            read_header(path)


@pytest.mark.parametrize(("dtype", "size"), [("F4", 3), ("F6_E2M3", 5), ("F6_E3M2", 4)])
def test_read_header_knows_how_many_bits_packed_floats_take(dtype, size, tmp_path):
    path, right = tmp_path / "m.safetensors", {"F4": 4}.get(dtype, 6)
    raw_safetensors(path, {"w": entry(dtype, (2, 4), (0, right))}, bytes(right))
    assert read_header(path)[0]["w"]["dtype"] == dtype
    with safe_open(path, "np") as file:
        assert file.get_slice("w").get_dtype() == dtype
    raw_safetensors(path, {"w": entry(dtype, (2, 4), (0, size))}, bytes(size))
    with pytest.raises(FormatError, match="tensor 'w' has a bad header entry"):
        read_header(path)


def test_read_header_takes_dtypes_of_the_future_by_their_offsets(tmp_path):
    entries = {"w": entry("F2_X", (9, 9), (0, 5)), "v": entry("F32", (1,), (5, 9))}
    path = raw_safetensors(tmp_path / "m.safetensors", entries, bytes(9))
    assert read_header(path)[0] == entries
    for low, high in ((0, 99), (4, 0)):
        raw_safetensors(path, {"w": entry("F2_X", (9, 9), (low, high))}, bytes(9))
        with pytest.raises(FormatError, match="tensor 'w' has a bad header entry"):
            read_header(path)
