# SPDX-License-Identifier: Apache-2.0
"""Byte aligner: joins parts of neighbouring beats to whole words."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import word_layout

__all__ = ["ByteAligner", "turned_layout"]

_LEVELS = 2
"""Levels of multiplexers between two registers."""


def turned_layout(bus_bits: int, turn_bits: int) -> data.StructLayout:
    """A beat; ``turn`` says how far to rotate it, ``first`` that a descriptor begins with it."""
    return data.StructLayout(
        {"data": bus_bits, "last": 1, "error": 2, "first": 1, "turn": turn_bits}
    )


class ByteAligner(wiring.Component):
    """Byte aligner: joins the upper part of a beat and the lower part of the next one to a word.

    All beats of a descriptor are rotated by the same amount. After that every byte is in its
    place: a word takes its lower bytes from the beat before and the others from this one. A first
    beat that has to be rotated yields no word. Latency :py:`self.latency` cycles, one beat per
    cycle, full back-pressure.

    Parameters
    ----------
    bus_bits : int
        Width of a beat and of a word.
    turn_bits : int, positive
        A word has ``2 ** turn_bits`` units; rotation is by whole units.

    Members
    -------
    i : In(stream.Signature(turned_layout(bus_bits, turn_bits)))
        ``turn`` is the left rotation in units, constant from a first beat to a last one.
    o : Out(stream.Signature(word_layout(bus_bits)))
        Words; ``error`` is the OR of both beats' errors.
    busy : Out(1)
        A beat or word is inside.
    """

    def __init__(self, *, bus_bits: int, turn_bits: int) -> None:
        self._bus_bits, self._turn_bits = bus_bits, turn_bits
        self._stages = -(-turn_bits // _LEVELS)
        super().__init__(
            {
                "i": In(stream.Signature(turned_layout(bus_bits, turn_bits))),
                "o": Out(stream.Signature(word_layout(bus_bits))),
                "busy": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a beat to its word."""
        return self._stages + 1

    def elaborate(self, _platform: object) -> Module:
        """Build the stages of the rotation, then the register that joins two beats."""
        m = Module()
        units = 1 << self._turn_bits
        unit = self._bus_bits // units
        moves = Signal()
        m.d.comb += [moves.eq(~self.o.valid | self.o.ready), self.i.ready.eq(moves)]
        valid, beat = self.i.valid, self.i.p
        inside = []
        # Bit `k`: unit `k` of a word is from this beat. Computed one stage before it is used.
        mine = Signal(units, reset_less=True)
        for stage in range(self._stages):
            bits = beat.data
            for level in range(stage * _LEVELS, min(self._turn_bits, (stage + 1) * _LEVELS)):
                bits = Mux(beat.turn[level], bits.rotate_left(unit << level), bits)
            held_valid = Signal(name=f"valid_{stage}")
            held = Signal(beat.shape(), name=f"beat_{stage}", reset_less=True)
            with m.If(moves):
                m.d.sync += [held_valid.eq(valid), held.eq(beat), held.data.eq(bits)]
            if stage == self._stages - 1:
                with m.If(moves):
                    m.d.sync += mine.eq(Cat(beat.turn <= k for k in range(units)))
            valid, beat = held_valid, held
            inside.append(held_valid)
        before = Signal(self._bus_bits, reset_less=True)
        before_error = Signal(2, reset_less=True)
        word_valid = Signal()
        word = Signal(word_layout(self._bus_bits), reset_less=True)
        m.d.comb += [self.o.valid.eq(word_valid), self.o.payload.eq(word)]
        m.d.comb += self.busy.eq(Cat(inside, word_valid).any())
        with m.If(moves):
            m.d.sync += [
                word_valid.eq(valid & (mine[0] | ~beat.first)),
                word.data.eq(
                    Cat(
                        Mux(mine[k], beat.data.word_select(k, unit), before.word_select(k, unit))
                        for k in range(units)
                    )
                ),
                word.last.eq(beat.last),
                word.error.eq(beat.error | Mux(mine[0], 0, before_error)),
            ]
            with m.If(valid):
                m.d.sync += [before.eq(beat.data), before_error.eq(beat.error)]
        return m
