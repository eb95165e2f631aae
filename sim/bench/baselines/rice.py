# SPDX-License-Identifier: Apache-2.0
"""Rice-coded baseline streams: the bits of each lane, and the order of their words.

Words follow in the order in which lanes use them up. Encoder and decoder find it by the steps of
:class:`xorloom.hw.baselines.rice.BaselineRice`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from xorloom.hw.baselines.rice import check_rice
from xorloom.hw.baselines.rice_lane import RICE_DEPTH, RICE_SHIFT_MAX, RICE_UNARY, RICE_UNIT_BITS
from xorloom.sw.base.errors import FormatError

if TYPE_CHECKING:
    from .config import BaselineConfig

__all__ = ["rice_weights", "rice_words"]


class _Lane:
    """State of a lane after a step, with the names of ``BaselineRiceLane``."""

    def __init__(self, planes: int, shift: int, places: int, units: int) -> None:
        self.planes, self.shift, self.places, self.units = planes, shift, places, units
        self.buffer, self.held, self.taken = 0, 0, 0
        self.gap, self.kept, self.code = 0, False, 0
        self.at, self.lies, self.value = 0, False, 0
        self.level, self.parts = 0, 0
        self.kept_at: list[int] = []
        self.codes: list[int] = []

    def load(self, word: int, bits: int) -> None:
        """Append a word to the remaining bits."""
        self.buffer |= word << self.held
        self.held += bits

    def use(self, bits: int) -> bool:
        """Drop bits; return whether the word's last unit moved to the shifter."""
        self.buffer >>= bits
        self.held -= bits
        before = self.taken // RICE_UNIT_BITS
        self.taken += bits
        # Two units are in the shifter when none has been used.
        moved = self.taken // RICE_UNIT_BITS
        return moved != before and (moved + 2) % self.units == 0

    def symbol(self) -> bool:
        """Decode a symbol; return whether a word is used up."""
        ones = 0
        while ones < RICE_UNARY and self.buffer >> ones & 1:
            ones += 1
        self.kept = ones < RICE_UNARY
        self.gap = ones << self.shift
        if not self.kept:
            return self.use(ones)
        rest = self.buffer >> (ones + 1)
        self.code = rest & ((1 << self.planes) - 1)
        self.gap |= rest >> self.planes & ((1 << self.shift) - 1)
        return self.use(ones + 1 + self.planes + self.shift)

    def step(self) -> bool:
        """Place a symbol and decode the next, if there is room; return whether a word is asked."""
        if self.at >= self.places:
            if self.level == RICE_DEPTH:
                return False
            self.level += 1
            self.parts += 1
            self.at -= self.places
            if self.at >= self.places:
                return False
        if self.lies:
            self.kept_at.append(self.parts * self.places + self.at)
            self.codes.append(self.value)
        self.at += self.lies + self.gap
        self.lies, self.value = self.kept, self.code
        return self.symbol()


def _walk(lanes: list[_Lane], slices: int, bus_bits: int, word_of: Callable[[int], int]) -> None:
    """Run the steps of ``slices`` slices; ``word_of(lane)`` returns the next word of a lane."""
    for n, lane in enumerate(lanes):
        lane.load(word_of(n), bus_bits)
    # The first step only fills the shifter.
    asking = range(len(lanes)) if bus_bits == 2 * RICE_UNIT_BITS else range(0)
    for n in asking:
        lanes[n].load(word_of(n), bus_bits)
    done = 0
    while done < slices:
        pops = all(lane.level for lane in lanes)
        asks = [n for n, lane in enumerate(lanes) if lane.step()]
        for n in asks:
            lanes[n].load(word_of(n), bus_bits)
        if pops:
            done += 1
            for lane in lanes:
                lane.level -= 1


def _string(gaps: np.ndarray, codes: np.ndarray, planes: int, shift: int) -> np.ndarray:
    """Return the bits of one lane: quotient, code and remainder of every symbol."""
    quotient = gaps >> shift
    lengths = quotient + 1 + planes + shift
    ends = np.cumsum(lengths)
    starts = ends - lengths
    change = np.zeros(int(ends[-1]) + 1, np.int64)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + quotient, -1)
    bits = np.cumsum(change)[:-1].astype(bool)
    at = starts + quotient + 1
    for b in range(planes):
        bits[at + b] = codes >> b & 1
    for b in range(shift):
        bits[at + planes + b] = gaps >> b & 1
    return bits


def rice_words(
    mask: np.ndarray, codes: np.ndarray, config: "BaselineConfig"
) -> tuple[np.ndarray, int]:
    """Return payload words as rows of bytes, and the remainder bits that need fewest words."""
    check_rice(config.n_out, config.planes, config.lanes)
    places = config.n_out // config.lanes
    shape = (-1, config.lanes, places)
    gaps, values = [], []
    for n in range(config.lanes):
        kept = mask.reshape(shape)[:, n].reshape(-1)
        at = np.flatnonzero(kept)
        # A weight beyond the end closes the last part.
        gaps.append(np.diff(np.append(at, kept.size), prepend=-1) - 1)
        values.append(np.append(codes.reshape(shape)[:, n].reshape(-1)[at], np.uint8(0)))
    every = np.concatenate(gaps)
    sizes = [int((every >> k).sum()) + k * every.size for k in range(RICE_SHIFT_MAX + 1)]
    shift = int(np.argmin(sizes))

    size = config.word_bytes
    queues = []
    for gap, value in zip(gaps, values, strict=True):
        bits = _string(gap, value, config.planes, shift)
        queues.append(np.packbits(bits, bitorder="little").tobytes())
    taken = [0] * config.lanes
    order: list[bytes] = []

    def word_of(lane: int) -> int:
        part = queues[lane][taken[lane] : taken[lane] + size].ljust(size, b"\0")
        taken[lane] += size
        order.append(part)
        return int.from_bytes(part, "little")

    units = config.bus_bits // RICE_UNIT_BITS
    lanes = [_Lane(config.planes, shift, places, units) for _ in range(config.lanes)]
    _walk(lanes, mask.size // config.n_out, config.bus_bits, word_of)
    while not any(order[-1]):  # zeros follow by themselves
        order.pop()
    return np.frombuffer(b"".join(order), np.uint8).reshape(-1, size), shift


def rice_weights(
    words: np.ndarray, count: int, config: "BaselineConfig", shift: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mask and codes of all slices.

    Raises
    ------
    FormatError
        If the header's remainder is too long.
    """
    check_rice(config.n_out, config.planes, config.lanes)
    if shift > RICE_SHIFT_MAX:
        raise FormatError(f"a remainder must have at most {RICE_SHIFT_MAX} bits, found {shift}")
    places = config.n_out // config.lanes
    payload = words.tobytes()
    at = 0

    def word_of(_lane: int) -> int:
        nonlocal at
        part = payload[at : at + config.word_bytes]
        at += config.word_bytes
        return int.from_bytes(part, "little")

    units = config.bus_bits // RICE_UNIT_BITS
    lanes = [_Lane(config.planes, shift, places, units) for _ in range(config.lanes)]
    slices = count // config.n_out
    _walk(lanes, slices, config.bus_bits, word_of)
    mask = np.zeros((slices, config.lanes, places), bool)
    codes = np.zeros(mask.shape, np.uint8)
    for n, lane in enumerate(lanes):
        kept = np.array(lane.kept_at, np.int64)
        inside = kept < slices * places
        part, place = np.divmod(kept[inside], places)
        mask[part, n, place] = True
        codes[part, n, place] = np.array(lane.codes, np.uint8)[inside]
    return mask.reshape(-1), codes.reshape(-1)
