# SPDX-License-Identifier: Apache-2.0
"""Top of every board: decodes an image again and again, and reports on a serial line."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from xorloom.hw.bus.ports import pass_ports
from xorloom.hw.ip.csr import Cause
from xorloom.hw.ip.decoder import WeightDecoder
from xorloom.hw.lib.beat_crc import BeatCrc
from xorloom.hw.lib.slice_pipe import PIPELINES
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig

from .rom import BoardRom
from .spi_flash import FLASH_PINS, SpiFlash
from .text_line import Number, TextLine, Word
from .uart_tx import UartTx

__all__ = ["LEDS", "OUTPUT", "VERDICTS", "BoardTop", "Expected"]

LEDS = ("heartbeat", "busy", "ok", "fail")
"""The lowest lights; those above them count passes."""
OUTPUT = "OUTPUT"
"""Cause of a failure that the decoder cannot see: other weights than expected."""
VERDICTS = ("OK", *(f"FAIL cause={cause.name}" for cause in Cause if cause), f"FAIL cause={OUTPUT}")
"""How a pass can end: well, with a cause from the decoder, or with wrong weights."""


@dataclass(frozen=True)
class Expected:
    """What a pass must yield: how many weights, and the CRC-32 of its beats."""

    weights: int
    crc: int


class BoardTop(wiring.Component):
    """Board top: a loop that reads an image, decodes it, checks it and writes a line of text.

    The check is the CRC-32 of all beats. The line is
    ``xorloom VERDICT crc=HEX weights=N cycles=N pass=N``, ended by CR and LF. Cycles are counted
    from the first word that the decoder takes to the last beat that leaves it.

    ======  =====================================================  ===============================
    state   what happens                                           next
    ======  =====================================================  ===============================
    START   waits for the source, clears the counts                RUN
    RUN     image, decoder, CRC                                    JUDGE, when all have been idle
                                                                   for three cycles
    JUDGE   verdict and lights are set                             TELL
    TELL    the line starts                                        LINE
    LINE    the line is written                                    PAUSE, after its last character
    PAUSE   ``pause_cycles``                                       START
    ======  =====================================================  ===============================

    Parameters
    ----------
    value, index, planes, pipeline
        See :class:`xorloom.hw.ip.decoder.WeightDecoder`.
    source : BoardRom or SpiFlash
    expected : Expected
    crc_steps : int
        Cycles per beat for its CRC. With 1 the CRC keeps up with any decoder.
    baud_divisor : int
        Cycles per bit of the serial line.
    pause_cycles : int
        Cycles between passes, so that a line can be read.
    heartbeat_bits : int
        The first light changes every ``2**heartbeat_bits`` cycles.
    lights : int, 4 or more
        Number of lights.

    Members
    -------
    tx : Out(1)
        Serial line.
    leds : Out(lights)
        See :data:`LEDS`.
    sclk, cs_n, copi, cipo
        SPI flash, if that is the source.
    """

    def __init__(
        self,
        value: ValueConfig,
        index: IndexConfig,
        *,
        planes: int,
        source: BoardRom | SpiFlash,
        expected: Expected,
        crc_steps: int,
        baud_divisor: int,
        pause_cycles: int,
        heartbeat_bits: int,
        lights: int = len(LEDS),
        pipeline: str = PIPELINES[0],
    ) -> None:
        self._lanes = value.n_out // planes
        self._decoder = WeightDecoder(value, [index], planes=planes, pipeline=pipeline)
        self._source, self._expected = source, expected
        self._crc = BeatCrc(value.n_out + self._lanes, steps=crc_steps)
        self._uart = UartTx(baud_divisor)
        self._pause, self._heartbeat = pause_cycles, heartbeat_bits
        members = source.signature.members
        self._pins = {name: members[name] for name in FLASH_PINS if name in members}
        super().__init__({"tx": Out(1, init=1), "leds": Out(lights)} | self._pins)

    def elaborate(self, _platform: object) -> Module:
        """Connect source, decoder, CRC and line; add the loop."""
        m = Module()
        source, decoder, crc, uart = self._source, self._decoder, self._crc, self._uart
        m.submodules.source, m.submodules.decoder = source, decoder
        m.submodules.crc, m.submodules.uart = crc, uart
        m.submodules.line = line = TextLine(
            [
                "xorloom ",
                Word("verdict", VERDICTS),
                " crc=",
                Number("crc", hexadecimal=True),
                " weights=",
                Number("weights"),
                " cycles=",
                Number("cycles"),
                " pass=",
                Number("passes"),
                "\r\n",
            ]
        )
        wiring.connect(m, source.o, decoder.i)
        wiring.connect(m, line.o, uart.i)
        # A beat that closes a stream that was given up holds no weights.
        m.d.comb += [
            crc.i.payload.eq(decoder.o.payload.as_value()[: len(crc.i.payload)]),
            crc.i.valid.eq(decoder.o.valid & ~decoder.o.p.bad),
            decoder.o.ready.eq(crc.i.ready),
            self.tx.eq(uart.o),
        ]
        pass_ports(m, self, source, {name: name for name in self._pins})
        self._add_pass(m, line)
        return m

    def _add_pass(self, m: Module, line: TextLine) -> None:
        """Add the states of the loop, and the counts."""
        source, decoder, crc = self._source, self._decoder, self._crc
        cause = Signal(Cause)
        verdict = Signal(range(len(VERDICTS)))
        weights = Signal(32)
        passes = Signal(32)
        clock = Signal(32)
        cycles = Signal(32)
        counts = Signal()
        crc_right = Signal()
        weights_right = Signal()
        judged = Signal(2)
        over = Signal()
        timer = Signal(range(self._pause + 1))
        ok = Signal()
        fail = Signal()
        starts = Signal()
        takes = Signal()
        m.d.comb += [
            source.start.eq(starts),
            crc.clear.eq(starts),
            line.verdict.eq(verdict),
            line.crc.eq(crc.o),
            line.weights.eq(weights),
            line.cycles.eq(cycles),
            line.passes.eq(passes),
        ]
        m.d.sync += [
            takes.eq(crc.i.valid & crc.i.ready),
            counts.eq((counts | (source.o.valid & source.o.ready)) & ~starts),
            over.eq(source.idle & ~decoder.busy & crc.idle),
            crc_right.eq(crc.o == self._expected.crc),
            weights_right.eq(weights == self._expected.weights),
        ]
        with m.If(starts):
            m.d.sync += [weights.eq(0), clock.eq(1), cycles.eq(0), cause.eq(Cause.NONE)]
        with m.Else():
            m.d.sync += clock.eq(clock + counts)
            with m.If(takes):
                m.d.sync += [weights.eq(weights + self._lanes), cycles.eq(clock)]
            with m.If(decoder.fault & (cause == Cause.NONE)):
                m.d.sync += cause.eq(decoder.cause)
        # A register: it clears many others.
        m.d.sync += starts.eq(0)
        with m.FSM() as fsm:
            with m.State("START"), m.If(source.idle):
                m.d.sync += [starts.eq(1), judged.eq(0)]
                m.next = "RUN"
            with m.State("RUN"):
                # After three idle cycles all counts and comparisons are valid.
                m.d.sync += judged.eq(Mux(over & counts, judged + 1, 0))
                with m.If(judged.all()):
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                good = crc_right & weights_right
                m.d.sync += [
                    passes.eq(passes + 1),
                    ok.eq(good & (cause == Cause.NONE)),
                    fail.eq(~good | (cause != Cause.NONE)),
                    verdict.eq(Mux(cause != Cause.NONE, cause, Mux(good, 0, len(VERDICTS) - 1))),
                ]
                m.next = "TELL"
            with m.State("TELL"):
                m.d.comb += line.start.eq(1)
                m.d.sync += timer.eq(self._pause)
                m.next = "LINE"
            with m.State("LINE"), m.If(~line.busy):
                m.next = "PAUSE"
            with m.State("PAUSE"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(~timer.any()):
                    m.next = "START"
            beat = Signal(self._heartbeat + 1)
            m.d.sync += beat.eq(beat + 1)
            lights = Cat(beat[-1], fsm.ongoing("RUN") | line.busy, ok, fail)
            m.d.comb += self.leds.eq(Cat(lights, passes))
