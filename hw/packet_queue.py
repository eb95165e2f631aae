# SPDX-License-Identifier: Apache-2.0
"""A queue between streams."""

from amaranth.hdl import Module, Shape, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PacketQueue"]


class PacketQueue(wiring.Component):
    """First in, first out. Latency two cycles, one item a cycle; the memory reads synchronously.

    Parameters
    ----------
    shape : Layout or Shape
    depth : int

    Members
    -------
    i : In(stream.Signature(shape))
    o : Out(stream.Signature(shape))
    """

    def __init__(self, shape: data.Layout | Shape, depth: int) -> None:
        self._depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, _platform: object) -> Module:
        """Put streams around the library's FIFO."""
        m = Module()
        item = Value.cast(self.i.payload)
        m.submodules.fifo = queue = fifo.SyncFIFOBuffered(width=len(item), depth=self._depth)
        m.d.comb += [
            queue.w_data.eq(item),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            Value.cast(self.o.payload).eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        return m
