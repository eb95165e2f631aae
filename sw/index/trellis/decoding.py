# SPDX-License-Identifier: Apache-2.0
"""Decoding of the trellis index: 64 beats at once, one machine word per lane.

The tables that the search looks up would take up to 200 MB, whatever the length of a stream.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from xorloom.sw.bits.jit import njit
from xorloom.sw.spec.index_config import TrellisConfig

__all__ = ["LaneTaps", "decode_beats", "lane_taps"]

_BLOCK = 64
_ONE = np.uint64(1)


class LaneTaps(NamedTuple):
    """Every lane's taps, as places in the seed bits of a beat and the ``window - 1`` before it.

    ``parities`` (n_out, 4, 4), ``gates`` (n_out, 3 or 4) int64; ``tables`` (n_out,) uint32.
    """

    parities: np.ndarray
    tables: np.ndarray
    gates: np.ndarray


@lru_cache(maxsize=4)
def lane_taps(config: TrellisConfig) -> LaneTaps:
    """Return the taps of a code."""
    code = config.code
    parities = [
        [[u + t for t in code.parities[u][pick]] for pick in hand]
        for u, hand in zip(code.steps, code.picks, strict=True)
    ]
    gates = [[u + t for t in gate] for u, gate in zip(code.steps, code.gates, strict=True)]
    return LaneTaps(
        np.array(parities, np.int64), np.array(code.tables, np.uint32), np.array(gates, np.int64)
    )


@njit(nogil=True, cache=True, inline="always")
def _lookup(
    inputs: np.ndarray, parities: np.ndarray, table: np.uint32, pairs: np.ndarray
) -> np.uint64:
    """Look up the value of four parities, for the beats of all bits of a word."""
    for k in range(2):
        a, b = np.uint64(0), np.uint64(0)
        for t in range(parities.shape[1]):
            a ^= inputs[parities[2 * k, t]]
            b ^= inputs[parities[2 * k + 1, t]]
        pairs[k, 0], pairs[k, 1], pairs[k, 2], pairs[k, 3] = ~a & ~b, a & ~b, ~a & b, a & b
    hit = np.uint64(0)
    for p in range(16):
        if table >> np.uint32(p) & np.uint32(1):
            hit |= pairs[0, p & 3] & pairs[1, p >> 2]
    return hit


@njit(nogil=True, cache=True)
def decode_beats(
    seeds: np.ndarray,
    n_in: int,
    window: int,
    taps: LaneTaps,
    classes: np.ndarray,
    period: int,
    mask: np.ndarray,
) -> None:
    """Decode seed bits.

    Parameters
    ----------
    seeds : (ceil(slices * n_in / 64) + 2,) uint64
        Packed bits; those before the first are 0.
    n_in, window : int
    taps : LaneTaps
    classes : (periods, n_out) uint8
    period : int
        Beats that share classes; 0: there is one class.
    mask : (slices, n_out) bool, out
    """
    past = window - 1
    inputs, hits = np.zeros(n_in + past, np.uint64), np.zeros(mask.shape[1], np.uint64)
    pairs = np.zeros((2, 4), np.uint64)
    base = 0
    while base < mask.shape[0]:
        count = min(_BLOCK, mask.shape[0] - base)
        if period:
            count = min(count, period - base % period)
        inputs[:] = 0
        for k in range(count):
            first = (base + k) * n_in - past
            for i in range(max(0, -first), inputs.size):
                at = first + i
                inputs[i] |= (seeds[at >> 6] >> np.uint64(at & 63) & _ONE) << np.uint64(k)
        for j in range(hits.size):
            hit = _lookup(inputs, taps.parities[j], taps.tables[j], pairs)
            gate = taps.gates[j]
            if period == 0:
                hit &= inputs[gate[0]] ^ inputs[gate[1]] ^ inputs[gate[2]]
            else:
                chosen = classes[base // period, j]
                if chosen & 1:
                    hit &= inputs[gate[0]] ^ inputs[gate[1]]
                if chosen & 2:
                    hit &= inputs[gate[2]] & inputs[gate[3]]
            hits[j] = hit
        for k in range(count):
            for j in range(hits.size):
                mask[base + k, j] = hits[j] >> np.uint64(k) & _ONE
        base += count
