# SPDX-License-Identifier: Apache-2.0
"""Edits of sealed files: what opening and ``verify`` refuse, so that decompressing never fails."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.model.codec import encode_tensor
from xorloom.sw.model.container import (
    CompressedTensor,
    StoredTensor,
    content_crc32,
    read_container,
    write_container,
)
from xorloom.sw.model.container.seal import seal
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.verify import verify_model
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.weight_format import Decoder, index_for
from xorloom.sw.tensors.quantize import Quantizer, quantize

from tests.helpers.containers import rewrite
from tests.helpers.hostile import entropy_file
from tests.helpers.models import WINDOW

ROWS = 64
Entry = tuple[str, tuple[int, ...], bytes]


def made(path: Path, *more: StoredTensor, quantizer: Quantizer | None, **changes: Any) -> Path:
    """Write a file of one compressed tensor ``w``, (64, 8), and of ``more``."""
    rng = np.random.default_rng(7)
    how = quantizer or Quantizer()
    q = quantize(
        rng.standard_normal((ROWS, 8)).astype(np.float32), rng.random((ROWS, 8)) < 0.3, how
    )
    encoded = encode_tensor(q, 1, Decoder(WINDOW, index_for(WINDOW, 1)))
    facts = {
        "shape": (ROWS, 8),
        "dtype": "F32" if quantizer else "U8",
        "planes": 1,
        "content_crc32": content_crc32(q.mask, q.codes),
        "quantizer": quantizer,
        "decoder": Decoder(WINDOW, index_for(WINDOW, 1)),
        "layout": encoded.layout,
    }
    parts: dict[str, Entry] = {
        ".xl_stream": ("U8", (len(encoded.stream),), encoded.stream),
        ".xl_index": ("U8", (len(encoded.index),), encoded.index),
    }
    if quantizer:
        parts[".xl_scale"] = ("F16", q.scales.shape, q.scales.tobytes())
    tensor = StoredTensor("w", parts, CompressedTensor(**facts | changes))
    write_container(path, [tensor, *more])
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "c.safetensors", plain("b"), quantizer=Quantizer())


def plain(name: str, dtype: str = "F32", shape: tuple[int, ...] = (1,)) -> StoredTensor:
    return StoredTensor(name, {"": (dtype, shape, bytes(4))})


def renamed(old: str, new: str) -> tuple[Callable[[dict], object], Callable[[dict], object]]:
    """Return edits of manifest and header that give a tensor of the file another name."""

    def manifest(facts: dict) -> None:
        facts["crc32"][new] = facts["crc32"].pop(old)

    def header(facts: dict) -> None:
        facts[new] = facts.pop(old)

    return manifest, header


def refused(path: Path, text: str) -> None:
    """Opening refuses a file, so all that opens it does."""
    with pytest.raises(FormatError, match=text) as caught:
        read_container(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(FormatError):
        decompress_model(path, path.with_name("d"))
    assert not path.with_name("d").exists()


def same_verdict(path: Path, text: str) -> None:
    """A tensor that ``verify`` refuses, and decompressing for the same reason."""
    (verdict,) = [v for v in verify_model(read_container(path)) if not v.ok]
    assert verdict.tensor == "w"
    assert text in verdict.message
    with pytest.raises(FormatError) as caught:
        decompress_model(path, path.with_name("d"))
    assert str(caught.value) == verdict.message
    assert not path.with_name("d").exists()


def test_an_untouched_tensor_of_a_compressed_ones_name_is_refused(path: Path) -> None:
    rewrite(path, *renamed("b", "w"))
    refused(path, r"tensor 'w' is in the way of what 'w' becomes when it is decompressed: rename")


def test_the_mask_of_codes_has_its_name_to_itself(tmp_path: Path) -> None:
    path = made(tmp_path / "c", plain("b"), quantizer=None)
    rewrite(path, *renamed("b", "w.mask"))
    refused(path, r"tensor 'w\.mask' is in the way of what 'w' becomes when it is decompressed")


@pytest.mark.parametrize("name", ["w", "w.mask", "__metadata__"])
def test_no_such_file_is_written(name: str, tmp_path: Path) -> None:
    quantizer = None if name == "w.mask" else Quantizer()
    text = "is in the way|cannot stand|safetensors reserves the name '__metadata__'"
    with pytest.raises(ConfigError, match=text):
        made(tmp_path / "c", plain(name), quantizer=quantizer)
    assert not list(tmp_path.iterdir())


def test_names_that_utf_8_cannot_hold_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot hold .*ud800.*: rename it"):
        made(tmp_path / "c", plain("b\ud800"), quantizer=Quantizer())
    assert not list(tmp_path.iterdir())


def test_a_header_that_no_reader_takes_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.sw.tensors.safetensors_file._HEADER_MAX", 1000)
    with pytest.raises(CapacityError, match=r"c: names and metadata take .* at most 1,000: split"):
        made(tmp_path / "c", plain("x" * 1000), quantizer=Quantizer())
    assert not list(tmp_path.iterdir())


def test_a_compressed_tensor_cannot_come_back_as_the_metadata(path: Path) -> None:
    def manifest(facts: dict) -> None:
        facts["tensors"]["__metadata__"] = facts["tensors"].pop("w")
        for part in (".xl_stream", ".xl_index", ".xl_scale"):
            facts["crc32"][f"__metadata__{part}"] = facts["crc32"].pop(f"w{part}")

    def header(facts: dict) -> None:
        for part in (".xl_stream", ".xl_index", ".xl_scale"):
            facts[f"__metadata__{part}"] = facts.pop(f"w{part}")

    rewrite(path, manifest, header)
    refused(path, "tensor '__metadata__' is in the way of what '__metadata__' becomes")


@pytest.mark.parametrize("alias", ["w", "b", "__metadata__", "xorloom", "xorloom.foreign", "note"])
def test_ties_take_no_name_of_the_plain_file(alias: str, tmp_path: Path) -> None:
    path = made(tmp_path / "c", plain("b"), quantizer=Quantizer())
    rewrite(
        path,
        lambda manifest: manifest["ties"].update({alias: "b"}),
        lambda header: header["__metadata__"].update(note="of the original"),
    )
    refused(path, f"name '{alias}' cannot stand for tensor 'b' as well")


@pytest.mark.parametrize("where", ["header", "tensors", "ties", "dtype"])
def test_names_that_utf_8_cannot_hold_are_refused(where: str, path: Path) -> None:
    if where == "header":
        rewrite(path, *renamed("b", "\ud800"))
    elif where == "tensors":
        rewrite(path, lambda m: m["tensors"].update({"\udc00": m["tensors"]["w"]}))
    elif where == "ties":
        rewrite(path, lambda m: m["ties"].update({"x": "\udfff"}))
    else:
        rewrite(path, lambda m: m["tensors"]["w"].update(dtype="F32\ud800"))
    refused(path, r"is not Unicode text \(it has a lone surrogate\)")


def test_scales_have_a_row_for_each_row_of_weights(path: Path) -> None:
    def header(facts: dict) -> None:
        facts["w.xl_scale"]["shape"] = [63, 1]
        facts["w.xl_scale"]["data_offsets"][1] -= 2

    data = path.read_bytes()
    path.write_bytes(data)
    rewrite(path)
    rewrite(path, change_header=header)
    refused(path, "gap or overlap|scales must be|must be .* bytes, found")
    made(path, quantizer=Quantizer(), shape=(63, 8))
    refused(path, r"tensor 'w': scales must be \(63, 1\), not \(64, 1\)")


@pytest.mark.parametrize(
    ("dtype", "shape"), [("U8", (64, 2)), ("BOOL", (64, 2)), ("C64", (16, 1)), ("I16", (64, 1))]
)
def test_scales_are_floats_of_16_or_32_bits(dtype: str, shape: tuple[int, ...], path: Path) -> None:
    rewrite(path, change_header=lambda h: h["w.xl_scale"].update(dtype=dtype, shape=list(shape)))
    refused(path, f"tensor 'w': scales must be F16 or F32, not {dtype}")


def set_scale(path: Path, value: float) -> None:
    """Give the first scale another value, with all checksums that fit."""
    raw = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(raw[:8], "little")
    low, high = json.loads(raw[8:start])["w.xl_scale"]["data_offsets"]
    raw[start + low : start + low + 2] = np.float16(value).tobytes()
    path.write_bytes(raw)
    crc = zlib.crc32(raw[start + low : start + high])
    rewrite(path, lambda manifest: manifest["crc32"].update({"w.xl_scale": crc}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_scales_are_finite(value: float, path: Path) -> None:
    set_scale(path, value)
    same_verdict(path, "c.safetensors: w: scales must be finite")


@pytest.mark.parametrize(
    ("dtype", "largest"), [("F8_E4M3", 448), ("F8_E5M2", 57344), ("F16", 65504), ("F64", 65504)]
)
def test_what_a_dtype_cannot_hold_becomes_its_largest_number(
    dtype: str, largest: float, tmp_path: Path
) -> None:
    path = made(tmp_path / "c.safetensors", quantizer=Quantizer(), dtype=dtype)
    set_scale(path, 65504)
    assert all(verdict.ok for verdict in verify_model(read_container(path)))
    decompress_model(path, tmp_path / "d")
    raw = (tmp_path / "d").read_bytes()
    n = 8 + int.from_bytes(raw[:8], "little")
    kind = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F16": "f2", "F64": "f8"}[dtype]
    if kind.startswith("float8"):
        import ml_dtypes

        kind = getattr(ml_dtypes, kind)
    row = np.frombuffer(raw[n:], kind).astype(np.float64)[:8]
    assert set(np.abs(row)) == {0, largest}


@pytest.mark.parametrize("quantizer", [0, "", [], False, {}, "binary", [1]])
def test_quantizer_is_null_or_a_whole_object(quantizer: object, path: Path) -> None:
    rewrite(path, lambda m: m["tensors"]["w"].update(quantizer=quantizer))
    refused(path, "tensor 'w': quantizer (must be an object|has missing or unknown keys)")


@pytest.mark.parametrize("shape", ["", "ab", None, 512, {}, [[64], 8], [64.0, 8], [True, 512]])
def test_shape_is_a_list_of_integers(shape: object, path: Path) -> None:
    rewrite(path, lambda m: m["tensors"]["w"].update(shape=shape))
    refused(path, "tensor 'w': shape must be (a list|an integer)")


def test_every_key_of_an_entry_is_needed_and_known(path: Path) -> None:
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    entry = json.loads(header["__metadata__"]["xorloom"])["tensors"]["w"]
    for key in entry:
        path.write_bytes(raw)
        rewrite(path, lambda m, k=key: m["tensors"]["w"].pop(k))  # type: ignore[misc]
        refused(path, "tensor 'w': .*(missing or unknown keys|must be an integer)")
        path.write_bytes(raw)
        rewrite(path, lambda m, k=key: m["tensors"]["w"].update({k + " ": 0}))  # type: ignore[misc]
        refused(path, "tensor 'w': entry has missing or unknown keys")


def test_decoders_are_distinct_and_used(path: Path) -> None:
    for extra in (lambda d: d, lambda d: d | {"config": d["config"] | {"network_seed": 9}}):
        raw = path.read_bytes()
        rewrite(path, lambda m, f=extra: m["decoders"].append(f(m["decoders"][0])))  # type: ignore[misc]
        refused(path, "decoders must differ from each other, and each be that of a tensor")
        path.write_bytes(raw)


def header_of(path: Path) -> bytes:
    raw = path.read_bytes()
    return raw[8 : 8 + int.from_bytes(raw[:8], "little")]


def put_header(path: Path, header: bytes, *, sealed: bool = True) -> None:
    """Replace a file's header, with the checksum that fits where there is a place for one."""
    raw = path.read_bytes()
    body = raw[8 + int.from_bytes(raw[:8], "little") :]
    key = b'"xorloom_header_crc32":"'
    at = header.find(key) + len(key)
    if sealed and at >= len(key):
        header = seal(header[:at] + b"00000000" + header[at + 8 :])
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)


TWICE = b'"b":{"dtype":"F32","shape":[1],"data_offsets":'


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda h: h.replace(b'{"__metadata__":', b'{"__metadata__":{},"__metadata__":'), "twice"),
        (lambda h: h.replace(TWICE, b'"b":{},' + TWICE), "key 'b' comes twice"),
        (lambda h: h.replace(b'"dtype":"F32"', b'"dtype":"F32","dtype":"F32"'), "key 'dtype' come"),
        (lambda h: h.replace(b'"dtype":"F32"', b'"dtype":"F32","x":0'), "'b' has a bad header"),
        (lambda h: h.replace(b'"dtype":"F32"', b'"dtype":["F32"]'), "'b' has a bad header"),
        (lambda h: h.replace(b'"dtype":"F32"', b'"dtype":"F64"'), "'b' has a bad header"),
        (lambda h: h.replace(b'"dtype":"F32"', b'"dtype":"F33"'), "'b' has no dtype of safete"),
        (lambda h: h.replace(b'"dtype":"F32"', b'"dtype":"f32"'), "'b' has a bad header"),
        (lambda h: h.replace(b'"dtype":"F32"', b'"dtype":""'), "'b' has a bad header"),
        (lambda h: h.replace(b'"shape":[1]', b'"shape":[1.0]'), "'b' has a bad header"),
        (lambda h: h.replace(b'"shape":[1]', b'"shape":[true]'), "'b' has a bad header"),
        (lambda h: h.replace(b'"shape":[1]', b'"shape":[-1]'), "'b' has a bad header"),
        (lambda h: h.replace(b'"shape":[1]', b'"shape":[1e400]'), "'b' has a bad header"),
        (lambda h: h.replace(b'"shape":[1]', b'"shape":[1' + b"0" * 5000 + b"]"), "not JSON"),
        (lambda h: h.replace(b'"shape":[1]', b'"shape":[NaN]'), "NaN is no JSON number"),
        (lambda h: b"\xef\xbb\xbf" + h, "not JSON: Unexpected UTF-8 BOM"),
        (lambda h: b" " + h, "must begin with its object"),
        (lambda h: h.rstrip() + b"\n", "nothing but spaces after it"),
        (lambda h: h.rstrip() + b"\0", "not JSON: Extra data"),
        (lambda h: h.rstrip() + b"{}", "not JSON: Extra data"),
        (lambda h: h.decode().encode("utf-16"), "not JSON: 'utf-8' codec can't decode"),
        (lambda h: h.decode().encode("utf-16-le"), "not JSON"),
        (lambda h: h.replace(b'"b":', b'"\xff":'), "not JSON: 'utf-8' codec can't decode"),
        (lambda h: h.replace(b'"b":', b'"\xed\xa0\x80":'), "not JSON: 'utf-8' codec can't decode"),
        (lambda h: h.replace(b'"b":', b'"\\ud800":'), "is not Unicode text"),
        (lambda h: h.replace(b'"b":', b"b:"), "not JSON"),
        (lambda h: b"[" + h.rstrip() + b"]", "truncated or not an object"),
        (lambda h: b"", "not JSON"),
        (lambda h: b"{}", "must be 10 bytes, found|gap or overlap"),
        (lambda h: h.replace(b'"xorloom":', b'"other":1,"xorloom":'), "metadata must be strings"),
        (lambda h: h.replace(b'"xorloom":', b'"other":null,"xorloom":'), "metadata must be stri"),
        (lambda h: h.replace(b'"xorloom_header', b'"x\\"xorloom_header'), "not a xorloom file"),
    ],
)
def test_headers_that_others_may_read_otherwise_are_refused(
    edit: Callable[[bytes], bytes], text: str, path: Path
) -> None:
    before = header_of(path)
    put_header(path, before)
    read_container(path)
    assert edit(before) != before
    put_header(path, edit(before))
    refused(path, text)


@pytest.mark.parametrize(
    "offsets", [[4, 0], [1, 5], [0, 5], [0, 3], [-4, 0], [0], [0, 4, 8], [0.0, 4], ["0", 4], {}]
)
def test_offsets_of_the_header_are_those_of_the_data(offsets: object, path: Path) -> None:
    rewrite(path, change_header=lambda h: h["b"].update(data_offsets=offsets))
    refused(path, "'b' has a bad header entry|gap or overlap")


def test_two_tensors_do_not_share_bytes(path: Path) -> None:
    def header(facts: dict) -> None:
        facts["z"] = dict(facts["b"])

    rewrite(path, lambda m: m["crc32"].update(z=m["crc32"]["b"]), header)
    refused(path, "tensor data has a gap or overlap")


def test_spaces_after_the_header_are_sound(path: Path) -> None:
    put_header(path, header_of(path) + b" " * 16)
    assert all(verdict.ok for verdict in verify_model(read_container(path)))
    decompress_model(path, path.with_name("d"))
    assert set(load_file(path.with_name("d"))) == {"w", "b"}


@pytest.mark.parametrize("name", ["", "\0", "a\0b", "ü", "w.xl_stream.", "xorloom", "x" * 5000])
def test_odd_names_go_through(name: str, tmp_path: Path) -> None:
    path = made(tmp_path / "c", plain(name), quantizer=Quantizer())
    assert all(verdict.ok for verdict in verify_model(read_container(path)))
    decompress_model(path, tmp_path / "d")
    assert set(load_file(tmp_path / "d")) == {"w", name}


def test_a_decoder_without_a_network_is_no_decoder(tmp_path: Path) -> None:
    """Rows of an even number of taps have no full rank where the window is as long as a slice."""
    even = WindowConfig(
        n_in=8, n_out=2048, window=64, own_taps=2, shared_taps=0, shared=0, bus_bits=32
    )
    path = entropy_file(tmp_path / "c", 5000, config=even)
    same_verdict(path, "c: w: an output has 2 taps: with window 64 <= n_out 2048 it must be an odd")
