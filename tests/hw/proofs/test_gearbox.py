# SPDX-License-Identifier: Apache-2.0
"""No bit is lost, repeated or moved by the gearbox of fixed chunks: proved.

By property-directed reachability in ABC, unbounded, from reset on, for all inputs.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.fixed_gearbox import FixedGearbox

from tests.helpers.proof import HoldMonitor, Only, prove, refute

SHAPES = {"word_in_parts": (4, 2), "below": (4, 3), "above": (4, 6), "words": (4, 8)}


class BitMonitor(wiring.Component):
    """Follows one bit of a stream of zeros: it must come out at its place, alone, and in time.

    ``go`` chooses its word and ``at`` its place there. ``bad``: a chunk has a 1 elsewhere, or
    lacks it, or holds bits that have not gone in; or more bits are inside than can be.
    ``skips``: chunks that are not taken are taken for taken, which must be found out. ``free``:
    all chunks are taken, and the gearbox waits at its ``go``.
    """

    def __init__(
        self, dut: Any, bus: int, unit: int, *, skips: bool = False, free: bool = False
    ) -> None:
        self._dut, self._bus, self._unit, self._skips, self._free = dut, bus, unit, skips, free
        super().__init__({"valid": In(1), "go": In(1), "ready": In(1), "at": In(4), "bad": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        most = 8 * (self._bus + self._unit)
        level, ahead = Signal(range(2 * most)), Signal(range(2 * most))  # bits inside, before it
        sent, inside = Signal(), Signal()
        marks, enters, leaves = Signal(), Signal(), Signal()
        at = self.at[: (self._bus - 1).bit_length()]
        fits = Signal()
        m.d.comb += [
            marks.eq(self.go & ~sent),
            dut.i.valid.eq(self.valid),
            dut.i.payload.eq(marks << at),
            dut.o.ready.eq(self.ready | self._free),
            dut.go.eq(self.ready | (not self._free)),
            enters.eq(dut.i.valid & dut.i.ready),
            leaves.eq(dut.o.valid & (dut.o.ready | self._skips)),
            fits.eq(inside & (ahead < self._unit)),
            self.bad.eq(
                (level > most)
                | dut.o.valid
                & Cat(
                    level < self._unit,
                    *(dut.o.payload[k] != (fits & (ahead == k)) for k in range(self._unit)),
                ).any()
            ),
        ]
        after = level - (leaves * self._unit)
        m.d.sync += level.eq(after + enters * self._bus)
        with m.If(leaves):
            m.d.sync += ahead.eq(ahead - self._unit)
            with m.If(fits):
                m.d.sync += inside.eq(0)
        with m.If(enters & marks):
            m.d.sync += [sent.eq(1), inside.eq(1), ahead.eq((after + at)[: len(ahead)])]
        return m


@pytest.mark.parametrize("name", SHAPES)
def test_gearbox_keeps_every_bit_at_its_place(name: str, tmp_path: Path) -> None:
    bus, unit = SHAPES[name]
    prove(BitMonitor(FixedGearbox(bus_bits=bus, unit_bits=unit), bus, unit), tmp_path)


@pytest.mark.parametrize("name", SHAPES)
def test_free_gearbox_keeps_every_bit_at_its_place(name: str, tmp_path: Path) -> None:
    bus, unit = SHAPES[name]
    prove(BitMonitor(FixedGearbox(bus_bits=bus, unit_bits=unit), bus, unit, free=True), tmp_path)


def test_gearbox_with_two_stages_keeps_every_bit_at_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.hw.lib.fixed_gearbox._SHIFT_BITS", 1)
    dut = FixedGearbox(bus_bits=4, unit_bits=3)
    assert dut.latency == 3
    prove(BitMonitor(dut, 4, 3), tmp_path)


@pytest.mark.parametrize("name", SHAPES)
def test_gearbox_proof_fails_if_a_chunk_is_repeated(name: str, tmp_path: Path) -> None:
    bus, unit = SHAPES[name]
    dut = FixedGearbox(bus_bits=bus, unit_bits=unit)
    refute(BitMonitor(dut, bus, unit, skips=True), tmp_path)


@pytest.mark.parametrize("shape", [(4, 3), (4, 6), (4, 8)])
def test_gearbox_holds_its_chunk_until_taken(shape: tuple[int, int], tmp_path: Path) -> None:
    bus, unit = shape
    prove(Only(HoldMonitor(FixedGearbox(bus_bits=bus, unit_bits=unit)), "bad"), tmp_path)
