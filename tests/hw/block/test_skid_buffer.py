# SPDX-License-Identifier: Apache-2.0
"""Skid buffer RTL: order, rate, registered ready."""

import random
from typing import Any

import pytest
from amaranth.hdl import Signal, unsigned
from amaranth.lib import data
from xorloom.hw.block.skid_buffer import SkidBuffer

from tests.helpers.rtl import drive, simulate


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("source", "sink"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.1, 0.9), (0.9, 0.1)]
)
def test_skid_buffer_keeps_order_under_stalls(source: float, sink: float, seed: int) -> None:
    rng = random.Random(seed)
    words = [rng.getrandbits(16) for _ in range(150)]
    run = drive(SkidBuffer(unsigned(16)), words, len(words), source=source, sink=sink, seed=seed)
    assert run.items == words


def test_skid_buffer_latency_is_one_at_full_rate() -> None:
    run = drive(SkidBuffer(unsigned(8)), list(range(30)), 30)
    assert run.in_at == list(range(30))
    assert run.out_at == [t + 1 for t in run.in_at]


def test_skid_buffer_carries_structures() -> None:
    layout = data.StructLayout({"a": 3, "b": data.ArrayLayout(2, 2)})
    beats = [{"a": n & 7, "b": [n & 3, (n >> 1) & 3]} for n in range(20)]
    run = drive(SkidBuffer(layout), beats, 20, sink=0.4)
    assert [(i.a, i.b[0], i.b[1]) for i in run.items] == [(b["a"], *b["b"]) for b in beats]


def test_skid_buffer_ready_is_a_register_and_holds_two() -> None:
    dut = SkidBuffer(unsigned(8))

    async def bench(ctx: Any, _reset: Signal) -> None:
        ctx.set(dut.i.valid, 1)
        accepted = 0
        for clock in range(6):
            ctx.set(dut.i.payload, clock)
            seen = []
            for ready in (1, 0):
                ctx.set(dut.o.ready, ready)
                seen.append(ctx.get(dut.i.ready))
            assert seen[0] == seen[1], "input ready must not look at output ready"
            accepted += seen[0]
            await ctx.tick()
        assert accepted == 2

    simulate(dut, bench)


def test_skid_buffer_reset_empties_it() -> None:
    dut = SkidBuffer(unsigned(8))

    async def bench(ctx: Any, reset: Signal) -> None:
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, 9)
        await ctx.tick()
        await ctx.tick()
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        assert not ctx.get(dut.o.valid)
        assert ctx.get(dut.i.ready)

    simulate(dut, bench)
