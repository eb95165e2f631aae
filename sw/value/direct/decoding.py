# SPDX-License-Identifier: Apache-2.0
"""Decoding of the direct codec: a table of the codes of all windows, weight after weight."""

from functools import lru_cache

import numpy as np
from xorloom.sw.bits.jit import njit
from xorloom.sw.spec.direct import DirectConfig

__all__ = ["code_tables", "decode_seeds"]

_ONE = np.uint64(1)


@lru_cache(maxsize=16)
def _tables(
    period: int, planes: int, window: int, masks: tuple[tuple[int, ...], ...]
) -> np.ndarray:
    values = np.arange(1 << window, dtype=np.uint32)
    tables = np.zeros((period, 1 << window), np.uint8)
    for table, phase in zip(tables, masks, strict=True):
        for b, mask in enumerate(phase):
            parity = np.bitwise_count(values & np.uint32(mask)) & np.uint8(1)
            table |= parity << np.uint8(b)
    tables.flags.writeable = False
    return tables


def code_tables(config: DirectConfig) -> np.ndarray:
    """Return the code of every window, by phase: (period, 2**window) uint8.

    Bit ``t`` of a window is position ``t``, the newest seed bit its highest one.
    """
    return _tables(config.period, config.planes, config.window, config.network.masks)


@njit(nogil=True, cache=True)
def _decode_weights(
    seeds: np.ndarray, tables: np.ndarray, shifts: np.ndarray, window: int, codes: np.ndarray
) -> None:
    """Decode one stream.

    Parameters
    ----------
    seeds : (words,) uint64
    tables : (period, 2**window) uint8
    shifts : (period,) int64
    window : int
    codes : (weights,) uint8, out
    """
    state, at, phase = np.uint64(0), 0, 0
    for k in range(codes.size):
        for _ in range(shifts[phase]):
            bit = seeds[at >> 6] >> np.uint64(at & 63) & _ONE
            state = state >> _ONE | bit << np.uint64(window - 1)
            at += 1
        codes[k] = tables[phase, state]
        phase += 1
        if phase == shifts.size:
            phase = 0


def decode_seeds(seeds: np.ndarray, weights: int, config: DirectConfig) -> np.ndarray:
    """Return the codes of one stream in its own order, (weights,) uint8.

    Parameters
    ----------
    seeds : (ceil(slices * n_in / 64),) or longer, uint64
    weights : int
    config : DirectConfig
    """
    codes = np.zeros(weights, np.uint8)
    shifts = np.array(config.shifts, np.int64)
    _decode_weights(seeds, code_tables(config), shifts, config.window, codes)
    return codes
