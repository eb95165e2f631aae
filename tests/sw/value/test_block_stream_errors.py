# SPDX-License-Identifier: Apache-2.0
"""Damaged streams of the block codec are refused, with a text that tells what is wrong."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import FormatError
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.value.block.codec import encode
from xorloom.sw.value.block.stream import block_bits, pack_block, unpack_block

from tests.helpers.block_streams import (
    LISTS,
    SEEDS,
    SMALL,
    format_stream,
    rejected,
    small_slices,
)
from tests.helpers.index import frame, pack_bitmap, reseal, unpack_bitmap


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
