# SPDX-License-Identifier: Apache-2.0
"""Files of version 2, written by the release that made them last, stay readable."""

import hashlib
import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from xorloom.sw.base.errors import FormatError
from xorloom.sw.model.container import read_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.verify import verify_model

from tests.helpers.containers import rewrite

FILES = Path(__file__).parent / "version2"
DIGESTS = {
    "block": "f96ffab14c1077b06cd0a4e6fe0e68fe4aa6d9265c4c1083a257684f5dc7f920",
    "codes": "987bffaaa7a5bf8c341348f673ea30bb8d8284b00813d4518de3ff77c1d67aa6",
    "entropy": "03a1844bd021e843e4b5692451d4c5526227bde1d074e3fbcb2f296d48be878a",
    "trellis": "960a242b17d268ff05741553b3c421a5e9045ce71c97f19960ca8c92c81610df",
    "window": "93adca6e033c9b13ba5a9ed363855c91d7d2dc9054689b8c01dc190330c561d0",
}
"""SHA-256 of what that release decompressed each file to: name, dtype and shape, bytes of all."""


def digest(path):
    found = hashlib.sha256()
    for name, array in sorted(load_file(path).items()):
        found.update(name.encode() + f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("name", DIGESTS)
def test_file_of_version_2_decompresses_to_what_it_did(name, tmp_path):
    path = FILES / f"{name}.safetensors"
    assert all(verdict.ok for verdict in verify_model(read_container(path)))
    decompress_model(path, tmp_path / "d.safetensors")
    assert digest(tmp_path / "d.safetensors") == DIGESTS[name]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"quantizer": 0}, "quantizer must be an object, not int"),
        ({"quantizer": ""}, "quantizer must be an object, not str"),
        ({"quantizer": []}, "quantizer must be an object, not list"),
        ({"shape": ""}, "shape must be a list, not str"),
        ({"decoder": 1}, "tensor 'w': entry has missing or unknown keys: 'decoder'"),
        ({"dtype": "U8"}, "dtype must be one of F16, BF16, F32, F64, F8_E4M3, F8_E5M2, not 'U8'"),
    ],
)
def test_version_2_is_read_by_as_strict_a_schema(change, text, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes((FILES / "window.safetensors").read_bytes())
    rewrite(path)
    read_container(path)
    rewrite(path, lambda manifest: manifest["tensors"]["w"].update(change))
    with pytest.raises(FormatError, match=text):
        read_container(path)


def test_quantizer_of_version_2_tells_what_the_file_does(tmp_path):
    path = tmp_path / "w.safetensors"
    for key, other in (("planes", 1), ("scale_dtype", "float32")):
        path.write_bytes((FILES / "window.safetensors").read_bytes())
        rewrite(path, lambda m, k=key, v=other: m["tensors"]["w"]["quantizer"].update({k: v}))
        with pytest.raises(FormatError, match=f"quantizer's {key} must be .*, not {other!r}"):
            read_container(path)


def test_files_are_of_version_2():
    for name in DIGESTS:
        data = (FILES / f"{name}.safetensors").read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        assert json.loads(header["__metadata__"]["xorloom"])["version"] == 2
