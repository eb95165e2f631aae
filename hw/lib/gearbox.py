# SPDX-License-Identifier: Apache-2.0
"""Gearbox between bus words and fields of any width."""

from math import gcd

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Gearbox"]


class Gearbox(wiring.Component):
    """Gearbox: a queue of bus words in, its oldest bits out, any multiple of a unit per cycle.

    Words move down the queue whole. Only the output passes a shifter, in steps of
    ``grain = gcd(bus_bits, unit_bits)`` bits, so a field width that the bus divides into evenly
    needs none. Latency one cycle. A word can enter in the cycle in which another one leaves.

    Example: with ``bus_bits = 64`` and fields of 20 bits, ``grain`` is 4, and ``take = 5`` drops
    one field.

    Parameters
    ----------
    bus_bits : int, a power of two
        Width of a bus word.
    unit_bits : int
        Every ``take`` is a multiple of this many bits.
    look_bits : int
        Bits visible at ``o``.
    enough_bits : int
        Threshold of ``enough``, rounded up to a multiple of :py:`self.grain`.

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Bus words; bit 0 is the oldest.
    o : Out(look_bits)
        The oldest bits. Bits that have not arrived yet are undefined.
    window : Out
        The oldest whole words, of which ``o`` is cut out. Registers.
    offset : Out
        Where in them ``o`` begins, in units of :py:`self.grain`. A register.
    held : Out
        Bit k says whether it holds more than k words, the oldest counted whole. Registers.
    drops : Out(1)
        To drop ``take`` drops a word.
    enough : Out(1)
        The queue holds at least ``enough_bits`` bits. A register.
    level : Out
        How much it holds, in units of :py:`self.grain`. A register.
    take : In
        How much to drop, in units of :py:`self.grain`; at most ``look_bits`` bits.
    go : In(1)
        Drop ``take`` at this clock edge. May arrive later in the cycle than ``take``.
    flush : In(1)
        Empty the queue. No word may enter in this cycle.
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
                "window": Out(span * bus_bits),
                "offset": Out(max(1, (self._per_word - 1).bit_length())),
                "held": Out(span + 1),
                "drops": Out(1),
                "enough": Out(1),
                "level": Out(range((span + 1) * self._per_word + 1)),
                "take": In(range(self.take_max + 1)),
                "go": In(1),
                "flush": In(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the queue and its output shifter."""
        m = Module()
        depth, per_word = self._depth, self._per_word
        words = [Signal(self._bus_bits, name=f"word_{k}", reset_less=True) for k in range(depth)]
        held = Signal(depth)  # in unary: neither flags nor enables wait for an adder
        enough = Signal()
        level = Signal.like(self.level)
        offset = Signal.like(self.offset)
        window = Cat(words[: self._window])
        if per_word > 1:
            window = window >> (offset << (self.grain.bit_length() - 1))
        m.d.comb += [
            self.window.eq(Cat(words[: self._window])),
            self.offset.eq(offset),
            self.o.eq(window),
            self.held.eq(held),
            self.enough.eq(enough),
            self.i.ready.eq(~held[-1]),
        ]
        # Everything is computed for both values of `go`, which arrives late in the cycle.
        after = Signal(range(per_word + self.take_max + 1))
        shift_bits = per_word.bit_length() - 1
        drop_max = (per_word - 1 + self.take_max) // per_word
        drop = Signal(range(drop_max + 1))
        stay = Signal(depth)
        enter = Signal()
        m.d.comb += [
            after.eq(offset + self.take),
            drop.eq(after >> shift_bits),
            stay.eq(Mux(self.go, held >> drop, held)),
            enter.eq(self.i.valid & self.i.ready),
            self.drops.eq(drop != 0),
            self.level.eq(level),
        ]
        with m.If(self.flush):
            m.d.sync += [held.eq(0), offset.eq(0), level.eq(0), enough.eq(0)]
        with m.Else():
            lower = level - self.take
            m.d.sync += [
                held.eq(Mux(enter, Cat(1, stay), stay)),
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
            # An entering word takes the first free place, for it goes to all of them; the words
            # below move down by `drop`.
            moved = self.i.payload
            for step in range(min(drop_max, depth - 1 - k), 0, -1):
                moved = Mux((drop == step) & held[k + step], words[k + step], moved)
            with m.If((self.go & self.drops) | ~held[k]):
                m.d.sync += word.eq(moved)
        return m


def _at_least(value: Value, least: int) -> Value:
    """Return ``value >= least``; a constant where it always holds, which linters ask for."""
    return value >= least if least > 0 else Const(1)
