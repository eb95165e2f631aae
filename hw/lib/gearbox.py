# SPDX-License-Identifier: Apache-2.0
"""Bus words in, any number of bits out."""

from math import gcd

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Gearbox"]


class Gearbox(wiring.Component):
    """A queue of bus words that gives its oldest bits, any multiple of a unit a cycle.

    Words move down whole; only the output looks through a shifter, and that one steps in units of
    ``gcd(bus_bits, unit_bits)``, so a seed width that divides the bus needs none. Latency one
    cycle. A word can enter in the cycle in which another leaves.

    Parameters
    ----------
    bus_bits : int, a power of two
    unit_bits : int
        Every ``take`` is a multiple of this many bits.
    look_bits : int
        Bits offered at ``o``.
    enough_bits : int
        What ``enough`` watches, rounded up to whole units of :py:`self.grain`.

    Members
    -------
    i : In(stream.Signature(bus_bits))
    o : Out(look_bits)
        Oldest bits; those that have not entered are meaningless.
    enough : Out(1)
        At least ``enough_bits`` bits are in the queue. A register.
    take : In
        Bits to drop, in units of :py:`self.grain`; at most ``look_bits``.
    go : In(1)
        Drop them at this clock edge. May come later than ``take``.
    flush : In(1)
        Empty the queue; no word may enter meanwhile.
    """

    def __init__(self, *, bus_bits: int, unit_bits: int, look_bits: int, enough_bits: int) -> None:
        self._bus_bits, self._look_bits = bus_bits, look_bits
        self.grain = gcd(bus_bits, unit_bits)
        span = -(-(bus_bits - self.grain + look_bits) // bus_bits)
        self._depth = span + 1
        self._window = span
        self._per_word = bus_bits // self.grain
        self.take_max = look_bits // self.grain
        self._enough = -(-enough_bits // self.grain)
        super().__init__(
            {
                "i": In(stream.Signature(bus_bits)),
                "o": Out(look_bits),
                "enough": Out(1),
                "take": In(range(self.take_max + 1)),
                "go": In(1),
                "flush": In(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the queue."""
        m = Module()
        depth, per_word = self._depth, self._per_word
        words = [Signal(self._bus_bits, name=f"word_{k}", reset_less=True) for k in range(depth)]
        used = Signal(range(depth + 1))
        enough = Signal()
        level = Signal(range(depth * per_word + 1))
        offset = Signal(max(1, (per_word - 1).bit_length()))
        window = Cat(words[: self._window])
        if per_word > 1:
            window = window >> (offset << (self.grain.bit_length() - 1))
        m.d.comb += [
            self.o.eq(window),
            self.enough.eq(enough),
            self.i.ready.eq(used != depth),
        ]
        # What follows from `take` is worked out for both values of `go`, which comes late.
        after = Signal(range(per_word + self.take_max + 1))
        shift_bits = per_word.bit_length() - 1
        drop_max = (per_word - 1 + self.take_max) // per_word
        drop = Signal(range(drop_max + 1))
        left = Signal(range(depth + 1))
        enter = Signal()
        m.d.comb += [
            after.eq(offset + self.take),
            drop.eq(after >> shift_bits),
            left.eq(used - drop),
            enter.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.flush):
            m.d.sync += [used.eq(0), offset.eq(0), level.eq(0), enough.eq(0)]
        with m.Else():
            lower = level - self.take
            m.d.sync += [
                used.eq(Mux(self.go, left, used) + enter),
                level.eq(Mux(self.go, lower, level) + Mux(enter, per_word, 0)),
                enough.eq(
                    Mux(
                        self.go,
                        Mux(
                            enter, _at_least(lower, self._enough - per_word), lower >= self._enough
                        ),
                        Mux(
                            enter, _at_least(level, self._enough - per_word), level >= self._enough
                        ),
                    )
                ),
            ]
            with m.If(self.go):
                m.d.sync += offset.eq(after[:shift_bits])
        for k, word in enumerate(words):
            # An entering word goes to the first free place; below it, words move down by `drop`.
            moved = self.i.payload
            for step in range(min(drop_max, depth - 1 - k), 0, -1):
                moved = Mux((drop == step) & (used > k + step), words[k + step], moved)
            changes = (left == k) | (drop != 0)
            with m.If(Mux(self.go, changes, used == k)):
                m.d.sync += word.eq(moved)
        return m


def _at_least(value: Value, least: int) -> Value:
    """Compare; what is always so is a constant, for linters."""
    return value >= least if least > 0 else Const(1)
