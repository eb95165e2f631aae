# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the entropy index codec: table-driven ANS, the order of the units."""

import numpy as np
from xorloom.sw.bits.jit import njit

__all__ = [
    "BAD_PADDING",
    "BAD_STATE",
    "OK",
    "TOO_SHORT",
    "code",
    "decode",
    "order",
]

OK, TOO_SHORT, BAD_STATE, BAD_PADDING = range(4)
"""What :func:`decode` can say."""


@njit(nogil=True, cache=True)
def code(
    chunks: np.ndarray,
    class_of: np.ndarray,
    rank: np.ndarray,
    width: np.ndarray,
    freq: np.ndarray,
    first: np.ndarray,
    place: np.ndarray,
    states: int,
    bits: np.ndarray,
    sizes: np.ndarray,
    start: np.ndarray,
) -> None:
    """Walk every lane from its last chunk to its first; every lane ends in state 0.

    Parameters
    ----------
    chunks : (steps, lanes) uint8
    class_of, rank : (256,) of the chunk values
    width, freq, first : (classes,) int64
        Rank bits, states, and states of the classes before.
    place : (states,) int64
        The state of a class's x, which is from freq to 2 * freq - 1, at ``first + x - freq``.
    bits, sizes : (steps, lanes) uint16, uint8, out
    start : (lanes,) int64, out
        The states that a decoder starts with.
    """
    most = np.zeros(width.size, np.int64)
    for k in range(width.size):
        while freq[k] << most[k] < states:
            most[k] += 1
    state = np.full(start.size, states, np.int64)
    for t in range(chunks.shape[0] - 1, -1, -1):
        for lane in range(start.size):
            chunk = chunks[t, lane]
            c = np.int64(class_of[chunk])
            s = state[lane]
            nb = most[c] - (s < freq[c] << most[c])
            bits[t, lane] = (s & ((1 << nb) - 1)) | (np.int64(rank[chunk]) << nb)
            sizes[t, lane] = nb + width[c]
            state[lane] = states + place[first[c] + (s >> nb) - freq[c]]
    for lane in range(start.size):
        start[lane] = state[lane] - states


@njit(nogil=True, cache=True)
def order(
    bits: np.ndarray,
    sizes: np.ndarray,
    start: np.ndarray,
    state_bits: int,
    need: int,
    steps: int,
    units: np.ndarray,
    demand: np.ndarray,
) -> int:
    """Write the lanes' bits as 16-bit units, in the order in which a decoder takes them.

    Parameters
    ----------
    bits, sizes : (steps * beats, lanes)
        See :func:`code`.
    state_bits : int
        0: lanes have no states.
    need : int
        Bits that a lane must hold before a step.
    units : uint16, zeroed, out
        Room for all units.
    demand : (beats,) int64, zeroed, out
        Units that the steps of every beat take; those for the states are not among them.

    Returns
    -------
    int
        Units written.
    """
    lanes = start.size
    used = 0
    level = np.zeros(lanes, np.int64)
    here, following = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)  # open units
    if state_bits:
        for lane in range(lanes):
            here[lane] = used
            units[used] = start[lane]
            used += 1
            level[lane] = 16 - state_bits
    for t in range(bits.shape[0]):
        for lane in range(lanes):
            if level[lane] < need:
                if level[lane]:
                    following[lane] = used
                else:
                    here[lane] = used
                used += 1
                level[lane] += 16
                demand[t // steps] += 1
        for lane in range(lanes):
            size = np.int64(sizes[t, lane])
            if size == 0:
                continue
            value = np.int64(bits[t, lane])
            left = (level[lane] - 1 & 15) + 1  # bits of the open unit
            units[here[lane]] |= np.uint16((value << (16 - left)) & 0xFFFF)
            if size >= left:
                here[lane] = following[lane]
                if size > left:
                    units[here[lane]] |= np.uint16(value >> left)
            level[lane] -= size
    return used


@njit(nogil=True, cache=True)
def decode(
    units: np.ndarray,
    at: int,
    state_bits: int,
    need: int,
    table: np.ndarray,
    symbols: np.ndarray,
    chunks: np.ndarray,
    ends: np.ndarray,
) -> tuple[int, int]:
    """Read chunks from units, never beyond them.

    Parameters
    ----------
    units : uint16
        Those of the stream and one more a lane, which are 0.
    at : int
        The first unit after the table.
    table : (states,) uint64
        Of every state, in bits 0 to 7, 8 to 15, 16 to 31 and from 32 on: bits of the step, how many
        of them go to the next state, where the class's symbols begin, and what they are added to.
    symbols : (256,) uint8
    chunks : (steps * beats, lanes) uint8, out
    ends : (beats,) int64, out
        Units read when a beat is decoded.

    Returns
    -------
    (status, place)
        The units used, or where it failed.
    """
    lanes = chunks.shape[1]
    size = np.uint64(units.size - lanes)
    held = np.zeros(lanes, np.uint64)
    level, state = np.zeros(lanes, np.uint64), np.zeros(lanes, np.uint64)
    one, byte, unit_bits = np.uint64(1), np.uint64(255), np.uint64(4)
    least, place = np.uint64(need), np.uint64(at)
    if state_bits:
        if units.size - lanes - at < lanes:
            return TOO_SHORT, units.size - lanes
        for lane in range(lanes):
            unit = np.uint64(units[place])
            place += one
            state[lane] = unit & ((one << np.uint64(state_bits)) - one)
            held[lane] = unit >> np.uint64(state_bits)
            level[lane] = np.uint64(16 - state_bits)
    t = 0
    for beat in range(ends.size):
        for _ in range(chunks.shape[0] // ends.size):
            for lane in range(lanes):
                bits, have = held[lane], level[lane]
                short = np.uint64(have < least)  # no branch: it is hard to predict
                bits |= np.uint64(units[place]) * short << have
                have += short << unit_bits
                place += short
                entry = table[state[lane]]
                n, low = entry & byte, entry >> np.uint64(8) & byte
                value = bits & ((one << n) - one)
                held[lane] = bits >> n
                level[lane] = have - n
                state[lane] = (entry >> np.uint64(32)) + (value & ((one << low) - one))
                symbol = (entry >> np.uint64(16)) + (value >> low)
                chunks[t, lane] = symbols[symbol & byte]
            if place > size:
                return TOO_SHORT, units.size - lanes
            t += 1
        ends[beat] = place
    for lane in range(lanes):
        if state[lane]:
            return BAD_STATE, lane
        if held[lane]:
            return BAD_PADDING, lane
    for k in range(int(place), units.size):
        if units[k]:
            return BAD_PADDING, lanes
    return OK, int(np.int64(place))  # not uint64: a float64 would be all that holds both
