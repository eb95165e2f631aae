# SPDX-License-Identifier: Apache-2.0
"""Reader of the direct codec: levels and chunks out of packets."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.countdown import Countdown
from xorloom.hw.lib.fixed_gearbox import FixedGearbox
from xorloom.hw.lib.payloads import chunk_layout, packet_layout
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.layout import COUNT_OFFSET_BITS

__all__ = ["DirectReader"]


class DirectReader(wiring.Component):
    """Direct reader: packets in, chunks with the tails of their slices out.

    ======  ============================  =========================================================
    state   accepted                      next
    ======  ============================  =========================================================
    head    the opening mark              words
    words   first the words of levels,    head, with the closing mark, which waits until all chunks
            then those of seeds; once     have left
            all chunks have left, words
            are dropped
    ======  ============================  =========================================================

    Seeds wait for the fourth cycle after the opening mark, when the count has settled. One word per
    cycle; with ``levels`` one level per cycle, once the core is idle. Twin:
    ``sw.golden.bus.payload``.

    Parameters
    ----------
    config : DirectConfig
    levels : bool
        Whether levels are handed on; otherwise their words are dropped.

    Members
    -------
    i : In(stream.Signature(packet_layout(bus_bits)))
        Packets, back to back.
    o : Out(stream.Signature(chunk_layout(config)))
        Chunks.
    short : Out(1)
        The packet ended before its last chunk. The reader needs a reset to continue.
    idle : In(1)
        The core is empty; with ``levels``, as are the following.
    write, at, level : Out(1), Out(planes), Out(8)
        Code ``at`` means ``level``. Registers.
    """

    def __init__(self, config: DirectConfig, *, levels: bool = False) -> None:
        self._config, self._levels = config, levels
        self.gearbox = FixedGearbox(bus_bits=config.bus_bits, unit_bits=config.n_in)
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(config.bus_bits))),
                "o": Out(stream.Signature(chunk_layout(config))),
                "short": Out(1),
            }
            | (
                {"idle": In(1), "write": Out(1), "at": Out(config.planes), "level": Out(8)}
                if levels
                else {}
            )
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the state, the counter of slices and the gearbox."""
        m = Module()
        config = self._config
        bus = config.bus_bits
        m.submodules.gearbox = gearbox = self.gearbox
        m.submodules.slices = slices = Countdown(unit=config.n_out)
        head = Signal(init=1)
        done = Signal()
        settle = Signal(3)
        settled = Signal()
        opens = Signal()
        closes = Signal()
        goes = Signal()
        drops = Signal()
        table = Signal(config.level_words)  # one-hot: which word of levels comes next
        seeds = Signal()  # the words of levels have gone, and the count has settled
        starved = Signal(gearbox.latency + 2)
        mark, word = self.i.p.mark, self.i.p.data
        here = self.i.valid & ~mark
        m.d.comb += [
            opens.eq(head & self.i.valid & mark),
            closes.eq(self.i.valid & mark & done),
            drops.eq(here & table.any() & self._load(m, here & table.any())),
            seeds.eq(settled & ~table.any()),
            self.i.ready.eq(Mux(mark, head | done, drops | (seeds & (done | gearbox.i.ready)))),
            self.short.eq(starved[-1]),
            slices.load.eq(head),
            slices.start.eq(opens),
            slices.count.eq(word[COUNT_OFFSET_BITS % bus :][:32]),
            slices.step.eq(goes),
            gearbox.i.valid.eq(here & seeds & ~done),
            gearbox.i.payload.eq(word),
            gearbox.flush.eq(closes),
            gearbox.o.ready.eq(self.o.ready),
            self.o.valid.eq(gearbox.o.valid & ~done),
            self.o.p.bits.eq(gearbox.o.payload),
            self.o.p.valid_bits.eq(slices.rest),
            self.o.p.last.eq(slices.last),
            goes.eq(self.o.valid & self.o.ready),
        ]
        waits = self.i.valid & mark & settled & ~done & ~gearbox.o.valid
        m.d.sync += [
            head.eq((head & ~opens) | closes),
            settle.eq(settle << 1 | opens),
            settled.eq((settled | settle[-1]) & ~closes),
            done.eq((done | (goes & slices.last) | (settle[-1] & slices.none)) & ~closes),
            table.eq(Mux(drops, table << 1, table | opens)),
            starved.eq(Mux(waits, starved << 1 | 1, 0)),
        ]
        return m

    def _load(self, m: Module, here: Value) -> Value:
        """Hand the levels of a word on; return whether the word has no more of them."""
        config = self._config
        if not self._levels:
            return Const(1)
        at = Signal(config.planes)
        per_word = min(config.bus_bits // 8, 1 << config.planes)
        low = at[: (per_word - 1).bit_length()]
        level = Signal(8, reset_less=True)
        with m.If(here & self.idle):
            m.d.sync += at.eq(at + 1)
        m.d.sync += [
            self.write.eq(here & self.idle),
            self.at.eq(at),
            level.eq(self.i.p.data.word_select(low, 8)),
        ]
        m.d.comb += self.level.eq(level)
        return self.idle & low.all()
