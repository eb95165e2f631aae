# SPDX-License-Identifier: Apache-2.0
"""Streams of the block codec: bytes as the format tells, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.golden.block import block_parser
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.spec.config import BUS_BITS, BlockConfig
from xorloom.sw.spec.layout import CONTROL_AHEAD
from xorloom.sw.value.block import stream_kernels
from xorloom.sw.value.block.codec import BlockSlices
from xorloom.sw.value.block.stream import block_bits, pack_block, unpack_block

from tests.helpers.block_streams import LISTS, SEEDS, SMALL, format_stream


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
