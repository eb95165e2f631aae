# SPDX-License-Identifier: Apache-2.0
"""Makes packets of memory streams that hold one string: header and CRC off."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.layout import COUNT_OFFSET_BITS, HEADER_BYTES, WORDS_OFFSET_BITS, padded

from .countdown import Countdown
from .ping_pong import PingPong
from .signatures import packet_layout

__all__ = ["FrameReader"]


class FrameReader(wiring.Component):
    """Memory streams, back to back, to packets. Nothing but count and length is looked at.

    The header's word with the count becomes the opening mark, the CRC word the closing one.
    Latency one cycle; three cycles pass after a header, while the length settles.

    Parameters
    ----------
    bus_bits : int

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams as ``FORMAT.md`` tells, header to CRC.
    o : Out(stream.Signature(packet_layout(bus_bits)))
    """

    def __init__(self, bus_bits: int) -> None:
        self._bus_bits = bus_bits
        super().__init__(
            {
                "i": In(stream.Signature(bus_bits)),
                "o": Out(stream.Signature(packet_layout(bus_bits))),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build framing and counter."""
        m = Module()
        bus = self._bus_bits
        m.submodules.words = words = Countdown(unit=1)
        # One-hot: header words, three cycles in which the length settles, payload, CRC.
        head = Signal(padded(HEADER_BYTES, bus // 8) * 8 // bus, init=1)
        settle = Signal(3)
        payload, crc = Signal(), Signal()
        opens, goes, closes = Signal(), Signal(), Signal()
        count = Cat(self.i.payload[COUNT_OFFSET_BITS % bus :][:32], Const(0, bus - 32))
        m.submodules.out = out = PingPong(self.o.payload.shape())
        wiring.connect(m, out.o, wiring.flipped(self.o))
        m.d.comb += [
            opens.eq(head[COUNT_OFFSET_BITS // bus]),
            out.i.valid.eq(self.i.valid & (opens | payload | crc)),
            out.i.p.data.eq(Mux(opens, count, self.i.payload)),
            out.i.p.mark.eq(~payload),
            self.i.ready.eq(Mux(opens | payload | crc, out.i.ready, head.any())),
            goes.eq(self.i.valid & self.i.ready),
            words.load.eq(goes & head[WORDS_OFFSET_BITS // bus]),
            words.count.eq(self.i.payload[WORDS_OFFSET_BITS % bus :][:32]),
            words.step.eq(payload & goes),
            closes.eq(words.step & words.last),
        ]
        m.d.sync += [
            settle.eq(settle << 1 | (goes & head[-1])),
            payload.eq((settle[2] & ~words.none) | (payload & ~closes)),
            crc.eq((settle[2] & words.none) | closes | (crc & ~goes)),
        ]
        with m.If(goes & (head.any() | crc)):
            m.d.sync += head.eq(head << 1 | crc)
        return m
