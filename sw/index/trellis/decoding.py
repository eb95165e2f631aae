# SPDX-License-Identifier: Apache-2.0
"""Decoding of the trellis index: 64 beats at once, one machine word per lane.

The tables that the search looks up would take up to 200 MB, whatever the length of a stream.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from xorloom.sw.bits.gf2 import get_bits
from xorloom.sw.bits.jit import njit
from xorloom.sw.bits.transpose import transpose
from xorloom.sw.spec.index_config import TrellisConfig

__all__ = ["LaneTaps", "decode_beats", "lane_taps"]

_BLOCK = 64


class LaneTaps(NamedTuple):
    """Every lane's taps, as places in the seed bits of a beat and the ``window - 1`` before it.

    ``parities`` (n_out, 4, 4), ``gates`` (n_out, 3 or 4) uint64; ``minterms`` (n_out, minterms)
    uint64, the values of the four parities at which the mask may be 1.
    """

    parities: np.ndarray
    minterms: np.ndarray
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
    minterms = [[p for p in range(16) if table >> p & 1] for table in code.tables]
    return LaneTaps(
        np.array(parities, np.uint64), np.array(minterms, np.uint64), np.array(gates, np.uint64)
    )


@njit(nogil=True, cache=True, inline="always")
def _lookup(
    inputs: np.ndarray, lane: int, parities: np.ndarray, minterms: np.ndarray, pairs: np.ndarray
) -> np.uint64:
    """Look up the value of four parities, for the beats of all bits of a word."""
    for k in range(2):
        a, b = np.uint64(0), np.uint64(0)
        for t in range(parities.shape[2]):
            a ^= inputs[parities[lane, 2 * k, t]]
            b ^= inputs[parities[lane, 2 * k + 1, t]]
        pairs[k, 0], pairs[k, 1], pairs[k, 2], pairs[k, 3] = ~a & ~b, a & ~b, ~a & b, a & b
    hit = np.uint64(0)
    for m in range(minterms.shape[1]):  # as many in every lane
        p = minterms[lane, m]
        hit |= pairs[0, p & np.uint64(3)] & pairs[1, p >> np.uint64(2)]
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
    mask : (slices, ceil(n_out / 64)) uint64, out
        Packed; 0 behind the last lane.
    """
    parities, minterms, gates = taps.parities, taps.minterms, taps.gates
    past, lanes = window - 1, minterms.shape[0]
    n_words = -(-(n_in + past) // _BLOCK)
    inputs, hits = (
        np.zeros(_BLOCK * n_words, np.uint64),
        np.zeros(_BLOCK * mask.shape[1], np.uint64),
    )
    pairs = np.zeros((2, 4), np.uint64)
    base = 0
    while base < mask.shape[0]:
        count = min(_BLOCK, mask.shape[0] - base)
        if period:
            count = min(count, period - base % period)
        inputs[:] = 0
        for k in range(count):
            for w in range(n_words):
                at = (base + k) * n_in - past + _BLOCK * w
                if at >= 0:
                    inputs[_BLOCK * w + k] = get_bits(seeds, np.uint64(at))
                elif at > -_BLOCK:
                    inputs[_BLOCK * w + k] = seeds[0] << np.uint64(-at)
        for w in range(n_words):
            transpose(inputs, np.uint64(_BLOCK * w))
        for j in range(lanes):
            hit = _lookup(inputs, j, parities, minterms, pairs)
            if period == 0:
                hit &= inputs[gates[j, 0]] ^ inputs[gates[j, 1]] ^ inputs[gates[j, 2]]
            else:
                chosen = classes[base // period, j]
                if chosen & 1:
                    hit &= inputs[gates[j, 0]] ^ inputs[gates[j, 1]]
                if chosen & 2:
                    hit &= inputs[gates[j, 2]] & inputs[gates[j, 3]]
            hits[j] = hit
        hits[lanes:] = 0
        for w in range(mask.shape[1]):
            transpose(hits, np.uint64(_BLOCK * w))
            for k in range(count):
                mask[base + k, w] = hits[_BLOCK * w + k]
        base += count
