# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL: one pure function for every RTL unit, slow and obvious, plain integers only.

These functions are the truth. RTL and fast kernels are tested against them; they are tested
against independent oracles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xorloom.sw.spec.config import BlockConfig, DecoderConfig, WindowConfig
from xorloom.sw.spec.layout import (
    CONTROL_AHEAD,
    COUNT_OFFSET_BITS,
    HEADER_BYTES,
    WIDTH_FIELD_BITS,
    control_threshold_bits,
    padded,
)

__all__ = [
    "Beat",
    "BitQueue",
    "block_decoder",
    "bus_words",
    "patch_unit",
    "payload",
    "stream_parser",
    "window_control",
    "window_decoder",
    "xor_network",
]


def xor_network(columns: Sequence[int], seed: int) -> int:
    """Twin of ``hw.block.xor_network``: the slice that a seed yields, M @ seed over GF(2).

    ``columns`` are those of :func:`xorloom.sw.spec.taps.columns`.
    """
    result = 0
    for c, column in enumerate(columns):
        if (seed >> c) & 1:
            result ^= column
    return result


def patch_unit(value: int, positions: Sequence[int]) -> int:
    """Twin of ``hw.block.patch_unit``: flip the bits at ``positions``."""
    for position in positions:
        value ^= 1 << position
    return value


@dataclass(frozen=True)
class Beat:
    """What the parser hands to the lanes in one cycle.

    ``seeds`` is empty but in a group's first cycle; ``positions[lane]`` are this cycle's patches;
    ``last`` closes the group.
    """

    seeds: tuple[int, ...]
    positions: tuple[tuple[int, ...], ...]
    last: bool


def bus_words(data: bytes, bus_bits: int) -> list[int]:
    """Bytes to bus words: byte 0 is the least significant byte of word 0."""
    n = bus_bits // 8
    return [int.from_bytes(data[i : i + n], "little") for i in range(0, len(data), n)]


class BitQueue:
    """A gearbox: bus words in, fields of any width out, bit 0 first."""

    def __init__(self, words: Iterator[int], bus_bits: int) -> None:
        self._words, self._bus_bits = words, bus_bits
        self._value = self._level = 0

    def fill(self, bits: int) -> None:
        """Take bus words until ``bits`` bits are there."""
        while self._level < bits:
            self._value |= next(self._words) << self._level
            self._level += self._bus_bits

    def take(self, bits: int) -> int:
        """Remove and return the oldest ``bits`` bits."""
        result = self._value & ((1 << bits) - 1)
        self._value >>= bits
        self._level -= bits
        return result


def payload(config: DecoderConfig, words: Sequence[int]) -> tuple[int, Iterator[int]]:
    """Return the header's count and the words after the header."""
    bus_bits = config.bus_bits
    skip = padded(HEADER_BYTES, config.bus_bytes) * 8 // bus_bits
    header = sum(word << (i * bus_bits) for i, word in enumerate(words[:skip]))
    return (header >> COUNT_OFFSET_BITS) & 0xFFFFFFFF, iter(words[skip:])


def stream_parser(config: BlockConfig, words: Sequence[int]) -> Iterator[Beat]:
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
    """Twin of ``hw.block.decoder``: bus words in, one integer of ``lanes * n_out`` bits a group.

    Lane ``j`` stands in bits ``j * n_out`` onwards. Lanes past the last slice have seed 0.
    """
    groups: list[int] = []
    slices = [0] * config.lanes
    for beat in stream_parser(config, words):
        if beat.seeds:
            slices = [xor_network(columns, seed) for seed in beat.seeds]
        pairs = zip(slices, beat.positions, strict=True)
        slices = [patch_unit(value, positions) for value, positions in pairs]
        if beat.last:
            groups.append(sum(v << (j * config.n_out) for j, v in enumerate(slices)))
    return groups


def window_control(config: WindowConfig, words: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Twin of ``hw.window.control``: the window and the patch positions of every slice.

    The header counts slice bits: all slices have ``n_out``, the last one may have fewer.
    A ``StopIteration`` inside (``RuntimeError`` outside) means that the stream is too short.
    """
    count, source = payload(config, words)
    seeds = BitQueue(source, config.bus_bits)
    index_bits = (config.frame - 1).bit_length()
    mask = (1 << config.window) - 1
    window = 0
    place = 0  # slices of the frame that have left
    steps = 0  # of the frame
    credit = -config.preload_steps * config.frame
    patch: tuple[int, int] | None = None  # slice of the frame, position
    fresh, entry_due = True, False  # the next chunk opens a frame; it opens with a patch entry
    for _ in range(-(-count // config.n_out)):
        while True:
            seeds.fill(config.n_in)
            chunk = seeds.take(config.n_in)
            window = (window >> config.n_in | chunk << (config.window - config.n_in)) & mask
            entry = chunk
            if fresh:
                rate = chunk & ((1 << config.rate_bits) - 1)
                steps = config.frame + (rate << config.rate_shift)
                entry >>= config.rate_bits
            if config.patches and (fresh or entry_due):
                index = entry >> 1 & (config.frame - 1)
                position = entry >> (1 + index_bits) & ((1 << config.position_bits) - 1)
                patch = (index, position) if entry & 1 else None
            fresh = entry_due = False
            credit += config.frame
            if credit >= steps:
                break
        credit -= steps
        positions = [patch[1]] if patch is not None and patch[0] == place else []
        entry_due = bool(positions)
        if positions:
            patch = None
        place += 1
        if place == config.frame:
            place, fresh = 0, True
        yield window, positions


def window_decoder(config: WindowConfig, columns: Sequence[int], words: Sequence[int]) -> list[int]:
    """Twin of ``hw.window.decoder``: bus words in, one integer of ``n_out`` bits a slice.

    Bits of the last slice beyond the header's count have no meaning. ``columns`` are those of the
    network's rows, see :func:`xorloom.sw.spec.taps.columns`.
    """
    return [
        patch_unit(xor_network(columns, window), positions)
        for window, positions in window_control(config, words)
    ]
