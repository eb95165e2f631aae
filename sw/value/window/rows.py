# SPDX-License-Identifier: Apache-2.0
"""Row operations of the banded elimination as LLVM vectors.

A row of ``n`` words is one vector value, so a chain of XORs stays in registers; compiled from
array expressions the same chain goes through memory and is three times slower. All arrays are
uint64, ``span`` is a tuple of length n, known when compiling.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["add_rows", "and_parity", "choose", "copy_row", "eliminate", "look_up", "sum_rows"]

_I1, _I64 = ir.IntType(1), ir.IntType(64)
_WORD = types.uint64
_LANES = 8
"""Words of a vector where 64 words, one for every row of a word of unknowns, are at work."""
_NIBBLES = 16


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


def _plus(builder: Any, at: Any, words: int) -> Any:
    return builder.add(at, ir.Constant(_I64, words))


def _fold(builder: Any, vector: Any) -> Any:
    """XOR of a vector's words."""
    parts = [
        builder.extract_element(vector, ir.Constant(ir.IntType(32), k))
        for k in range(vector.type.count)
    ]
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        parts = [builder.xor(a, b) for a, b in pairs] + parts[len(parts) & ~1 :]
    return parts[0]


def _spread(builder: Any, word: Any) -> Any:
    """Vector of ``_LANES`` times a word."""
    kind = ir.VectorType(_I64, _LANES)
    one = builder.insert_element(
        ir.Constant(kind, ir.Undefined), word, ir.Constant(ir.IntType(32), 0)
    )
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    return builder.shuffle_vector(one, one, zeros)


@intrinsic
def copy_row(_typing: Any, to: Any, to_at: Any, row: Any, row_at: Any, span: Any) -> Any:
    """``copy_row(to, to_at, row, row_at, span)``: n words."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n, kinds = span.count, signature.args
        value = _load(builder, _address(context, builder, kinds[2], args[2], args[3], n))
        _store(builder, value, _address(context, builder, kinds[0], args[0], args[1], n))
        return context.get_dummy_value()

    return types.void(to, _WORD, row, _WORD, span), codegen


@intrinsic
def sum_rows(
    _typing: Any, to: Any, to_at: Any, a: Any, a_at: Any, b: Any, b_at: Any, span: Any
) -> Any:
    """``sum_rows(to, to_at, a, a_at, b, b_at, span)``: n words of ``a ^ b``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n, kinds = span.count, signature.args
        x = _load(builder, _address(context, builder, kinds[2], args[2], args[3], n))
        y = _load(builder, _address(context, builder, kinds[4], args[4], args[5], n))
        target = _address(context, builder, kinds[0], args[0], args[1], n)
        _store(builder, builder.xor(x, y), target)
        return context.get_dummy_value()

    return types.void(to, _WORD, a, _WORD, b, _WORD, span), codegen


@intrinsic
def look_up(_typing: Any, to: Any, at: Any, table: Any, base: Any, chosen: Any, span: Any) -> Any:
    """``look_up(to, at, table, base, chosen, span)``: add up chosen rows, by fours.

    XORs into ``to[at:]`` the sum of the rows that the set bits of ``chosen`` name. Row
    ``16 * k + v`` of ``table[base:]`` is the sum of those for the four bits ``v`` from bit
    ``4 * k`` on.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n, kinds = span.count, signature.args
        target = _address(context, builder, kinds[0], args[0], args[1], n)
        totals = [_load(builder, target)]
        for k in range(_NIBBLES):
            nibble = builder.lshr(args[4], ir.Constant(_I64, 4 * k))
            place = builder.mul(builder.and_(nibble, ir.Constant(_I64, 15)), ir.Constant(_I64, n))
            place = builder.add(_plus(builder, args[3], 16 * k * n), place)
            row = _load(builder, _address(context, builder, kinds[2], args[2], place, n))
            totals[-1] = builder.xor(totals[-1], row)
        _store(builder, totals[0], target)
        return context.get_dummy_value()

    return types.void(to, _WORD, table, _WORD, _WORD, span), codegen


@intrinsic
def add_rows(_typing: Any, to: Any, at: Any, rows: Any, base: Any, chosen: Any, span: Any) -> Any:
    """``add_rows(to, at, rows, base, chosen, span)``: add up chosen rows, one by one.

    XORs into ``to[at:]`` the rows ``base + b`` for all set bits ``b`` of the non-zero word
    ``chosen``.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n, kinds = span.count, signature.args
        target = _address(context, builder, kinds[0], args[0], args[1], n)
        first = _load(builder, target)
        scan = builder.module.declare_intrinsic(
            "llvm.cttz", [_I64], ir.FunctionType(_I64, [_I64, _I1])
        )
        before = builder.block
        loop = builder.append_basic_block("rows")
        done = builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        left, total = builder.phi(_I64), builder.phi(first.type)
        bit = builder.call(scan, [left, ir.Constant(_I1, 1)])
        place = builder.mul(builder.add(args[3], bit), ir.Constant(_I64, n))
        row = _load(builder, _address(context, builder, kinds[2], args[2], place, n))
        next_total = builder.xor(total, row)
        next_left = builder.and_(left, builder.sub(left, ir.Constant(_I64, 1)))
        for phi, start, following in ((left, args[4], next_left), (total, first, next_total)):
            phi.add_incoming(start, before)
            phi.add_incoming(following, loop)
        more = builder.icmp_unsigned("!=", next_left, ir.Constant(_I64, 0))
        builder.cbranch(more, loop, done)
        builder.position_at_end(done)
        _store(builder, next_total, target)
        return context.get_dummy_value()

    return types.void(to, _WORD, rows, _WORD, _WORD, span), codegen


@intrinsic
def choose(_typing: Any, words: Any, base: Any, chosen: Any) -> Any:
    """``choose(words, base, chosen)``: XOR of the ``words[base + b]``, set bits b of ``chosen``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(_I64, _LANES)
        chosen_word = _spread(builder, args[2])
        none = total = ir.Constant(kind, None)
        for k in range(0, 64, _LANES):
            at = _plus(builder, args[1], k)
            part = _load(
                builder, _address(context, builder, signature.args[0], args[0], at, _LANES)
            )
            # Bits compared in place: without AVX-512, bits moved to lanes are one instruction each.
            bits = ir.Constant(kind, [1 << (k + i) for i in range(_LANES)])
            hit = builder.icmp_unsigned("!=", builder.and_(chosen_word, bits), none)
            total = builder.xor(total, builder.select(hit, part, none))
        return _fold(builder, total)

    return _WORD(words, _WORD, _WORD), codegen


@intrinsic
def eliminate(
    _typing: Any, heads: Any, combos: Any, base: Any, pivot: Any, head: Any, combo: Any
) -> Any:
    """``eliminate(heads, combos, base, pivot, head, combo)``: take a pivot out of 64 rows.

    Where ``heads[base + b]`` has the bit ``pivot``, a power of two, XORs ``head`` into it and
    ``combo`` into ``combos[base + b]``.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        pivots, head, combo = (_spread(builder, word) for word in args[3:])
        none = ir.Constant(pivots.type, None)
        for k in range(0, 64, _LANES):
            at = _plus(builder, args[2], k)
            places = [_address(context, builder, kinds[i], args[i], at, _LANES) for i in (0, 1)]
            old = [_load(builder, place) for place in places]
            hit = builder.icmp_unsigned("!=", builder.and_(old[0], pivots), none)
            for place, value, change in zip(places, old, (head, combo), strict=True):
                _store(builder, builder.xor(value, builder.select(hit, change, none)), place)
        return context.get_dummy_value()

    return types.void(heads, combos, _WORD, _WORD, _WORD, _WORD), codegen


@intrinsic
def and_parity(_typing: Any, a: Any, a_at: Any, b: Any, b_at: Any, span: Any) -> Any:
    """``and_parity(a, a_at, b, b_at, span)``: XOR of the words of ``a & b``, not yet folded."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n, kinds = span.count, signature.args
        x = _load(builder, _address(context, builder, kinds[0], args[0], args[1], n))
        y = _load(builder, _address(context, builder, kinds[2], args[2], args[3], n))
        return _fold(builder, builder.and_(x, y))

    return _WORD(a, _WORD, b, _WORD, span), codegen
