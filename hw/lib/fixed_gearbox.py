# SPDX-License-Identifier: Apache-2.0
"""Gearbox between bus words and chunks of one fixed width."""

from math import gcd

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .ping_pong import PingPong

__all__ = ["FixedGearbox"]

_SHIFT_BITS = 3
"""Bits of a shift amount that one register stage shifts by: three LUT4 deep."""


class FixedGearbox(wiring.Component):
    """Fixed gearbox: bus words in, chunks of ``unit_bits`` out, without a gap between them.

    The newest words stand in one shift register that moves whole, so they cost no multiplexers. A
    chunk ends where the bits of the newest word that come after it begin: their number, a multiple
    of ``gcd(bus_bits, unit_bits)``, is what the chunk is shifted by, the coarse steps first. It is
    also all that has to be counted. So a unit that is a multiple of the bus needs no shifter, and
    one that is equal passes through.

    One chunk or one word per cycle, whichever is less; full back-pressure. Latency
    :py:`self.latency` cycles from the last word of a chunk. Twin: ``sw.golden.bus.BitQueue``.

    Parameters
    ----------
    bus_bits : int, a power of two
        Width of a bus word.
    unit_bits : int
        Width of a chunk: smaller than a bus word, equal or larger.

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Bus words; bit 0 is the oldest.
    o : Out(stream.Signature(unit_bits))
        Chunks.
    flush : In(1)
        Forget all bits. No word enters in this cycle.
    """

    def __init__(self, *, bus_bits: int, unit_bits: int) -> None:
        self._bus_bits, self._unit_bits = bus_bits, unit_bits
        self._grain = gcd(bus_bits, unit_bits)
        self._shift_bits = (bus_bits // self._grain).bit_length() - 1
        super().__init__(
            {
                "i": In(stream.Signature(bus_bits)),
                "o": Out(stream.Signature(unit_bits)),
                "flush": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of the last word of a chunk until the chunk is offered."""
        if self._unit_bits == self._bus_bits:
            return 0
        return 1 + max(1, -(-self._shift_bits // _SHIFT_BITS))

    def elaborate(self, _platform: object) -> Module:
        """Build the words, the count of bits and the shifter."""
        m = Module()
        bus, unit, grain = self._bus_bits, self._unit_bits, self._grain
        if unit == bus:
            wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
            return m
        # Bits behind the next chunk, in grains; negative while words of it are to come.
        rest = Signal(signed(max(unit, bus).bit_length() + 1), init=-(unit // grain))
        free = Signal()
        short = rest[-1]
        moves = Signal()
        last = Signal()
        # The ready of the consumer arrives late in the cycle. It goes no further than this buffer,
        # and what is counted is decided before it.
        entry = PingPong(unsigned(bus))
        m.submodules.entry = ResetInserter({"sync": self.flush})(entry)
        wiring.connect(m, wiring.flipped(self.i), entry.i)
        m.d.comb += [
            moves.eq(Mux(short, entry.o.valid, free)),
            entry.o.ready.eq(short | (free & last)),
        ]
        add, drop = bus // grain, unit // grain
        step = Mux(short, add, Mux(entry.o.valid & last, add - drop, -drop))
        counts = [rest]
        if unit < bus:
            # The same less a chunk: negative if the next chunk is the last of its word.
            counts.append(Signal(signed(len(rest)), init=-2 * drop, name="after"))
            m.d.comb += last.eq(counts[1][-1])
        else:
            m.d.comb += last.eq(1)
        for count in counts:
            with m.If(self.flush):
                m.d.sync += count.eq(count.init)
            with m.Elif(moves):
                m.d.sync += count.eq(count + step)
        seen = bus - grain + unit
        held = Signal(-(-seen // bus) * bus, reset_less=True)
        with m.If(entry.o.valid & entry.o.ready):
            m.d.sync += held.eq(Cat(held, entry.o.payload)[bus:])
        self._shift(m, held[-seen:], rest, free)
        return m

    def _shift(self, m: Module, bits: Value, rest: Signal, free: Signal) -> None:
        """Shift out what follows the chunk, with registers between the stages."""
        valid: Value = ~rest[-1]
        left = self._shift_bits
        amount: Value = ~rest[:left]
        while left:
            stop = max(0, left - _SHIFT_BITS)
            for k in reversed(range(stop, left)):
                step = self._grain << k
                bits = Mux(amount[k], bits[step:], bits[:-step])
            left = stop
            if left:
                held = Signal(len(bits), name=f"held_{left}", reset_less=True)
                by = Signal(left, name=f"by_{left}", reset_less=True)
                full, leaves = Signal(name=f"full_{left}"), Signal(name=f"leaves_{left}")
                m.d.comb += free.eq(~full | leaves)
                with m.If(free):
                    m.d.sync += [held.eq(bits), by.eq(amount[:left])]
                m.d.sync += full.eq((valid | (full & ~leaves)) & ~self.flush)
                bits, amount, valid, free = held, by, full, leaves
        m.d.comb += [self.o.payload.eq(bits), self.o.valid.eq(valid), free.eq(self.o.ready)]
