# SPDX-License-Identifier: Apache-2.0
"""Dense baseline: ``planes + 1`` bits per weight."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring

from .common import BaselineDecoder, BaselineReader

__all__ = ["BaselineDense"]


class BaselineDense(BaselineDecoder):
    """Dense baseline: a plain gearbox from bus words to slices; one word per cycle.

    Of the bits of a weight the first says that it is kept, the others are its code.

    Parameters, members and twin: see :class:`xorloom.hw.baselines.common.BaselineDecoder`.
    """

    def elaborate(self, _platform: object) -> Module:
        """Build a shift register of words."""
        m = Module()
        bits = self._planes + 1
        m.submodules.reader = reader = BaselineReader(bus_bits=self._bus_bits, n_out=self._n_out)
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        beat = Signal(self._n_out * bits, reset_less=True)
        # A one moves along with the words; with the last word the beat is whole.
        places = len(beat) // self._bus_bits
        place = Signal(places, init=1)
        whole = Signal()
        last = Signal()
        enters = Signal()
        closes = Signal()
        m.d.comb += [
            reader.o.ready.eq(~whole | (self.o.ready & ~last)),
            enters.eq(reader.o.valid & reader.o.ready),
            closes.eq(enters & place[-1]),
            reader.step.eq(closes),
            reader.done.eq(whole & self.o.ready & last),
            self.o.valid.eq(whole),
            self.o.p.last.eq(last),
            self.o.p.mask.eq(Cat(beat[n * bits] for n in range(self._n_out))),
            self.o.p.codes.eq(Cat(beat[n * bits + 1 :][: bits - 1] for n in range(self._n_out))),
        ]
        m.d.sync += whole.eq(closes | (whole & ~self.o.ready))
        with m.If(enters):
            m.d.sync += [
                beat.eq(Cat(beat, reader.o.payload)[self._bus_bits :]),
                place.eq(place.rotate_left(1)),
            ]
        with m.If(closes):
            m.d.sync += last.eq(reader.last)
        with m.Elif(self.o.ready):
            m.d.sync += last.eq(0)
        return m
