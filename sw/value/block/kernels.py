# SPDX-License-Identifier: Apache-2.0
"""Numba kernels of the block codec: Algorithm 1 over slices, and table-driven decoding."""

import numpy as np
from xorloom.sw.bits.gf2 import get_bits, highest_bit, lowest_bit, parity
from xorloom.sw.bits.jit import njit

__all__ = ["decode_slices", "encode_slices"]

_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def encode_slices(
    mask: np.ndarray,
    codes: np.ndarray,
    rows: np.ndarray,
    planes: int,
    first: int,
    last: int,
    seeds: np.ndarray,
    n_patch: np.ndarray,
    patches: np.ndarray,
) -> int:
    """Encode slices ``first`` to ``last`` of every plane with Algorithm 1.

    The planes of a slice share the mask, so one elimination serves all of them: the right-hand
    side of an equation is the whole q-bit code. Source: Kwon et al., CVPR 2020, Algorithm 1.

    Parameters
    ----------
    mask : (m,) uint64
        Packed care mask, zero up to the end of the last slice and two words beyond.
    codes : (n,) uint8
        Codes below ``2**planes``; read at care positions only.
    rows : (n_out,) uint64
        The network.
    seeds : (slices * planes,) uint64, out
    n_patch : (slices * planes,) uint16, out
    patches : (care bits * planes,) uint16, out
        Positions, ascending within a slice.

    Returns
    -------
    int
        Number of patches written.
    """
    n_out = rows.size
    basis = np.zeros(64, np.uint64)
    right = np.zeros(64, np.uint64)
    clash_at = np.zeros(n_out, np.uint16)
    clash = np.zeros(n_out, np.uint64)
    written = 0
    for s in range(first, last):
        have = np.uint64(0)
        clashes = 0
        base = s * n_out
        for chunk in range(0, n_out, 64):
            care = get_bits(mask, np.uint64(base + chunk))
            if n_out - chunk < 64:
                care &= (_ONE << np.uint64(n_out - chunk)) - _ONE
            while care:
                j = chunk + np.int64(lowest_bit(care))
                care &= care - _ONE
                row = rows[j]
                value = np.uint64(codes[base + j])
                pivot = lowest_bit(row)
                while row and (have >> pivot) & _ONE:
                    row ^= basis[pivot]
                    value ^= right[pivot]
                    pivot = lowest_bit(row)
                if row:
                    have |= _ONE << pivot
                    basis[pivot] = row
                    right[pivot] = value
                elif value:
                    clash_at[clashes] = j
                    clash[clashes] = value
                    clashes += 1
        for b in range(planes):
            seed = np.uint64(0)
            rest = have
            while rest:  # back-substitution, highest pivot first; free seed bits stay 0
                pivot = highest_bit(rest)
                rest ^= _ONE << pivot
                bit = ((right[pivot] >> np.uint64(b)) & _ONE) ^ parity(basis[pivot] & seed)
                seed |= bit << pivot
            count = 0
            for c in range(clashes):
                if (clash[c] >> np.uint64(b)) & _ONE:
                    patches[written] = clash_at[c]
                    written += 1
                    count += 1
            seeds[s * planes + b] = seed
            n_patch[s * planes + b] = count
    return written


@njit(nogil=True, cache=True)
def decode_slices(
    seeds: np.ndarray,
    n_patch: np.ndarray,
    patches: np.ndarray,
    tables: np.ndarray,
    n_out: int,
    planes: int,
    out: np.ndarray,
) -> None:
    """Decode seeds and patches into packed bit planes.

    Parameters
    ----------
    seeds : (slices * planes,) uint64
    n_patch : (slices * planes,) uint16
    patches : (patches,) uint16
    tables : (ceil(n_in / 8), 256, ceil(n_out / 64)) uint64
        ``tables[k, v]``: XOR of the network columns that byte ``k`` of a seed selects at value v.
    out : (planes, ceil(slices * n_out / 64) + 1) uint64, out, zeroed
    """
    n_bytes, _, n_words = tables.shape
    at = 0
    for index in range(seeds.size):
        start = np.uint64((index // planes) * n_out)
        plane = out[index % planes]
        word0, shift = start >> np.uint64(6), start & np.uint64(63)
        seed = seeds[index]
        for w in range(n_words):
            value = np.uint64(0)
            for k in range(n_bytes):
                value ^= tables[k, (seed >> np.uint64(8 * k)) & np.uint64(255), w]
            plane[word0 + np.uint64(w)] |= value << shift
            if shift:
                high = value >> (np.uint64(64) - shift)
                if high:
                    plane[word0 + np.uint64(w + 1)] |= high
        for _ in range(n_patch[index]):
            place = start + np.uint64(patches[at])
            plane[place >> np.uint64(6)] ^= _ONE << (place & np.uint64(63))
            at += 1
