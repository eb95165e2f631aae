# SPDX-License-Identifier: Apache-2.0
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import FormatError
from xorloom.sw.golden.block import block_parser
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.spec.config import BUS_BITS, BlockConfig
from xorloom.sw.spec.layout import CONTROL_AHEAD
from xorloom.sw.value.block import stream_kernels
from xorloom.sw.value.block.codec import BlockSlices, encode
from xorloom.sw.value.block.stream import block_bits, pack_block, unpack_block

from tests.helpers.index import frame, pack_bitmap, reseal, unpack_bitmap

SMALL = BlockConfig(n_in=4, n_out=10, lanes=2, bus_bits=32, block_groups=2, network_seed=1)


def bit_length(value):
    return len(f"{value:b}") if value else 0


def format_stream(config, patch_lists, seeds, widths=None, control_tail=(), edit=None):
    """Write a value stream from FORMAT.md's text with Python integers, nothing shared with sw.

    ``widths`` overrides the block widths, ``control_tail`` replaces the last block's next width,
    ``edit(kinds, words)`` may change the payload; header and CRC always fit.
    """
    lanes, span, bus, depth = config.lanes, config.block_groups, config.bus_bits, 1
    while 1 << depth < config.n_out:
        depth += 1
    count = len(seeds)
    groups = -(-count // lanes)
    lists = [*patch_lists, *[[]] * (groups * lanes - count)]
    lists = [lists[g * lanes : (g + 1) * lanes] for g in range(groups)]
    sizes = [[len(positions) for positions in group] for group in lists]
    blocks = [sizes[low : low + span] for low in range(0, groups, span)]
    widths = widths or [bit_length(max(map(max, block))) for block in blocks]
    nexts = [*widths[1:], *(control_tail or [0])]

    items = {-1: [(widths[0], 4)] if groups else []}
    for g in range(groups):
        items[g] = [(nexts[g // span], 4)] if g % span == 0 else []
        items[g] += [(n, widths[g // span]) for n in sizes[g]]
    strings = {"control": 0, "seed": 0, "patch": 0}
    at = dict.fromkeys(strings, 0)

    def put(name, value, width):
        strings[name] |= value << at[name]
        at[name] += width

    for n in range(-1, groups):
        for value, width in items[n]:
            put("control", value, width)
    for seed in seeds:
        put("seed", seed, config.n_in)
    for group in lists:
        for k in range(max(map(len, group))):
            for positions in group:
                if len(positions) > k:
                    put("patch", positions[k], depth)

    kinds = []
    level = dict.fromkeys(strings, 0)

    def fetch(name, need):
        while level[name] < need:
            kinds.append(name)
            level[name] += bus

    following = -1
    for g in range(groups):
        while following < groups and following <= g + 4:
            fetch("control", 4 + lanes * depth)
            level["control"] -= sum(width for _, width in items[following])
            following += 1
        fetch("seed", lanes * config.n_in)
        level["seed"] -= lanes * config.n_in
        step = 0
        while step == 0 or step * config.patches_per_cycle < max(sizes[g]):
            left = [n - step * config.patches_per_cycle for n in sizes[g]]
            need = depth * sum(max(0, min(n, config.patches_per_cycle)) for n in left)
            fetch("patch", need)
            level["patch"] -= need
            step += 1
    words = []
    taken = dict.fromkeys(strings, 0)
    for kind in kinds:
        words.append((strings[kind] >> taken[kind]) & ((1 << bus) - 1))
        taken[kind] += bus
    if edit:
        edit(kinds, words)
    network = zlib.crc32(f"{config.n_in},{config.n_out},{config.network_seed}".encode())
    return frame(2, count, network, words, bus)


def small_slices():
    seeds = np.array([3, 9, 15, 1, 8], np.uint64)
    n_patch = np.array([2, 0, 3, 1, 1], np.uint16)
    return BlockSlices(seeds, n_patch, np.array([6, 7, 0, 4, 9, 5, 2], np.uint16))


LISTS = [[6, 7], [], [0, 4, 9], [5], [2]]
SEEDS = [3, 9, 15, 1, 8]


def rejected(data, config=SMALL):
    with pytest.raises(FormatError) as caught:
        unpack_block(data, config, "w")
    assert str(caught.value).startswith("w: ")
    return str(caught.value)


@st.composite
def random_slices(draw):
    config = BlockConfig(
        n_in=draw(st.integers(1, 64)),
        n_out=draw(st.integers(1, 300)),
        lanes=draw(st.integers(1, 8)),
        patches_per_cycle=draw(st.integers(1, 5)),
        bus_bits=draw(st.sampled_from(BUS_BITS)),
        block_groups=draw(st.integers(2, 5)),
        network_seed=draw(st.integers(0, 9)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most = draw(st.integers(0, min(20, config.n_out - 1)))
    lists = []
    for _ in range(draw(st.integers(0, 60))):
        n = int(rng.integers(0, most + 1))
        lists.append(sorted(rng.choice(config.n_out, n, replace=False).tolist()))
    high = (1 << config.n_in) - 1
    seeds = [int(rng.integers(0, high, dtype=np.uint64, endpoint=True)) for _ in lists]
    return config, lists, seeds


def to_slices(lists, seeds):
    flat = [position for positions in lists for position in positions]
    n_patch = np.array([len(positions) for positions in lists], np.uint16)
    return BlockSlices(np.array(seeds, np.uint64), n_patch, np.array(flat, np.uint16))


@given(random_slices())
def test_pack_block_writes_the_bytes_that_the_format_tells(case):
    config, lists, seeds = case
    data, bits = pack_block(to_slices(lists, seeds), config)
    assert data.hex() == format_stream(config, lists, seeds).hex()
    assert bits.total == 8 * len(data)
    assert bits.seeds == len(seeds) * config.n_in
    assert bits.patches == sum(map(len, lists)) * config.position_bits
    assert block_bits(to_slices(lists, seeds), config) == bits


@given(random_slices())
def test_unpack_block_returns_what_was_packed(case):
    config, lists, seeds = case
    found = unpack_block(format_stream(config, lists, seeds), config)
    assert (found.seeds.dtype, found.n_patch.dtype, found.patches.dtype) == (
        np.uint64,
        np.uint16,
        np.uint16,
    )
    expected = to_slices(lists, seeds)
    assert found.seeds.tolist() == seeds
    assert found.n_patch.tolist() == expected.n_patch.tolist()
    assert found.patches.tolist() == expected.patches.tolist()


@given(random_slices())
def test_golden_block_parser_agrees_with_fast_unpack(case):
    config, lists, seeds = case
    data = format_stream(config, lists, seeds)
    fast = unpack_block(data, config)
    beats = list(block_parser(config, bus_words(data, config.bus_bits)))
    slow_seeds = [seed for beat in beats for seed in beat.seeds][: len(seeds)]
    counts, slow_positions = [], []
    for beat in beats:
        if beat.seeds:
            counts += [0] * config.lanes
            slow_positions += [[] for _ in range(config.lanes)]
        for lane, positions in enumerate(beat.positions):
            counts[lane - config.lanes] += len(positions)
            slow_positions[lane - config.lanes] += positions
    assert slow_seeds == fast.seeds.tolist()
    assert counts[: len(seeds)] == fast.n_patch.tolist()
    assert [p for positions in slow_positions for p in positions] == fast.patches.tolist()


@pytest.mark.parametrize("n_out", [32768, 32767])
def test_stream_carries_the_most_patches_a_slice_can_have(n_out):
    config = BlockConfig(n_in=3, n_out=n_out, lanes=2, patches_per_cycle=16)
    lists = [list(range(n_out - 1)), [], [n_out - 1]]
    found = unpack_block(pack_block(to_slices(lists, [1, 2, 3]), config)[0], config)
    assert found.n_patch.tolist() == [n_out - 1, 0, 1]
    assert (found.patches == to_slices(lists, [1, 2, 3]).patches).all()


@pytest.mark.parametrize("bus_bits", BUS_BITS)
def test_stream_of_no_slices_is_header_and_crc(bus_bits):
    config = BlockConfig(bus_bits=bus_bits)
    data, bits = pack_block(to_slices([], []), config)
    assert data == format_stream(config, [], [])
    assert (bits.words, bits.steps, bits.control) == (0, 0, 0)
    assert unpack_block(data, config).seeds.size == 0


def test_stream_steps_count_one_cycle_a_group_and_more_for_patches():
    lists = [[1, 2, 3], [], [4], [5], [], []]
    slices = to_slices(lists, [1] * 6)
    assert block_bits(slices, SMALL).steps == 3 + 1 + 1
    two = BlockConfig(**SMALL.to_dict() | {"patches_per_cycle": 2})
    assert block_bits(slices, two).steps == 2 + 1 + 1


def test_parse_kernel_equals_its_python_function():
    data = format_stream(SMALL, LISTS, SEEDS)
    units = np.frombuffer(data, "<u4")[4:-1]
    outcomes = []
    for kernel in (stream_kernels.parse, stream_kernels.parse.py_func):
        n_patch = np.zeros((3, 2), np.uint16)
        parts = [np.zeros(units.size + 2, np.uint32) for _ in range(3)]
        status = kernel(units, n_patch, 5, 2, CONTROL_AHEAD, 1, 4, 4, 9, 12, 8, 4, 4, *parts)
        outcomes.append((status, n_patch.tolist(), [part.tolist() for part in parts]))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == (stream_kernels.OK, 7)


@pytest.mark.parametrize("bus_bits", [32, 128])
def test_unpack_block_rejects_every_flipped_bit(bus_bits):
    config = BlockConfig(**SMALL.to_dict() | {"bus_bits": bus_bits})
    data, _ = pack_block(small_slices(), config)
    assert unpack_block(data, config).n_patch.tolist() == [2, 0, 3, 1, 1]
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match=r"^value: "):
            unpack_block(bytes(damaged), config, "value")


def test_unpack_block_rejects_every_truncation_and_extension():
    data, _ = pack_block(small_slices(), SMALL)
    for n in range(len(data)):
        rejected(data[:n])
    assert "bus words must be" in rejected(data + b"\0")
    assert "bus words must be" in rejected(data + bytes(4))


def test_unpack_block_names_the_crc_that_does_not_fit():
    data = bytearray(pack_block(small_slices(), SMALL)[0])
    data[-1] ^= 1
    assert "CRC-32 must be" in rejected(bytes(data))


@pytest.mark.parametrize("change", [{"n_in": 5}, {"n_out": 11}, {"network_seed": 2}])
def test_unpack_block_rejects_another_network(change):
    data, _ = pack_block(small_slices(), SMALL)
    config = BlockConfig(**SMALL.to_dict() | change)
    text = rejected(data, config)
    assert "network id must be" in text
    assert f"for n_in {config.n_in}, n_out {config.n_out}, seed {config.network_seed}" in text


@pytest.mark.parametrize(
    "change",
    [{"lanes": 1}, {"lanes": 3}, {"bus_bits": 64}, {"block_groups": 3}],
)
def test_unpack_block_rejects_another_layout(change, rng):
    mask = rng.random(900) > 0.4
    data, _ = pack_block(encode(mask, mask.astype(np.uint8), 1, SMALL), SMALL)
    rejected(data, BlockConfig(**SMALL.to_dict() | change))


def test_stream_bytes_do_not_depend_on_patches_per_cycle(rng):
    # Patch words of a group follow one another, however many steps take them.
    mask = rng.random(900) > 0.4
    slices = encode(mask, mask.astype(np.uint8), 1, SMALL)
    configs = [BlockConfig(**SMALL.to_dict() | {"patches_per_cycle": p}) for p in (1, 2, 16)]
    assert len({pack_block(slices, config)[0] for config in configs}) == 1
    steps = [block_bits(slices, config).steps for config in configs]
    assert steps == sorted(steps, reverse=True)


def test_unpack_block_rejects_a_bitmap_and_the_other_way_round():
    assert "stream kind must be 2, found 1" in rejected(pack_bitmap(np.ones(9, np.bool_), 32))
    data, _ = pack_block(small_slices(), SMALL)
    with pytest.raises(FormatError, match="index: stream kind must be 1, found 2"):
        unpack_bitmap(data, (5,), 32)


def test_unpack_block_rejects_a_newer_version():
    data = bytearray(pack_block(small_slices(), SMALL)[0])
    data[2] = 2
    assert "version 2 is not the supported 1: use a newer xorloom" in rejected(reseal(data))


def test_unpack_block_rejects_padding_of_header_and_crc():
    config = BlockConfig(**SMALL.to_dict() | {"bus_bits": 256})
    data, _ = pack_block(small_slices(), config)
    for at in (16, 31, len(data) - 1, len(data) - 28):
        damaged = bytearray(data)
        damaged[at] = 1
        sealed = reseal(damaged, 256)
        assert "padding of header and CRC must be zero" in rejected(sealed, config)


def test_unpack_block_rejects_a_first_width_above_position_bits():
    assert "n_patch width at group 0 exceeds 4" in rejected(
        format_stream(SMALL, LISTS, SEEDS, widths=[5, 1])
    )


def test_unpack_block_rejects_a_later_width_above_position_bits():
    assert "n_patch width at group 2 exceeds 4" in rejected(
        format_stream(SMALL, LISTS, SEEDS, widths=[2, 15])
    )


def test_unpack_block_rejects_a_next_width_in_the_last_block():
    assert "n_patch width at group 2" in rejected(
        format_stream(SMALL, LISTS, SEEDS, control_tail=[1])
    )


def test_unpack_block_accepts_a_width_that_is_larger_than_needed():
    data = format_stream(SMALL, LISTS, SEEDS, widths=[4, 3])
    assert unpack_block(data, SMALL).n_patch.tolist() == [2, 0, 3, 1, 1]


def test_unpack_block_rejects_n_patch_of_n_out():
    lists = [[], list(range(10)), [], [], []]
    assert "n_patch at group 0 exceeds what n_out or count allow" in rejected(
        format_stream(SMALL, lists, SEEDS)
    )


def test_unpack_block_rejects_patches_past_the_last_slice():
    data = bytearray(format_stream(SMALL, [*LISTS, [3]], [*SEEDS, 0]))
    data[4] = 5
    assert "n_patch at group 2 exceeds what n_out or count allow" in rejected(reseal(data))


@pytest.mark.parametrize("position", [10, 15])
def test_unpack_block_rejects_positions_outside_the_slice(position):
    lists = [*LISTS[:3], [5, position], [2]]
    assert f"patch position {position} must be below 10" in rejected(
        format_stream(SMALL, lists, SEEDS)
    )


@pytest.mark.parametrize("positions", [[4, 4], [5, 4], [0, 9, 3]])
@pytest.mark.parametrize("place", range(5))
def test_unpack_block_rejects_positions_that_do_not_ascend(positions, place):
    lists = [*LISTS[:place], positions, *LISTS[place + 1 :]]
    assert "patch positions of a slice must ascend" in rejected(format_stream(SMALL, lists, SEEDS))


@pytest.mark.parametrize("bus_bits", [32, 64])
@pytest.mark.parametrize("kind", ["control", "seed", "patch"])
@pytest.mark.parametrize("bit", [-1, "first"])
def test_unpack_block_rejects_padding_of_a_substream(kind, bit, bus_bits):
    config = BlockConfig(**SMALL.to_dict() | {"bus_bits": bus_bits})
    used = {"control": 3 * 4 + 2 * 2 * 2 + 2, "seed": 20, "patch": 28}[kind]

    def edit(kinds, words):
        last = len(kinds) - 1 - kinds[::-1].index(kind)
        n = kinds.count(kind)
        words[last] |= 1 << ((used - (n - 1) * bus_bits) if bit == "first" else bus_bits - 1)

    assert "has data after its last slice" in rejected(
        format_stream(config, LISTS, SEEDS, edit=edit), config
    )


def test_unpack_block_rejects_extra_words():
    extra = format_stream(SMALL, LISTS, SEEDS, edit=lambda kinds, words: words.append(0))
    assert "has data after its last slice" in rejected(extra)


@pytest.mark.parametrize("missing", range(1, 4))
def test_unpack_block_rejects_too_few_words(missing):
    lists, seeds = LISTS * 4, SEEDS * 4

    def edit(kinds, words):
        del words[-missing:]

    text = rejected(format_stream(SMALL, lists, seeds, edit=edit))
    assert "ends after bus word" in text
    assert "before its last slice (is it made for these lanes and this bus?)" in text


@pytest.mark.parametrize("words", [0, 1])
def test_unpack_block_rejects_streams_that_end_in_control_or_seeds(words):
    config = BlockConfig(n_in=1, n_out=10, lanes=1, bus_bits=32, network_seed=1)

    def edit(kinds, body):
        assert kinds[0] == "control"
        del body[words:]

    data = bytearray(format_stream(config, [[]], [1], edit=edit))
    text = rejected(bytes(data), config)
    assert ("ends after bus word 1" if words else "0 bus words cannot hold 1 slices") in text


@pytest.mark.parametrize("count", [2**32 - 1, 1000, 57])
def test_unpack_block_rejects_a_count_that_the_words_cannot_hold(count):
    data = bytearray(format_stream(SMALL, LISTS, SEEDS))
    data[4:8] = struct.pack("<I", count)
    assert f"bus words cannot hold {count} slices" in rejected(reseal(data))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7, 8, 20])
def test_unpack_block_rejects_any_other_count(count):
    data = bytearray(format_stream(SMALL, LISTS, [3, 9, 15, 1, 15]))
    data[4:8] = struct.pack("<I", count)
    if count == 6:  # a whole last group with a seed of 0 and no patches is the same stream
        assert unpack_block(reseal(data), SMALL).seeds.tolist() == [3, 9, 15, 1, 15, 0]
    else:
        rejected(reseal(data))


@given(st.data())
def test_unpack_block_of_random_payload_never_fails_otherwise(data):
    count = data.draw(st.integers(0, 40))
    words = data.draw(st.lists(st.integers(0, 2**32 - 1), max_size=30))
    made = frame(2, count, zlib.crc32(b"4,10,1"), words, 32)
    try:
        found = unpack_block(made, SMALL)
    except FormatError:
        return
    assert pack_block(found, SMALL)[1].total <= 8 * len(made)
