# SPDX-License-Identifier: Apache-2.0
"""A step of the trellis search as LLVM vectors: all states at once, 16-bit path metrics.

What a window's mask bits are worth is looked up four bits at a time with the processor's byte
shuffle, which LLVM offers only by its machine name; processors without one take the plain kernel.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from xorloom.sw.bits.llvm import I8, I16, I64, declared, element, has_feature, load, pick, store

__all__ = ["LANES", "add_compare_select", "add_gains", "set_gains"]

_SHUFFLES = (
    ("avx512bw", 64, "llvm.x86.avx512.pshuf.b.512"),
    ("avx2", 32, "llvm.x86.avx2.pshuf.b"),
    ("ssse3", 16, "llvm.x86.ssse3.pshuf.b.128"),
)
_TABLE = 16
"""Entries of a shuffle's table: it looks up within runs of 16 bytes."""


def _shuffle() -> tuple[int, str]:
    """Bytes of the widest byte shuffle that there is, 0 for none, and its name."""
    return next(((n, name) for key, n, name in _SHUFFLES if has_feature(key)), (0, ""))


_BYTES, _NAME = _shuffle()
LANES = _BYTES // 2
"""States that one call advances, 0: there is no vector kernel."""


def _gains(add: bool) -> Any:
    @intrinsic
    def gains(_typing: Any, out: Any, at: Any, pattern: Any, place: Any, tables: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds = signature.args
            data = ir.VectorType(I8, _BYTES)
            half = ir.VectorType(I16, _BYTES // 2)
            look = declared(builder, _NAME, data, data, data)
            pattern_bytes = load(
                builder, element(context, builder, kinds[2], args[2], args[3], data)
            )
            nibbles = (
                builder.and_(pattern_bytes, ir.Constant(data, [15] * _BYTES)),
                builder.lshr(pattern_bytes, ir.Constant(data, [4] * _BYTES)),
            )
            inner = [
                [r // 16 * 16 + r % 16 // 2 + 8 * h + (r & 1) * _BYTES for r in range(_BYTES)]
                for h in (0, 1)
            ]
            totals: list[Any] = [None, None]
            for k, nibble in enumerate(nibbles):
                parts = []
                for byte in (0, 1):
                    offset = ir.Constant(I64, _TABLE * (2 * k + byte))
                    table = load(
                        builder,
                        element(
                            context, builder, kinds[4], args[4], offset, ir.VectorType(I8, _TABLE)
                        ),
                    )
                    wide = pick(builder, table, table, [r % _TABLE for r in range(_BYTES)])
                    parts.append(builder.call(look, [wide, nibble]))
                for h in (0, 1):
                    words = builder.bitcast(pick(builder, parts[0], parts[1], inner[h]), half)
                    totals[h] = words if totals[h] is None else builder.add(totals[h], words)
            for h in (0, 1):
                start = builder.add(args[1], ir.Constant(I64, h * _BYTES // 2))
                target = element(context, builder, kinds[0], args[0], start, half)
                value = builder.add(totals[h], load(builder, target)) if add else totals[h]
                store(builder, value, target)
            return context.get_dummy_value()

        return types.void(out, types.int64, pattern, types.int64, tables), codegen

    return gains


set_gains = _gains(add=False)
"""``set_gains(out, at, pattern, place, tables)``: what ``2 * LANES`` windows are worth.

``pattern[place:]`` holds a byte a window, ``tables`` the 16-bit worth of its low and high four
bits: the 16 low bytes and the 16 high bytes of the first, then of the second. Written to int16
``out[at:]``, the windows of every 16 bytes in the order that the byte shuffle leaves them in, see
``trellis_kernels.place_of``.
"""
add_gains = _gains(add=True)
"""``add_gains(out, at, pattern, place, tables)``: likewise, added to ``out[at:]``."""


@intrinsic
def add_compare_select(
    _typing: Any, cur: Any, new: Any, worth: Any, chosen: Any, chosen_at: Any, at: Any, half: Any
) -> Any:
    """``add_compare_select(cur, new, worth, chosen, chosen_at, at, half)``: advance states.

    States ``at`` and ``half + at`` onwards, ``LANES`` of each, go to states ``2 * at`` onwards.
    ``worth`` has for them, ``half`` apart: first to even, first to odd, second to even, second to
    odd state. Sums wrap, and are compared by their difference. A set bit of ``chosen[chosen_at:]``
    (even states) and of ``chosen[chosen_at + half / 8:]`` (odd) says that the second won.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        n = _BYTES // 2
        words = ir.VectorType(I16, n)
        bits = ir.IntType(n)
        zero = ir.Constant(words, [0] * n)
        at, half = args[5], args[6]

        def fetch(kind: Any, array: Any, index: Any) -> Any:
            return load(builder, element(context, builder, kind, array, index, words))

        first = fetch(kinds[0], args[0], at)
        second = fetch(kinds[0], args[0], builder.add(at, half))
        best = []
        for odd in (0, 1):
            offset = builder.add(at, builder.mul(half, ir.Constant(I64, odd)))
            a = builder.add(first, fetch(kinds[2], args[2], offset))
            offset = builder.add(offset, builder.mul(half, ir.Constant(I64, 2)))
            b = builder.add(second, fetch(kinds[2], args[2], offset))
            won = builder.icmp_signed(">", builder.sub(b, a), zero)
            best.append(builder.select(won, b, a))
            byte = builder.add(at, builder.mul(half, ir.Constant(I64, odd)))
            byte = builder.add(args[4], builder.lshr(byte, ir.Constant(I64, 3)))
            target = context.make_array(kinds[3])(context, builder, value=args[3]).data
            target = builder.bitcast(builder.gep(target, [byte]), bits.as_pointer())
            store(builder, builder.bitcast(won, bits), target)
        for h in (0, 1):
            places = [h * n // 2 + r // 2 + (r & 1) * n for r in range(n)]
            mixed = pick(builder, best[0], best[1], places)
            start = builder.add(builder.mul(at, ir.Constant(I64, 2)), ir.Constant(I64, h * n))
            store(builder, mixed, element(context, builder, kinds[1], args[1], start, words))
        return context.get_dummy_value()

    index = types.int64
    return types.void(cur, new, worth, chosen, index, index, index), codegen
