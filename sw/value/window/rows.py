# SPDX-License-Identifier: Apache-2.0
"""Row operations of the banded elimination as LLVM vectors.

A row of ``n`` words is one vector value, so a chain of XORs stays in registers; compiled from
array expressions the same chain goes through memory and is three times slower.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["add_rows", "and_parity", "copy_row", "xor_row"]

_I64 = ir.IntType(64)


def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any, n: int) -> Any:
    """Pointer to ``n`` words from word ``at`` of an array on."""
    data = context.make_array(kind)(context, builder, value=array).data
    vector = ir.VectorType(_I64, n) if n else _I64
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 8
    return value


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, pointer).align = 8


def _row_move(add: bool) -> Any:
    @intrinsic
    def move(_typing: Any, to: Any, to_at: Any, row: Any, row_at: Any, span: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            n, kinds = span.count, signature.args
            target = _address(context, builder, kinds[0], args[0], args[1], n)
            value = _load(builder, _address(context, builder, kinds[2], args[2], args[3], n))
            if add:
                value = builder.xor(value, _load(builder, target))
            _store(builder, value, target)
            return context.get_dummy_value()

        return types.void(to, types.uint64, row, types.uint64, span), codegen

    return move


copy_row = _row_move(add=False)
"""``copy_row(to, to_at, row, row_at, span)``: ``len(span)`` words."""
xor_row = _row_move(add=True)
"""``xor_row(to, to_at, row, row_at, span)``: likewise, XOR into ``to``."""


@intrinsic
def add_rows(
    _typing: Any, to: Any, at: Any, heads: Any, tails: Any, base: Any, chosen: Any, span: Any
) -> Any:
    """``add_rows(to, at, heads, tails, base, chosen, span)``: add up chosen rows.

    XORs into ``to[at:]`` the tails (``len(span)`` words each) of the rows ``base + b`` for all set
    bits ``b`` of the non-zero word ``chosen``; returns the XOR of their heads.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n, kinds = span.count, signature.args
        target = _address(context, builder, kinds[0], args[0], args[1], n)
        first = _load(builder, target)
        scan = builder.module.declare_intrinsic(
            "llvm.cttz", [_I64], ir.FunctionType(_I64, [_I64, ir.IntType(1)])
        )
        before = builder.block
        loop = builder.append_basic_block("rows")
        done = builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        left, total = builder.phi(_I64), builder.phi(first.type)
        head = builder.phi(_I64)
        bit = builder.call(scan, [left, ir.Constant(ir.IntType(1), 1)])
        row = builder.add(args[4], bit)
        next_head = builder.xor(
            head, _load(builder, _address(context, builder, kinds[2], args[2], row, 0))
        )
        place = builder.mul(row, ir.Constant(_I64, n))
        tail = _load(builder, _address(context, builder, kinds[3], args[3], place, n))
        next_total = builder.xor(total, tail)
        next_left = builder.and_(left, builder.sub(left, ir.Constant(_I64, 1)))
        for phi, start, following in (
            (left, args[5], next_left),
            (total, first, next_total),
            (head, ir.Constant(_I64, 0), next_head),
        ):
            phi.add_incoming(start, before)
            phi.add_incoming(following, loop)
        more = builder.icmp_unsigned("!=", next_left, ir.Constant(_I64, 0))
        builder.cbranch(more, loop, done)
        builder.position_at_end(done)
        _store(builder, next_total, target)
        return next_head

    word = types.uint64
    return word(to, word, heads, tails, word, word, span), codegen


@intrinsic
def and_parity(_typing: Any, a: Any, a_at: Any, b: Any, b_at: Any, span: Any) -> Any:
    """``and_parity(a, a_at, b, b_at, span)``: XOR of the words of ``a & b``, not yet folded."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n, kinds = span.count, signature.args
        x = _load(builder, _address(context, builder, kinds[0], args[0], args[1], n))
        y = _load(builder, _address(context, builder, kinds[2], args[2], args[3], n))
        both = builder.and_(x, y)
        words = [builder.extract_element(both, ir.Constant(ir.IntType(32), k)) for k in range(n)]
        total = words[0]
        for word in words[1:]:
            total = builder.xor(total, word)
        return total

    return types.uint64(a, types.uint64, b, types.uint64, span), codegen
