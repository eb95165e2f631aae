# SPDX-License-Identifier: Apache-2.0
"""Transposing of 64 x 64 bits, as LLVM vectors."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import I64, element, load, pick, store

__all__ = ["transpose"]

_ALL = (1 << 64) - 1


def _words(values: list[int]) -> Any:
    return ir.Constant(ir.VectorType(I64, len(values)), values)


@intrinsic
def transpose(_typing: Any, words: Any, at: Any) -> Any:
    """``transpose(words, at)``: bit ``c`` of ``words[at + r]`` changes places with bit r of c.

    ``words`` is a uint64 array. All 64 words are one vector; six times, words that lie 32, 16 ...
    1 apart exchange blocks of as many bits. Source: Warren, "Hacker's Delight", section
    "Transposing a bit matrix".
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(I64, 64)
        place = element(context, builder, signature.args[0], args[0], args[1], kind)
        rows = load(builder, place)
        for step in range(5, -1, -1):
            width = 1 << step
            low = sum(((1 << width) - 1) << k for k in range(0, 64, 2 * width))
            later = [bool(k & width) for k in range(64)]
            partners = pick(builder, rows, rows, [k ^ width for k in range(64)])
            distance = _words([width] * 64)
            moved = builder.select(
                ir.Constant(ir.VectorType(ir.IntType(1), 64), later),
                builder.lshr(partners, distance),
                builder.shl(partners, distance),
            )
            keep = [low ^ _ALL if flag else low for flag in later]
            rows = builder.or_(
                builder.and_(rows, _words(keep)),
                builder.and_(moved, _words([word ^ _ALL for word in keep])),
            )
        store(builder, rows, place)
        return context.get_dummy_value()

    return types.void(words, types.uint64), codegen
