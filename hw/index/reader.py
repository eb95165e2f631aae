# SPDX-License-Identifier: Apache-2.0
"""Takes packets of an index: words to a core, beats counted."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.countdown import Countdown
from xorloom.hw.lib.gearbox import Gearbox
from xorloom.hw.lib.payloads import packet_layout
from xorloom.hw.lib.skid_buffer import SkidBuffer
from xorloom.sw.spec.layout import COUNT_OFFSET_BITS

__all__ = ["IndexReader"]


class IndexReader(wiring.Component):
    """Bus words of packets to what an index core takes: chunks or bus words.

    After a packet's words come zeros without end, until the core has made the beats that the count
    asks for: a last beat is filled up, and no count, however wrong, makes the core wait. What it
    makes beyond that is to be thrown away; an item that it has not taken by then is withdrawn. When
    all has left the core it is cleared, and the next packet begins.

    Parameters
    ----------
    bus_bits : int
    unit : int
        What the count has a beat.
    chunk_bits : int, optional
        Bits of a chunk; without, bus words are handed on as they are.
    drain_cycles : int
        Most cycles without a beat in which the core still holds something, when it gets no more.

    Members
    -------
    i : In(stream.Signature(packet_layout(bus_bits)))
        Packets, back to back.
    o : Out(stream.Signature(chunk_bits or bus_bits))
        The core's input.
    clear : Out(1)
        The core's.
    live : Out(1)
        The core's beats count; else they are to be dropped.
    last : Out(1)
        The core's next beat is the packet's last.
    offered : In(1)
        The core offers a beat.
    taken : In(1)
        A live beat is taken.
    idle : Out(1)
        Between packets; the core is empty.
    """

    def __init__(
        self, *, bus_bits: int, unit: int, chunk_bits: int | None = None, drain_cycles: int
    ) -> None:
        self._bus_bits, self._unit, self._chunk_bits = bus_bits, unit, chunk_bits
        self._drain = drain_cycles
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(bus_bits))),
                "o": Out(stream.Signature(chunk_bits or bus_bits)),
                "clear": Out(1),
                "live": Out(1),
                "last": Out(1),
                "offered": In(1),
                "taken": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build framing, counters and gearbox."""
        m = Module()
        bus = self._bus_bits
        m.submodules.beats = beats = Countdown(unit=self._unit)
        # One-hot: the count, three cycles in which it settles, words, the end.
        head = Signal(init=1)
        settle = Signal(3)
        words, end = Signal(), Signal()
        live, fill = Signal(), Signal()
        opens, closes = Signal(), Signal()
        quiet = Signal(self._drain + 1)
        feed = stream.Signature(bus).create()
        # A core of bus words may offer meaningless beats for ever, and can be cleared meanwhile.
        busy = self.offered if self._chunk_bits is not None else 0
        m.d.comb += [
            self.i.ready.eq(head | (words & (feed.ready | ~live | self.i.p.mark))),
            feed.valid.eq(live & (fill | (words & self.i.valid & ~self.i.p.mark))),
            feed.payload.eq(Mux(fill, 0, self.i.p.data)),
            self.live.eq(live),
            self.last.eq(beats.last),
            self.idle.eq(head),
            beats.load.eq(opens),
            beats.count.eq(self.i.p.data[COUNT_OFFSET_BITS % bus :][:32]),
            beats.step.eq(self.taken),
            opens.eq(head & self.i.valid),
            closes.eq(words & self.i.valid & self.i.p.mark),
            self.clear.eq(end & quiet[-1]),
        ]
        m.d.sync += [
            head.eq((head & ~opens) | self.clear),
            settle.eq(settle << 1 | opens),
            words.eq(settle[2] | (words & ~closes)),
            fill.eq((fill & ~self.clear) | closes),
            live.eq((settle[2] & ~beats.none) | (live & ~(self.taken & beats.last))),
            end.eq(closes | (end & ~self.clear)),
            quiet.eq(Mux(live | self.clear | ~end | busy, 0, quiet << 1 | 1)),
        ]
        if self._chunk_bits is None:
            m.d.comb += [
                self.o.valid.eq(feed.valid),
                self.o.payload.eq(feed.payload),
                feed.ready.eq(self.o.ready),
            ]
            return m
        m.submodules.gearbox = gearbox = Gearbox(
            bus_bits=bus,
            unit_bits=self._chunk_bits,
            look_bits=self._chunk_bits,
            enough_bits=self._chunk_bits,
        )
        # The core's ready comes late, and must not reach the gearbox.
        skid = SkidBuffer(unsigned(self._chunk_bits))
        m.submodules.skid = ResetInserter({"sync": self.clear})(skid)
        wiring.connect(m, feed, gearbox.i)
        m.d.comb += [
            skid.i.valid.eq(gearbox.enough & live),
            skid.i.payload.eq(gearbox.o),
            gearbox.take.eq(self._chunk_bits // gearbox.grain),
            gearbox.go.eq(skid.i.valid & skid.i.ready),
            gearbox.flush.eq(self.clear),
            self.o.valid.eq(skid.o.valid & live),
            self.o.payload.eq(skid.o.payload),
            skid.o.ready.eq(self.o.ready),
        ]
        return m
