# SPDX-License-Identifier: Apache-2.0
"""Random edits of compressed files, with and without checksums that fit."""

import copy
import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

from xorloom.sw.model.container.seal import seal
from xorloom.sw.spec.layout import CRC_BYTES, HEADER_BYTES, Header, frame_bytes, padded

__all__ = ["MUTATIONS", "join_file", "places", "reseal", "split_file"]

FIELD = b'"xorloom_header_crc32":"'


def split_file(data: bytes) -> tuple[dict[str, Any], bytearray]:
    """Return a file's header and tensor data."""
    n = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + n]), bytearray(data[8 + n :])


def join_file(header: dict[str, Any], body: bytes) -> bytes:
    """Write a file; the header's CRC fits."""
    return with_header(json.dumps(header, separators=(",", ":")).encode(), body)


def with_header(raw: bytes, body: bytes) -> bytes:
    """Write a file with a header's text; its CRC fits where there is a place for one."""
    at = raw.find(FIELD) + len(FIELD)
    if len(FIELD) <= at <= len(raw) - 8:
        raw = seal(raw[:at] + b"00000000" + raw[at + 8 :])
    return struct.pack("<Q", len(raw)) + raw + bytes(body)


def reseal(header: dict[str, Any], body: bytearray) -> bytes:
    """Give streams, manifest and header the CRCs that fit their bytes."""
    manifest = json.loads(header["__metadata__"]["xorloom"])
    decoders = manifest["decoders"] if manifest["version"] > 2 else [manifest]
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        low, high = entry["data_offsets"]
        if name.endswith((".xl_stream", ".xl_index")):
            tensor = manifest["tensors"][name.rsplit(".", 1)[0]]
            bus = decoders[tensor.get("decoder", 0)]["config"]["bus_bits"] // 8
            seal_streams(body, low, high, bus)
        manifest["crc32"][name] = zlib.crc32(bytes(body[low:high]))
    header["__metadata__"]["xorloom"] = json.dumps(manifest)
    return join_file(header, body)


def seal_streams(body: bytearray, low: int, high: int, bus: int) -> None:
    """Give all memory streams of a tensor CRCs that fit, as far as lengths make sense."""
    while low + HEADER_BYTES <= high:
        words = int.from_bytes(body[low + 12 : low + 16], "little")
        end = low + padded(HEADER_BYTES, bus) + words * bus
        if end + CRC_BYTES > high:
            return
        body[end : end + CRC_BYTES] = struct.pack("<I", zlib.crc32(bytes(body[low:end])))
        low += frame_bytes(bus) + words * bus


def places(document: object, at: tuple = ()) -> list[tuple]:
    """Paths to everything inside a JSON document."""
    inside = document.items() if isinstance(document, dict) else []
    inside = enumerate(document) if isinstance(document, list) else inside
    return [path for key, value in inside for path in ((*at, key), *places(value, (*at, key)))]


VALUES: list[Any] = [
    *(0, 1, -1, 2, 3, 8, 16, 30, 64, 65, 255, 256, 1 << 16, 1 << 31, 1 << 32, 1 << 63, 10**400),
    *(1.5, -0.0, 1e300, float("inf"), float("nan"), None, True, False, "", [], {}, [[]], [1] * 65),
    *([0], [6, 30], [30, 6], [1 << 40], [0, 1 << 31], "row", "column", "skewed", "auto", "\0", "ü"),
    *(
        "block",
        "window",
        "bitmap",
        "trellis",
        "entropy",
        "lowrank",
        "none",
        "hashed",
        "binary",
        "uniform",
        "group",
    ),
    *("U8", "I8", "F16", "BF16", "F32", "F64", "F8_E4M3", "C64", "BOOL", "w", "bias", "w.mask"),
]
NAMES = ["x", "w", "bias", "w.xl_scale", "w.mask", "__metadata__", "axis", "planes", "error", ""]


def edit(document: Any, rng: random.Random) -> None:
    """Change, remove, rename, add or swap something in a JSON document."""
    *path, last = rng.choice(places(document) or [()]) or [None]
    if last is None:
        return
    for key in path:
        document = document[key]
    how = rng.choice(["replace"] * 5 + ["near"] * 3 + ["remove", "rename", "add", "swap"])
    if how == "near" and type(document[last]) is int:
        document[last] += rng.choice([-16, -2, -1, 1, 2, 16])
    elif how in ("replace", "near") or isinstance(document, list):
        document[last] = copy.deepcopy(rng.choice(VALUES))
    elif how == "add":
        document[rng.choice(NAMES)] = copy.deepcopy(rng.choice(VALUES))
    elif how == "swap":
        other = rng.choice(list(document))
        document[last], document[other] = document[other], document[last]
    else:
        value = document.pop(last)
        if how == "rename":
            document[rng.choice(NAMES)] = value


def flip(data: bytearray, low: int, high: int, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 6)):
        if high > low:
            data[rng.randrange(low, high)] ^= rng.choice(
                [1, 2, 16, 128, 255, rng.randrange(1, 256)]
            )


def cut_text(raw: bytes, rng: random.Random) -> bytes:
    """Replace a few bytes of a text by what JSON readers trip over."""
    low = rng.randrange(len(raw))
    high = min(len(raw), low + rng.randint(0, 25))
    odd = [
        b"",
        b'"',
        b"{}",
        b"0",
        b"[",
        b"null,",
        b"NaN",
        b"-",
        b"e5",
        b"\\u0000",
        b"\\ud800",
        b" ",
    ]
    return raw[:low] + rng.choice([*odd, b"9" * 30, 2 * raw[low:high]]) + raw[high:]


def _bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    flip(changed, 0, len(data), rng)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    low = rng.randrange(len(data))
    high = rng.randrange(low, len(data) + 1)
    return data[:low] + rng.choice([b"", rng.randbytes(5), 2 * data[low:high]]) + data[high:]


def _part(header: dict[str, Any], ends: tuple[str, ...], rng: random.Random) -> tuple[int, int]:
    names = [name for name in header if name.endswith(ends)]
    low, high = header[rng.choice(names)]["data_offsets"] if names else (0, 0)
    return low, high


def _stream(data: bytes, rng: random.Random) -> bytes:
    header, body = split_file(data)
    flip(body, *_part(header, (".xl_stream", ".xl_index"), rng), rng)
    return reseal(header, body)


def _field(data: bytes, rng: random.Random) -> bytes:
    header, body = split_file(data)
    low, high = _part(header, (".xl_stream", ".xl_index"), rng)
    if high - low >= HEADER_BYTES:
        facts = vars(Header.unpack(bytes(body[low : low + HEADER_BYTES]), "test"))
        name = rng.choice(["kind", "count", "network", "words"])
        value = rng.choice([facts[name] + rng.choice([-64, -1, 1, 64]), rng.randrange(1 << 32), 0])
        value %= 256 if name == "kind" else 1 << 32
        body[low : low + HEADER_BYTES] = Header(**facts | {name: value}).pack()
    return reseal(header, body)


def _scale(data: bytes, rng: random.Random) -> bytes:
    header, body = split_file(data)
    low, high = _part(header, (".xl_scale",), rng)
    if high > low:
        at = rng.randrange(low, high - 1)
        body[at : at + 2] = rng.choice(
            [b"\0\x7c", b"\1\xfe", b"\xff\x7b", b"\0\x80", rng.randbytes(2)]
        )
    return reseal(header, body)


def _manifest(data: bytes, rng: random.Random) -> bytes:
    header, body = split_file(data)
    manifest = json.loads(header["__metadata__"]["xorloom"])
    for _ in range(rng.choice([1, 1, 1, 2])):
        parts = [manifest, manifest.get("tensors"), manifest.get("decoders", manifest)]
        edit(rng.choice([part for part in parts if places(part)]), rng)
    header["__metadata__"]["xorloom"] = json.dumps(manifest)
    return join_file(header, body)


def _manifest_text(data: bytes, rng: random.Random) -> bytes:
    header, body = split_file(data)
    text = cut_text(header["__metadata__"]["xorloom"].encode(), rng)
    header["__metadata__"]["xorloom"] = text.decode(errors="replace")
    return join_file(header, body)


def _header(data: bytes, rng: random.Random) -> bytes:
    header, body = split_file(data)
    metadata = header.pop("__metadata__")
    edit(header, rng)
    return join_file({"__metadata__": metadata} | header, body)


def _header_text(data: bytes, rng: random.Random) -> bytes:
    start = 8 + int.from_bytes(data[:8], "little")
    return with_header(cut_text(data[8:start], rng), data[start:])


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes": _bytes,
    "cut": _cut,
    "stream": _stream,
    "field": _field,
    "scale": _scale,
    "manifest": _manifest,
    "manifest text": _manifest_text,
    "header": _header,
    "header text": _header_text,
}
"""Edits of a file; all but the first two leave checksums that fit."""
