# SPDX-License-Identifier: Apache-2.0
"""Baseline: dense codes, ``planes + 1`` bits a weight."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring

from .common import BaselineReader, baseline_members

__all__ = ["BaselineDense"]


class BaselineDense(wiring.Component):
    """Plain gearbox: bus words in, slices out; a word every cycle.

    Of a weight's bits the first says that it is kept, the others are its code.
    Twin: ``sim.bench.baselines.streams``.

    Parameters
    ----------
    bus_bits, n_out, planes : int

    Members
    -------
    i : In(stream.Signature(word_layout(bus_bits)))
        Baseline streams, back to back.
    o : Out(stream.Signature(baseline_layout(n_out, planes)))
    """

    def __init__(self, *, bus_bits: int, n_out: int, planes: int) -> None:
        self._bus_bits, self._n_out, self._planes = bus_bits, n_out, planes
        super().__init__(baseline_members(bus_bits, n_out, planes))

    def elaborate(self, _platform: object) -> Module:
        """Build a shift register of words."""
        m = Module()
        bits = self._planes + 1
        m.submodules.reader = reader = BaselineReader(bus_bits=self._bus_bits, n_out=self._n_out)
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        beat = Signal(self._n_out * bits, reset_less=True)
        # A one moves along with the words; when it is out, the beat is whole.
        places = len(beat) // self._bus_bits
        place = Signal(places, init=1)
        whole, last = Signal(), Signal()
        enters, closes = Signal(), Signal()
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
