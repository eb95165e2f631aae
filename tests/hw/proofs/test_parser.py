# SPDX-License-Identifier: Apache-2.0
"""The parser of weight streams hands every word over once, in order, between its marks: proved.

By property-directed reachability in ABC, unbounded, from reset on, for all inputs. What the parser
computes from the words is left open, which only allows more: whether header and CRC are right, and
how the blocks follow each other. So the proofs hold for any header, schedule and CRC; that these
are computed right is for the tests of the units, against the golden model.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from xorloom.hw.ip.parser import WeightParser
from xorloom.hw.lib.ping_pong import PingPong

from tests.helpers.parser_proof import (
    FreeChecks,
    FreeCrc,
    FreeSchedule,
    ParserMonitor,
    ScheduleMonitor,
)
from tests.helpers.proof import Only, prove, reach

NETWORKS = {4: 0x12345678, 1: 0x87654321}
CYCLES = 40
"""Enough for a header of six words, a schedule word, blocks, the CRC and the next header."""


class Tampered(PingPong):
    """Broken buffer of labelled words; the change is one of ``CHANGES``."""

    def __init__(self, shape: Any, change: str) -> None:
        super().__init__(shape)
        self._change = change

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = PingPong(self._shape)
        first: Any = inner.o.p
        out: Any = self.o.p
        comes_word = self.i.valid & (self.i.p.value ^ self.i.p.index)
        is_word = first.value ^ first.index
        goes = Signal()
        odd, kept = Signal(), Signal.like(Value.cast(inner.o.payload))
        wiring.connect(m, wiring.flipped(self.i), inner.i)
        m.d.comb += [
            goes.eq(inner.o.valid & self.o.ready),
            inner.clear.eq(self.clear),
            self.o.valid.eq(inner.o.valid),
            Value.cast(self.o.payload).eq(inner.o.payload),
            inner.o.ready.eq(self.o.ready),
        ]
        match self._change:
            case "lost":  # every second word
                m.d.sync += odd.eq(odd ^ (comes_word & self.i.ready))
                m.d.comb += inner.i.valid.eq(self.i.valid & ~(comes_word & odd))
            case "twice":
                m.d.sync += odd.eq(goes & is_word & ~odd)
                m.d.comb += inner.o.ready.eq(self.o.ready & ~(is_word & ~odd))
            case "swapped":  # the first two, if both are words
                both = inner.more & is_word & (inner.after.value ^ inner.after.index)
                with m.If(goes):
                    m.d.sync += [odd.eq(~odd & both), kept.eq(first)]
                m.d.comb += Value.cast(self.o.payload).eq(
                    Mux(odd, kept, Mux(both, inner.after, first))
                )
            case "misled":  # words of the index to the values
                m.d.comb += [out.value.eq(1), out.index.eq(first.value & first.index)]
            case "changed":
                m.d.comb += out.data.eq(first.data ^ is_word << 31)
            case "marked":  # a word becomes a mark
                m.d.comb += [out.value.eq(1), out.index.eq(1)]
            case "unmarked":  # the opening mark is left out
                m.d.comb += inner.i.valid.eq(self.i.valid & (comes_word | self.i.p.closes))
            case "unverified":  # a closing mark is not said to be one
                m.d.comb += out.closes.eq(0)
        return m


CHANGES = {  # what finds it
    "lost": "order",
    "twice": "order",
    "swapped": "order",
    "misled": "order",
    "changed": "order",
    "marked": "order",
    "unmarked": "told",
    "unverified": "told",
}


class Unannounced(wiring.Component):
    """Broken parser: ``opens`` does not come, or comes a cycle late."""

    def __init__(self, inner: WeightParser, *, late: bool) -> None:
        self._inner, self._late = inner, late
        super().__init__(inner.signature)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = self._inner
        for name in ("i", "value", "index"):
            outer = wiring.flipped(getattr(self, name))
            wiring.connect(m, outer, getattr(inner, name))
        for name, member in self.signature.members.items():
            if name == "opens":
                m.d.sync += self.opens.eq(inner.opens & self._late)
            elif member.is_port and member.flow is wiring.In:
                m.d.comb += getattr(inner, name).eq(getattr(self, name))
            elif member.is_port:
                m.d.comb += getattr(self, name).eq(getattr(inner, name))
        return m


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> tuple[FreeSchedule, FreeCrc, FreeChecks]:
    """Free parts, for a 32-bit bus, which the next parser is built with."""
    parts = FreeSchedule(32), FreeCrc(32), FreeChecks(32, NETWORKS)
    for part, name in zip(parts, ("BlockSchedule", "Crc32", "HeaderChecks"), strict=True):
        monkeypatch.setattr(f"xorloom.hw.ip.parser.{name}", lambda *_, part=part: part)
    return parts


def monitor(
    parts: Any,
    *,
    packets: bool = True,
    deaf: bool = False,
    change: Callable[[WeightParser], wiring.Component] = lambda parser: parser,
) -> ParserMonitor:
    parser = WeightParser(32, NETWORKS, packets=packets)
    return ParserMonitor(change(parser), 32, parts, packets=packets, deaf=deaf)


SLOW = [(False, "order")]


@pytest.mark.parametrize(
    ("packets", "what"),
    [
        pytest.param(packets, what, marks=[pytest.mark.slow] * ((packets, what) in SLOW))
        for packets in (True, False)
        for what in ParserMonitor.BADS
    ],
)
def test_parser_hands_every_word_over_once(
    packets: bool, what: str, parts: Any, tmp_path: Path
) -> None:
    prove(Only(monitor(parts, packets=packets), what), tmp_path)


@pytest.mark.parametrize("bus_bits", [32, 128])
def test_schedule_keeps_to_what_the_proof_leaves_open(bus_bits: int, tmp_path: Path) -> None:
    prove(ScheduleMonitor(bus_bits), tmp_path)


@pytest.mark.parametrize("packets", [True, False])
def test_streams_go_through_so_the_proof_is_not_empty(
    packets: bool, parts: Any, tmp_path: Path
) -> None:
    reach(Only(monitor(parts, packets=packets), "whole"), tmp_path, CYCLES)


@pytest.mark.parametrize("change", CHANGES)
def test_parser_proof_fails_for_a_broken_buffer(
    change: str, parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.hw.ip.parser.PingPong", partial(Tampered, change=change))
    reach(Only(monitor(parts), CHANGES[change]), tmp_path, CYCLES)


@pytest.mark.parametrize("late", [False, True])
def test_parser_proof_fails_for_marks_without_opens(late: bool, parts: Any, tmp_path: Path) -> None:
    top = monitor(parts, change=partial(Unannounced, late=late))
    reach(Only(top, "told"), tmp_path, CYCLES)


def test_parser_proof_fails_for_a_taker_that_is_deaf(parts: Any, tmp_path: Path) -> None:
    reach(Only(monitor(parts, deaf=True), "split"), tmp_path, CYCLES)
