# SPDX-License-Identifier: Apache-2.0
"""Streams of the block codec, written from the text of the format."""

import zlib

import numpy as np
import pytest
from xorloom.sw.base.errors import FormatError
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.value.block.codec import BlockSlices
from xorloom.sw.value.block.stream import unpack_block

from tests.helpers.index import frame

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
