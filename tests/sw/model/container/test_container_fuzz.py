# SPDX-License-Identifier: Apache-2.0
"""Random damage to compressed models: an error that tells so, or the right weights."""

import copy
import json
import tracemalloc
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.reports.inspect import tensor_bits, tensor_frames, tensor_steps
from xorloom.sw.model.verify import verify_tensor
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.layout import HEADER_BYTES, Header
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.mutations import join_file, places, reseal, split_file

DAMAGED = (FormatError, ConfigError, CapacityError)
MEMORY = 64 << 20
"""More than any of these files of a kilobyte may make the reader allocate."""

_W = {"n_in": 8, "n_out": 64, "window": 64, "shared": 16, "frame": 16, "bus_bits": 32}
CONFIGS = {
    "block": BlockConfig(n_in=6, n_out=20, lanes=2, bus_bits=32),
    "window": WindowConfig(**_W),
    "patches": WindowConfig(**_W | {"n_in": 32, "bus_bits": 64, "patches": 1}),
}


@lru_cache
def sound(codec: str) -> tuple[bytes, bytes]:
    """Return a compressed model and what it decompresses to."""
    rng = np.random.default_rng(5)
    arrays = {
        "w": rng.standard_normal((6, 30)).astype(np.float32),
        "bias": rng.standard_normal(3).astype(np.float16),
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_file(arrays, folder / "m.safetensors")
        quantizer = Quantizer(planes=2, scale="group", group=64)
        order = "auto" if codec == "block" else "skewed-column"
        spec = CompressSpec(0.7, "tensor", quantizer, CONFIGS[codec], order, False, min_size=40)
        compress_model(open_model(folder / "m.safetensors"), folder / "c", spec)
        decompress_model(folder / "c", folder / "d")
        return (folder / "c").read_bytes(), (folder / "d").read_bytes()


def read_all(data: bytes, folder: Path) -> bytes | None:
    """Read a file in every way; return what it decompresses to, or ``None`` if it is refused.

    Everything but the errors of damaged files comes through.
    """
    path, out = folder / "c", folder / "d"
    path.write_bytes(data)
    out.unlink(missing_ok=True)
    try:
        opened = read_container(path)
    except DAMAGED:
        return None
    for name in opened.tensors:
        for read in (verify_tensor, tensor_bits, tensor_steps, tensor_frames):
            try:
                read(opened, name)
            except DAMAGED:
                continue
    try:
        decompress_model(path, out)
    except DAMAGED:
        assert not out.exists(), "half an output was left behind"
        return None
    return out.read_bytes()


def check(data: bytes, folder: Path) -> bytes | None:
    """:func:`read_all` within a bound of memory."""
    tracemalloc.start()
    try:
        result = read_all(data, folder)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    return result


VALUES = st.one_of(
    st.sampled_from([0, 1, -1, 2, 16, 64, 65, 1 << 31, 1 << 32, 1 << 48, 1 << 63, 1 << 70]),
    st.sampled_from([1.5, float("inf"), float("nan"), None, True, "", [], {}, [[]], [1] * 65]),
    st.sampled_from(["row", "skewed", "auto", "block", "window", "U8", "BF16", "binary", "group"]),
    st.lists(st.sampled_from([0, 1, 6, 30, 1 << 16, 1 << 31, 1 << 40]), max_size=4),
    st.integers(-5, 300),
)


def edit(document: dict, data: st.DataObject) -> None:
    """Replace, remove or rename something in a JSON document."""
    inside = places(document)
    if not inside:
        return
    *path, last = data.draw(st.sampled_from(inside))
    for key in path:
        document = document[key]
    what = data.draw(st.sampled_from(["replace", "replace", "remove", "rename"]))
    if what == "replace" or isinstance(document, list):
        document[last] = copy.deepcopy(data.draw(VALUES))
    else:
        value = document.pop(last)
        if what == "rename":
            document[data.draw(st.sampled_from(["x", "w", "bias", "n_in", "w.xl_scale"]))] = value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


CODECS = pytest.mark.parametrize("codec", CONFIGS)


@CODECS
@given(data=st.data())
def test_flipped_bytes_are_refused(codec: str, folder: Path, data: st.DataObject) -> None:
    raw, _ = sound(codec)
    damaged = bytearray(raw)
    flips = st.dictionaries(st.integers(0, len(raw) - 1), st.integers(1, 255), max_size=6)
    for at, bits in data.draw(flips.filter(bool)).items():
        damaged[at] ^= bits
    assert check(damaged, folder) is None


@CODECS
@given(data=st.data())
def test_cut_and_shifted_files_are_refused(codec: str, folder: Path, data: st.DataObject) -> None:
    raw, _ = sound(codec)
    low = data.draw(st.integers(0, len(raw) - 1))
    high = data.draw(st.integers(low + 1, len(raw)))
    insert = data.draw(st.binary(max_size=12).filter(lambda part: part != raw[low:high]))
    assert check(raw[:low] + insert + raw[high:], folder) is None


@pytest.mark.long
@CODECS
@given(data=st.data())
@settings(max_examples=250)
def test_edited_manifests_are_refused_or_mean_the_same(
    codec: str, folder: Path, data: st.DataObject
) -> None:
    raw, _ = sound(codec)
    header, body = split_file(raw)
    manifest = json.loads(header["__metadata__"]["xorloom"])
    parts = [manifest, manifest["tensors"], manifest["decoders"]]
    for _ in range(data.draw(st.integers(1, 2))):
        edit(data.draw(st.sampled_from([part for part in parts if places(part)])), data)
    header["__metadata__"]["xorloom"] = json.dumps(manifest)
    check(join_file(header, body), folder)


@CODECS
@given(data=st.data())
def test_edited_headers_are_refused_or_mean_the_same(
    codec: str, folder: Path, data: st.DataObject
) -> None:
    header, body = split_file(sound(codec)[0])
    metadata = header.pop("__metadata__")
    edit(header, data)
    check(join_file({"__metadata__": metadata} | header, body), folder)


@CODECS
def test_resealing_a_sound_file_changes_nothing_that_is_read(codec: str, folder: Path) -> None:
    raw, plain = sound(codec)
    assert check(reseal(*split_file(raw)), folder) == check(raw, folder) == plain


@pytest.mark.long
@CODECS
@pytest.mark.parametrize("part", ["w.xl_stream", "w.xl_index"])
@given(data=st.data())
@settings(max_examples=150)
def test_streams_with_fitting_crcs_are_refused_or_mean_the_same(
    codec: str, part: str, folder: Path, data: st.DataObject
) -> None:
    raw, plain = sound(codec)
    header, body = split_file(raw)
    low, high = header[part]["data_offsets"]
    flips = st.dictionaries(st.integers(low, high - 1), st.integers(1, 255), max_size=4)
    for at, bits in data.draw(flips).items():
        body[at] ^= bits
    # The CRC-32 of the contents is left: seed bits that no kept weight depends on may differ.
    assert check(reseal(header, body), folder) in (None, plain)


@pytest.mark.long
@CODECS
@pytest.mark.parametrize("field", ["count", "network", "words"])
@given(value=st.one_of(st.integers(0, 300), st.integers(0, (1 << 32) - 1)))
def test_stream_headers_that_lie_are_refused(
    codec: str, field: str, folder: Path, value: int
) -> None:
    raw, plain = sound(codec)
    header, body = split_file(raw)
    low, _ = header["w.xl_stream"]["data_offsets"]
    told = Header.unpack(bytes(body[low : low + HEADER_BYTES]), "test")
    lie = Header(**vars(told) | {field: value})
    body[low : low + HEADER_BYTES] = lie.pack()
    assert check(reseal(header, body), folder) == (plain if lie == told else None)


@pytest.mark.parametrize(
    "facts",
    [
        {"shape": [1 << 31, 22]},
        {"shape": [(1 << 32) - 1, 22]},
        {"shape": [70, 1 << 32]},
        {"shape": [1 << 32, 1 << 32]},
        {"shape": [(1 << 32) - 1], "slices_per_stream": 1, "planes": 8},
    ],
    ids=str,
)
def test_shapes_that_coverage_guided_fuzzing_found_allocate_nothing(
    facts: dict, folder: Path
) -> None:
    # Found by Atheris: tensor_steps listed the streams that the shape promises, gigabytes of them.
    header, body = split_file(sound("window")[0])
    manifest = json.loads(header["__metadata__"]["xorloom"])
    # No scales that the shape must fit.
    manifest["tensors"]["w"].update(facts | {"quantizer": None, "dtype": "U8"})
    header["__metadata__"]["xorloom"] = json.dumps(manifest)
    assert check(join_file(header, body), folder) is None
