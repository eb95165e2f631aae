# SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import zlib

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import (
    CompressedTensor,
    StoredTensor,
    read_container,
    write_container,
)
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.verify import verify_tensor
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.weight_format import Decoder, index_for
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers.containers import (
    BOTH,
    SPEC,
    SPECS,
    header_crc,
    read_all,
    rewrite,
    split,
)


def test_container_is_readable_by_the_safetensors_package(compressed, original):
    with safe_open(compressed, "np") as file:
        assert set(file.keys()) == {
            "w.xl_stream",
            "w.xl_index",
            "w.xl_scale",
            "bias",
            "steps",
        }
        for name in ("bias", "steps"):
            assert file.get_tensor(name).dtype == original[name].dtype
            assert file.get_tensor(name).tobytes() == original[name].tobytes()
            assert file.get_tensor(name).shape == original[name].shape
        assert file.get_tensor("w.xl_stream").dtype == np.uint8
        assert file.get_tensor("w.xl_stream").tobytes()[:4] == b"XL\x01\x02"
        assert file.get_tensor("w.xl_index").tobytes()[:4] == b"XL\x01\x01"
        assert file.get_tensor("w.xl_scale").shape == (6, 2)
        assert file.get_tensor("w.xl_scale").dtype == np.float16


@BOTH
def test_container_metadata_is_that_of_the_format(codec, compressed):
    raw, _ = split(compressed.read_bytes())
    header = json.loads(raw)
    assert next(iter(header)) == "__metadata__"
    assert list(header["__metadata__"]) == ["xorloom", "xorloom_header_crc32"]
    manifest = json.loads(header["__metadata__"]["xorloom"])
    assert list(manifest) == ["version", "decoders", "tensors", "foreign", "ties", "crc32"]
    (decoder,) = manifest["decoders"]
    assert (manifest["version"], manifest["foreign"], manifest["ties"]) == (3, {}, {})
    assert set(decoder) == {"codec", "config", "index"}
    assert decoder["codec"] == codec
    assert decoder["config"] == SPECS[codec].config.to_dict()
    lanes = 32 if codec == "window" else SPECS[codec].config.n_out
    bitmap = {"n_out": lanes, "bus_bits": SPECS[codec].config.bus_bits}
    assert decoder["index"] == {"codec": "bitmap", "config": bitmap}
    window = {"order", "slices_per_stream"}
    assert set(manifest["tensors"]["w"]) == {
        "shape",
        "dtype",
        "planes",
        "content_crc32",
        "quantizer",
        "decoder",
        "error",
        *(window if codec == "window" else ()),
    }
    if codec == "window":
        assert manifest["tensors"]["w"]["order"] == "strided"
        assert manifest["tensors"]["w"]["slices_per_stream"] % 16 == 0
    assert header["__metadata__"]["xorloom_header_crc32"] == header_crc(raw)
    with safe_open(compressed, "np") as file:
        crcs = {name: zlib.crc32(file.get_tensor(name).tobytes()) for name in file.keys()}  # noqa: SIM118
    assert manifest["crc32"] == crcs


@BOTH
def test_container_content_crc_is_that_of_mask_and_kept_codes(compressed):
    container = read_container(compressed)
    decoded = verify_tensor(container, "w")
    packed = 0
    for i, keep in enumerate(decoded.mask.reshape(-1).tolist()):
        packed |= keep << i
    kept = zip(decoded.mask.reshape(-1), decoded.codes.reshape(-1), strict=True)
    text = packed.to_bytes(8, "little") + bytes(int(code) for keep, code in kept if keep)
    assert container.tensors["w"].content_crc32 == zlib.crc32(text)


@BOTH
def test_container_names_entries_and_untouched(codec, compressed):
    container = read_container(compressed)
    assert set(container.untouched) == {"bias", "steps"}
    assert set(container.names) == {"bias", "steps", "w.xl_stream", "w.xl_index", "w.xl_scale"}
    assert container.entry("bias") == ("F16", (3,), 6)
    assert container.array("steps").tolist() == 7
    assert container.value() == SPECS[codec].config
    assert container.tensor("w").quantizer == SPEC.quantizer


@BOTH
@pytest.mark.parametrize("flip", [0xFF, 0x01])
def test_read_rejects_every_flipped_byte(flip, compressed, tmp_path):
    data = compressed.read_bytes()
    path = tmp_path / "damaged.safetensors"
    silent, other = [], []
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= flip
        path.write_bytes(damaged)
        try:
            read_all(path)
            silent.append(at)
        except (FormatError, ConfigError) as error:
            if path.name not in str(error):
                other.append((at, repr(error)))
        except Exception as error:  # collected, so that one run shows all places
            other.append((at, repr(error)))
    assert (silent, other) == ([], [])


@BOTH
def test_read_rejects_every_truncation(compressed, tmp_path):
    data = compressed.read_bytes()
    path = tmp_path / "damaged.safetensors"
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(FormatError):
            read_all(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(FormatError, match="bytes, found"):
        read_all(path)


@pytest.fixture
def two_tensors(tmp_path, codec, rng):
    """Two tensors of one shape, so that only contents tell them apart."""
    arrays = {name: rng.standard_normal((6, 10)).astype(np.float32) for name in "ab"}
    save_file(arrays, tmp_path / "two.safetensors")
    path = tmp_path / "two.xl.safetensors"
    compress_model(open_model(tmp_path / "two.safetensors"), path, SPECS[codec])
    return path


def swap_entries(one, two):
    """Give two tensors of a file each other's place in the data."""

    def change(header):
        header[one], header[two] = header[two], header[one]

    return change


@BOTH
@pytest.mark.parametrize("part", [".xl_stream", ".xl_index", ".xl_scale"])
def test_swapped_parts_of_two_tensors_are_detected(part, two_tensors):
    # A stream ends with its own CRC-32, so the manifest's CRC-32 of every stream is the same
    # number; it is the CRC-32 of the contents that tells two streams apart.
    rewrite(two_tensors, change_header=swap_entries(f"a{part}", f"b{part}"))
    container = read_container(two_tensors)
    for name in "ab":
        with pytest.raises(FormatError, match=r"CRC-32 must be|must have CRC-32|stream"):
            verify_tensor(container, name)


@BOTH
@pytest.mark.parametrize("part", [".xl_stream", ".xl_index"])
def test_swapped_parts_with_their_crcs_are_detected(part, two_tensors):
    def change(manifest):
        crcs = manifest["crc32"]
        crcs[f"a{part}"], crcs[f"b{part}"] = crcs[f"b{part}"], crcs[f"a{part}"]

    rewrite(two_tensors, change, swap_entries(f"a{part}", f"b{part}"))
    container = read_container(two_tensors)
    for name in "ab":
        with pytest.raises(FormatError, match=rf"{name}: mask and codes must have CRC-32|stream"):
            verify_tensor(container, name)


def test_read_rejects_files_of_others(tmp_path, original, compressed):
    with pytest.raises(
        FormatError, match=r"not a xorloom file \(no 'xorloom' metadata\); compress"
    ):
        read_container(tmp_path / "model.safetensors")
    rewrite(compressed, change_header=lambda h: h["__metadata__"].pop("xorloom_header_crc32"))
    with pytest.raises(FormatError, match="not a xorloom file"):
        read_container(compressed)
    with pytest.raises(ConfigError, match=r"none\.safetensors: no such file"):
        read_container(tmp_path / "none.safetensors")


def test_read_names_the_header_crc(compressed):
    data = compressed.read_bytes()
    found = header_crc(split(data)[0])
    compressed.write_bytes(data.replace(found.encode(), b"12345678"))
    with pytest.raises(FormatError, match=f"header is damaged: CRC-32 must be {found}, found 1234"):
        read_container(compressed)


def test_raw_names_the_tensor_that_is_damaged(compressed):
    data = bytearray(compressed.read_bytes())
    container = read_container(compressed)
    data[-1] ^= 1
    compressed.write_bytes(data)
    last = container.names[-1]
    with pytest.raises(FormatError, match=f"tensor '{last}' is damaged: CRC-32 must be"):
        container.raw(last)


def test_tensor_of_no_such_name_is_an_error(compressed):
    with pytest.raises(ConfigError, match=r"no compressed tensor 'x' in .* \(there is: w\)"):
        read_container(compressed).tensor("x")


@pytest.mark.parametrize(
    "name", ['quo"te', "ünïcode.w", "back\\slash", '"xorloom_header_crc32":"00000000"', "", "a b"]
)
def test_container_holds_any_tensor_name(name, tmp_path):
    path = tmp_path / "c.safetensors"
    tensors = [StoredTensor(name, {"": ("U8", (2,), b"ab")})]
    write_container(path, tensors)
    assert read_container(path).raw(name) == b"ab"
    with safe_open(path, "np") as file:
        assert file.get_tensor(name).tobytes() == b"ab"


def test_container_of_no_tensors(tmp_path):
    write_container(tmp_path / "c.safetensors", [])
    assert read_container(tmp_path / "c.safetensors").names == []


def test_container_without_quantizer_needs_no_scales(tmp_path):
    info = CompressedTensor(
        (2,), "U8", 1, 5, None, Decoder(BlockConfig(), index_for(BlockConfig(), 1))
    )
    parts = {".xl_stream": ("U8", (0,), b""), ".xl_index": ("U8", (1,), b"x")}
    tensors = [StoredTensor("w", parts, info)]
    write_container(tmp_path / "c.safetensors", tensors)
    assert read_container(tmp_path / "c.safetensors").tensor("w") == info


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("old", [None, b"older output"])
@pytest.mark.parametrize("writer", ["compress", "decompress"])
def test_full_disk_leaves_the_folder_as_it_was(writer, old, compressed, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / "o.safetensors"
    if old:
        out.write_bytes(old)
    model = open_model(tmp_path / "model.safetensors")
    write = {
        "compress": lambda: compress_model(model, out, SPEC),
        "decompress": lambda: decompress_model(compressed, out),
    }[writer]
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write()
    assert [p.name for p in folder.iterdir()] == (["o.safetensors"] if old else [])
    if old:
        assert out.read_bytes() == old


def test_decompress_of_damaged_data_leaves_nothing_behind(compressed, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    data = bytearray(compressed.read_bytes())
    data[-1] ^= 0x10
    compressed.write_bytes(data)
    with pytest.raises(FormatError, match="is damaged"):
        decompress_model(compressed, folder / "o.safetensors")
    assert list(folder.iterdir()) == []


def test_write_to_a_folder_that_is_not_there_raises_os_error(tmp_path):
    path = tmp_path / "no" / "c.safetensors"
    with pytest.raises(FileNotFoundError, match=rf"cannot write {path}: No such file"):
        write_container(path, [])


def test_write_from_an_iterator_that_fails_leaves_the_folder_as_it_was(tmp_path):
    path = tmp_path / "c.safetensors"

    def tensors():
        yield StoredTensor("a", {"": ("U8", (2,), b"ab")})
        raise KeyError("b")

    for old in (None, b"older output"):
        if old:
            path.write_bytes(old)
        with pytest.raises(KeyError):
            write_container(path, tensors())
        assert [p.read_bytes() for p in tmp_path.iterdir()] == ([old] if old else [])


def test_write_refuses_two_tensors_of_one_name(tmp_path):
    tensors = [StoredTensor("a", {"": ("U8", (2,), text)}) for text in (b"ab", b"cd")]
    with pytest.raises(ConfigError, match=r"c: tensor 'a' comes twice: rename one"):
        write_container(tmp_path / "c", tensors)
    assert list(tmp_path.iterdir()) == []
