# SPDX-License-Identifier: Apache-2.0
"""Reader of an index: feeds the words of packets to a core and counts its masks."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.countdown import Countdown
from xorloom.hw.lib.fixed_gearbox import FixedGearbox
from xorloom.hw.lib.payloads import packet_layout
from xorloom.sw.spec.layout import COUNT_OFFSET_BITS

__all__ = ["IndexReader"]

_FREE_STAGES = 2
"""Most stages of a gearbox that runs free: what a queue of 16 masks takes without a gap."""


class IndexReader(wiring.Component):
    """Index reader: packets in, chunks or bus words for an index core out.

    The words of a packet are followed by zeros without end, until the core has made as many masks
    as the count asks for. So a last mask is filled up, and no count, however wrong, makes the core
    wait for ever. Further masks of the core have to be dropped, and an item that it has not taken
    by then is withdrawn. When the core is empty it is cleared, and the next packet begins. Bus
    words pass in the same cycle; a chunk follows its last word by the latency of
    :class:`xorloom.hw.lib.fixed_gearbox.FixedGearbox`. One item per cycle. ``i.ready`` is two LUTs
    behind registers and the ready of the core.

    ======  ============================  ================================  =======================
    state   accepted                      offered to the core               next
    ======  ============================  ================================  =======================
    head    the opening mark              nothing                           settle
    settle  nothing, for three cycles     nothing                           words; ``live`` rises
                                                                            if the count is not 0
    words   words and the closing mark,   the words, while ``live``         end, with the closing
            as the core takes words; if                                     mark
            not ``live``: dropped
    end     nothing                       zeros, while ``live``             head, with ``clear``,
                                                                            when the core is empty
    ======  ============================  ================================  =======================

    ``live`` falls when the last mask is taken, in words or in end. The core is empty when
    ``drain_cycles + 1`` cycles have passed after that; a core of chunks must also offer nothing.
    It is cleared in the second cycle after those.

    Parameters
    ----------
    bus_bits : int
        Width of a bus word.
    unit : int
        How much of the count of a packet one mask covers.
    chunk_bits : int, optional
        Width of a chunk; None if the core takes bus words.
    drain_cycles : int
        Most cycles for which the core, without input, can hold something and offer nothing.
    free : bool
        Whether the core runs free: it takes every chunk, and ``o.ready`` is the credit for more.

    Members
    -------
    i : In(stream.Signature(packet_layout(bus_bits)))
        Packets, back to back.
    o : Out(stream.Signature(chunk_bits or bus_bits))
        Input of the core.
    clear : Out(1)
        Clears the core.
    live : Out(1)
        Masks of the core are valid; otherwise they have to be dropped.
    last : Out(1)
        The next mask of the core is the last of the packet.
    offered : In(1)
        The core offers a mask.
    taken : In(1)
        A live mask is taken.
    idle : Out(1)
        Between packets; the core is empty.
    """

    def __init__(
        self,
        *,
        bus_bits: int,
        unit: int,
        chunk_bits: int | None = None,
        drain_cycles: int,
        free: bool = False,
    ) -> None:
        self._bus_bits, self._unit, self._chunk_bits = bus_bits, unit, chunk_bits
        self._drain, self._free = drain_cycles, free
        if chunk_bits is not None:
            self._gearbox = FixedGearbox(bus_bits=bus_bits, unit_bits=chunk_bits)
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

    @property
    def slack(self) -> int:
        """Chunks that may come after ``o.ready`` fell, if the core runs free.

        Those in the shifter of the gearbox; but one of many stages holds its chunks instead.
        """
        stages = max(0, self._gearbox.latency - 1)
        return stages if stages <= _FREE_STAGES else 0

    def elaborate(self, _platform: object) -> Module:
        """Build the state, the counter of masks and the gearbox."""
        m = Module()
        bus = self._bus_bits
        m.submodules.beats = beats = Countdown(unit=self._unit)
        # One-hot state, as in the table above; `live`: see there.
        head = Signal(init=1)
        settle = Signal(3)
        words = Signal()
        end = Signal()
        live = Signal()
        drops = Signal()  # in words, and not live
        opens = Signal()
        closes = Signal()
        waits = Signal()
        quiet = Signal(self._drain + 1)  # the last one is `clear`
        feed = stream.Signature(bus).create()
        # A core of bus words may offer meaningless masks for ever; it can be cleared even so.
        busy = self.offered if self._chunk_bits is not None else 0
        m.d.comb += [
            self.i.ready.eq(head | drops | (words & feed.ready)),
            feed.valid.eq(live & (end | (words & self.i.valid & ~self.i.p.mark))),
            feed.payload.eq(self.i.p.data & ~end.replicate(bus)),
            self.live.eq(live),
            self.last.eq(beats.last),
            self.idle.eq(head),
            beats.load.eq(head),
            beats.start.eq(opens),
            beats.count.eq(self.i.p.data[COUNT_OFFSET_BITS % bus :][:32]),
            beats.step.eq(self.taken),
            opens.eq(head & self.i.valid),
            closes.eq(words & self.i.valid & self.i.ready & self.i.p.mark),
            self.clear.eq(quiet[-1]),
        ]
        m.d.sync += [
            head.eq((head & ~opens) | self.clear),
            settle.eq(settle << 1 | opens),
            words.eq(settle[2] | (words & ~closes)),
            drops.eq(words & ~live & ~closes),
            live.eq((settle[2] & ~beats.none) | (live & ~(self.taken & beats.last))),
            end.eq(closes | (end & ~self.clear)),
            waits.eq(end & ~live & ~busy & ~self.clear),
            quiet.eq(Cat(1, quiet) & (waits & ~self.clear).replicate(len(quiet))),
        ]
        if self._chunk_bits is None:
            m.d.comb += [
                self.o.valid.eq(feed.valid),
                self.o.payload.eq(feed.payload),
                feed.ready.eq(self.o.ready),
            ]
            return m
        m.submodules.gearbox = gearbox = self._gearbox
        wiring.connect(m, feed, gearbox.i)
        leaves: Value = Const(1)
        if not self._free:
            m.d.comb += gearbox.o.ready.eq(self.o.ready)
        elif self.slack:
            m.d.comb += [gearbox.go.eq(self.o.ready), gearbox.o.ready.eq(1)]
        else:
            m.d.comb += gearbox.o.ready.eq(self.o.ready)
            leaves = self.o.ready
        m.d.comb += [
            gearbox.flush.eq(self.clear),
            self.o.valid.eq(gearbox.o.valid & live & leaves),
            self.o.payload.eq(gearbox.o.payload),
        ]
        return m
