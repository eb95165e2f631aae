# SPDX-License-Identifier: Apache-2.0
"""Frames index memory streams: header and CRC off, payload to a core, beats counted."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.layout import COUNT_OFFSET_BITS, HEADER_BYTES, WORDS_OFFSET_BITS, padded

from .countdown import Countdown
from .gearbox import Gearbox

__all__ = ["IndexReader"]


class IndexReader(wiring.Component):
    """Bus words of memory streams to what an index core takes: chunks or bus words.

    After the payload come zeros without end, until the core has made the beats that the header's
    count asks for: a last beat is filled up, and no header, however wrong, makes the core wait.
    What it makes beyond that is to be thrown away; an item that it has not taken by then is
    withdrawn. When all has left the core it is cleared, and the next stream begins.

    Parameters
    ----------
    bus_bits : int
    n_out : int
        Mask bits a beat.
    chunk_bits : int, optional
        Bits of a chunk; without, bus words are handed on as they are.
    drain_cycles : int
        Most cycles without a beat in which the core still holds something, when it gets no more.

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams, header to CRC, back to back.
    o : Out(stream.Signature(chunk_bits or bus_bits))
        The core's input.
    clear : Out(1)
        The core's.
    live : Out(1)
        The core's beats count; else they are to be dropped.
    last : Out(1)
        The core's next beat is the stream's last.
    offered : In(1)
        The core offers a beat.
    taken : In(1)
        A live beat is taken.
    """

    def __init__(
        self, *, bus_bits: int, n_out: int, chunk_bits: int | None = None, drain_cycles: int
    ) -> None:
        self._bus_bits, self._n_out, self._chunk_bits = bus_bits, n_out, chunk_bits
        self._drain = drain_cycles
        super().__init__(
            {
                "i": In(stream.Signature(bus_bits)),
                "o": Out(stream.Signature(chunk_bits or bus_bits)),
                "clear": Out(1),
                "live": Out(1),
                "last": Out(1),
                "offered": In(1),
                "taken": In(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build framing, counters and gearbox."""
        m = Module()
        bus = self._bus_bits
        m.submodules.beats = beats = Countdown(unit=self._n_out)
        m.submodules.words = words = Countdown(unit=1)
        header = padded(HEADER_BYTES, bus // 8) * 8 // bus
        # One-hot: header words, three cycles in which the counts settle, payload, CRC, the end.
        head = Signal(header, init=1)
        settle = Signal(3)
        payload, crc, end = Signal(), Signal(), Signal()
        live, fill = Signal(), Signal()
        goes, enters, closes = Signal(), Signal(), Signal()
        quiet = Signal(self._drain + 1)
        feed = stream.Signature(bus).create()
        # A core of bus words may offer meaningless beats for ever, and can be cleared meanwhile.
        busy = self.offered if self._chunk_bits is not None else 0
        m.d.comb += [
            goes.eq(self.i.valid & self.i.ready),
            self.i.ready.eq(head.any() | crc | (payload & (feed.ready | ~live))),
            feed.valid.eq(live & (fill | (payload & self.i.valid))),
            feed.payload.eq(Mux(fill, 0, self.i.payload)),
            self.live.eq(live),
            self.last.eq(beats.last),
            beats.load.eq(goes & head[COUNT_OFFSET_BITS // bus]),
            beats.count.eq(self.i.payload[COUNT_OFFSET_BITS % bus :][:32]),
            beats.step.eq(self.taken),
            words.load.eq(goes & head[WORDS_OFFSET_BITS // bus]),
            words.count.eq(self.i.payload[WORDS_OFFSET_BITS % bus :][:32]),
            words.step.eq(payload & goes),
            enters.eq(goes & head[-1]),
            closes.eq(payload & goes & words.last),
            self.clear.eq(end & quiet[-1]),
        ]
        m.d.sync += [
            settle.eq(settle << 1 | enters),
            payload.eq((settle[2] & ~words.none) | (payload & ~closes)),
            crc.eq((settle[2] & words.none) | closes | (crc & ~goes)),
            fill.eq((fill & ~self.clear) | (settle[2] & words.none) | closes),
            live.eq((settle[2] & ~beats.none) | (live & ~(self.taken & beats.last))),
            end.eq((crc & goes) | (end & ~self.clear)),
            quiet.eq(Mux(live | self.clear | ~end | busy, 0, quiet << 1 | 1)),
        ]
        with m.If(goes | self.clear):
            m.d.sync += head.eq(head << 1 | self.clear)
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
        wiring.connect(m, feed, gearbox.i)
        m.d.comb += [
            self.o.valid.eq(gearbox.enough & live),
            self.o.payload.eq(gearbox.o),
            gearbox.take.eq(self._chunk_bits // gearbox.grain),
            gearbox.go.eq(self.o.valid & self.o.ready),
            gearbox.flush.eq(self.clear),
        ]
        return m
