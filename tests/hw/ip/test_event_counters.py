# SPDX-License-Identifier: Apache-2.0
"""Event counters, behind the registers and alone, against counts kept in software."""

import random
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.ip.csr import COUNTERS
from xorloom.hw.ip.event_counters import EventCounters

from tests.helpers.rtl import simulate
from tests.hw.ip.register_bus import Bus, with_bus


@pytest.mark.parametrize("seed", [1, 2])
def test_registers_count_every_event(seed: int) -> None:
    rng = random.Random(seed)
    events = ("word", "starved", "blocked", "stalled", "beat")

    async def test(bus: Bus) -> None:
        for _ in range(2):
            counts = dict.fromkeys(COUNTERS, 0)
            shares = {name: rng.random() for name in COUNTERS}
            for _ in range(700):
                hits = {name: int(rng.random() < share) for name, share in shares.items()}
                for name, hit in hits.items():
                    counts[name] += hit
                strobes = dict(zip(events, list(hits.values())[1:-1], strict=True))
                await bus.pulse(busy=hits["CYCLES"], done=hits["STREAMS"], events=strobes)
            assert {name: (await bus.read(name))["VALUE"] for name in COUNTERS} == counts
            await bus.write("CONTROL", CLEAR_COUNTERS=1)
            assert all([(await bus.read(name))["VALUE"] == 0 for name in COUNTERS])

    with_bus(test)


def test_registers_count_cycles_while_a_descriptor_waits() -> None:
    async def test(bus: Bus) -> None:
        await bus.start(0, 8)
        await bus.ctx.tick().repeat(50)
        await bus.queued()
        assert 50 < (await bus.read("CYCLES"))["VALUE"] < 70

    with_bus(test)


def test_event_counters_value_is_exact_but_for_four_cycles() -> None:
    dut = EventCounters(count=5)
    rng = random.Random(3)

    async def bench(ctx: Any, reset: Signal) -> None:
        history = [[0] * 5]
        for clock in range(400):
            clear = clock in (57, 58, 200)
            if clock == 300:  # a reset forgets, too
                ctx.set(reset, 1)
            happened = [int(rng.random() < 0.6) for _ in range(5)]
            ctx.set(dut.events, sum(bit << k for k, bit in enumerate(happened)))
            ctx.set(dut.clear, clear)
            index, value = ctx.get(dut.index), ctx.get(dut.value)
            since = clock - max(c for c in (0, 57, 58, 200, 300) if c <= clock)
            if since > 12 and index < 5:
                before = history[clock - 3]
                assert value == before[index], f"clock {clock}"
            counts = [n + bit for n, bit in zip(history[-1], happened, strict=True)]
            if clear:
                counts = happened
            if clock == 300:
                counts = [0] * 5
            history.append(counts)
            await ctx.tick()
            ctx.set(reset, 0)

    simulate(dut, bench)
