# SPDX-License-Identifier: Apache-2.0
"""Decoding of the direct codec: a table of the codes of all windows.

Weights whose windows fit into 64 seed bits are a *batch*: its bits are fetched once.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from xorloom.sw.bits.jit import njit
from xorloom.sw.spec.direct import DirectConfig

__all__ = ["code_tables", "decode_seeds"]

_WORD = 64


class _Batches(NamedTuple):
    """Batches of a run of whole periods.

    ``begins`` (batches,) int64: first bit of a batch's first window, from the run's first seed bit
    on; ``firsts`` (batches + 1,) int64: its first weight; ``places``, ``rows`` (weights,) uint64: a
    window's first bit in its batch, and where its phase's table begins; ``seed_bits``: of the run.
    """

    begins: np.ndarray
    firsts: np.ndarray
    places: np.ndarray
    rows: np.ndarray
    seed_bits: int


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


@lru_cache(maxsize=16)
def _batches(shifts: tuple[int, ...], window: int) -> _Batches:
    seed_bits, period = sum(shifts), len(shifts)
    run = max(1, (_WORD - window) // seed_bits) * period
    begin = 1 - window  # of the window of a weight that no bit has been shifted for
    begins, firsts, places, rows = [], [0], [], []
    first = begin + shifts[0]
    for k in range(run):
        begin += shifts[k % period]
        if begin - first + window > _WORD:
            begins.append(first - 1)
            firsts.append(k)
            first = begin
        places.append(begin - first)
        rows.append(k % period << window)
    begins.append(first - 1)
    firsts.append(run)
    return _Batches(
        np.array(begins),
        np.array(firsts),
        np.array(places, np.uint64),  # an unsigned index need not be looked at for its sign
        np.array(rows, np.uint64),
        run // period * seed_bits,
    )


@njit(nogil=True, cache=True)
def _decode_batches(
    seeds: np.ndarray, tables: np.ndarray, batches: _Batches, window: int, codes: np.ndarray
) -> None:
    """Decode one stream.

    Parameters
    ----------
    seeds : (words,) uint64
        Bits behind the last one are 0.
    tables : (period * 2**window,) uint8
    batches : _Batches
    window : int
    codes : (weights,) uint8, out
    """
    begins, firsts, places, rows, seed_bits = batches
    mask = np.uint64((1 << window) - 1)
    base, bits_before, run = 0, 0, rows.size
    while base < codes.size:
        for b in range(begins.size):
            at = bits_before + begins[b]
            if at < 0:  # bits before the first are 0
                bits = seeds[0] << np.uint64(-at)
            else:
                word, shift = at >> 6, np.uint64(at & 63)
                bits = seeds[word] >> shift if word < seeds.size else np.uint64(0)
                if shift and word + 1 < seeds.size:
                    bits |= seeds[word + 1] << (np.uint64(64) - shift)
            end = min(firsts[b + 1], codes.size - base)
            for k in range(firsts[b], end):
                codes[base + k] = tables[rows[k] + (bits >> places[k] & mask)]
        base += run
        bits_before += seed_bits


def decode_seeds(seeds: np.ndarray, weights: int, config: DirectConfig) -> np.ndarray:
    """Return the codes of one stream in its own order, (weights,) uint8.

    Parameters
    ----------
    seeds : (ceil(slices * n_in / 64),) or longer, uint64
    weights : int
    config : DirectConfig
    """
    codes = np.zeros(weights, np.uint8)
    batches = _batches(config.shifts, config.window)
    tables = code_tables(config).reshape(-1)
    _decode_batches(seeds, tables, batches, config.window, codes)
    return codes
