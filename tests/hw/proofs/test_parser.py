# SPDX-License-Identifier: Apache-2.0
"""The parser of weight streams hands every word over once, in order, between its marks: proved.

By property-directed reachability in ABC, unbounded, from reset on, for all inputs. What the parser
computes from the words is left open, which only allows more: whether header and CRC are right, and
how the blocks follow each other. So the proofs hold for any header, schedule and CRC; that these
are computed right is for the tests of the units, against the golden model.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
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


def monitor(
    patch: pytest.MonkeyPatch,
    bus_bits: int = 32,
    *,
    packets: bool = True,
    deaf: bool = False,
    change: Callable[[WeightParser], wiring.Component] = lambda parser: parser,
) -> ParserMonitor:
    """Return the monitor of a parser with free parts."""
    parts = FreeSchedule(bus_bits), FreeCrc(bus_bits), FreeChecks(bus_bits, NETWORKS)
    for part, name in zip(parts, ("BlockSchedule", "Crc32", "HeaderChecks"), strict=True):
        patch.setattr(f"xorloom.hw.ip.parser.{name}", lambda *_, part=part: part)
    parser = change(WeightParser(bus_bits, NETWORKS, packets=packets))
    return ParserMonitor(parser, parts, BITS[bus_bits], packets=packets, deaf=deaf)


BITS = {32: list(range(32)), 128: [0, 32, 64]}
"""Bits of a word that are compared, by its width. On the wide bus one stands for all that are
treated alike: those where the header has the CRC, those where it has the count, and the others."""
SLOW = [(32, False, "order"), (32, True, "order"), (32, False, "told")]


@pytest.mark.parametrize(
    ("bus_bits", "packets", "what"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (case in SLOW))
        for case in product(BITS, (True, False), ParserMonitor.BADS)
    ],
)
def test_parser_hands_every_word_over_once(
    bus_bits: int, packets: bool, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove(Only(monitor(monkeypatch, bus_bits, packets=packets), what), tmp_path)


@pytest.mark.parametrize("bus_bits", BITS)
def test_schedule_keeps_to_what_the_proof_leaves_open(bus_bits: int, tmp_path: Path) -> None:
    prove(ScheduleMonitor(bus_bits), tmp_path)


@pytest.mark.parametrize("bus_bits", BITS)
@pytest.mark.parametrize("packets", [True, False])
def test_streams_go_through_so_the_proof_is_not_empty(
    packets: bool, bus_bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(Only(monitor(monkeypatch, bus_bits, packets=packets), "whole"), tmp_path, CYCLES)


@pytest.mark.parametrize("change", CHANGES)
def test_parser_proof_fails_for_a_broken_buffer(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.hw.ip.parser.PingPong", partial(Tampered, change=change))
    reach(Only(monitor(monkeypatch), CHANGES[change]), tmp_path, CYCLES)


@pytest.mark.parametrize("late", [False, True])
def test_parser_proof_fails_for_marks_without_opens(
    late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = monitor(monkeypatch, change=partial(Unannounced, late=late))
    reach(Only(top, "told"), tmp_path, CYCLES)


def test_parser_proof_fails_for_a_taker_that_is_deaf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(Only(monitor(monkeypatch, deaf=True), "split"), tmp_path, CYCLES)
