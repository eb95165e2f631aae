# SPDX-License-Identifier: Apache-2.0
"""AXI4 read master: descriptors in, bus words out."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import descriptor_layout, word_layout
from xorloom.hw.lib.ping_pong import PingPong
from xorloom.sw.base.errors import ConfigError

from .axi_burst import AxiBurst, burst_layout
from .byte_aligner import ByteAligner

__all__ = ["AxiReader"]

_INCR = 1  # Ref: ARM IHI 0022, A3.4.1 Burst type
_CACHE = 0b0011  # Ref: ARM IHI 0022, A4.4 Memory types: normal, non-cacheable, bufferable


class AxiReader(wiring.Component):
    """Read master: reads the memory that descriptors name, as whole bus words, in order.

    Bursts are issued ahead, also those of later descriptors, while earlier data arrive. One word
    per cycle; an address every two, where bursts may have more than one beat. The address channel
    and the words are registers; ``m_axi_rready`` is one gate behind registers and falls only if
    words are not taken.

    Parameters
    ----------
    bus_bits : int, 8 to 1024, a power of two
        Width of the data bus.
    address_bits : int, 12 to 64
        Width of an address.
    outstanding : int, at least 1
        Most bursts in flight, counting one that is being offered.
    max_burst : int, 1 to 256, a power of two
        Most beats of a burst.
    align_bytes : int, a power of two up to a bus word
        Every address is a multiple of it. If it is a whole bus word, no shifter is built.
    queue : int, at least 1
        Depth of the descriptor queue.

    Members
    -------
    descriptor : In(stream.Signature(descriptor_layout(address_bits)))
        In bytes; ``length`` is positive and a whole number of bus words. An address inside a word
        costs one more beat; no word is read that holds none of the descriptor's bytes.
    abort : In(1)
        Drop all descriptors, including one that is handed over in this cycle, and withdraw the
        word on offer. Bursts in flight are read to their end and discarded; then later descriptors
        begin.
    busy : Out(1)
        A descriptor, burst or word is queued, in flight or on offer.
    o : Out(stream.Signature(word_layout(bus_bits)))
        The words; ``last`` marks the last word of a descriptor, ``error`` is 0 for OKAY and EXOKAY.
    m_axi_ar*, m_axi_r*
        AXI4 read channels. All bursts have ID 0.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    def __init__(
        self,
        *,
        bus_bits: int,
        address_bits: int = 32,
        outstanding: int = 4,
        max_burst: int = 256,
        align_bytes: int = 1,
        queue: int = 4,
    ) -> None:
        for name, value in (("outstanding", outstanding), ("queue", queue)):
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}")
        self._bus_bits, self._address_bits = bus_bits, address_bits
        self._outstanding, self._queue = outstanding, queue
        self._align_bytes, self._max_burst = align_bytes, max_burst
        # One bit per burst in flight, counting the one on offer; the oldest is bit 0.
        self.flying = Signal(outstanding)
        self.bursts = AxiBurst(
            bus_bits=bus_bits,
            address_bits=address_bits,
            max_burst=max_burst,
            align_bytes=align_bytes,
        )
        # The ready of the address channel arrives late in the cycle, and goes no further than this.
        self.ahead = PingPong(burst_layout(address_bits, self.bursts.turn_bits))
        super().__init__(
            {
                "descriptor": In(stream.Signature(descriptor_layout(address_bits))),
                "abort": In(1),
                "busy": Out(1),
                "o": Out(stream.Signature(word_layout(bus_bits))),
                "m_axi_arid": Out(1),
                "m_axi_araddr": Out(address_bits),
                "m_axi_arlen": Out(8),
                "m_axi_arsize": Out(3),
                "m_axi_arburst": Out(2),
                "m_axi_arprot": Out(3),
                "m_axi_arcache": Out(4),
                "m_axi_arvalid": Out(1),
                "m_axi_arready": In(1),
                "m_axi_rid": In(1),
                "m_axi_rdata": In(bus_bits),
                "m_axi_rresp": In(2),
                "m_axi_rlast": In(1),
                "m_axi_rvalid": In(1),
                "m_axi_rready": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the queue, the address channel and the data channel."""
        m = Module()
        # While `drain` is 1, the bursts in flight belong to aborted descriptors.
        drain = Signal()
        stop = Signal()
        flying = self.flying
        issue = Signal()
        land = Signal()
        m.submodules.bursts = bursts = ResetInserter(stop)(self.bursts)
        queued = self._queue_descriptors(m, bursts, drain)
        fate = data.StructLayout({"turn": bursts.turn_bits, "final": 1})
        # What has to be known about a burst in flight when its beats arrive.
        fates = [
            Signal(fate, name=f"fate_{k}", reset_less=True) for k in range(self._outstanding + 1)
        ]
        ahead = self.ahead
        m.submodules.ahead = ResetInserter(stop)(ahead)
        wiring.connect(m, bursts.o, ahead.i)
        offered = Signal()
        # Whether the next burst may be issued. Bursts of two beats and more need not follow each
        # other without a cycle in between, so that it is known a cycle early.
        may = Signal()
        waits = offered & ~self.m_axi_arready
        if self._max_burst > 1:
            m.d.sync += may.eq(~issue & ~waits & ~(flying[-1] & ~land))
        else:
            m.d.comb += may.eq(~flying[-1] & ~waits)
        address = Signal(self._address_bits, reset_less=True)
        beats = Signal(8, reset_less=True)
        m.d.comb += [
            stop.eq(self.abort | drain),
            ahead.o.ready.eq(may),
            issue.eq(ahead.o.valid & ahead.o.ready & ~self.abort),
            land.eq(self.m_axi_rvalid & self.m_axi_rready & self.m_axi_rlast),
            self.m_axi_arvalid.eq(offered),
            self.m_axi_araddr.eq(address),
            self.m_axi_arlen.eq(beats),
            self.m_axi_arsize.eq((self._bus_bits // 8).bit_length() - 1),
            self.m_axi_arburst.eq(_INCR),
            self.m_axi_arcache.eq(_CACHE),
        ]
        m.d.sync += [
            drain.eq(stop & flying[0]),
            offered.eq(issue | waits),
        ]
        with m.If(ahead.o.ready):
            m.d.sync += [address.eq(ahead.o.p.address), beats.eq(ahead.o.p.beats)]
        # That a burst ends is known late.
        m.d.sync += flying.eq(
            Mux(land, Mux(issue, flying, flying >> 1), Mux(issue, flying << 1 | 1, flying))
        )
        for k in range(self._outstanding):
            # A free place takes the burst on offer, whether that is issued now or later.
            moved = Mux(land, fates[k + 1], fates[k])
            kept = Mux(land, (flying >> 1)[k], flying[k])
            m.d.sync += fates[k].eq(Mux(kept, moved, Cat(ahead.o.p.turn, ahead.o.p.final)))
        words_busy = self._pass_words(m, bursts.turn_bits, fates[0], stop, drain)
        m.d.comb += self.busy.eq(queued | bursts.busy | ahead.o.valid | flying[0] | words_busy)
        return m

    def _queue_descriptors(self, m: Module, bursts: Any, drain: Signal) -> Value:
        """Put the queue in front of ``bursts``; return a flag: it holds a descriptor."""
        word_bits = (self._bus_bits // 8).bit_length() - 1
        align_bits = self._align_bytes.bit_length() - 1
        # Address and length bits that are always 0 are not stored.
        kept = data.StructLayout(
            {"address": self._address_bits - align_bits, "length": 32 - word_bits}
        )
        m.submodules.queue = queue = ResetInserter(self.abort)(
            fifo.SyncFIFOBuffered(width=kept.size, depth=self._queue)
        )
        into = Signal(kept)
        out = Signal(kept)
        m.d.comb += [
            into.address.eq(self.descriptor.p.address >> align_bits),
            into.length.eq(self.descriptor.p.length >> word_bits),
            queue.w_data.eq(into),
            queue.w_en.eq(self.descriptor.valid),
            self.descriptor.ready.eq(queue.w_rdy),
            out.eq(queue.r_data),
            bursts.i.p.address.eq(out.address << align_bits),
            bursts.i.p.length.eq(out.length << word_bits),
            bursts.i.valid.eq(queue.r_rdy & ~drain),
            queue.r_en.eq(bursts.i.ready & ~drain),
        ]
        return queue.level.any()

    def _pass_words(
        self, m: Module, turn_bits: int, fate: data.View, stop: Signal, drain: Signal
    ) -> Value:
        """Build the path of the data beats; return a flag: it holds one."""
        m.submodules.out = out = ResetInserter(stop)(PingPong(word_layout(self._bus_bits)))
        wiring.connect(m, out.o, wiring.flipped(self.o))
        last = Signal()
        into, busy = out.i, out.o.valid
        if turn_bits:
            m.submodules.aligner = aligner = ResetInserter(stop)(
                ByteAligner(bus_bits=self._bus_bits, turn_bits=turn_bits)
            )
            wiring.connect(m, aligner.o, out.i)
            into, busy = aligner.i, out.o.valid | aligner.busy
            first = Signal(init=1)
            with m.If(stop):
                m.d.sync += first.eq(1)
            with m.Elif(self.m_axi_rvalid & self.m_axi_rready):
                m.d.sync += first.eq(last)
            m.d.comb += [into.p.first.eq(first), into.p.turn.eq(fate.turn)]
        m.d.comb += [
            last.eq(self.m_axi_rlast & fate.final),
            self.m_axi_rready.eq(into.ready | drain),
            into.valid.eq(self.m_axi_rvalid & ~drain),
            into.p.data.eq(self.m_axi_rdata),
            into.p.last.eq(last),
            # The lower bit alone is EXOKAY, which is no error.
            into.p.error.eq(Mux(self.m_axi_rresp[1], self.m_axi_rresp, 0)),
        ]
        return busy
