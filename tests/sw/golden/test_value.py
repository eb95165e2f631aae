# SPDX-License-Identifier: Apache-2.0
import re
from dataclasses import fields
from pathlib import Path

import galois
import numpy as np
import pytest
import xorloom.sw
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.sw.base.errors import CapacityError
from xorloom.sw.golden.block import block_decoder, block_parser
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.network import patch_unit, xor_network
from xorloom.sw.golden.window import window_control, window_decoder
from xorloom.sw.spec.config import BUS_BITS, BlockConfig, WindowConfig
from xorloom.sw.spec.taps import block_network, columns
from xorloom.sw.value.block import stream
from xorloom.sw.value.block.codec import BlockSlices, encode
from xorloom.sw.value.window import codec as window_codec
from xorloom.sw.value.window.stream import pack_window

from tests.helpers.index import pack_bitmap, unpack_bitmap
from tests.helpers.window import (
    random_case,
    random_seeds,
    slice_bits,
    slice_ends,
    small,
    unpack,
    window_frame,
)

GF2 = galois.GF(2)
FORMAT = Path(xorloom.sw.__file__).with_name("FORMAT.md")


def to_bits(number, n):
    return np.array([(number >> i) & 1 for i in range(n)], np.uint8)


@given(st.integers(1, 64), st.integers(1, 90), st.integers(0, 2**64 - 1), st.data())
def test_xor_network_equals_galois_product(n_in, n_out, network_seed, data):
    rows = block_network(n_in, n_out, network_seed)
    seeds = data.draw(st.lists(st.integers(0, (1 << n_in) - 1), min_size=1, max_size=8))
    product = GF2([to_bits(row, n_in) for row in rows]) @ GF2([to_bits(s, n_in) for s in seeds]).T
    found = [to_bits(xor_network(columns(rows, n_in), seed), n_out) for seed in seeds]
    assert (np.array(product) == np.array(found).T).all()


def test_xor_network_of_a_basis_vector_is_a_column():
    taps = columns(block_network(9, 31, 4), 9)
    assert [xor_network(taps, 1 << c) for c in range(9)] == list(taps)


def test_patch_unit_flips_the_named_bits():
    assert patch_unit(0b1010, []) == 0b1010
    assert patch_unit(0b1010, [0, 1, 4]) == 0b11001


def test_bus_words_put_byte_0_lowest():
    assert bus_words(bytes(range(8)), 32) == [0x03020100, 0x07060504]
    assert bus_words(bytes(range(8)), 64) == [0x0706050403020100]
    assert bus_words(b"", 32) == []


@st.composite
def streams(draw):
    config = BlockConfig(
        n_in=draw(st.integers(1, 40)),
        n_out=draw(st.integers(1, 80)),
        lanes=draw(st.integers(1, 6)),
        patches_per_cycle=draw(st.integers(1, 4)),
        bus_bits=draw(st.sampled_from(BUS_BITS)),
        block_groups=draw(st.integers(2, 6)),
        network_seed=draw(st.integers(0, 2**64 - 1)),
    )
    planes = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(0, 600))
    mask = rng.random(size) >= draw(st.floats(0, 0.99))
    codes = rng.integers(0, 1 << planes, size, dtype=np.uint8)
    return config, planes, mask, codes


@given(streams())
def test_block_decoder_gives_the_codes_that_were_encoded(case):
    config, planes, mask, codes = case
    data, _ = stream.pack_block(encode(mask, codes, planes, config), config)
    words = bus_words(data, config.bus_bits)
    groups = block_decoder(config, columns(config.rows, config.n_in), words)
    slices = [
        (group >> (lane * config.n_out)) & ((1 << config.n_out) - 1)
        for group in groups
        for lane in range(config.lanes)
    ]
    n_slices = -(-mask.size // config.n_out) * planes
    assert not any(slices[n_slices:])
    found = np.zeros(mask.size, np.int64)
    for i, value in enumerate(slices[:n_slices]):
        low = i // planes * config.n_out
        part = to_bits(value, config.n_out)[: mask.size - low]
        found[low : low + part.size] |= part.astype(np.int64) << (i % planes)
    assert (found[mask] == codes[mask]).all()


@given(streams())
def test_block_parser_beats_carry_every_seed_and_patch_in_order(case):
    config, planes, mask, codes = case
    slices = encode(mask, codes, planes, config)
    data, bits = stream.pack_block(slices, config)
    beats = list(block_parser(config, bus_words(data, config.bus_bits)))
    assert len(beats) == bits.steps
    seeds, lists = [], []
    fresh = True
    for beat in beats:
        assert bool(beat.seeds) == fresh
        if fresh:
            seeds += beat.seeds
            lists += [[] for _ in range(config.lanes)]
        for lane, positions in enumerate(beat.positions):
            assert len(positions) <= config.patches_per_cycle
            lists[lane - config.lanes] += positions
        fresh = beat.last
    assert fresh
    n = slices.seeds.size
    assert seeds[:n] == slices.seeds.tolist()
    assert not any(seeds[n:])
    assert not any(lists[n:])
    assert [len(positions) for positions in lists[:n]] == slices.n_patch.tolist()
    assert [p for positions in lists for p in positions] == slices.patches.tolist()


def test_block_parser_of_a_stream_that_is_too_short_raises(rng):
    config = BlockConfig(n_in=8, n_out=40, lanes=2, bus_bits=32)
    mask = rng.random(400) > 0.5
    data, bits = stream.pack_block(encode(mask, mask.astype(np.uint8), 1, config), config)
    words = bus_words(data, 32)[: 4 + bits.words]
    assert len(list(block_parser(config, words))) == bits.steps
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        list(block_parser(config, words[:-1]))


def worked_example():
    """Parse section 9.1 of FORMAT.md."""
    text = FORMAT.read_text(encoding="utf-8").split("### 9.1 Block codec")[1].split("### 9.2")[0]
    names = [field.name for field in fields(BlockConfig)]
    values = {name: int(re.search(rf"\b{name} (\d+)", text).group(1)) for name in names}

    def line(name):
        return re.search(rf"^{name} +(.*?)(?:  +\(.*)?$", text, re.MULTILINE).group(1).strip()

    def hex_after(name, stop):
        block = text.split(f"\n{name} ")[1].split(stop)[0]
        return "".join(re.findall(r"(?<![0-9a-f])[0-9a-f]{8}(?= |\n)", block_without_notes(block)))

    def block_without_notes(block):
        return "\n".join(
            re.split(r"   +[a-zC]+", row.strip())[0] + " " for row in block.split("\n")
        )

    return {
        "config": BlockConfig(**values),
        "weights": int(re.search(r"(\d+) weights, one plane", text).group(1)),
        "rows": tuple(int(row, 16) for row in line("rows").split()),
        "mask": np.array([c == "1" for c in line("mask").replace(" ", "")]),
        "codes": line("codes").replace(" ", ""),
        "seeds": [int(seed) for seed in line("seeds").split()],
        "n_patch": [int(n) for n in line("n_patch").split()],
        "patches": [[int(p) for p in part.split()] for part in line("patches").split("|")],
        "value": bytes.fromhex(hex_after("value stream", "\nindex stream")),
        "index": bytes.fromhex(hex_after("index stream", "```")),
    }


def test_worked_example_is_what_the_encoder_writes():
    example = worked_example()
    config, mask = example["config"], example["mask"]
    assert mask.size == example["weights"] == len(example["codes"])
    assert [c == "." for c in example["codes"]] == (~mask).tolist()
    assert config.rows == example["rows"]
    codes = np.array([c == "1" for c in example["codes"]]).astype(np.uint8)
    slices = encode(mask, codes, 1, config)
    assert slices.seeds.tolist() == example["seeds"]
    assert slices.n_patch.tolist() == example["n_patch"]
    assert slices.patches.tolist() == [p for part in example["patches"] for p in part]
    assert stream.pack_block(slices, config)[0].hex() == example["value"].hex()
    assert pack_bitmap(mask, config.bus_bits).hex() == example["index"].hex()


def test_worked_example_decodes_to_its_codes():
    example = worked_example()
    config, mask = example["config"], example["mask"]
    assert len(example["value"]) == 16 + 3 * 4 + 4
    words = bus_words(example["value"], config.bus_bits)
    taps = columns(example["rows"], config.n_in)
    groups = block_decoder(config, taps, words)
    width = config.lanes * config.n_out
    bits = sum(group << (i * width) for i, group in enumerate(groups))
    found = "".join(str((bits >> i) & 1) if mask[i] else "." for i in range(mask.size))
    assert found == example["codes"]
    kept = unpack_bitmap(example["index"], mask.shape, config.bus_bits)
    assert (kept == mask).all()


def test_worked_example_words_hold_the_substreams_of_the_text():
    words = bus_words(worked_example()["value"], 32)
    assert words[4:7] == [0x2202, 0x051B, 0x9776]


def test_stream_of_hand_made_slices_reaches_the_lanes():
    config = BlockConfig(n_in=4, n_out=10, lanes=2, bus_bits=32, network_seed=1)
    slices = BlockSlices(
        np.array([1, 2, 4], np.uint64),
        np.array([0, 1, 3], np.uint16),
        np.array([9, 0, 5, 9], np.uint16),
    )
    words = bus_words(stream.pack_block(slices, config)[0], 32)
    taps = columns(config.rows, 4)
    assert block_decoder(config, taps, words) == [
        taps[0] | (taps[1] ^ 1 << 9) << 10,
        taps[2] ^ (1 | 1 << 5 | 1 << 9),
    ]


WINDOWS = [
    small(),
    small(own_taps=7, frame=128, bus_bits=512),  # rate words count several steps
    small(n_in=32, patches=1, bus_bits=256),
    small(n_in=32, n_out=192, window=64, patches=1, bus_bits=64),
    WindowConfig(n_in=64, n_out=128, window=192, frame=16, patches=1, bus_bits=128),
    WindowConfig(n_in=256, n_out=256, window=256, frame=16, bus_bits=32),  # no preload
]


@st.composite
def window_streams(draw):
    """A stream that no encoder made: any seeds, any rate words, any patches."""
    config = draw(st.sampled_from(WINDOWS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    slices = draw(st.integers(1, 2 * config.frame + 3 if config.frame < 99 else config.frame + 3))
    high = draw(st.sampled_from([1, 8, 1 << config.rate_bits]))
    rates = rng.integers(0, min(high, 1 << config.rate_bits), -(-slices // config.frame)).tolist()
    flips = {}
    if config.patches:
        places = rng.choice(slices, rng.integers(0, slices + 1), replace=False)
        flips = {int(e): int(rng.integers(0, config.n_out)) for e in places}
    count = slices * config.n_out - draw(st.integers(0, config.n_out - 1))
    number, chunks = random_seeds(config, slices, rng, rates, flips)
    return config, rates, flips, count, number, chunks


@given(window_streams())
def test_window_control_equals_the_closed_form(case):
    config, rates, flips, count, number, chunks = case
    words = bus_words(window_frame(config, number, chunks, count), config.bus_bits)
    slices = -(-count // config.n_out)
    ends, _ = slice_ends(config, rates, slices)
    mask = (1 << config.window) - 1
    assert list(window_control(config, words)) == [
        (number >> end * config.n_in - config.window & mask, [flips[e]] if e in flips else [])
        for e, end in enumerate(ends)
    ]


@given(window_streams())
@settings(max_examples=50)
def test_window_decoder_equals_the_fast_decoder_and_the_closed_form(case):
    config, _, flips, count, number, chunks = case
    data = window_frame(config, number, chunks, count)
    taps = columns(config.network.rows, config.window)
    slow = window_decoder(config, taps, bus_words(data, config.bus_bits))
    assert slow == slice_bits(config, number, len(slow), flips)
    mask = np.ones(count, np.bool_)
    fast = window_codec.decode(unpack(data, config, weights=count), mask, 1, config)
    for e, value in enumerate(slow):
        part = fast[e * config.n_out : (e + 1) * config.n_out]
        assert (part == to_bits(value, config.n_out)[: part.size]).all(), (e, flips.get(e))


@given(
    st.sampled_from(WINDOWS[:5]), st.integers(1, 4), st.floats(0.5, 1), st.integers(0, 2**32 - 1)
)
@settings(max_examples=40)
def test_window_decoder_gives_the_codes_that_were_encoded(config, planes, sparsity, seed):
    rng = np.random.default_rng(seed)
    mask, codes = random_case(rng, (int(rng.integers(1, 2000)),), sparsity, planes)
    try:
        encoded = window_codec.encode(mask, codes, planes, config, order="row")
    except CapacityError:
        assert config.window < config.n_out
        return
    data, bits = pack_window(encoded, config)
    taps = columns(config.network.rows, config.window)
    words = bus_words(data, config.bus_bits)
    slices = window_decoder(config, taps, words)
    lanes = config.n_out // planes
    assert len(slices) == -(-mask.size // lanes)
    for weight in np.flatnonzero(mask):
        value = slices[weight // lanes] >> int(weight % lanes) * planes & ((1 << planes) - 1)
        assert value == codes[weight], (weight // lanes, weight % lanes)
    short = words[: max(1, 128 // config.bus_bits) + bits.words - 1]
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        list(window_control(config, short))


def test_window_control_of_a_small_stream_by_hand():
    # 8 chunks fill the window; a rate of 8 makes 24 steps for 16 slices: 2, 1, 2, 1, ... chunks.
    config = small()
    number = sum(byte << 8 * i for i, byte in enumerate([8, *range(1, 64)]))
    words = bus_words(window_frame(config, number, 64, 5 * 64), 32)
    windows = [window.to_bytes(8, "little") for window, _ in window_control(config, words)]
    firsts = [2 - 1, 3 - 1, 5 - 1, 6 - 1, 8 - 1]
    assert windows == [bytes(range(first, first + 8)) for first in firsts]
