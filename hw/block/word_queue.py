# SPDX-License-Identifier: Apache-2.0
"""Queue of bus words that gives several of them in one cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["LOOKS", "WordQueue"]

LOOKS = 3
"""Words that may leave in one cycle."""
_DEPTH = 4


class WordQueue(wiring.Component):
    """Word queue: bus words in, up to three of the oldest out per cycle. Latency one cycle.

    It holds four words in LUT RAM (in flip-flops on devices without), one more than may leave in
    one cycle. So ``i.ready`` is a register, and while a word leaves and one comes in every cycle,
    three are there.

    Parameters
    ----------
    bus_bits : int
        Width of a word.

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Words in.
    has : Out(3)
        Bit ``k``: at least ``k + 1`` words are there. Registers.
    at : In(range(3)).array(3)
        Which words to look at; 0 is the oldest.
    o : Out(bus_bits).array(3)
        These words; those that are not there are undefined.
    take : In(1).array(3)
        So many words leave at this clock edge; not more than are there. May arrive late in the
        cycle, the last one latest.
    """

    def __init__(self, *, bus_bits: int) -> None:
        self._bus_bits = bus_bits
        super().__init__(
            {
                "i": In(stream.Signature(bus_bits)),
                "has": Out(LOOKS),
                "at": In(range(LOOKS)).array(LOOKS),
                "o": Out(bus_bits).array(LOOKS),
                "take": In(1).array(LOOKS),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build memory, pointers and flags."""
        m = Module()
        flags = Signal(_DEPTH)  # ones, then zeros: bit k tells that k + 1 words are there
        oldest = Signal(range(_DEPTH))
        free = Signal(range(_DEPTH))
        push = Signal()
        m.submodules.words = words = Memory(shape=self._bus_bits, depth=_DEPTH, init=[])
        write = words.write_port()
        m.d.comb += [
            self.i.ready.eq(~flags[-1]),
            self.has.eq(flags),
            push.eq(self.i.valid & ~flags[-1]),
            write.en.eq(push),
            write.addr.eq(free),
            write.data.eq(self.i.payload),
        ]
        for at, word in zip(self.at, self.o, strict=True):
            read = words.read_port(domain="comb")
            m.d.comb += [read.addr.eq(oldest + at), word.eq(read.data)]
        after, left = oldest, flags
        for k, take in enumerate(self.take):
            place, stay = after, left
            after = Signal.like(oldest, name=f"after_{k}")
            left = Signal.like(flags, name=f"left_{k}")
            m.d.comb += [after.eq(place + take), left.eq(Mux(take, stay >> 1, stay))]
        m.d.sync += [
            flags.eq(Mux(push, Cat(1, left), left)),
            oldest.eq(after),
            free.eq(free + push),
        ]
        return m
