# SPDX-License-Identifier: Apache-2.0
"""Flow queue RTL: order, slack, rate, clear; registers at both ends."""

import random
from typing import Any

import pytest
from amaranth.hdl import Signal, unsigned
from amaranth.lib import data
from xorloom.hw.lib.flow_queue import FlowQueue
from xorloom.sw.base.errors import ConfigError

from tests.helpers.proof import Eager
from tests.helpers.rtl import drive, simulate


@pytest.mark.parametrize(("slack", "flags"), [(0, 0), (1, 3), (5, 0), (14, 1)])
@pytest.mark.parametrize(
    ("source", "sink"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.1, 0.9), (0.9, 0.1)]
)
def test_flow_queue_keeps_order_and_takes_the_slack(
    source: float, sink: float, slack: int, flags: int
) -> None:
    rng = random.Random(slack)
    words = [rng.getrandbits(150) for _ in range(200)]
    dut = Eager(FlowQueue(unsigned(150), slack=slack, flags=flags), slack)
    run = drive(dut, words, len(words), source=source, sink=sink, seed=1 + slack)
    assert run.items == words


def test_flow_queue_latency_is_one_at_full_rate() -> None:
    run = drive(FlowQueue(unsigned(8)), list(range(40)), 40)
    assert run.in_at == list(range(40))
    assert run.out_at == [t + 1 for t in run.in_at]


def test_flow_queue_carries_structures() -> None:
    layout = data.StructLayout({"a": 3, "b": data.ArrayLayout(40, 2)})
    beats = [{"a": n & 7, "b": [n << 30, n]} for n in range(20)]
    run = drive(FlowQueue(layout), beats, 20, sink=0.4)
    assert [(i.a, i.b[0], i.b[1]) for i in run.items] == [(b["a"], *b["b"]) for b in beats]


@pytest.mark.parametrize(("depth", "slack"), [(16, 0), (16, 6), (8, 2), (4, 2)])
def test_flow_queue_ready_is_a_register_and_leaves_room_for_the_slack(
    depth: int, slack: int
) -> None:
    dut = FlowQueue(unsigned(8), depth=depth, slack=slack)

    async def bench(ctx: Any, _reset: Signal) -> None:
        took = 0
        while True:
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.payload, took)
            seen = []
            for ready in (1, 0):
                ctx.set(dut.o.ready, ready)
                seen.append(ctx.get(dut.i.ready))
            assert seen[0] == seen[1], "input ready must not look at output ready"
            if not seen[0]:
                break
            await ctx.tick()
            took += 1
        for late in range(slack):
            ctx.set(dut.i.payload, took + late)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)
        assert took == depth - slack
        ctx.set(dut.o.ready, 1)
        for n in range(took + slack):
            assert ctx.get(dut.o.valid)
            assert ctx.get(dut.o.payload) == n
            await ctx.tick()
        assert not ctx.get(dut.o.valid)
        await ctx.tick()
        assert ctx.get(dut.i.ready)

    simulate(dut, bench)


@pytest.mark.parametrize("flags", [0, 3])
def test_flow_queue_clear_drops_all_and_leaves_what_is_shown(flags: int) -> None:
    dut = FlowQueue(unsigned(8), flags=flags)

    async def bench(ctx: Any, _reset: Signal) -> None:
        ctx.set(dut.i.valid, 1)
        for n in range(5):
            ctx.set(dut.i.payload, 10 + n)
            ctx.set(dut.o.ready, n == 3)
            await ctx.tick()
        assert ctx.get(dut.o.payload) == 11
        ctx.set(dut.clear, 1)  # while one comes in, and one is taken
        ctx.set(dut.o.ready, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        ctx.set(dut.i.valid, 0)
        assert not ctx.get(dut.o.valid)
        assert ctx.get(dut.o.payload) == 11
        await ctx.tick()
        assert not ctx.get(dut.o.valid)
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, 99)
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        assert ctx.get(dut.o.valid)
        assert ctx.get(dut.o.payload) == 99
        await ctx.tick()
        assert not ctx.get(dut.o.valid)
        shown = ctx.get(dut.o.payload)
        ctx.set(dut.clear, 1)
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, shown ^ 0xFF)  # while none is held
        await ctx.tick()
        assert not ctx.get(dut.o.valid)
        assert ctx.get(dut.o.payload) == shown

    simulate(dut, bench)


def test_flow_queue_reset_empties_it() -> None:
    dut = FlowQueue(unsigned(8), slack=14)

    async def bench(ctx: Any, reset: Signal) -> None:
        ctx.set(dut.i.valid, 1)
        for _ in range(4):
            await ctx.tick()
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        assert not ctx.get(dut.o.valid)
        assert ctx.get(dut.i.ready)

    simulate(dut, bench)


@pytest.mark.parametrize(("depth", "slack"), [(12, 2), (16, 15), (16, -1)])
def test_flow_queue_refuses_a_depth_it_cannot_count(depth: int, slack: int) -> None:
    text = f"at least slack \\+ 2, not {depth} for a slack of {slack}"
    with pytest.raises(ConfigError, match=text):
        FlowQueue(unsigned(8), depth=depth, slack=slack)
