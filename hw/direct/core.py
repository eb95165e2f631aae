# SPDX-License-Identifier: Apache-2.0
"""Core of the direct codec: seed bits in, codes or levels out, one slice per cycle."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import chunk_layout, slice_layout
from xorloom.hw.lib.seed_window import SeedWindow
from xorloom.hw.lib.slice_pipe import SlicePipe
from xorloom.sw.spec.direct import DirectConfig

__all__ = ["DirectCore", "LevelTable"]

_PARTS = 2
"""Parts of the lanes; the registers of each part have an enable of their own."""


class LevelTable(wiring.Component):
    """Level table of one lane: what each code means. Latency none.

    On ECP5 16 entries are four 16 x 4 bit RAMs of LUTs at most.

    Parameters
    ----------
    planes : int
        Bits of a code.

    Members
    -------
    write, at, level : In(1), In(planes), In(8)
        Entry ``at`` becomes ``level`` at this clock edge.
    code : In(planes)
        Which entry to look up.
    o : Out(8)
        The entry.
    """

    def __init__(self, planes: int) -> None:
        self._planes = planes
        super().__init__(
            {
                "write": In(1),
                "at": In(planes),
                "level": In(8),
                "code": In(planes),
                "o": Out(8),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the memory."""
        m = Module()
        m.submodules.entries = entries = Memory(shape=8, depth=1 << self._planes, init=[])
        write = entries.write_port()
        read = entries.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.write),
            write.addr.eq(self.at),
            write.data.eq(self.level),
            read.addr.eq(self.code),
            self.o.eq(read.data),
        ]
        return m


class DirectCore(wiring.Component):
    """Direct core: the trellis source decoder; no feedback, no state but the last seed bits.

    Pipeline: chunk register; code bits, each the XOR of ``taps`` bits of its lane's window (one
    LUT4 for up to four); with ``levels`` one more register, behind a table in every lane. Latency
    :py:`self.latency` cycles, one slice per cycle, full back-pressure. The chunk after a last one
    finds zeros before it. Twin: ``sw.golden.direct.direct_decoder``.

    Parameters
    ----------
    config : DirectConfig
    levels : bool
        Whether levels are put out instead of codes.

    Members
    -------
    i : In(stream.Signature(chunk_layout(config)))
        Chunks.
    o : Out(stream.Signature(slice_layout(config, levels=levels)))
        Slices, in order.
    flush : In(1)
        Pulses, while ``idle``; see :class:`xorloom.hw.lib.slice_pipe.SlicePipe`.
    idle : Out(1)
        Nothing is inside.
    write, at, level : In(1), In(planes), In(8)
        With ``levels``: code ``at`` means ``level``. Only while ``idle``.

    Attributes
    ----------
    pipe, window
        The submodules. For proofs.
    """

    def __init__(self, config: DirectConfig, *, levels: bool = False) -> None:
        self._config, self._levels = config, levels
        self.pipe = SlicePipe(stages=int(levels), parts=_PARTS + 1)
        self.window = SeedWindow(n_in=config.n_in, past=config.window - 1)
        super().__init__(
            {
                "i": In(stream.Signature(chunk_layout(config))),
                "o": Out(stream.Signature(slice_layout(config, levels=levels))),
                "flush": In(1),
                "idle": Out(1),
            }
            | ({"write": In(1), "at": In(config.planes), "level": In(8)} if levels else {})
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of a chunk until its slice is offered."""
        return 1 + self.pipe.latency

    @property
    def code_bits(self) -> list[Value]:
        """The code bits of the chunk in its register. For proofs."""
        config, rows = self._config, self._config.network.rows
        return [
            Cat(self.window.o[end + t] for t in row).xor()
            for lane, end in enumerate(config.steps)
            for row in rows[lane % config.period]
        ]

    def elaborate(self, _platform: object) -> Module:
        """Build pipeline, window, code bits and tables."""
        m = Module()
        config = self._config
        m.submodules.pipe = pipe = self.pipe
        m.submodules.window = window = self.window
        tail = Cat(self.i.p.valid_bits, self.i.p.last)
        tails = [
            Signal.like(tail, name=f"tail_{k}", reset_less=True) for k in range(2 + self._levels)
        ]
        m.d.comb += [
            self.i.ready.eq(~pipe.available | pipe.step),
            pipe.available_next.eq(self.i.valid | ~self.i.ready),
            pipe.token.eq(1),
            pipe.emit.eq(1),
            pipe.ready.eq(self.o.ready),
            pipe.flush.eq(self.flush),
            window.chunk.eq(self.i.p.bits),
            window.take.eq(pipe.data_take[_PARTS]),
            window.step.eq(pipe.step.replicate(2)),
            window.clear.eq(pipe.step & tails[0][-1]),
            self.o.valid.eq(pipe.valid),
            self.o.p.valid_bits.eq(tails[-1][:-1]),
            self.o.p.last.eq(tails[-1][-1]),
            self.idle.eq(~pipe.available & ~pipe.slices.any()),
        ]
        with m.If(self.i.ready):
            m.d.sync += tails[0].eq(tail)
        with m.If(pipe.step & ~tails[0][-1]):  # a constant first: a reset of the flip-flops
            m.d.sync += tails[1].eq(config.n_out)
        with m.Elif(pipe.step):
            m.d.sync += tails[1].eq(tails[0])
        codes = self._registers(m, Cat(self.code_bits), pipe.data_free, config.planes, "codes")
        if not self._levels:
            m.d.comb += self.o.p.bits.eq(codes)
            return m
        with m.If(pipe.move):
            m.d.sync += tails[2].eq(tails[1])
        found = []
        for lane in range(config.lanes):
            m.submodules[f"table_{lane}"] = table = LevelTable(config.planes)
            m.d.comb += [
                table.write.eq(self.write),
                table.at.eq(self.at),
                table.level.eq(self.level),
                table.code.eq(codes.word_select(lane, config.planes)),
            ]
            found.append(table.o)
        m.d.comb += self.o.p.bits.eq(self._registers(m, Cat(found), pipe.data_move, 8, "levels"))
        return m

    def _registers(self, m: Module, bits: Value, enables: Value, width: int, name: str) -> Signal:
        """Return registers for ``width`` bits a lane; each part of the lanes has an enable."""
        q = Signal(len(bits), reset_less=True, name=name)
        edges = [k * self._config.lanes // _PARTS * width for k in range(_PARTS + 1)]
        for k, (start, stop) in enumerate(pairwise(edges)):
            with m.If(enables[k]):
                m.d.sync += q[start:stop].eq(bits[start:stop])
        return q
