# SPDX-License-Identifier: Apache-2.0
"""The window codec's stream, told a second time in closed form, with big integers."""

import struct
import zlib

import numpy as np
import pytest
from xorloom.sw.base.errors import FormatError
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.value.window.stream import unpack_window

NETWORK_FIELDS = (
    "n_in",
    "n_out",
    "window",
    "own_taps",
    "shared_taps",
    "shared",
    "parity_taps",
    "frame",
    "patches",
    "network_seed",
)


def small(**changes):
    """A decoder with 64 plain 5-input XORs; frames and window are short."""
    values = {"n_in": 8, "n_out": 64, "window": 64, "frame": 16, "bus_bits": 32}
    values |= {"own_taps": 5, "shared_taps": 0, "shared": 0}
    return WindowConfig(**values | changes)


def slice_ends(config, rates, slices):
    """Chunks that have entered when a slice leaves; opening chunk of every frame.

    Slice ``i`` of a frame that has ``steps`` steps leaves after ``ceil((i + 1) * steps / frame)``.
    """
    base, ends, openings = config.window // config.n_in - 1, [], []
    for f, rate in enumerate(rates):
        openings.append(base if f else 0)
        steps = config.frame + (rate << config.rate_shift)
        for i in range(min(config.frame, slices - f * config.frame)):
            ends.append(base + -(-(i + 1) * steps // config.frame))
        base += steps
    return ends, openings


def read_rates(config, seeds, slices):
    """Rate words of a seed stream given as an integer."""
    rates = []
    for f in range(-(-slices // config.frame)):
        opening = slice_ends(config, [*rates, 0], (f + 1) * config.frame)[1][f]
        rates.append(seeds >> opening * config.n_in & ((1 << config.rate_bits) - 1))
    return rates


def slice_bits(config, seeds, slices, flips=None):
    """Slices of a seed stream; ``flips`` maps a slice to its patched output."""
    ends, _ = slice_ends(config, read_rates(config, seeds, slices), slices)
    rows = config.network.rows
    found = []
    for e, end in enumerate(ends):
        window = seeds >> end * config.n_in - config.window & ((1 << config.window) - 1)
        value = sum(((row & window).bit_count() & 1) << j for j, row in enumerate(rows))
        found.append(value ^ (1 << flips[e] if flips and e in flips else 0))
    return found


def put(number, at, width, value):
    """Overwrite a field of an integer."""
    return number & ~(((1 << width) - 1) << at) | value << at


def random_seeds(config, slices, rng, rates=None, flips=None):
    """Random seed stream with given rate words and patches; return it and its length in chunks."""
    frames = -(-slices // config.frame)
    if rates is None:
        rates = rng.integers(0, 1 << config.rate_bits, frames).tolist()
    ends, openings = slice_ends(config, rates, slices)
    n_bits = ends[-1] * config.n_in
    number = int.from_bytes(rng.bytes(-(-n_bits // 8)), "little") & ((1 << n_bits) - 1)
    for f, (opening, rate) in enumerate(zip(openings, rates, strict=True)):
        at = opening * config.n_in
        number = put(number, at, config.rate_bits, rate)
        if config.patches:
            own = sorted(e for e in flips or {} if e // config.frame == f)
            places = [at + config.rate_bits]
            for e in own:  # the next entry opens the chunk after the patched slice
                shift = 0 if (e + 1) % config.frame else config.rate_bits
                places.append(ends[e] * config.n_in + shift)
            for e, place in zip(own, places, strict=False):
                entry = 1 | e % config.frame << 1 | flips[e] << config.frame.bit_length()
                number = put(number, place, config.patch_bits, entry)
            if not own or (own[-1] + 1) % config.frame:
                number = put(number, places[-1], 1, 0)
    return number & ((1 << n_bits) - 1), ends[-1]


def network_id(config):
    text = ",".join(str(getattr(config, name)) for name in NETWORK_FIELDS)
    return zlib.crc32(text.encode())


def window_frame(config, number, chunks, count, **header):
    """A memory stream of an integer's seed bits; ``header`` overrides header fields."""
    bus = config.bus_bits // 8
    words = header.get("words", -(-chunks * config.n_in // config.bus_bits))
    head = struct.pack(
        "<2sBBIII",
        b"XL",
        1,
        header.get("kind", 3),
        count,
        header.get("network", network_id(config)),
        words,
    )
    body = head + bytes(-16 % bus) + number.to_bytes(words * bus, "little")
    return body + struct.pack("<I", zlib.crc32(body)) + bytes(-4 % bus)


def payload_number(data, config):
    """The seed bits of a memory stream as an integer."""
    bus = config.bus_bits // 8
    return int.from_bytes(data[max(16, bus) : len(data) - max(4, bus)], "little")


def random_case(rng, shape, sparsity, planes):
    """Random mask and codes; codes of pruned weights are not zero."""
    mask = rng.random(shape) >= sparsity
    return mask, rng.integers(0, 1 << planes, shape, dtype=np.uint8)


SMALL = small()


def unpack(data, config=SMALL, slices=20, **changes):
    values = {"order": "row", "weights": slices * config.n_out, "planes": 1}
    values |= {"slices_per_stream": 1 << 20, "where": "w"}
    return unpack_window(data, config, **values | changes)


def rejected(data, *arguments, **changes):
    with pytest.raises(FormatError) as caught:
        unpack(data, *arguments, **changes)
    assert str(caught.value).startswith("w: ")
    return str(caught.value)


def made(config=SMALL, slices=20, seed=0, rates=None, flips=None, edit=lambda number: number, **h):
    """A framed random stream; ``edit`` changes its seed bits, ``h`` its header."""
    rng = np.random.default_rng(seed)
    number, chunks = random_seeds(config, slices, rng, rates, flips)
    header = {"count": slices * config.n_out} | h
    return window_frame(config, edit(number), chunks, **header)
