# SPDX-License-Identifier: Apache-2.0
"""A reader written from FORMAT.md alone: plain Python, sharing nothing with ``sw``.

Slow and short. It checks what it needs to go on, not all that a reader must reject.
"""

import json
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from .format_index import decode_index
from .format_network import block_rows, direct_slices, rotate_back, window_rows

__all__ = ["Plain", "read_model"]


class Plain(NamedTuple):
    """What a file comes back as: name to (dtype, shape, bytes), ties, the original's metadata."""

    tensors: dict[str, tuple[str, list[int], bytes]]
    ties: dict[str, str]
    metadata: dict[str, str]
    foreign: dict[str, dict[str, Any]]


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a key comes twice"
    return dict(pairs)


def read_model(raw: bytes) -> Plain:
    """Section 7."""
    size = int.from_bytes(raw[:8], "little")
    head, body = raw[8 : 8 + size], raw[8 + size :]
    header = json.loads(head.decode(), object_pairs_hook=once)
    assert next(iter(header)) == "__metadata__"
    metadata = header.pop("__metadata__")
    assert list(metadata)[:2] == ["xorloom", "xorloom_header_crc32"]
    seal, key = metadata.pop("xorloom_header_crc32"), b'"xorloom_header_crc32":"'
    at = head.index(key) + len(key)
    blank = head[:at] + b"00000000" + head[at + 8 :]
    assert head[at : at + 8].decode() == seal == f"{zlib.crc32(blank):08x}"
    manifest = json.loads(metadata.pop("xorloom"), object_pairs_hook=once)
    version = manifest["version"]
    assert version in (2, 3, 4)
    assert (version == 4) == ("joined" in manifest)

    def part(name: str) -> bytes:
        low, high = header[name]["data_offsets"]
        data = body[low:high]
        assert zlib.crc32(data) == manifest["crc32"][name]
        return data

    decoders = manifest["decoders"] if version > 2 else [manifest]
    joined = manifest.get("joined", {})
    whole = {block: name for name, info in joined.items() for block in info["blocks"]}
    assert len(whole) == sum(len(info["blocks"]) for info in joined.values())
    found: dict[str, tuple[str, list[int], bytes]] = {}
    ours = set()
    for name in header:
        owner = name.removesuffix(".xl_stream")
        if owner != name and owner in manifest["tensors"]:
            entry = manifest["tensors"][owner]
            decoder = decoders[entry["decoder"] if version > 2 else 0]
            ours |= {owner + end for end in (".xl_stream", ".xl_index", ".xl_scale")}
            out, shape = whole.get(owner, owner), entry["shape"]
            before = joined[out]["blocks"].index(owner) if owner in whole else 0
            assert bool(before) == (out in found), "blocks are out of order"
            mask, codes, levels = decode(entry, decoder, part(name), part(owner + ".xl_index"))
            if entry["quantizer"] is None:
                dtype = entry["dtype"] if version > 2 else "U8"
                sign = 1 << (entry["planes"] - 1) if dtype == "I8" else 0
                kept = [code if keep else 0 for keep, code in zip(mask, codes, strict=True)]
                data = bytes((code ^ sign) - sign & 255 for code in kept)
                made = {out: (dtype, data), out + ".mask": ("BOOL", bytes(mask))}
            else:
                kind = header[owner + ".xl_scale"]["dtype"]
                scales = part(owner + ".xl_scale")
                width, letter = {"F16": (2, "e"), "F32": (4, "f")}[kind]
                rows = struct.unpack(f"<{len(scales) // width}{letter}", scales)
                values = weights(entry, mask, codes, rows, levels)
                if entry.get("rotation") is not None:
                    values = turned(entry, list(values))
                data = b"".join(to_dtype(value, entry["dtype"]) for value in values)
                made = {out: (entry["dtype"], data)}
            if owner in whole:
                shape = joined[out]["shape"]
            for key, (dtype, data) in made.items():
                so_far = found[key] if before else (dtype, shape, b"")
                assert so_far[0] == dtype
                found[key] = (dtype, shape, so_far[2] + data)
        elif name not in ours:
            found[name] = (header[name]["dtype"], header[name]["shape"], part(name))
    for name in ours & set(found):
        # A tensor that merely ends like a part of ours, such as scales beside user's codes.
        assert name.endswith(".xl_scale")
    return Plain(found, manifest.get("ties", {}), metadata, manifest.get("foreign", {}))


def streams(data: bytes, bus: int, kind: int, text: str | None) -> Iterator[tuple[int, int, bytes]]:
    """Section 3.1: count, words and payload of every stream of a tensor."""
    pad = lambda n: -(-n // bus) * bus  # noqa: E731
    while data:
        magic, version, found, count, network, words = struct.unpack_from("<2sBBIII", data)
        assert (magic, version, found) == (b"XL", 1, kind)
        assert network == (zlib.crc32(text.encode()) if text is not None else 0)
        end = pad(16) + words * bus
        assert int.from_bytes(data[end : end + 4], "little") == zlib.crc32(data[:end])
        yield count, words, data[pad(16) : end]
        data = data[end + pad(4) :]


def places(order: str, shape: list[int], m: int) -> list[list[int]]:
    """Section 4.2: the weight (row-major number) in every lane of every slice."""
    n = math.prod(shape)
    slices = -(-n // m)
    lens = [slices if lane < n - (slices - 1) * m else slices - 1 for lane in range(m)]
    starts = [sum(lens[:lane]) for lane in range(m)]
    turns = [(40503 * lane) % 65536 * lens[lane] // 65536 for lane in range(m)]
    base = order.removesuffix("-column")
    numbers = list(range(n))
    if order.endswith("column") and len(shape) > 1 and n:
        rows, columns = shape[0], n // shape[0]
        numbers = [r * columns + c for c in range(columns) for r in range(rows)]
    found = []
    for e in range(slices):
        row = []
        for lane in range(m):
            if e >= lens[lane]:
                break
            if base in ("row", "column"):
                at = e * m + lane
            elif base == "strided":
                at = starts[lane] + e
            else:
                at = starts[lane] + (e + turns[lane]) % lens[lane]
            row.append(numbers[at])
        found.append(row)
    return found


def decode(
    entry: dict[str, Any], decoder: dict[str, Any], value: bytes, index: bytes
) -> tuple[list[int], list[int], list[int]]:
    """Mask and codes of a tensor, in row-major order, and levels; checks ``content_crc32``."""
    config, q = decoder["config"], entry["planes"]
    n, n_out = math.prod(entry["shape"]), config["n_out"]
    mask, codes = [0] * n, [0] * n
    levels: list[int] = []
    if decoder["codec"] == "block":
        slices = block_slices(value, config, q * -(-n // n_out))
        beats = decode_index(decoder["index"], index, [n], streams)
        for weight in range(n):
            run, lane = divmod(weight, n_out)
            mask[weight] = beats[run] >> lane & 1
            codes[weight] = sum((slices[run * q + b] >> lane & 1) << b for b in range(q))
    else:
        m, per = n_out // q, entry["slices_per_stream"]
        where = places(entry["order"], entry["shape"], m)
        runs = [where[k : k + per] for k in range(0, len(where), per)]
        counts = [sum(len(row) for row in run) for run in runs]
        if decoder["codec"] == "direct":
            slices, levels = direct_streams(value, config, counts)
        else:
            slices = window_slices(value, config, [len(run) for run in runs])
        beats = decode_index(decoder["index"], index, counts, streams)
        for row, bits, beat in zip(where, slices, beats, strict=True):
            for lane, weight in enumerate(row):
                mask[weight] = beat >> lane & 1
                codes[weight] = bits >> lane * q & (1 << q) - 1
    packed = sum(bit << i for i, bit in enumerate(mask)).to_bytes(-(-n // 8), "little")
    kept = bytes(code for bit, code in zip(mask, codes, strict=True) if bit)
    ends = bytes(level & 255 for level in levels)
    assert zlib.crc32(packed + kept + ends) == entry["content_crc32"]
    return mask, codes, levels


def direct_streams(
    data: bytes, config: dict[str, int], weights: list[int]
) -> tuple[list[int], list[int]]:
    """Section 8, streams: slices and levels."""
    keys = "n_in n_out planes window taps network_seed"
    text = ",".join(str(config[key]) for key in keys.split())
    n_in, n_out, q, bus = (config[key] for key in ("n_in", "n_out", "planes", "bus_bits"))
    found: list[int] = []
    levels: list[int] = []
    parts = streams(data, bus // 8, 7, text)
    for (count, words, payload), n in zip(parts, weights, strict=True):
        slices = -(-n * q // n_out)
        assert count == n_out * (slices - 1) + (n - (slices - 1) * (n_out // q)) * q
        assert words == -(-8 * 2**q // bus) + -(-slices * n_in // bus)
        own, more = direct_slices(config, payload, slices)
        assert levels in ([], own)
        levels, found = own, found + more
    return found, levels


def window_slices(data: bytes, config: dict[str, int], counts: list[int]) -> list[int]:
    """Section 4."""
    keys = "n_in n_out window own_taps shared_taps shared parity_taps frame patches network_seed"
    text = ",".join(str(config[key]) for key in keys.split())
    n_in, n_out, size, frame = (config[key] for key in ("n_in", "n_out", "window", "frame"))
    rows = window_rows(config)
    preload, position_bits = size // n_in - 1, (n_out - 1).bit_length()
    span, shift = frame * preload + 1, 0
    while ((1 << n_in) - 1) << shift < span:
        shift += 1
    rate_bits, place_bits = (-(-span >> shift)).bit_length(), frame.bit_length() - 1
    found = []
    for (_, _, payload), slices in zip(
        streams(data, config["bus_bits"] // 8, 3, text), counts, strict=True
    ):
        bits = int.from_bytes(payload, "little")
        window = place = steps = 0
        credit, patch, fresh, due = -frame * preload, None, True, False
        for _ in range(slices):
            while True:
                chunk = bits & (1 << n_in) - 1
                bits >>= n_in
                window = window >> n_in | chunk << size - n_in
                entry = chunk
                if fresh:
                    steps = frame + ((chunk & (1 << rate_bits) - 1) << shift)
                    entry = chunk >> rate_bits
                if config["patches"] and (fresh or due):
                    patch = None
                    if entry & 1:
                        at = entry >> 1 & (1 << place_bits) - 1
                        patch = at, entry >> 1 + place_bits & (1 << position_bits) - 1
                fresh = due = False
                credit += frame
                if credit >= steps:
                    break
            credit -= steps
            out = sum(((row & window).bit_count() & 1) << j for j, row in enumerate(rows))
            if patch is not None and patch[0] == place:
                out ^= 1 << patch[1]
                patch, due = None, True
            place += 1
            if place == frame:
                place, fresh = 0, True
            found.append(out)
        assert bits == 0
    return found


def block_slices(data: bytes, config: dict[str, int], count: int) -> list[int]:
    """Sections 2 and 3."""
    n_in, n_out, lanes, span = (config[k] for k in ("n_in", "n_out", "lanes", "block_groups"))
    if not data:
        return []
    bus_bits, depth = config["bus_bits"], max(1, (n_out - 1).bit_length())
    text = f"{n_in},{n_out},{config['network_seed']}"
    ((found, _, payload),) = streams(data, bus_bits // 8, 2, text)
    assert found == count
    rows = block_rows(config)
    size = bus_bits // 8
    words = [
        int.from_bytes(payload[at : at + size], "little") for at in range(0, len(payload), size)
    ]
    string = {"control": 0, "seed": 0, "patch": 0}
    there, used = dict.fromkeys(string, 0), dict.fromkeys(string, 0)

    def fetch(which: str) -> None:
        string[which] |= words.pop(0) << there[which]
        there[which] += bus_bits

    def take(which: str, bits: int) -> int:
        used[which] += bits
        return string[which] >> used[which] - bits & (1 << bits) - 1

    groups, slices = -(-count // lanes), []
    item, width, next_width = -1, 0, 0
    patches: list[list[int]] = []
    for group in range(groups):
        while item < groups and item <= group + 4:
            while there["control"] - used["control"] < 4 + lanes * depth:
                fetch("control")
            if item < 0:
                next_width = take("control", 4)
            else:
                if item % span == 0:
                    width, next_width = next_width, take("control", 4)
                patches.append([take("control", width) for _ in range(lanes)])
            item += 1
        while there["seed"] - used["seed"] < lanes * n_in:
            fetch("seed")
        seeds = [take("seed", n_in) for _ in range(lanes)]
        number = patches[group]
        while there["patch"] - used["patch"] < depth * sum(number):
            fetch("patch")
        flips = [0] * lanes
        for k in range(max(number)):
            for lane in range(lanes):
                if number[lane] > k:
                    flips[lane] ^= 1 << take("patch", depth)
        for seed, flip in zip(seeds, flips, strict=True):
            bits = sum(((row & seed).bit_count() & 1) << r for r, row in enumerate(rows))
            slices.append(bits ^ flip)
    assert not words
    return slices[:count]


def single(value: float) -> float:
    """Round to single precision; beyond it, infinity."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def weights(
    entry: dict[str, Any],
    mask: list[int],
    codes: list[int],
    scales: tuple[float, ...],
    levels: list[int],
) -> Iterator[float]:
    """Section 7.2."""
    facts, shape, q = entry["quantizer"], entry["shape"], entry["planes"]
    terms = q if facts["method"] in ("binary", "alternating") else 1
    for i, (keep, code) in enumerate(zip(mask, codes, strict=True)):
        row = 0
        if facts["scale"] == "row" and len(shape) > 1:
            axis = facts.get("axis", 0)
            row = i // math.prod(shape[axis + 1 :]) % shape[axis]
        elif facts["scale"] == "group":
            row = i // facts["group"]
        a = scales[row * terms : (row + 1) * terms]
        value = 0.0
        if not keep:
            yield 0.0
            continue
        if facts["method"] == "uniform":
            value = single((code % (1 << q - 1) + 1) * a[0])
            value = value if code >> q - 1 else -value
        elif facts["method"] == "trellis":
            value = single(levels[code] * a[0])
        else:
            for b in range(terms):
                value = single(value + (a[b] if code >> b & 1 else -a[b]))
        yield value


def turned(entry: dict[str, Any], values: list[float]) -> Iterator[float]:
    """Section 7.3: rows turned back, and rounded to single precision."""
    shape = entry["shape"]
    columns = math.prod(shape[1:] if len(shape) > 1 else shape)
    for at in range(0, len(values), columns or 1):
        row = [max(-SINGLE, min(SINGLE, value)) for value in values[at : at + columns]]
        for value in rotate_back(row, entry["rotation"]):
            yield max(-SINGLE, min(SINGLE, single(value)))


FORMATS = {
    "F16": (5, 10, 15, 65504.0),
    "BF16": (8, 7, 127, float.fromhex("0x1.fep127")),
    "F8_E4M3": (4, 3, 7, 448.0),
    "F8_E5M2": (5, 2, 15, 57344.0),
    "F8_E4M3FNUZ": (4, 3, 8, 240.0),
    "F8_E5M2FNUZ": (5, 2, 16, 57344.0),
}
"""Exponent bits, digits, bias, largest number."""


def to_dtype(value: float, dtype: str) -> bytes:
    """Bytes of a value, to nearest even; what is too large is the largest number."""
    if dtype == "F64":
        return struct.pack("<d", max(-SINGLE, min(SINGLE, value)))
    if dtype == "F32":
        return struct.pack("<f", max(-SINGLE, min(SINGLE, value)))
    exponents, digits, bias, most = FORMATS[dtype]
    sign = int(math.copysign(1, value) < 0) << exponents + digits
    value = min(abs(value), most)
    exponent = max(1 - bias, math.frexp(value)[1] - 1) if value else 1 - bias
    units = round(value / 2.0 ** (exponent - digits))  # Python rounds to even
    bits = units + (exponent + bias - 1 << digits)  # a carry goes to the exponent by itself
    if dtype.endswith("UZ") and not bits:
        sign = 0  # there is no negative zero
    return (sign | bits).to_bytes((1 + exponents + digits) // 8, "little")


SINGLE = float.fromhex("0x1.fffffep127")
