# SPDX-License-Identifier: Apache-2.0
"""A step of the direct codec's search as LLVM vectors: 64 windows at once.

Metrics have 8 or 16 bits, whichever the arrays have. What a window's code costs is looked up with
the processor's byte shuffle, which LLVM offers only by its machine name; processors without one
take the plain kernels.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from xorloom.sw.bits.llvm import (
    I8,
    I16,
    I32,
    I64,
    declared,
    element,
    has_feature,
    load,
    pick,
    store,
)

__all__ = ["HAS_VECTORS", "LANES", "STEPS", "add_costs"]

LANES = 64
"""Windows of a vector; also the entries of a table of costs."""
_WIDE = "avx512vbmi"
"""Looks up 64 entries at once."""
_SHUFFLES = (
    ("avx512bw", 64, "llvm.x86.avx512.pshuf.b.512"),
    ("avx2", 32, "llvm.x86.avx2.pshuf.b"),
    ("ssse3", 16, "llvm.x86.ssse3.pshuf.b.128"),
)
_TABLE = 16
"""Entries that a byte shuffle looks up, within runs of 16 bytes."""
_SHUFFLE = next(((n, name) for key, n, name in _SHUFFLES if has_feature(key)), (0, ""))
HAS_VECTORS = has_feature(_WIDE) or _SHUFFLE[0] > 0

_BYTES = ir.VectorType(I8, LANES)
_WORDS = ir.VectorType(I16, LANES)


def _splat(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [value] * LANES)


def _vector(array: Any) -> Any:
    """Return the type of a vector of an array's elements."""
    return _BYTES if array.dtype.bitwidth == 8 else _WORDS


def _name(vector: Any) -> str:
    return f"v{LANES}i{vector.element.width}"


def _saturated(builder: Any, name: str, a: Any, b: Any) -> Any:
    full = f"llvm.{name}.sat.{_name(a.type)}"
    return builder.call(declared(builder, full, a.type, a.type, a.type), [a, b])


def _look_up(builder: Any, table: Any, codes: Any) -> Any:
    """Return the entries of a vector of 64 that stand at ``codes``, bytes."""
    if table.type == _BYTES:
        return _look_up_bytes(builder, table, codes)
    low = builder.trunc(table, _BYTES)
    high = builder.trunc(builder.lshr(table, _splat(_WORDS, 8)), _BYTES)
    low, high = (builder.zext(_look_up_bytes(builder, half, codes), _WORDS) for half in (low, high))
    return builder.or_(low, builder.shl(high, _splat(_WORDS, 8)))


def _look_up_bytes(builder: Any, table: Any, codes: Any) -> Any:
    if has_feature(_WIDE):
        name = "llvm.x86.avx512.permvar.qi.512"
        return builder.call(declared(builder, name, _BYTES, _BYTES, _BYTES), [table, codes])
    size, name = _SHUFFLE
    if not size:  # never run, but compiled: kernels have both branches
        found = ir.Constant(_BYTES, ir.Undefined)
        for i in range(LANES):
            place = ir.Constant(I32, i)
            entry = builder.extract_element(table, builder.extract_element(codes, place))
            found = builder.insert_element(found, entry, place)
        return found
    part = ir.VectorType(I8, size)
    look = declared(builder, name, part, part, part)
    low = builder.and_(codes, _splat(_BYTES, _TABLE - 1))
    parts = []
    for k in range(LANES // _TABLE):
        wide = pick(builder, table, table, [_TABLE * k + r % _TABLE for r in range(size)])
        pieces = [
            builder.call(look, [wide, pick(builder, low, low, list(range(at, at + size)))])
            for at in range(0, LANES, size)
        ]
        while len(pieces) > 1:
            places = list(range(2 * pieces[0].type.count))
            pairs = zip(pieces[::2], pieces[1::2], strict=True)
            pieces = [pick(builder, a, b, places) for a, b in pairs]
        parts.append(pieces[0])
    for bit in (_TABLE, 2 * _TABLE):
        masked = builder.and_(codes, _splat(_BYTES, bit))
        is_set = builder.icmp_unsigned("!=", masked, _splat(_BYTES, 0))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.select(is_set, b, a) for a, b in pairs]
    return parts[0]


@intrinsic
def add_costs(
    _typing: Any, metric: Any, at: Any, size: Any, codes: Any, codes_at: Any, table: Any, row: Any
) -> Any:
    """``add_costs(metric, at, size, codes, codes_at, tables, row)``: codes of one more group.

    See :func:`xorloom.sw.value.direct.viterbi.plain_add`, which does the same.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        vector = _vector(kinds[0])
        zero, run = ir.Constant(I64, 0), ir.Constant(I64, LANES)
        costs = load(builder, element(context, builder, kinds[5], args[5], args[6], vector))
        least = cgutils.alloca_once_value(builder, _splat(vector, -1))
        with cgutils.for_range_slice(builder, zero, args[2], run) as (w, _):
            to = builder.add(args[1], w)
            place = element(context, builder, kinds[0], args[0], to, vector)
            of = builder.add(args[4], w)
            code = load(builder, element(context, builder, kinds[3], args[3], of, _BYTES))
            cost = _look_up(builder, costs, code)
            total = _saturated(builder, "uadd", load(builder, place), cost)
            _keep_least(builder, least, total)
            store(builder, total, place)
        return _least(builder, least)

    n = types.int64
    return n(metric, n, n, codes, n, table, n), codegen


def _keep_least(builder: Any, least: Any, values: Any) -> None:
    """Lower the elements of a variable to those of a vector."""
    before = builder.load(least)
    lower = builder.icmp_unsigned("<", values, before)
    builder.store(builder.select(lower, values, before), least)


def _least(builder: Any, least: Any) -> Any:
    """Return the least element of a variable."""
    values = builder.load(least)
    vector = values.type
    name = f"llvm.vector.reduce.umin.{_name(vector)}"
    reduce = declared(builder, name, vector.element, vector)
    return builder.zext(builder.call(reduce, [values]), I64)


def _extend(builder: Any, fetch: Any, shift: int, keep: Any) -> Any:
    """Return the cheapest of the paths that meet; ``keep`` takes who won, pair by pair."""
    paths = [fetch(h) for h in range(1 << shift)]
    while len(paths) > 1:
        winners = []
        for a, b in zip(paths[::2], paths[1::2], strict=True):
            won = builder.icmp_unsigned("<", b, a)
            winners.append(builder.select(won, b, a))
            keep(won)
        paths = winners
    return paths[0]


def _step(shift: int) -> Any:
    @intrinsic
    def step(
        _typing: Any,
        metric: Any,
        at: Any,
        to: Any,
        size: Any,
        codes: Any,
        codes_at: Any,
        tables: Any,
        table_at: Any,
        offset: Any,
        won: Any,
        row: Any,
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds = signature.args
            vector, flags = _vector(kinds[0]), ir.IntType(LANES)
            zero, run = ir.Constant(I64, 0), ir.Constant(I64, LANES)
            costs = load(builder, element(context, builder, kinds[6], args[6], args[7], vector))
            single = builder.trunc(args[8], vector.element)
            one = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(one, single, ir.Constant(I32, 0))
            less = pick(builder, one, one, [0] * LANES)
            least = cgutils.alloca_once_value(builder, _splat(vector, -1))
            groups = builder.lshr(args[3], ir.Constant(I64, shift))
            row_bytes = builder.lshr(groups, ir.Constant(I64, 3))

            def metric_at(index: Any) -> Any:
                return element(context, builder, kinds[0], args[0], index, vector)

            with cgutils.for_range_slice(builder, zero, groups, run) as (b, _):
                start = builder.add(args[1], b)
                byte = [builder.add(args[10], builder.lshr(b, ir.Constant(I64, 3)))]

                def fetch(h: int, start: Any = start) -> Any:
                    place = builder.add(start, builder.mul(groups, ir.Constant(I64, h)))
                    return load(builder, metric_at(place))

                def keep(bits: Any, byte: list[Any] = byte) -> None:
                    target = element(context, builder, kinds[9], args[9], byte[0], flags)
                    store(builder, builder.bitcast(bits, flags), target)
                    byte[0] = builder.add(byte[0], row_bytes)

                best = _saturated(builder, "usub", _extend(builder, fetch, shift, keep), less)
                first = builder.shl(b, ir.Constant(I64, shift))
                for j in range(1 << shift):
                    wide = pick(
                        builder, best, best, [(j * LANES + i) >> shift for i in range(LANES)]
                    )
                    window = builder.add(first, ir.Constant(I64, j * LANES))
                    of = builder.add(args[5], window)
                    code = load(builder, element(context, builder, kinds[4], args[4], of, _BYTES))
                    total = _saturated(builder, "uadd", wide, _look_up(builder, costs, code))
                    _keep_least(builder, least, total)
                    store(builder, total, metric_at(builder.add(args[2], window)))
            return _least(builder, least)

        n = types.int64
        return n(metric, n, n, n, codes, n, tables, n, n, won, n), codegen

    return step


STEPS = tuple(_step(shift) for shift in range(1, 5))
"""``STEPS[shift - 1](metric, at, to, size, codes, codes_at, tables, table_at, offset, won, row)``.

See :func:`xorloom.sw.value.direct.viterbi.plain_step`, which does the same. The windows, ``size``,
are a multiple of ``64 << shift``.
"""
