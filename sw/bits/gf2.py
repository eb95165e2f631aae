# SPDX-License-Identifier: Apache-2.0
"""GF(2) building blocks for the kernels: bit scans, parity, unaligned access to packed bits.

Packed bits are little-endian ``uint64`` words: bit ``i`` is ``(words[i >> 6] >> (i & 63)) & 1``.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import njit

__all__ = [
    "clear_last",
    "count_bits",
    "get_bits",
    "highest_bit",
    "lowest_bit",
    "pack_bool",
    "pack_fields",
    "pack_rows",
    "parity",
    "put_bits",
    "unpack_bool",
    "unpack_rows",
]


def _llvm_scan(name: str, has_flag: bool) -> Any:
    """Make an intrinsic from an LLVM bit instruction on 64-bit words."""

    @intrinsic
    def scan(_typing: Any, word: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            i64, i1 = ir.IntType(64), ir.IntType(1)
            kinds, values = [i64], [args[0]]
            if has_flag:
                kinds, values = [i64, i1], [args[0], ir.Constant(i1, 0)]
            function = builder.module.declare_intrinsic(name, [i64], ir.FunctionType(i64, kinds))
            return builder.call(function, values)

        return types.uint64(types.uint64), codegen

    return scan


_cttz = _llvm_scan("llvm.cttz", has_flag=True)
_ctlz = _llvm_scan("llvm.ctlz", has_flag=True)
_ctpop = _llvm_scan("llvm.ctpop", has_flag=False)


@njit(inline="always")
def lowest_bit(word: np.uint64) -> np.uint64:
    """Index of the lowest set bit; 64 for zero."""
    return _cttz(word)


@njit(inline="always")
def highest_bit(word: np.uint64) -> np.uint64:
    """Index of the highest set bit of a non-zero word."""
    return np.uint64(63) - _ctlz(word)


@njit(inline="always")
def count_bits(word: np.uint64) -> np.int64:
    """Number of set bits."""
    return np.int64(_ctpop(word))


@njit(inline="always")
def parity(word: np.uint64) -> np.uint64:
    """XOR of all bits."""
    return _ctpop(word) & np.uint64(1)


@njit(inline="always")
def get_bits(words: np.ndarray, start: np.uint64) -> np.uint64:
    """Return 64 bits from bit ``start`` on; ``words`` needs one spare word at the end."""
    index, shift = start >> np.uint64(6), start & np.uint64(63)
    value = words[index] >> shift
    if shift:
        value |= words[index + np.uint64(1)] << (np.uint64(64) - shift)
    return value


@njit(inline="always")
def put_bits(words: np.ndarray, start: np.uint64, value: np.uint64) -> None:
    """OR ``value`` into ``words`` from bit ``start`` on; needs one spare word at the end."""
    index, shift = start >> np.uint64(6), start & np.uint64(63)
    words[index] |= value << shift
    if shift:
        words[index + np.uint64(1)] |= value >> (np.uint64(64) - shift)


@njit(nogil=True, cache=True)
def pack_fields(values: np.ndarray, widths: np.ndarray, words: np.ndarray) -> np.uint64:
    """Write ``values[i]`` in ``widths[i]`` bits one after the other into zeroed ``words``.

    Parameters
    ----------
    values : (n,) uint64
        Each below ``2**widths[i]``.
    widths : (n,) or (1,) uint8
        0 to 64; a single width serves all.
    words : (m,) uint64
        Zeroed; needs one spare word at the end.

    Returns
    -------
    uint64
        Bits written.
    """
    at = np.uint64(0)
    stride = 0 if widths.size == 1 else 1
    for i in range(values.size):
        index, shift = at >> np.uint64(6), at & np.uint64(63)
        width = np.uint64(widths[i * stride])
        words[index] |= values[i] << shift
        if shift + width > np.uint64(64):
            words[index + np.uint64(1)] |= values[i] >> (np.uint64(64) - shift)
        at += width
    return at


def pack_bool(bits: np.ndarray, spare_words: int = 2) -> np.ndarray:
    """Pack a flat boolean array (n,) into (ceil(n / 64) + spare_words,) uint64 words."""
    n_words = -(-bits.size // 64) + spare_words
    out = np.zeros(n_words * 8, np.uint8)
    packed = np.packbits(bits.reshape(-1), bitorder="little")
    out[: packed.size] = packed
    return out.view("<u8")


def pack_rows(bits: np.ndarray) -> np.ndarray:
    """Pack a boolean array (rows, n) into (rows, ceil(n / 64)) uint64 words, row by row."""
    words = np.zeros((bits.shape[0], -(-bits.shape[1] // 64)), "<u8")
    packed = np.packbits(bits, axis=1, bitorder="little")
    words.view(np.uint8)[:, : packed.shape[1]] = packed
    return words


def unpack_rows(words: np.ndarray, n: int) -> np.ndarray:
    """Undo :func:`pack_rows`: the first ``n`` bits of each row, a boolean array (rows, n)."""
    packed = np.ascontiguousarray(words).view(np.uint8)
    return np.unpackbits(packed, axis=1, count=n, bitorder="little").view(np.bool_)


def clear_last(words: np.ndarray, count: int, n_out: int) -> None:
    """Set to 0 what packed rows of ``n_out`` bits have behind the first ``count`` bits of all."""
    if words.size:
        last = unpack_rows(words[-1:], n_out).copy()
        last[:, count - (words.shape[0] - 1) * n_out :] = False
        words[-1:] = pack_rows(last)


def unpack_bool(words: np.ndarray, count: int) -> np.ndarray:
    """Return the first ``count`` packed bits as a (count,) boolean array."""
    return np.unpackbits(words.view(np.uint8), count=count, bitorder="little").view(np.bool_)
