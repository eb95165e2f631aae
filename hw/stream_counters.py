# SPDX-License-Identifier: Apache-2.0
"""Performance counters of a decoder."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StreamCounters", "counters_layout"]


def counters_layout() -> data.StructLayout:
    """All counters, 32 bits each, wrapping."""
    return data.StructLayout(dict.fromkeys(("cycles", "starved", "stalled", "words", "slices"), 32))


class StreamCounters(wiring.Component):
    """Counts cycles since reset, and those in which something happened.

    Members
    -------
    starved : In(1)
        The decoder is in a payload and has no chunk.
    stalled : In(1)
        A slice waits to be taken.
    word, taken : In(1)
        A bus word comes in, a slice is taken.
    o : Out(counters_layout())
        What happened up to two cycles ago: events are registered before they are counted.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "starved": In(1),
                "stalled": In(1),
                "word": In(1),
                "taken": In(1),
                "o": Out(counters_layout()),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the counters."""
        m = Module()
        events = {
            "starved": self.starved,
            "stalled": self.stalled,
            "words": self.word,
            "slices": self.taken,
        }
        count = Signal(counters_layout())
        m.d.comb += self.o.eq(count)
        m.d.sync += count.cycles.eq(count.cycles + 1)
        for name, event in events.items():
            happened = Signal(name=f"happened_{name}")
            m.d.sync += [happened.eq(event), count[name].eq(count[name] + happened)]
        return m
