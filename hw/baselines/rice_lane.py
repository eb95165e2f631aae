# SPDX-License-Identifier: Apache-2.0
"""Lane of the Rice baseline: decodes its part of every slice from its own bits."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .common import added

__all__ = ["RICE_DEPTH", "RICE_SHIFT_MAX", "RICE_UNARY", "RICE_UNIT_BITS", "BaselineRiceLane"]

RICE_UNIT_BITS = 16
"""Words are shifted in units of this."""
RICE_UNARY = 4
"""Most bits of a quotient that are decoded per cycle."""
RICE_SHIFT_MAX = 5
"""Most bits of a remainder."""
RICE_DEPTH = 16
"""How many parts of slices a lane can be ahead of the slowest one."""


class BaselineRiceLane(wiring.Component):
    """Rice lane: one symbol per step, that is, a run of pruned weights and the code of a kept one.

    A symbol is a quotient (that many ones, then a zero), the code, and the remainder. A quotient
    with more than :data:`RICE_UNARY` ones takes further steps. Latency: a symbol is placed two
    steps behind the shifter; finished parts of slices go to a queue. All lanes step together. Twin:
    ``sim.bench.baselines.streams``.

    Parameters
    ----------
    bus_bits, planes : int
        As in :class:`xorloom.hw.baselines.common.BaselineDecoder`.
    places : int, a power of two
        Weights of a slice that this lane decodes.

    Members
    -------
    start : In(1)
        A stream begins.
    go : In(1)
        Make a step.
    prime : In(1)
        The step is the first of the stream, which only fills the shifter.
    shift, fixed : In
        Bits of a remainder; bits of a remainder, a code and the end of a quotient.
    able : Out(1)
        The lane has the bits for a step.
    asks : Out(1)
        The lane used up its word in the step before.
    load, word : In
        Take this word.
    some : Out(1)
        The queue holds a part.
    pop : In(1)
        The part is taken with this step.
    at : In(range(RICE_DEPTH))
        Place of the next part, the same in all queues.
    part : Out(places * (1 + planes))
        Mask, then the codes plane by plane.
    """

    def __init__(self, *, bus_bits: int, places: int, planes: int) -> None:
        self._bus_bits, self._places, self._planes = bus_bits, places, planes
        super().__init__(
            {
                "start": In(1),
                "go": In(1),
                "prime": In(1),
                "shift": In(range(RICE_SHIFT_MAX + 1)),
                "fixed": In(4),
                "able": Out(1),
                "asks": Out(1),
                "load": In(1),
                "word": In(bus_bits),
                "some": Out(1),
                "pop": In(1),
                "at": In(range(RICE_DEPTH)),
                "part": Out(places * (1 + planes)),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build shifter, symbol decoder and queue."""
        m = Module()
        planes = self._planes
        first = Signal(RICE_UNIT_BITS)
        second = Signal(RICE_UNIT_BITS)
        word = Signal(self._bus_bits, reset_less=True)
        units = self._bus_bits // RICE_UNIT_BITS
        unit = Signal(range(units))
        able = Signal()
        has = Signal()
        asks = Signal()
        used = Signal(4)
        steps = Signal()
        wraps = Signal()
        fills = Signal()
        takes = Signal()

        look = Signal(RICE_UNARY + planes + RICE_SHIFT_MAX)
        m.d.comb += look.eq(Cat(first, second) >> used)
        # Where each possible quotient ends is computed while the bits are shifted.
        ends = [added(m, used, self.fixed, 5)]
        ends += [added(m, ends[0], Const(n, 2), 5) for n in range(1, RICE_UNARY)]
        ones = look[:RICE_UNARY]
        quotient = Signal(range(RICE_UNARY))
        after = Signal(5)
        rest = Signal(planes + RICE_SHIFT_MAX)
        m.d.comb += quotient.eq(Mux(ones[0], Mux(ones[1], Mux(ones[2], 3, 2), 1), 0))
        with m.Switch(quotient):
            for n in range(RICE_UNARY):
                with m.Case(n):
                    m.d.comb += [after.eq(ends[n]), rest.eq(look[1 + n :])]
        unended = added(m, used, Const(RICE_UNARY, 3), 5)
        with m.If(ones.all()):
            m.d.comb += after.eq(unended)
        m.d.comb += [
            wraps.eq(steps & (after[4] | self.prime)),
            fills.eq(has & ~able),
            takes.eq(fills | (wraps & has)),
            self.able.eq(able),
            self.asks.eq(asks),
        ]
        with m.If(steps & ~self.prime):
            m.d.sync += used.eq(after)
        with m.Elif(self.start):
            m.d.sync += used.eq(0)
        with m.If(wraps | fills):
            m.d.sync += second.eq(word.word_select(unit, RICE_UNIT_BITS))
        with m.If(wraps):
            m.d.sync += first.eq(second)
        with m.If(self.load):
            m.d.sync += [word.eq(self.word), unit.eq(0)]
        with m.Elif(takes):
            m.d.sync += unit.eq(unit + 1)
        empties = takes & (unit == units - 1)
        m.d.sync += [
            able.eq(~self.start & (fills | (able & ~(wraps & ~has)))),
            has.eq(~self.start & (self.load | (has & ~empties))),
        ]
        with m.If(self.start | self.go):
            m.d.sync += asks.eq(self.start | empties)

        # The symbol, then its place, counted from the start of the current part.
        run = Signal(range(RICE_UNARY << RICE_SHIFT_MAX), reset_less=True)
        more = Signal(RICE_UNARY.bit_length(), reset_less=True)
        kept = Signal()
        code = Signal(planes, reset_less=True)
        at = Signal(8)
        places, bits = self._places, self._places.bit_length() - 1
        lies = Signal()
        value = Signal(planes, reset_less=True)
        over = Signal()
        far = Signal()
        room = Signal()
        moves = Signal()
        remainder = Cat(rest[planes + n] & (self.shift > n) for n in range(RICE_SHIFT_MAX))
        base = Signal(bits + 1)
        gap = Signal(8)
        m.d.comb += [
            over.eq(at[bits:].any()),
            far.eq(at[bits + 1 :].any()),
            moves.eq(~far & (~over | room)),
            steps.eq(self.go & moves),
            base.eq(added(m, at[:bits], lies, bits + 1)),
            gap.eq((more << self.shift) | run),
        ]
        with m.If(self.start):
            m.d.sync += [kept.eq(0), lies.eq(0), at.eq(0), more.eq(0), run.eq(0)]
        with m.Elif(steps):
            m.d.sync += [
                kept.eq(~ones.all() & ~self.prime),
                more.eq(Mux(self.prime, 0, Mux(ones.all(), RICE_UNARY, quotient))),
                run.eq(Mux(ones.all() | self.prime, 0, remainder)),
                code.eq(rest[:planes]),
                lies.eq(kept),
                value.eq(code),
                at.eq(base + gap),
            ]
        with m.Elif(self.go & far & room):
            m.d.sync += at[bits:].eq(at[bits:] - 1)

        mask = Signal(places)
        codes = [Signal(places, name=f"codes_{b}") for b in range(planes)]
        here = Cat((at[:bits] == n) & moves & lies for n in range(places))
        push = Signal()
        pushes = Signal()
        m.d.comb += [push.eq(over & room), pushes.eq(push & self.go)]
        with m.If(self.start):
            m.d.sync += [mask.eq(0), *(plane.eq(0) for plane in codes)]
        with m.Elif(self.go):
            m.d.sync += mask.eq(here | Mux(push, 0, mask))
            for plane, bit in zip(codes, value, strict=True):
                m.d.sync += plane.eq(Mux(bit, here, 0) | Mux(push, 0, plane))

        m.submodules.queue = queue = Memory(shape=places * (1 + planes), depth=RICE_DEPTH, init=[])
        write = queue.write_port()
        read = queue.read_port(domain="comb")
        put = Signal(range(RICE_DEPTH))
        level = Signal(range(RICE_DEPTH + 1))
        m.d.comb += [
            write.en.eq(pushes),
            write.addr.eq(put),
            write.data.eq(Cat(mask, *codes)),
            read.addr.eq(self.at),
            self.part.eq(read.data),
            self.some.eq(level.any()),
            room.eq(~level[-1]),
        ]
        with m.If(self.start):
            m.d.sync += [put.eq(0), level.eq(0)]
        with m.Elif(self.go):
            m.d.sync += [put.eq(put + push), level.eq(level + push - self.pop)]
        return m
