# SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import CompressedTensor, read_container, write_container
from xorloom.sw.model.decompress import (
    decode_tensor,
    decompress_model,
    tensor_bits,
    tensor_frames,
    tensor_steps,
    verify_tensor,
)
from xorloom.sw.model.spec import CompressSpec
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.weight_format import index_for
from xorloom.sw.tensors.model_io import open_model
from xorloom.sw.tensors.quantize import Quantizer

SPEC = CompressSpec(
    sparsity=0.8,
    quantizer=Quantizer(planes=2, scale="row"),
    config=BlockConfig(n_in=6, n_out=20, lanes=2, bus_bits=32),
    search=False,
    min_size=40,
)
WINDOW_SPEC = replace(
    SPEC,
    config=WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32),
    order="strided",
)
SPECS = {"block": SPEC, "window": WINDOW_SPEC}
BOTH = pytest.mark.parametrize("codec", list(SPECS), indirect=True)
WINDOW = pytest.mark.parametrize("codec", ["window"], indirect=True)


@pytest.fixture
def original(tmp_path, rng):
    """A checkpoint with one small matrix and tensors that pass through."""
    arrays = {
        "w": rng.standard_normal((6, 10)).astype(np.float32),
        "bias": rng.standard_normal(3).astype(np.float16),
        "steps": np.array(7, np.int64),
    }
    save_file(arrays, tmp_path / "model.safetensors")
    return arrays


@pytest.fixture(params=["block"])
def codec(request):
    """Codec of the compressed file; a test asks for others by indirect parametrization."""
    return request.param


@pytest.fixture
def compressed(tmp_path, original, codec):
    model = open_model(tmp_path / "model.safetensors")
    compress_model(model, tmp_path / "c.safetensors", SPECS[codec])
    return tmp_path / "c.safetensors"


def split(data):
    n = int.from_bytes(data[:8], "little")
    return data[8 : 8 + n], data[8 + n :]


def header_crc(raw):
    """CRC of a header with its own eight digits taken as zeros, from FORMAT.md's text."""
    field = json.loads(raw)["__metadata__"]["xorloom_header_crc32"]
    key = b'"xorloom_header_crc32":"'
    assert raw.count(key) == 1
    blank = raw.replace(key + field.encode(), key + b"00000000")
    return f"{zlib.crc32(blank):08x}"


def rewrite(path, change=lambda manifest: None, change_header=lambda header: None):
    """Edit manifest and header of a file and give it a header CRC that fits."""
    raw, data = split(path.read_bytes())
    header = json.loads(raw)
    manifest = json.loads(header["__metadata__"]["xorloom"])
    change(manifest)
    header["__metadata__"]["xorloom"] = json.dumps(manifest)
    header["__metadata__"]["xorloom_header_crc32"] = "00000000"
    change_header(header)
    raw = json.dumps(header, separators=(",", ":")).encode()
    if "xorloom_header_crc32" in header["__metadata__"]:
        key = b'"xorloom_header_crc32":"'
        raw = raw.replace(key + b"00000000", key + header_crc(raw).encode())
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def read_all(path):
    """Open, decode and check everything that a file holds."""
    container = read_container(path)
    for name in container.tensors:
        verify_tensor(container, name)
    for name in container.untouched:
        container.raw(name)


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
    assert set(manifest) == {"version", "codec", "config", "index", "tensors", "crc32"}
    assert (manifest["version"], manifest["codec"]) == (2, codec)
    assert manifest["config"] == SPECS[codec].config.to_dict()
    lanes = 32 if codec == "window" else SPECS[codec].config.n_out
    bitmap = {"n_out": lanes, "bus_bits": SPECS[codec].config.bus_bits}
    assert manifest["index"] == {"codec": "bitmap", "config": bitmap}
    window = {"order", "slices_per_stream"}
    assert set(manifest["tensors"]["w"]) == {
        "shape",
        "dtype",
        "planes",
        "content_crc32",
        "quantizer",
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
    assert container.config == SPECS[codec].config
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


@pytest.mark.parametrize("version", [1, 3, 0, "2", None])
def test_read_rejects_another_version(version, compressed):
    rewrite(compressed)
    read_all(compressed)
    rewrite(compressed, lambda manifest: manifest.update(version=version))
    with pytest.raises(FormatError, match="is not the supported 2: compress the model again"):
        read_container(compressed)


def test_read_rejects_another_codec(compressed):
    rewrite(compressed, lambda manifest: manifest.update(codec="lz"))
    with pytest.raises(FormatError, match="unknown value codec 'lz'"):
        read_container(compressed)


@pytest.mark.parametrize("codec_name", [None, ["window"], 1])
def test_read_rejects_a_codec_that_is_no_name(codec_name, compressed):
    rewrite(compressed, lambda manifest: manifest.update(codec=codec_name))
    with pytest.raises(FormatError, match=r"c\.safetensors: .*(codec|unhashable)"):
        read_container(compressed)


@BOTH
def test_read_rejects_the_other_codec(codec, compressed):
    other = "block" if codec == "window" else "window"
    rewrite(compressed, lambda manifest: manifest.update(codec=other))
    text = rf"c\.safetensors: manifest does not fit: {other} codec parameters do not fit: missing"
    with pytest.raises(FormatError, match=text):
        read_container(compressed)


def change_tensor(**values):
    return lambda manifest: manifest["tensors"]["w"].update(values)


def change_config(**values):
    def change(manifest):
        manifest["config"].update(values)

    return change


@WINDOW
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (change_config(n_in=4), "n_in must be between 8 and 256, not 4"),
        (change_config(n_in=24), "n_in must be a power of two, not 24"),
        (change_config(n_in="8"), "n_in must be an integer, not '8'"),
        (change_config(n_in=8.0), "n_in must be an integer, not 8.0"),
        (change_config(n_in=True), "n_in must be an integer, not True"),
        (change_config(n_out=100), "n_out must be a multiple of 64, not 100"),
        (change_config(n_out=1 << 40), "n_out must be between 64 and 2048, not 1099511627776"),
        (change_config(window=96), "window must be a multiple of 64, not 96"),
        (change_config(own_taps=0), "own_taps must be between 1 and 32, not 0"),
        (change_config(shared_taps=9), "shared_taps must be between 0 and 8, not 9"),
        (change_config(shared=0), "shared 0 and shared_taps 3 must both be 0 or neither"),
        (change_config(shared=2), "shared_taps 3 must not exceed shared 2"),
        (change_config(parity_taps=None), "parity_taps must be an integer, not None"),
        (change_config(frame=100), "frame must be a power of two, not 100"),
        (change_config(frame=8), "frame must be between 16 and 1024, not 8"),
        (change_config(patches=2), "patches must be between 0 and 1, not 2"),
        (change_config(patches=1), "with patches, n_in must hold"),
        (change_config(bus_bits=48), "bus_bits must be one of 32, 64, 128, 256, 512, not 48"),
        (change_config(network_seed=-1), "network_seed must be between 0 and"),
        (change_config(lanes=1), "window codec parameters do not fit: missing or unknown lanes"),
        (lambda m: m["config"].pop("frame"), "codec parameters do not fit: missing or unknown fra"),
        (lambda m: m.update(config=[]), "window codec parameters do not fit: missing or unknown"),
        (lambda m: m["tensors"]["w"].pop("order"), "'order'"),
        (lambda m: m["tensors"]["w"].pop("slices_per_stream"), "'slices_per_stream'"),
    ],
)
def test_read_names_what_does_not_fit_in_a_window_manifest(change, text, compressed):
    rewrite(compressed, change)
    with pytest.raises(FormatError) as caught:
        read_container(compressed)
    assert str(caught.value).startswith(f"{compressed}: manifest does not fit: ")
    assert text in str(caught.value)


@WINDOW
@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"order": "diagonal"}, "order must be one of row, column, strided, strided-column, skew"),
        ({"order": "auto"}, "order must be one of"),
        ({"order": None}, "order must be one of"),
        ({"order": ["row"]}, "order must be one of"),
        ({"slices_per_stream": 0}, "slices_per_stream must be between 1 and 4294967296, not 0"),
        ({"slices_per_stream": -16}, "slices_per_stream must be between 1 and 4294967296, not -16"),
        ({"slices_per_stream": 1 << 33}, "slices_per_stream must be between 1 and"),
        ({"slices_per_stream": "16"}, "slices_per_stream must be an integer, not '16'"),
        ({"shape": [1 << 31, 22]}, "shape must have at most 64 dimensions and below 2**32 weight"),
        ({"shape": [1 << 32, 1 << 32]}, "shape must have at most 64 dimensions"),
        ({"shape": [0, 1 << 31, 1 << 31]}, "shape must have at most 64 dimensions"),
        ({"shape": [1] * 65}, "shape must have at most 64 dimensions"),
    ],
)
def test_read_names_what_does_not_fit_in_a_window_tensor(values, text, compressed):
    rewrite(compressed, change_tensor(**values))
    with pytest.raises(FormatError) as caught:
        read_container(compressed)
    assert str(caught.value).startswith(f"{compressed}: manifest does not fit: ")
    assert text in str(caught.value)


@WINDOW
@pytest.mark.parametrize("reader", [decode_tensor, tensor_bits, tensor_frames, tensor_steps])
@pytest.mark.parametrize(("per_stream", "streams"), [(1, 2), (16, 1), (1 << 32, 1)])
def test_slices_per_stream_must_fit_the_streams(reader, per_stream, streams, compressed):
    # 60 weights of 2 planes are 2 slices, stored as one stream.
    rewrite(compressed, change_tensor(slices_per_stream=per_stream))
    container = read_container(compressed)
    if streams == 1:
        reader(container, "w")
        return
    text = r"w: 60 weights (in streams of 1 slices )?must be 2 (index )?streams, found 1"
    with pytest.raises(FormatError, match=text):
        reader(container, "w")


@WINDOW
@pytest.mark.parametrize("reader", [tensor_frames, tensor_steps])
def test_a_shape_that_promises_billions_of_streams_allocates_nothing(reader, compressed):
    rewrite(compressed, change_tensor(shape=[(1 << 32) - 1], slices_per_stream=1))
    container = read_container(compressed)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="must be 134217728 streams, found 1"):
            reader(container, "w")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


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


@BOTH
@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999", '"5"', "true", "-1", "4294967296"])
def test_read_rejects_crcs_that_are_no_32_bit_integers(number, compressed):
    def change_header(header):
        text = header["__metadata__"]["xorloom"]
        crc = json.loads(text)["crc32"]["bias"]
        assert text.count(f'"bias": {crc}') == 1
        header["__metadata__"]["xorloom"] = text.replace(f'"bias": {crc}', f'"bias": {number}')

    rewrite(compressed, change_header=change_header)
    with pytest.raises(FormatError, match=r"c\.safetensors: manifest does not fit: crc32 must be"):
        read_container(compressed)


@pytest.mark.parametrize("where", ["xorloom", None])
def test_read_rejects_json_that_is_too_deep(where, compressed):
    deep = "[" * 100_000
    if where:
        rewrite(compressed, change_header=lambda h: h["__metadata__"].update({where: deep}))
    else:
        data = deep.encode()
        compressed.write_bytes(len(data).to_bytes(8, "little") + data)
    with pytest.raises(FormatError, match=r"c\.safetensors: (manifest|safetensors header)"):
        read_container(compressed)


@pytest.mark.parametrize("shape", [[0, 1 << 62], [0, 1 << 70], [0] + [1] * 64])
def test_read_rejects_header_shapes_that_no_array_can_have(shape, compressed):
    def change_header(header):
        header["b"] = {"dtype": "F64", "shape": shape, "data_offsets": [0, 0]}

    rewrite(compressed, lambda m: m["crc32"].update(b=0), change_header)
    with pytest.raises(FormatError, match="tensor 'b' has a bad header entry"):
        read_container(compressed)


@pytest.mark.parametrize("part", ["w.xl_stream", "w.xl_index", "w.xl_scale"])
def test_read_rejects_a_missing_part(part, compressed):
    def change_header(header):
        header[part + "x"] = header.pop(part)

    def change(manifest):
        manifest["crc32"][part + "x"] = manifest["crc32"].pop(part)

    rewrite(compressed, change, change_header)
    with pytest.raises(FormatError, match=f"tensor '{part}' is missing"):
        read_container(compressed)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("version"),
        lambda manifest: manifest.pop("config"),
        lambda manifest: manifest.pop("tensors"),
        lambda manifest: manifest["crc32"].pop("bias"),
        lambda manifest: manifest.update(crc32=[]),
        lambda manifest: manifest.update(tensors=[1]),
        lambda manifest: manifest["config"].update(n_in=99),
        lambda manifest: manifest["config"].pop("lanes"),
        lambda manifest: manifest["tensors"]["w"].pop("planes"),
        change_tensor(quantizer={"method": "magic"}),
        change_tensor(quantizer={"colour": "red"}),
        change_tensor(shape=None),
        change_tensor(shape=3),
        lambda manifest: manifest["crc32"].update(bias="x"),
    ],
)
def test_read_rejects_manifests_that_do_not_fit(change, compressed):
    rewrite(compressed, change)
    with pytest.raises(FormatError, match="manifest does not fit"):
        read_container(compressed)


@BOTH
@pytest.mark.parametrize(
    "values",
    [
        {"shape": [6, 11]},
        {"shape": []},
        {"shape": [-6, -10]},
        {"shape": "ab"},
        {"shape": [6.0, 10.0]},
        {"planes": 1},
        {"planes": 0},
        {"planes": 9},
        {"planes": "2"},
        {"content_crc32": 0},
        {"content_crc32": None},
        {"dtype": "F99"},
        {"dtype": 5},
        {"quantizer": {"method": "binary", "planes": 1, "scale": "row"}},
    ],
)
def test_read_or_decompress_rejects_wrong_tensor_facts(values, compressed, tmp_path):
    rewrite(compressed, change_tensor(**values))
    with pytest.raises((FormatError, ConfigError)):
        decompress_model(compressed, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "3"])
def test_read_rejects_a_metadata_value_that_is_no_manifest(text, compressed):
    rewrite(compressed, change_header=lambda h: h["__metadata__"].update(xorloom=text))
    with pytest.raises(FormatError, match="manifest does not fit"):
        read_container(compressed)


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
    with pytest.raises(ConfigError, match=r"no compressed tensor 'x' in .* \(there is: w \.\.\.\)"):
        read_container(compressed).tensor("x")


@pytest.mark.parametrize(
    "name", ['quo"te', "ünïcode.w", "back\\slash", '"xorloom_header_crc32":"00000000"', "", "a b"]
)
def test_container_holds_any_tensor_name(name, tmp_path):
    path = tmp_path / "c.safetensors"
    write_container(
        path, BlockConfig(), index_for(BlockConfig(), 1), {}, {name: ("U8", (2,), b"ab")}
    )
    assert read_container(path).raw(name) == b"ab"
    with safe_open(path, "np") as file:
        assert file.get_tensor(name).tobytes() == b"ab"


def test_container_of_no_tensors(tmp_path):
    write_container(tmp_path / "c.safetensors", BlockConfig(), index_for(BlockConfig(), 1), {}, {})
    assert read_container(tmp_path / "c.safetensors").names == []


def test_container_without_quantizer_needs_no_scales(tmp_path):
    info = CompressedTensor((2,), "F32", 1, 5, None)
    data = {"w.xl_stream": ("U8", (0,), b""), "w.xl_index": ("U8", (1,), b"x")}
    write_container(
        tmp_path / "c.safetensors", BlockConfig(), index_for(BlockConfig(), 1), {"w": info}, data
    )
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
    with pytest.raises(FileNotFoundError):
        write_container(
            tmp_path / "no" / "c.safetensors", BlockConfig(), index_for(BlockConfig(), 1), {}, {}
        )
