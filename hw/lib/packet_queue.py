# SPDX-License-Identifier: Apache-2.0
"""Stream FIFO in memory with registers at both ends."""

from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .ping_pong import PingPong

__all__ = ["PacketQueue"]


class PacketQueue(wiring.Component):
    """Packet queue: a stream FIFO. Latency four cycles, one item per cycle, full back-pressure.

    The memory has a synchronous read port. ``i.ready`` is a register: it falls while there is
    still room for the three items that can be on their way. No register at the memory is enabled
    by ``o.ready``.

    Parameters
    ----------
    shape : Layout or Shape
        Payload.
    depth : int, 5 or more
        Items that the memory holds.

    Members
    -------
    i : In(stream.Signature(shape))
        Items in.
    o : Out(stream.Signature(shape))
        The same items, in order.
    """

    def __init__(self, shape: data.Layout | Shape, depth: int) -> None:
        self._shape, self._depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, _platform: object) -> Module:
        """Put registers around Amaranth's FIFO."""
        m = Module()
        item = Signal(len(Value.cast(self.i.payload)), reset_less=True)
        puts = Signal()
        ready = Signal()
        m.submodules.fifo = queue = fifo.SyncFIFOBuffered(width=len(item), depth=self._depth)
        m.submodules.out = out = PingPong(self._shape)
        m.d.sync += [
            item.eq(self.i.payload),
            puts.eq(self.i.valid & ready),
            ready.eq(queue.level <= self._depth - 4),
        ]
        m.d.comb += [
            queue.w_data.eq(item),
            queue.w_en.eq(puts),
            self.i.ready.eq(ready),
            Value.cast(out.i.payload).eq(queue.r_data),
            out.i.valid.eq(queue.r_rdy),
            queue.r_en.eq(out.i.ready),
        ]
        wiring.connect(m, out.o, wiring.flipped(self.o))
        return m
