# SPDX-License-Identifier: Apache-2.0
"""Output beats in hardware against the golden model: every remainder, widths, planes, forms."""

import random
from itertools import product
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from xorloom.hw.bus.beats import beat_data, kept_bytes, kept_groups
from xorloom.sw.golden.output import beat_data as golden_data
from xorloom.sw.golden.output import kept_bytes as golden_bytes
from xorloom.sw.golden.output import kept_groups as golden_groups
from xorloom.sw.spec.layout import BEATS, BeatLayout


class Output(wiring.Component):
    """The functions as a unit."""

    def __init__(self, layout: BeatLayout) -> None:
        self.layout = layout
        super().__init__(
            {
                "codes": In(layout.code_bits),
                "mask": In(layout.lanes),
                "valid_bits": In(layout.n_out.bit_length()),
                "data": Out(8 * layout.bytes),
                "keep": Out(layout.bytes),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.d.comb += self.data.eq(beat_data(self.layout, self.codes, self.mask))
        if self.layout.packed:
            m.d.comb += self.keep.eq(kept_groups(self.layout, self.valid_bits))
        return m


def run(dut: wiring.Component, testbench: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("form", BEATS)
@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize(
    ("n_out", "planes"), [(64, 1), (128, 2), (192, 3), (63, 3), (60, 3), (64, 3), (5, 1), (40, 8)]
)
def test_beats_equal_the_golden_model(n_out: int, planes: int, levels: bool, form: str) -> None:
    layout = BeatLayout(n_out, planes, levels, form)
    dut, rng = Output(layout), random.Random(1)

    async def check(ctx: Any) -> None:
        for weights in range(layout.lanes + 1):
            codes, mask = rng.getrandbits(layout.code_bits), rng.getrandbits(layout.lanes)
            if layout.lanes * layout.width < layout.code_bits:
                codes &= (1 << layout.lanes * layout.width) - 1  # of no lane: 0, they are masked
            valid = n_out if weights == layout.lanes else weights * planes
            for port, value in ((dut.codes, codes), (dut.mask, mask), (dut.valid_bits, valid)):
                ctx.set(port, value)
            await ctx.delay(1e-9)
            assert ctx.get(dut.data) == golden_data(layout, codes, mask)
            if layout.packed:
                keep = ctx.get(dut.keep)
                assert keep == golden_groups(layout, weights), weights

    run(dut, check)


class Units(wiring.Component):
    """``tkeep`` of a beat of units."""

    def __init__(self, unit_bits: int, units: int) -> None:
        self._unit_bits = unit_bits
        size = -(-unit_bits * units // 8)
        super().__init__({"live": In(units), "keep": Out(size)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.d.comb += self.keep.eq(kept_bytes(list(self.live), self._unit_bits))
        return m


@pytest.mark.parametrize(("unit_bits", "units"), list(product((3, 16, 41), (1, 4))))
def test_kept_bytes_are_those_of_live_units(unit_bits: int, units: int) -> None:
    dut = Units(unit_bits, units)

    async def check(ctx: Any) -> None:
        for live in range(units + 1):
            ctx.set(dut.live, (1 << live) - 1)
            await ctx.delay(1e-9)
            assert ctx.get(dut.keep) == golden_bytes(unit_bits, live)

    run(dut, check)
