# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the block decoder and its parser, twins of ``hw.block.decoder`` and parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.layout import (
    CONTROL_AHEAD,
    WIDTH_FIELD_BITS,
    control_threshold_bits,
)

from .bus import BitQueue, payload
from .network import patch_unit, xor_network

__all__ = ["Beat", "block_decoder", "block_parser"]


@dataclass(frozen=True)
class Beat:
    """Beat of the block parser: what it hands to the lanes in one cycle.

    ``seeds`` is empty but in a group's first cycle; ``positions[lane]`` are this cycle's patches;
    ``last`` closes the group.
    """

    seeds: tuple[int, ...]
    positions: tuple[tuple[int, ...], ...]
    last: bool


def block_parser(config: BlockConfig, words: Sequence[int]) -> Iterator[Beat]:
    """Twin of ``hw.block.parser``: the beats of one memory stream, header to CRC.

    A ``StopIteration`` inside (``RuntimeError`` outside) means that the stream is too short.
    """
    lanes, bus_bits = config.lanes, config.bus_bits
    count, source = payload(config, words)
    groups = -(-count // lanes)
    control, seed, patch = (BitQueue(source, bus_bits) for _ in range(3))
    threshold = control_threshold_bits(config)
    width = next_width = 0
    parsed = 0

    def next_counts() -> list[int]:
        nonlocal width, next_width, parsed
        if parsed == 0:
            control.fill(threshold)
            next_width = control.take(WIDTH_FIELD_BITS)
        control.fill(threshold)
        if parsed % config.block_groups == 0:
            width, next_width = next_width, control.take(WIDTH_FIELD_BITS)
        parsed += 1
        return [control.take(width) for _ in range(lanes)]

    ahead: list[list[int]] = []
    for g in range(groups):
        while parsed < min(groups, g + 1 + CONTROL_AHEAD):
            ahead.append(next_counts())
        left = ahead.pop(0)
        seed.fill(lanes * config.n_in)
        seeds = tuple(seed.take(config.n_in) for _ in range(lanes))
        while True:
            now = [min(n, config.patches_per_cycle) for n in left]
            left = [n - m for n, m in zip(left, now, strict=True)]
            patch.fill(sum(now) * config.position_bits)
            positions: list[list[int]] = [[] for _ in range(lanes)]
            for k in range(config.patches_per_cycle):
                for lane in range(lanes):
                    if now[lane] > k:
                        positions[lane].append(patch.take(config.position_bits))
            yield Beat(seeds, tuple(map(tuple, positions)), not any(left))
            seeds = ()
            if not any(left):
                break


def block_decoder(config: BlockConfig, columns: Sequence[int], words: Sequence[int]) -> list[int]:
    """Twin of ``hw.block.decoder``: bus words in, one integer of ``lanes * n_out`` bits per group.

    Lane ``j`` stands in bits ``j * n_out`` onwards. Lanes past the last slice have seed 0.
    """
    groups: list[int] = []
    slices = [0] * config.lanes
    for beat in block_parser(config, words):
        if beat.seeds:
            slices = [xor_network(columns, seed) for seed in beat.seeds]
        pairs = zip(slices, beat.positions, strict=True)
        slices = [patch_unit(value, positions) for value, positions in pairs]
        if beat.last:
            groups.append(sum(v << (j * config.n_out) for j, v in enumerate(slices)))
    return groups
