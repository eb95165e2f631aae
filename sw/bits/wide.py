# SPDX-License-Identifier: Apache-2.0
"""Words of 512 slices: eight 64-bit words that are one LLVM vector.

LLVM cuts the vectors into what the processor has: one register of AVX-512, two of AVX2, four of
NEON or SSE.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .llvm import I64, element, load, pick, store

__all__ = ["WIDE", "put_wide", "xor_rows"]

WIDE = 8
"""64-bit words of a wide word."""
_KIND = ir.VectorType(I64, WIDE)


def _all(value: int) -> Any:
    return ir.Constant(_KIND, [value] * WIDE)


def _spread(builder: Any, word: Any) -> Any:
    """Return a vector of one word."""
    one = builder.insert_element(ir.Constant(_KIND, ir.Undefined), word, ir.Constant(I64, 0))
    return pick(builder, one, one, [0] * WIDE)


@intrinsic
def xor_rows(_typing: Any, rows: Any, taps: Any, first: Any, count: Any, out: Any, at: Any) -> Any:
    """``xor_rows(rows, taps, first, count, out, at)``: wide word ``at`` of ``out`` is a XOR.

    That of the wide words of ``rows`` that ``taps[first]`` to ``taps[first + count - 1]`` name.
    ``rows`` and ``out``, which may be one array, are (n,) uint64; all else is uint64, ``taps`` an
    array.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, taps, first, count, out, at = args
        kinds = signature.args
        wide = ir.Constant(I64, WIDE)
        total = cgutils.alloca_once_value(builder, _all(0))
        with cgutils.for_range(builder, count) as loop:
            place = element(context, builder, kinds[1], taps, builder.add(first, loop.index), I64)
            row = builder.mul(builder.load(place), wide)
            word = load(builder, element(context, builder, kinds[0], rows, row, _KIND))
            builder.store(builder.xor(builder.load(total), word), total)
        place = element(context, builder, kinds[4], out, builder.mul(at, wide), _KIND)
        store(builder, builder.load(total), place)
        return context.get_dummy_value()

    word = types.uint64
    return types.void(rows, taps, word, word, out, word), codegen


@intrinsic
def put_wide(_typing: Any, words: Any, start: Any, rows: Any, at: Any) -> Any:
    """``put_wide(words, start, rows, at)``: OR wide word ``at`` into ``words`` from a bit on.

    ``words`` and ``rows`` are (n,) uint64 arrays, ``start``, a bit of ``words``, and ``at`` uint64;
    ``words`` needs one spare word at the end.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, start, rows, at = args
        kinds = signature.args
        index = builder.lshr(start, ir.Constant(I64, 6))
        shift = _spread(builder, builder.and_(start, ir.Constant(I64, 63)))
        row = builder.mul(at, ir.Constant(I64, WIDE))
        value = load(builder, element(context, builder, kinds[2], rows, row, _KIND))
        # Two shifts: one by 64 bits is not defined.
        carry = builder.lshr(builder.lshr(value, _all(1)), builder.sub(_all(63), shift))
        moved = builder.or_(
            builder.shl(value, shift), pick(builder, _all(0), carry, [0, *range(8, 15)])
        )
        place = element(context, builder, kinds[0], words, index, _KIND)
        store(builder, builder.or_(load(builder, place), moved), place)
        last = builder.add(index, ir.Constant(I64, WIDE))
        place = element(context, builder, kinds[0], words, last, I64)
        over = builder.extract_element(carry, ir.Constant(I64, WIDE - 1))
        builder.store(builder.or_(builder.load(place), over), place)
        return context.get_dummy_value()

    return types.void(words, types.uint64, rows, types.uint64), codegen
