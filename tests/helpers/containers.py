# SPDX-License-Identifier: Apache-2.0
"""Compressed files: requests that make small ones, and edits of their headers."""

import json
import zlib
from dataclasses import replace

import pytest
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.verify import verify_tensor
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.tensors.quantize import Quantizer

__all__ = [
    "BOTH",
    "SPEC",
    "SPECS",
    "WINDOW",
    "change_config",
    "change_tensor",
    "header_crc",
    "read_all",
    "rewrite",
    "split",
]

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


def change_tensor(**values):
    return lambda manifest: manifest["tensors"]["w"].update(values)


def change_config(**values):
    def change(manifest):
        manifest["decoders"][0]["config"].update(values)

    return change
