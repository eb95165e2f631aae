# SPDX-License-Identifier: Apache-2.0
"""Takes header and CRC off memory streams that hold one string, and makes packets of them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.layout import COUNT_OFFSET_BITS, HEADER_BYTES, WORDS_OFFSET_BITS, padded

from .countdown import Countdown
from .payloads import packet_layout
from .ping_pong import PingPong

__all__ = ["Deframer"]


class Deframer(wiring.Component):
    """Deframer: memory streams, back to back, in; packets out.

    The header word with the count becomes the opening mark of a packet, the CRC word its closing
    mark. Only the count and the number of payload words are read; nothing is checked. Latency none,
    with ``cut`` one cycle; one word per cycle, but for two idle cycles after each header. Full
    back-pressure.
    Twin: ``sw.golden.bus.payload``.

    Parameters
    ----------
    bus_bits : int
        Width of a bus word.
    cut : bool
        Whether ``i.ready`` does not depend on ``o.ready``: a LUT for every bit of a word, for
        consumers whose ``ready`` comes late.
    loads : bool
        With ``cut``: the buffer loads whatever stands at ``i``, valid or not, so that ``i.valid``
        enables nothing wide. For consumers that keep nothing of words that are not valid.

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams from header to CRC; see ``FORMAT.md``.
    o : Out(stream.Signature(packet_layout(bus_bits)))
        Packets; see :func:`xorloom.hw.lib.payloads.packet_layout`.
    """

    def __init__(self, bus_bits: int, *, cut: bool, loads: bool = False) -> None:
        self._bus_bits, self._cut, self._loads = bus_bits, cut, loads
        super().__init__(
            {
                "i": In(stream.Signature(bus_bits)),
                "o": Out(stream.Signature(packet_layout(bus_bits))),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the state, one-hot, and the counter of payload words."""
        m = Module()
        bus = self._bus_bits
        m.submodules.words = words = Countdown(unit=1)
        # One-hot state: header words, cycles in which the number of payload words settles, payload
        # words, CRC word.
        # The last of the header's words has their number.
        head = Signal(padded(HEADER_BYTES, bus // 8) * 8 // bus, init=1)
        settle = Signal(2)
        payload = Signal()
        crc = Signal()
        opens = Signal()
        goes = Signal()
        closes = Signal()
        offer = stream.Signature(self.o.payload.shape()).create()
        self._hold(m, offer)
        m.d.comb += [
            offer.valid.eq(self.i.valid & (opens | payload | crc)),
            offer.p.data.eq(self.i.payload),
            offer.p.mark.eq(~payload),
            opens.eq(head[COUNT_OFFSET_BITS // bus]),
            self.i.ready.eq(Mux(opens | payload | crc, offer.ready, head.any())),
            goes.eq(self.i.valid & self.i.ready),
            words.load.eq(head[WORDS_OFFSET_BITS // bus]),
            words.start.eq(goes & head[-1]),
            words.count.eq(self.i.payload[WORDS_OFFSET_BITS % bus :][:32]),
            words.step.eq(payload & goes),
            closes.eq(words.step & words.last),
        ]
        m.d.sync += [
            settle.eq(settle << 1 | (goes & head[-1])),
            payload.eq((settle[1] & ~words.empty) | (payload & ~closes)),
            crc.eq((settle[1] & words.empty) | closes | (crc & ~goes)),
        ]
        with m.If(goes & (head.any() | crc)):
            m.d.sync += head.eq(head << 1 | crc)
        return m

    def _hold(self, m: Module, offer: stream.Interface) -> None:
        """Build the output's buffer, if there is one."""
        if self._cut:
            m.submodules.out = out = PingPong(self.o.payload.shape(), clears=not self._loads)
            wiring.connect(m, offer, out.i)
            wiring.connect(m, out.o, wiring.flipped(self.o))
            return
        wiring.connect(m, offer, wiring.flipped(self.o))
