# SPDX-License-Identifier: Apache-2.0
"""Two-entry buffer that cuts the ready path of a stream."""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SkidBuffer"]


class SkidBuffer(wiring.Component):
    """Skid buffer: two entries; ``i.ready`` is a register. Latency one cycle, one item per cycle.

    ``o.payload`` is a register. See :class:`xorloom.hw.lib.ping_pong.PingPong` for wide payloads.

    Parameters
    ----------
    shape : Layout or Shape
        Payload.

    Members
    -------
    i : In(stream.Signature(shape))
        Items in.
    o : Out(stream.Signature(shape))
        The same items, in order.
    """

    def __init__(self, shape: data.Layout | Shape) -> None:
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, _platform: object) -> Module:
        """Build the buffer."""
        m = Module()
        valid = Signal()
        spare_valid = Signal()
        held = Signal(self._shape, reset_less=True)
        spare = Signal(self._shape, reset_less=True)
        moves = Signal()
        m.d.comb += [
            moves.eq(~valid | self.o.ready),
            self.i.ready.eq(~spare_valid),
            self.o.valid.eq(valid),
            self.o.payload.eq(held),
        ]
        with m.If(moves):
            m.d.sync += [
                valid.eq(spare_valid | self.i.valid),
                spare_valid.eq(0),
                held.eq(Mux(spare_valid, spare, self.i.payload)),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += spare_valid.eq(1)
        with m.If(~spare_valid):
            m.d.sync += spare.eq(self.i.payload)
        return m
