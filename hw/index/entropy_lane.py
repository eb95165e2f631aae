# SPDX-License-Identifier: Apache-2.0
"""Decoder that two lanes of the entropy index share."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.index_config import EntropyConfig

from .entropy_table import UNIT_BITS, state_layout

__all__ = ["EntropyLane"]


class EntropyLane(wiring.Component):
    """Entropy lane decoder: state, bits and memories of two lanes that alternate.

    (One of them may be no lane at all: it never gets a unit, and its values mean nothing.)

    One lane, at the *back*, refills while the other, at the *front*, steps; every turn swaps them.
    Each lane holds the unit it reads, the unit after it, and how much of the first one is used.
    The entry of the front's state says how many bits form the next state and how many form the
    number of the value. In the turn the next state addresses the state memory, and what the memory
    read in the turn before, the entry of the other lane, enters the entry register. So the memory
    has a cycle of its own between two registers. A value follows its step by four moves; one step
    per cycle. Twin: ``sw.golden.index.entropy.entropy_decoder`` (its lanes).

    Parameters
    ----------
    config : EntropyConfig

    Members
    -------
    start : In(1)
        Begin a stream. The first lane will be at the back.
    begun : In(1)
        The cycle after ``start``, in which the memory reads the first entry.
    several, listed, flip, need : In
        From the table of the stream; see :class:`xorloom.hw.index.entropy_table.EntropyTable`.
    hungry : Out(1)
        After its step, the front will lack a unit. After ``start``: both lanes lack one.
    feed, unit : In
        Give this unit to the back.
    turn : In(1)
        The back has all its bits, and the step of the front is carried out: swap them.
    move : In(1)
        Move the numbers and values one register on.
    value : Out(8)
        Four moves after the step of the front, of which the first may come before the turn.
    state_write, state_at, state, value_write, value_at, value_new : In
        Writes of the table; see :class:`xorloom.hw.index.entropy_table.EntropyTable`.
    """

    def __init__(self, config: EntropyConfig) -> None:
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "begun": In(1),
                "several": In(1),
                "listed": In(1),
                "flip": In(1),
                "need": In(5),
                "hungry": Out(1),
                "feed": In(1),
                "unit": In(UNIT_BITS),
                "turn": In(1),
                "move": In(1),
                "value": Out(8),
                "state_write": In(1),
                "state_at": In(9),
                "state": In(state_layout()),
                "value_write": In(1),
                "value_at": In(8),
                "value_new": In(8),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the decoder."""
        m = Module()
        unit = [Signal(UNIT_BITS, name=f"front_unit_{k}") for k in range(2)]
        near = Signal(UNIT_BITS + 7)  # the front's units from the byte in which it reads
        back_unit = [Signal(UNIT_BITS, name=f"back_unit_{k}") for k in range(2)]
        filled_unit = [Signal(UNIT_BITS, name=f"filled_unit_{k}") for k in range(2)]
        holds = Signal(2)  # which of the front's units are there
        back_holds = Signal(2)
        kept = Signal()
        # Bits that a lane lacks, minus one, from -16 (it lacks none) to 15.
        front_lack = Signal(5)
        back_lack = Signal(5)
        front_used = Signal(4)
        back_used = Signal(4)
        passed = Signal()  # the first unit of the back was used up by its last step
        entry = Signal(state_layout(), reset_less=True)
        opening = Signal()  # the next state is the start state, whatever the entry says

        look = Signal(UNIT_BITS)
        bits = Signal(8)
        lack_after = Signal(5)
        used_after = Signal(5)
        m.d.comb += [
            look.eq(near >> front_used[:3]),
            bits.eq(Cat(look[k] & (entry.moved > k) for k in range(8))),
            lack_after.eq(front_lack + entry.total),
            used_after.eq(front_used + entry.total),
            self.hungry.eq(~lack_after[-1]),
        ]
        m.submodules.states = states = Memory(shape=state_layout(), depth=512, init=[])
        write = states.write_port()
        read = states.read_port()
        m.d.comb += [
            write.en.eq(self.state_write),
            write.addr.eq(self.state_at),
            write.data.eq(self.state),
            # Not while writing: a memory that must then read the old word costs logic behind it.
            read.en.eq((self.turn | self.begun) & ~self.state_write),
            read.addr.eq(Cat(entry.base | bits, opening)),
        ]
        filled_holds = Mux(self.feed, Cat(1, kept), Cat(kept, back_holds[1] & ~passed))
        m.d.comb += [
            kept.eq(Mux(passed, back_holds[1], back_holds[0])),
            # Only what is fed enters, so nothing that the reset knows is X before the first word.
            filled_unit[0].eq(
                Mux(self.feed & ~kept, self.unit, Mux(passed, back_unit[1], back_unit[0]))
            ),
            filled_unit[1].eq(Mux(self.feed, self.unit, back_unit[1])),
        ]
        m.d.sync += passed.eq(self.turn & used_after[-1])
        with m.If(self.turn):
            m.d.sync += [
                Cat(unit).eq(Cat(filled_unit)),
                near.eq(Mux(back_used[3], Cat(filled_unit)[8:], Cat(filled_unit))),
                Cat(back_unit).eq(Cat(unit)),
                holds.eq(filled_holds),
                back_holds.eq(holds),
                front_lack.eq(Cat(back_lack[:-1], back_lack[-1] | self.feed)),
                back_lack.eq(lack_after),
                front_used.eq(back_used),
                back_used.eq(used_after),
                entry.eq(read.data),
                opening.eq(0),
            ]
        with m.Elif(self.start):
            m.d.sync += [
                holds.eq(0),
                back_holds.eq(0),
                front_lack.eq(self.need - 1),
                back_lack.eq(self.need - 1),
                front_used.eq(0),
                back_used.eq(0),
                entry.base.eq(0),
                entry.moved.eq(0),
                entry.total.eq(0),
                opening.eq(self.several),
            ]
        with m.Else():
            m.d.sync += back_holds.eq(filled_holds)
            m.d.sync += back_unit[0].eq(filled_unit[0])
            with m.If(self.feed):
                m.d.sync += [back_unit[1].eq(self.unit), back_lack[-1].eq(1)]

        held = Signal(UNIT_BITS, reset_less=True)
        moved = Signal(4, reset_less=True)
        width = Signal(4, reset_less=True)
        base = Signal(8, reset_less=True)
        number = Signal(8, reset_less=True)
        rank = Signal(8)
        m.d.comb += rank.eq(Cat((held >> moved)[k] & (width > k) for k in range(8)))
        with m.If(self.move):
            m.d.sync += [
                held.eq(look),
                moved.eq(entry.moved),
                width.eq(entry.width),
                base.eq(entry.first),
                number.eq(base + rank),
            ]
        order = list(self._config.symbol_order)
        m.submodules.values = values = Memory(shape=8, depth=512, init=order)
        put = values.write_port()
        get = values.read_port()
        m.d.comb += [
            put.en.eq(self.value_write),
            put.addr.eq(Cat(self.value_at, 1)),
            put.data.eq(self.value_new),
            get.en.eq(self.move & ~self.value_write),
            get.addr.eq(Cat(number ^ self.flip.replicate(8), self.listed)),
        ]
        # A memory takes most of a cycle, so a register stands near it.
        with m.If(self.move):
            m.d.sync += self.value.eq(get.data)
        return m
