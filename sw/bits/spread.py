# SPDX-License-Identifier: Apache-2.0
"""Packed bit planes to bytes: codes, or signed values; 64 weights at once, as LLVM vectors."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import njit
from .llvm import I8, I64, element, store

__all__ = ["signed_values", "unpack_planes"]

_LANES = 64
_BYTES = ir.VectorType(I8, _LANES)
_BITS = ir.VectorType(ir.IntType(1), _LANES)


def _all(value: int) -> Any:
    return ir.Constant(_BYTES, [value] * _LANES)


def _sum(
    context: Any, builder: Any, planes: Any, kind: Any, at: Any, stride: Any, count: Any
) -> Any:
    """Return the bytes whose bits are those of so many planes at a word."""
    total = cgutils.alloca_once_value(builder, _all(0))
    weight = cgutils.alloca_once_value(builder, _all(1))
    with cgutils.for_range(builder, count) as loop:
        place = builder.add(at, builder.mul(loop.index, stride))
        word = builder.load(element(context, builder, kind, planes, place, I64))
        bits = builder.sext(builder.bitcast(word, _BITS), _BYTES)
        factor = builder.load(weight)
        builder.store(builder.or_(builder.load(total), builder.and_(bits, factor)), total)
        builder.store(builder.add(factor, factor), weight)
    return builder.load(total)


@intrinsic
def _put_codes(_typing: Any, planes: Any, at: Any, stride: Any, count: Any, out: Any) -> Any:
    """Set ``out[64 * at]`` and 63 more to the codes whose bit b stands in word ``at + b * stride``.

    ``planes`` is (n,) uint64, ``out`` (n,) uint8, all else uint64.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        planes, at, stride, count, out = args
        found = _sum(context, builder, planes, signature.args[0], at, stride, count)
        first = builder.mul(at, ir.Constant(I64, _LANES))
        store(builder, found, element(context, builder, signature.args[4], out, first, _BYTES))
        return context.get_dummy_value()

    word = types.uint64
    return types.void(planes, word, word, word, out), codegen


@intrinsic
def _put_signed(
    _typing: Any, mask: Any, planes: Any, at: Any, stride: Any, count: Any, out: Any
) -> Any:
    """Likewise with values: the last plane is the sign, 1 for plus; others the magnitude less 1.

    0 where ``mask``, (n,) uint64, has none; ``out`` is int8.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask, planes, at, stride, count, out = args
        kinds = signature.args
        top = builder.sub(count, ir.Constant(I64, 1))
        size = builder.add(_sum(context, builder, planes, kinds[1], at, stride, top), _all(1))
        place = builder.add(at, builder.mul(top, stride))
        sign = builder.load(element(context, builder, kinds[1], planes, place, I64))
        kept = builder.load(element(context, builder, kinds[0], mask, at, I64))
        minus = builder.and_(kept, builder.not_(sign))
        minus = builder.sext(builder.bitcast(minus, _BITS), _BYTES)
        size = builder.and_(size, builder.sext(builder.bitcast(kept, _BITS), _BYTES))
        found = builder.sub(builder.xor(size, minus), minus)
        first = builder.mul(at, ir.Constant(I64, _LANES))
        store(builder, found, element(context, builder, kinds[5], out, first, _BYTES))
        return context.get_dummy_value()

    word = types.uint64
    return types.void(mask, planes, word, word, word, out), codegen


@njit(nogil=True, cache=True)
def _codes(planes: np.ndarray, out: np.ndarray) -> None:
    flat, stride = planes.reshape(-1), np.uint64(planes.shape[1])
    for at in range(np.uint64(out.size // _LANES)):
        _put_codes(flat, at, stride, np.uint64(planes.shape[0]), out)


@njit(nogil=True, cache=True)
def _signed(mask: np.ndarray, planes: np.ndarray, out: np.ndarray) -> None:
    flat, stride = planes.reshape(-1), np.uint64(planes.shape[1])
    for at in range(np.uint64(out.size // _LANES)):
        _put_signed(mask, flat, at, stride, np.uint64(planes.shape[0]), out)


def unpack_planes(words: np.ndarray, count: int) -> np.ndarray:
    """Return the first ``count`` codes of packed bit planes, (planes, words) uint64.

    Returns
    -------
    (count,) uint8
    """
    out = np.empty(-(-count // _LANES) * _LANES, np.uint8)
    _codes(np.ascontiguousarray(words), out)
    return out[:count]


def signed_values(mask: np.ndarray, planes: np.ndarray, count: int) -> np.ndarray:
    """Return the first ``count`` values of a packed mask and packed planes of codes.

    Parameters
    ----------
    mask, planes : (words,), (planes, words) uint64
        At least ceil(count / 64) words, contiguous. Of the planes, at most 7, the last one is the
        sign, 1 for plus, and the others are the magnitude less 1.

    Returns
    -------
    (count,) int8
        ``-2**(planes - 1)`` to ``2**(planes - 1)``: 0 where the mask is 0, and nowhere else.
    """
    out = np.empty(-(-count // _LANES) * _LANES, np.int8)
    _signed(mask, np.ascontiguousarray(planes), out)
    return out[:count]
