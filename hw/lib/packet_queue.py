# SPDX-License-Identifier: Apache-2.0
"""Stream FIFO in memory with registers at both ends."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .ping_pong import PingPong

__all__ = ["PacketQueue"]


class PacketQueue(wiring.Component):
    """Packet queue: a stream FIFO. Latency four cycles, one item per cycle, full back-pressure.

    The memory has a synchronous read port. ``i.ready`` is a register: it falls while there is
    still room for the three items that can be on their way. No register at the memory is enabled
    by ``o.ready``; whether it holds items is a register as well, two LUTs behind others.

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
        """Build memory, pointers and counts."""
        m = Module()
        depth = self._depth
        item = Signal(len(Value.cast(self.i.payload)), reset_less=True)
        m.submodules.words = words = memory.Memory(shape=unsigned(len(item)), depth=depth, init=[])
        write = words.write_port()
        read = words.read_port()
        m.submodules.out = out = PingPong(self._shape)
        puts = Signal()
        takes = Signal()
        moves = Signal()
        loaded = Signal()  # the register of the read port holds an item
        some = Signal()  # the memory holds items
        level = Signal(range(depth + 1))  # how many
        ready = Signal()
        write_at = Signal(range(depth))
        read_at = Signal(range(depth))
        m.d.comb += [
            self.i.ready.eq(ready),
            moves.eq(~loaded | out.i.ready),
            takes.eq(some & moves),
            write.data.eq(item),
            write.en.eq(puts),
            write.addr.eq(write_at),
            read.en.eq(moves),
            read.addr.eq(read_at),
            Value.cast(out.i.payload).eq(read.data),
            out.i.valid.eq(loaded),
        ]
        m.d.sync += [
            item.eq(self.i.payload),
            puts.eq(self.i.valid & ready),
            loaded.eq(takes | (loaded & ~out.i.ready)),
            some.eq(puts | level[1:].any() | (some & ~moves)),
            # Two items may come in before this is seen, and one with it.
            ready.eq(level <= depth - 4),
        ]
        with m.If(puts ^ takes):
            m.d.sync += level.eq(level + Mux(puts, 1, -1))
        for at, steps in ((write_at, puts), (read_at, takes)):
            with m.If(steps):
                m.d.sync += at.eq(Mux(at == depth - 1, 0, at + 1))
        wiring.connect(m, out.o, wiring.flipped(self.o))
        return m
