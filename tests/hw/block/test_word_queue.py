# SPDX-License-Identifier: Apache-2.0
"""Word queue RTL: the oldest words, any three at most in a cycle."""

import random
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.block.word_queue import LOOKS, WordQueue

from tests.helpers.rtl import simulate


@pytest.mark.parametrize("seed", range(4))
def test_word_queue_gives_the_oldest_words(seed: int) -> None:
    rng = random.Random(seed)
    dut = WordQueue(bus_bits=32)
    held: list[int] = []
    dropped: list[int] = []

    async def bench(ctx: Any, _reset: Signal) -> None:
        for clock in range(600):
            assert ctx.get(dut.has) == sum(1 << k for k in range(LOOKS) if len(held) > k)
            assert ctx.get(dut.i.ready) == (len(held) < 4)
            places = [rng.randrange(LOOKS) for _ in range(LOOKS)]
            for port, place in zip(dut.at, places, strict=True):
                ctx.set(port, place)
            for port, place in zip(dut.o, places, strict=True):
                if place < len(held):
                    assert ctx.get(port) == held[place], f"clock {clock}, word {place}"
            takes = [rng.random() < 0.4 for _ in range(LOOKS)]
            while sum(takes) > len(held):
                takes[rng.randrange(LOOKS)] = False
            for k, take in enumerate(takes):
                ctx.set(dut.take[k], take)
            drop = sum(takes)
            offer = rng.random() < (0.3, 0.6, 0.9, 1.0)[seed]
            ctx.set(dut.i.valid, offer)
            ctx.set(dut.i.payload, clock)
            accepts = offer and ctx.get(dut.i.ready)
            await ctx.tick()
            dropped.extend(held[:drop])
            del held[:drop]
            if accepts:
                held.append(clock)

    simulate(dut, bench)
    assert len(dropped) > 100
    assert dropped == sorted(dropped)


def test_word_queue_gives_a_word_a_cycle_and_three_at_once() -> None:
    dut = WordQueue(bus_bits=32)

    async def bench(ctx: Any, _reset: Signal) -> None:
        ctx.set(dut.i.valid, 1)
        for _ in range(4):
            await ctx.tick()
        for drop in (1, 1, 1, 3, 1, 1, 1, 1, 0, 2, 1, 0, 0, 3):
            assert ctx.get(dut.has) >= (1 << drop) - 1
            for k in range(LOOKS):
                ctx.set(dut.take[k], k < drop)
            await ctx.tick()

    simulate(dut, bench)
