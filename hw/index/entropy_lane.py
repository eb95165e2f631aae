# SPDX-License-Identifier: Apache-2.0
"""Decoder that two lanes of the entropy index share."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.index_config import EntropyConfig

from .entropy_table import START_STATE, UNIT_BITS, state_layout

__all__ = ["EntropyLane"]


class EntropyLane(wiring.Component):
    """Entropy lane decoder: state, bits and memories of ``turns`` lanes that alternate.

    With two lanes, one refills while the other steps. Each lane holds the unit it reads, the unit
    after it, and how much of the first one is used. While it refills, the entry of its state is
    fetched from the state memory; in its step the entry says how many bits form the next state and
    how many form the number of the value. A value follows its step by three moves; one step per
    cycle. Twin: ``sw.golden.index.entropy.entropy_decoder`` (its lanes).

    Parameters
    ----------
    config : EntropyConfig
    turns : int, 1 or 2
        Lanes that share this decoder.

    Members
    -------
    start : In(1)
        Begin a stream.
    several, listed, need : In
        From the table of the stream; see :class:`xorloom.hw.index.entropy_table.EntropyTable`.
    filling, stepping : In(1)
        Number of the lane that refills, and of the one that steps.
    hungry : Out(1)
        The lane that refills lacks a unit.
    feed, unit : In
        Give it this unit.
    fetch : In(1)
        Fetch the entry of the lane that refills; it has all its bits.
    step : In(1)
        Carry out the step of the fetched entry.
    move : In(1)
        Move the numbers and values one register on.
    value : Out(8)
        Three moves after the step, of which the first is in the same cycle as the step.
    state_write, state_at, state, value_write, value_at, value_new : In
        Writes of the table; see :class:`xorloom.hw.index.entropy_table.EntropyTable`.
    """

    def __init__(self, config: EntropyConfig, *, turns: int) -> None:
        self._config, self._turns = config, turns
        super().__init__(
            {
                "start": In(1),
                "several": In(1),
                "listed": In(1),
                "need": In(5),
                "filling": In(1),
                "stepping": In(1),
                "hungry": Out(1),
                "feed": In(1),
                "unit": In(UNIT_BITS),
                "fetch": In(1),
                "step": In(1),
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
        turns = range(self._turns)
        state = Array(Signal(9, name=f"state_{g}", reset_less=True) for g in turns)
        lack = Array(Signal(signed(6), name=f"lack_{g}") for g in turns)
        used = Array(Signal(5, name=f"used_{g}") for g in turns)
        first = Array(Signal(UNIT_BITS, name=f"first_{g}", reset_less=True) for g in turns)
        second = Array(Signal(UNIT_BITS, name=f"second_{g}", reset_less=True) for g in turns)
        holds = Array(Signal(2, name=f"holds_{g}") for g in turns)

        m.submodules.states = states = Memory(shape=state_layout(), depth=512, init=[])
        write = states.write_port()
        read = states.read_port()
        m.d.comb += [
            write.en.eq(self.state_write),
            write.addr.eq(self.state_at),
            write.data.eq(self.state),
            # Not while writing: a memory that must then read the old word costs logic behind it.
            read.en.eq(self.fetch & ~self.state_write),
            read.addr.eq(state[self.filling]),
            self.hungry.eq(~lack[self.filling][-1]),  # bits lacking, minus one
        ]
        entry = read.data
        # The bits are shifted while the memory is read, whose data arrive late in the cycle.
        look = Signal(UNIT_BITS)
        bits = Signal(8)
        m.d.comb += [
            look.eq(Cat(first[self.stepping], second[self.stepping]) >> used[self.stepping][:4]),
            bits.eq(Cat(look[k] & (entry.moved > k) for k in range(8))),
        ]
        lack_after = Signal(signed(6))
        used_after = Signal(5)
        m.d.comb += [
            lack_after.eq(lack[self.stepping] + entry.total),
            used_after.eq(used[self.stepping][:4] + entry.total),
        ]
        for g in turns:
            fed = self.feed & (self.filling == g)
            stepped = self.step & (self.stepping == g)
            # A unit that a step used up is dropped in the next turn to refill, off the long path.
            passed = used[g][4] & (self.filling == g)
            kept = Mux(passed, holds[g][1], holds[g][0])
            with m.If(stepped):
                m.d.sync += [
                    state[g].eq(entry.base | bits),
                    lack[g].eq(lack_after),
                    used[g].eq(used_after),
                ]
            with m.Elif(self.start):
                m.d.sync += [
                    state[g].eq(Mux(self.several, START_STATE, 0)),
                    lack[g].eq(self.need - 1),
                    used[g].eq(0),
                ]
            with m.Else():
                with m.If(fed):
                    m.d.sync += lack[g][4:].eq(lack[g][4:] - 1)
                with m.If(passed):
                    m.d.sync += used[g][4].eq(0)
            with m.If(self.start):
                m.d.sync += holds[g].eq(0)
            with m.Elif(passed | fed):
                both = Mux(passed, 0, holds[g][1])
                m.d.sync += holds[g].eq(Mux(fed, Cat(1, kept), Cat(kept, both)))
            with m.If(passed | (fed & ~holds[g][0])):
                m.d.sync += first[g].eq(Mux(kept, second[g], self.unit))
            with m.If(fed):
                m.d.sync += second[g].eq(self.unit)

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
            get.addr.eq(Cat(number, self.listed)),
            self.value.eq(get.data),
        ]
        return m
