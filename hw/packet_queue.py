# SPDX-License-Identifier: Apache-2.0
"""A queue between streams."""

from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PacketQueue"]


class PacketQueue(wiring.Component):
    """First in, first out. Latency two cycles, one item a cycle; the memory reads synchronously.

    ``i.ready`` is a register, and falls when there is room for two more.

    Parameters
    ----------
    shape : Layout or Shape
    depth : int, 4 or more

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
        ready = Signal()
        # An item may be on its way into the queue when its level is looked at.
        m.d.sync += ready.eq(queue.level <= self._depth - 3)
        m.d.comb += [
            queue.w_data.eq(item),
            queue.w_en.eq(self.i.valid & ready),
            self.i.ready.eq(ready),
            Value.cast(self.o.payload).eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        return m
