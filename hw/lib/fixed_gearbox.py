# SPDX-License-Identifier: Apache-2.0
"""Gearbox between bus words and chunks of one fixed width."""

from math import gcd

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FixedGearbox"]

_SHIFT_BITS = 2
"""Bits of a shift amount that one register stage shifts by: two LUT4 deep."""


class FixedGearbox(wiring.Component):
    """Fixed gearbox: bus words in, chunks of ``unit_bits`` out, without a gap between them.

    The newest words stand in one shift register that moves whole, so they cost no multiplexers. A
    chunk ends where the bits of the newest word that come after it begin: their number, a multiple
    of ``gcd(bus_bits, unit_bits)``, is what the chunk is shifted by, the coarse steps first, with
    registers behind every two. From chunk to chunk it changes by a constant, modulo a bus word, so
    nothing else has to be counted. A unit that is a multiple of the bus needs no shifter, and one
    that is equal passes through.

    One chunk or one word per cycle, whichever is less; full back-pressure. ``i.ready`` and the
    enables are one LUT of registers and ``o.ready``. Latency :py:`self.latency` cycles from the
    last word of a chunk. Twin: ``sw.golden.bus.BitQueue``.

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
    go : In(1)
        A chunk may leave the words; 1 if not connected. For a consumer that takes whatever comes:
        the shifter then runs free, and a chunk that has left is offered ``latency - 1`` cycles
        later.
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
                "go": In(1, init=1),
                "flush": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of the last word of a chunk until the chunk is offered."""
        if self._unit_bits == self._bus_bits:
            return 0
        return 1 + -(-self._shift_bits // _SHIFT_BITS)

    def elaborate(self, _platform: object) -> Module:
        """Build the words, their control and the shifter."""
        m = Module()
        bus, unit = self._bus_bits, self._unit_bits
        if unit == bus:
            m.d.comb += [
                self.o.payload.eq(self.i.payload),
                self.o.valid.eq(self.i.valid & self.go),
                self.i.ready.eq(self.o.ready & self.go),
            ]
            return m
        # The newest word is here. Three registers tell it, so that what each enable is made of is
        # one LUT: if synthesis saw that they are alike, it would make one enable of another.
        filled = Signal()
        empty = Signal(init=1)
        loaded = Signal()
        moves = Signal()
        goes = Signal()
        leaves = Signal()
        fills = Signal()
        newest = Signal(bus, reset_less=True)
        older = Signal(unit - self._grain, reset_less=True)
        m.d.comb += [
            goes.eq(moves & self.go),
            fills.eq(self.i.valid | (filled & ~leaves)),
            self.i.ready.eq(empty | leaves),
        ]
        m.d.sync += [
            filled.eq(fills & ~self.flush),
            empty.eq(~(fills & ~self.flush)),
            loaded.eq(fills),
        ]
        with m.If(self.flush):
            m.d.sync += loaded.eq(0)
        with m.If(~loaded | leaves):
            m.d.sync += newest.eq(self.i.payload)
        with m.If(filled & leaves):
            m.d.sync += older.eq(Cat(older, newest)[bus:])
        if unit < bus:
            ends = filled
            rest, last = self._count_chunks(m, filled & goes)
            m.d.comb += leaves.eq(last & goes)
        else:
            ends = Signal()
            rest = self._count_words(m, ends, leaves)
            m.d.comb += leaves.eq(~ends | goes)
        self._shift(m, Cat(older, newest), rest, ends & self.go, moves)
        return m

    def _phase(self, m: Module, step: Value, chunk: int) -> tuple[Signal, Value]:
        """Build the grains behind a chunk; also whether the chunk after the next needs a word more.

        After a flush it is chunk ``chunk`` of the stream.
        """
        drop = self._unit_bits % self._bus_bits // self._grain
        phases = self._bus_bits // self._grain
        rest = Signal(self._shift_bits, init=-drop * (chunk + 1) % phases)
        ahead = Signal(self._shift_bits, init=-drop * (chunk + 2) % phases)
        difference = Signal(signed(self._shift_bits + 1))
        m.d.comb += difference.eq(ahead - drop)
        with m.If(self.flush):
            m.d.sync += [rest.eq(rest.init), ahead.eq(ahead.init)]
        with m.Elif(step):
            m.d.sync += [rest.eq(ahead), ahead.eq(difference)]
        return rest, difference[-1]

    def _count_chunks(self, m: Module, step: Value) -> tuple[Signal, Signal]:
        """Count chunks shorter than a word; also whether the next one is the last of its word."""
        rest, wraps = self._phase(m, step, 0)
        last = Signal(init=rest.init < self._unit_bits // self._grain)
        with m.If(self.flush):
            m.d.sync += last.eq(last.init)
        with m.Elif(step):
            m.d.sync += last.eq(wraps)
        return rest, last

    def _count_words(self, m: Module, ends: Signal, leaves: Value) -> Signal:
        """Count words of chunks longer than one; ``ends``: a chunk ends in the newest word."""
        most = -(-self._unit_bits // self._bus_bits)
        # Words to come behind the next one until a chunk ends, minus one: negative if one ends.
        more = Signal(signed((most - 1).bit_length() + 1), init=most - 2)
        enters = Signal()
        m.d.comb += enters.eq(self.i.valid & self.i.ready)
        rest, wraps = self._phase(m, enters & more[-1], -1)
        few = self._unit_bits // self._bus_bits
        with m.If(self.flush):
            m.d.sync += [ends.eq(0), more.eq(more.init)]
        with m.Elif(enters):
            m.d.sync += [
                ends.eq(more[-1]),
                more.eq(Mux(more[-1], Mux(wraps, few - 1, few - 2), more - 1)),
            ]
        with m.Elif(leaves):
            m.d.sync += ends.eq(0)
        return rest

    def _shift(self, m: Module, bits: Value, rest: Signal, valid: Value, moves: Signal) -> None:
        """Shift out what follows the chunk. All registers move together."""
        amount: Value = ~rest
        left = self._shift_bits
        while left:
            stop = max(0, left - _SHIFT_BITS)
            for k in reversed(range(stop, left)):
                step = self._grain << k
                bits = Mux(amount[k], bits[step:], bits[:-step])
            held = Signal(len(bits), name=f"held_{stop}", reset_less=True)
            by = Signal(stop, name=f"by_{stop}", reset_less=True)
            full = Signal(name=f"full_{stop}")
            with m.If(moves):
                m.d.sync += [held.eq(bits), by.eq(amount[:stop]), full.eq(valid)]
            with m.If(self.flush):
                m.d.sync += full.eq(0)
            bits, amount, valid, left = held, by, full, stop
        m.d.comb += [
            self.o.payload.eq(bits),
            self.o.valid.eq(valid),
            moves.eq((~valid if self._shift_bits else 0) | self.o.ready),
        ]
