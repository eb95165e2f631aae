# SPDX-License-Identifier: Apache-2.0
"""Counters of events, in one memory."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["EventCounters", "events_layout"]


def events_layout() -> data.StructLayout:
    """Events of one cycle, one bit each; :data:`xorloom.hw.ip.csr.COUNTERS` says what they mean."""
    return data.StructLayout(dict.fromkeys(("word", "starved", "blocked", "stalled", "beat"), 1))


class EventCounters(wiring.Component):
    """Event counters: counters of 32 bits in a memory, with one adder that visits them in turn.

    Events between two visits are counted in a few bits. That takes a quarter of the area of plain
    counters and needs no wide multiplexer to read them. Each counter is visited every
    ``slots`` cycles.

    Parameters
    ----------
    count : int, 1 to 8
        Number of counters.

    Members
    -------
    events : In(count)
        Which counters count in this cycle.
    clear : In(1)
        Set all counters to 0.
    index : Out(3)
        Which counter ``value`` belongs to; changes every cycle.
    value : Out(32)
        That counter, without the events of the last four cycles.
    """

    slots = 8

    def __init__(self, *, count: int) -> None:
        self._count = count
        super().__init__({"events": In(count), "clear": In(1), "index": Out(3), "value": Out(32)})

    def elaborate(self, _platform: object) -> Module:
        """Build the memory, the adder and the small counters."""
        m = Module()
        slots = self.slots
        m.submodules.totals = totals = memory.Memory(shape=32, depth=slots, init=[])
        load = totals.read_port(domain="comb")
        store = totals.write_port()
        happened = Signal(self._count)
        at = Signal(slots, init=1)
        turn = [Signal(3, init=-k % slots, name=f"turn_{k}") for k in range(3)]
        added = Signal(range(slots + 1))
        total = Signal(32)
        # Counts 8 to 15, a round of visits in which the totals are taken for 0; then 0.
        clearing = Signal(4, init=8)
        recent = [Signal(range(slots + 1), name=f"recent_{k}") for k in range(self._count)]
        m.d.comb += [
            load.addr.eq(turn[0]),
            store.addr.eq(turn[2]),
            store.data.eq(self.value),
            store.en.eq(1),
            self.index.eq(turn[2]),
        ]
        m.d.sync += [
            happened.eq(self.events),
            at.eq(at.rotate_left(1)),
            turn[0].eq(turn[0] + 1),
            turn[1].eq(turn[0]),
            turn[2].eq(turn[1]),
            clearing.eq(Mux(self.clear, 8, clearing + clearing[3])),
            added.eq(reduce(or_, (Mux(at[k], few, 0) for k, few in enumerate(recent)))),
            total.eq(load.data),
            self.value.eq(total + added),
        ]
        with m.If(clearing[3]):
            m.d.sync += total.eq(0)
        for k, few in enumerate(recent):
            m.d.sync += few.eq(Mux(at[k], 0, few) + happened[k])
            with m.If(self.clear):
                m.d.sync += few.eq(0)
        return m
