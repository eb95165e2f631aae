# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the memory stream: the order of bus words, patch order, parsing.

The order is defined by logical emissions, never by cycles; see ``FORMAT.md``, "Word order".
"""

import numpy as np
from xorloom.sw.bits.jit import njit

__all__ = ["CONTROL", "OK", "PATCH", "SEED", "order_patches", "parse", "schedule"]

CONTROL, SEED, PATCH = 0, 1, 2
"""Kind of a bus word."""
OK, TOO_SHORT, BAD_WIDTH, BAD_COUNT, BAD_PADDING = 0, 1, 2, 3, 4
"""Outcome of :func:`parse`."""


@njit(nogil=True, cache=True)
def order_patches(n_patch: np.ndarray, patches: np.ndarray, to_stream: bool) -> np.ndarray:
    """Reorder positions between slice order and stream order.

    Stream order within a group: every lane's first patch, then every lane's second, and so on.

    Parameters
    ----------
    n_patch : (groups, lanes) uint16
    patches : (sum of n_patch,) uint16

    Returns
    -------
    (sum of n_patch,) uint16
    """
    groups, lanes = n_patch.shape
    out = np.empty_like(patches)
    starts = np.zeros(lanes, np.int64)
    base = 0
    for g in range(groups):
        most = 0
        end = base
        for lane in range(lanes):
            starts[lane] = end
            end += n_patch[g, lane]
            most = max(most, int(n_patch[g, lane]))
        at = base
        for k in range(most):
            for lane in range(lanes):
                if n_patch[g, lane] > k:
                    if to_stream:
                        out[at] = patches[starts[lane] + k]
                    else:
                        out[starts[lane] + k] = patches[at]
                    at += 1
        base = end
    return out


@njit(nogil=True, cache=True)
def schedule(
    n_patch: np.ndarray,
    widths: np.ndarray,
    block_groups: int,
    ahead: int,
    per_cycle: int,
    bus_bits: int,
    width_field_bits: int,
    control_threshold: int,
    seed_bits: int,
    position_bits: int,
    kinds: np.ndarray,
) -> tuple[int, int]:
    """Lay out the bus words of a stream.

    Parameters
    ----------
    n_patch : (groups, lanes) uint16
    widths : (blocks,) uint8
        n_patch field width of every block of ``block_groups`` groups.
    kinds : (enough,) uint8, out
        ``CONTROL``, ``SEED`` or ``PATCH`` for every bus word.

    Returns
    -------
    (words, steps) : tuple of int
        Bus words laid out; decoder steps (cycles at full supply).
    """
    groups, lanes = n_patch.shape
    control = seeds = patch = 0
    words = steps = 0
    parsed = -1
    for g in range(groups):
        # Item -1 is the first block's width, item n is group n.
        while parsed < groups and parsed <= g + ahead:
            while control < control_threshold:
                kinds[words] = CONTROL
                words += 1
                control += bus_bits
            if parsed >= 0:
                control -= lanes * int(widths[parsed // block_groups])
            if parsed < 0 or parsed % block_groups == 0:  # the next block's width
                control -= width_field_bits
            parsed += 1
        while seeds < seed_bits:
            kinds[words] = SEED
            words += 1
            seeds += bus_bits
        seeds -= seed_bits
        most = 0
        for lane in range(lanes):
            count = int(n_patch[g, lane])
            patch -= count * position_bits
            most = max(most, count)
        while patch < 0:
            kinds[words] = PATCH
            words += 1
            patch += bus_bits
        steps += max(1, -(-most // per_cycle))
    return words, steps


@njit(inline="always")
def _field(units: np.ndarray, at: int, width: int) -> np.int64:
    """``width`` (at most 15) bits from bit ``at`` of packed uint32 units."""
    index, shift = at >> 5, at & 31
    value = np.uint64(units[index]) >> np.uint64(shift)
    if shift + width > 32:
        value |= np.uint64(units[index + 1]) << np.uint64(32 - shift)
    return np.int64(value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1)))


@njit(inline="always")
def _copy(source: np.ndarray, word: int, target: np.ndarray, place: int, units: int) -> None:
    """Copy bus word ``word`` of ``source`` to bus word ``place`` of ``target``."""
    for u in range(units):
        target[place * units + u] = source[word * units + u]


@njit(inline="always")
def _clean(units: np.ndarray, used_bits: int, end: int) -> bool:
    """Whether all bits from ``used_bits`` up to unit ``end`` are zero."""
    if end * 32 <= used_bits:
        return True
    index = used_bits >> 5
    if units[index] >> np.uint32(used_bits & 31):
        return False
    return not units[index + 1 : end].any()


@njit(nogil=True, cache=True)
def parse(
    payload: np.ndarray,
    n_patch: np.ndarray,
    n_slices: int,
    block_groups: int,
    ahead: int,
    word_units: int,
    width_field_bits: int,
    width_max: int,
    n_patch_max: int,
    control_threshold: int,
    seed_bits: int,
    n_in: int,
    position_bits: int,
    control_units: np.ndarray,
    seed_units: np.ndarray,
    patch_units: np.ndarray,
) -> tuple[int, int]:
    """Undo :func:`schedule`: sort the bus words into substreams, reading n_patch on the way.

    Parameters
    ----------
    payload : (words * word_units,) uint32
    n_patch : (groups, lanes) uint16, out
    control_units, seed_units, patch_units : (words * word_units + 2,) uint32, out, zeroed

    Returns
    -------
    (status, where) : tuple of int
        ``OK`` and the number of patches, or another outcome and the bus word or group of it.
    """
    groups, lanes = n_patch.shape
    n_words = payload.size // word_units
    bus_bits = word_units * 32
    control = seeds = patch = 0
    word = 0
    n_control = n_seed = n_patches = 0  # words so far
    total = 0
    parsed = -1
    at = 0
    width = next_width = 0
    for g in range(groups):
        while parsed < groups and parsed <= g + ahead:
            while control < control_threshold:
                if word == n_words:
                    return TOO_SHORT, word
                _copy(payload, word, control_units, n_control, word_units)
                n_control += 1
                word += 1
                control += bus_bits
            start = at
            if parsed < 0:
                next_width = _field(control_units, at, width_field_bits)
                at += width_field_bits
                control -= width_field_bits
                parsed += 1
                continue
            if parsed % block_groups == 0:
                width = next_width
                next_width = _field(control_units, at, width_field_bits)
                at += width_field_bits
                more = parsed + block_groups < groups
                if width > width_max or (next_width and not more):
                    return BAD_WIDTH, parsed
            for lane in range(lanes):
                count = _field(control_units, at, width)
                at += width
                if count > n_patch_max or (count and parsed * lanes + lane >= n_slices):
                    return BAD_COUNT, parsed
                n_patch[parsed, lane] = count
                total += count
            control -= at - start
            parsed += 1
        while seeds < seed_bits:
            if word == n_words:
                return TOO_SHORT, word
            _copy(payload, word, seed_units, n_seed, word_units)
            n_seed += 1
            word += 1
            seeds += bus_bits
        seeds -= seed_bits
        for lane in range(lanes):
            patch -= int(n_patch[g, lane]) * position_bits
        while patch < 0:
            if word == n_words:
                return TOO_SHORT, word
            _copy(payload, word, patch_units, n_patches, word_units)
            n_patches += 1
            word += 1
            patch += bus_bits
    if word != n_words:
        return BAD_PADDING, word
    if not (
        _clean(control_units, at, n_control * word_units)
        and _clean(seed_units, n_slices * n_in, n_seed * word_units)
        and _clean(patch_units, total * position_bits, n_patches * word_units)
    ):
        return BAD_PADDING, word
    return OK, total
