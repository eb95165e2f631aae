# SPDX-License-Identifier: Apache-2.0
"""Gearbox RTL against a queue of bits."""

import random
from math import gcd
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.lib.gearbox import Gearbox

from tests.helpers.rtl import simulate, unit

SHAPES = [  # bus_bits, unit_bits, look_bits, enough_bits
    (64, 60, 60, 60),
    (64, 64, 64, 64),
    (64, 8, 24, 8),
    (32, 1, 13, 13),
    (32, 1, 50, 1),
    (512, 17, 34, 17),
    (32, 128, 128, 128),
    (32, 6, 72, 6),
    (128, 20, 60, 41),
]
CLOCKS = 800


class BitQueue:
    """The obvious model: an integer of bits and their number."""

    def __init__(self) -> None:
        self.value = self.level = 0

    def push(self, word: int, bits: int) -> None:
        self.value |= word << self.level
        self.level += bits

    def drop(self, bits: int) -> None:
        assert bits <= self.level
        self.value >>= bits
        self.level -= bits


@pytest.mark.parametrize(("feed", "drain"), [(1.0, 1.0), (0.5, 0.5), (0.9, 0.3), (0.2, 0.9)])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(map(str, s)))
def test_gearbox_equals_bit_queue(
    shape: tuple[int, int, int, int], feed: float, drain: float
) -> None:
    bus, step, look, enough = shape
    box = unit(Gearbox, bus_bits=bus, unit_bits=step, look_bits=look, enough_bits=enough)
    grain = gcd(bus, step)
    assert box.grain == grain
    rng = random.Random(str((shape, feed, drain)))

    async def bench(ctx: Any, _reset: Signal) -> None:
        queue = BitQueue()
        taken = 0
        for clock in range(CLOCKS):
            flush = rng.random() < 0.01
            fits = min(look, queue.level) // step
            # `take` may announce what is not there yet, as long as `go` waits for it.
            units = rng.choice([0, fits, rng.randint(0, fits), rng.randint(0, look // step)])
            go = units <= fits and rng.random() < drain
            valid = not flush and rng.random() < feed
            word = rng.getrandbits(bus)
            ctx.set(box.take, units * step // grain)
            ctx.set(box.go, go)
            ctx.set(box.flush, flush)
            ctx.set(box.i.valid, valid)
            ctx.set(box.i.payload, word)
            _, _, ready, is_enough, out = await ctx.tick().sample(box.i.ready, box.enough, box.o)
            place = f"clock {clock}, level {queue.level}"
            assert is_enough == (queue.level >= -(-enough // grain) * grain), place
            known = (1 << min(look, queue.level)) - 1
            assert out & known == queue.value & ((1 << look) - 1) & known, place
            assert ready or queue.level >= look, f"{place}: full, but cannot serve `look_bits`"
            if flush:
                queue = BitQueue()
                continue
            if go:
                queue.drop(units * step)
                taken += units * step
            if valid and ready:
                queue.push(word, bus)
        assert taken > 20 * step

    simulate(box, bench)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(map(str, s)))
def test_gearbox_takes_a_word_per_cycle_while_it_is_drained(
    shape: tuple[int, int, int, int],
) -> None:
    bus, step, look, enough = shape
    box = unit(Gearbox, bus_bits=bus, unit_bits=step, look_bits=look, enough_bits=enough)

    async def bench(ctx: Any, _reset: Signal) -> None:
        level = entered = 0
        ctx.set(box.i.valid, 1)
        for _ in range(200):
            units = min(look, level) // step
            ctx.set(box.take, units * step // box.grain)
            ctx.set(box.go, 1)
            _, _, ready = await ctx.tick().sample(box.i.ready)
            level += bus * ready - units * step
            entered += ready
        # All that can leave in a cycle, leaves, or else a word enters in every cycle.
        most = min(bus, look // step * step)
        assert entered * bus >= 200 * most - 8 * max(bus, look)

    simulate(box, bench)


def test_gearbox_gives_literal_fields_across_words() -> None:
    box = Gearbox(bus_bits=32, unit_bits=4, look_bits=12, enough_bits=12)

    async def bench(ctx: Any, _reset: Signal) -> None:
        ctx.set(box.i.valid, 1)
        for word in (0x76543210, 0xFEDCBA98):
            ctx.set(box.i.payload, word)
            await ctx.tick()
        ctx.set(box.i.valid, 0)
        got = []
        ctx.set(box.go, 1)
        ctx.set(box.take, 3 * 4 // box.grain)
        for _ in range(5):
            assert ctx.get(box.enough)
            got.append(ctx.get(box.o))
            await ctx.tick()
        assert got == [0x210, 0x543, 0x876, 0xBA9, 0xEDC]
        assert not ctx.get(box.enough)
        assert ctx.get(box.o) & 0xF == 0xF

    simulate(box, bench)


def test_gearbox_flush_empties_the_queue() -> None:
    box = Gearbox(bus_bits=32, unit_bits=5, look_bits=20, enough_bits=20)

    async def bench(ctx: Any, _reset: Signal) -> None:
        ctx.set(box.i.valid, 1)
        ctx.set(box.i.payload, 0xFFFFFFFF)
        await ctx.tick()
        ctx.set(box.take, 5)
        ctx.set(box.go, 1)
        await ctx.tick()
        ctx.set(box.i.valid, 0)
        ctx.set(box.flush, 1)
        await ctx.tick()
        ctx.set(box.flush, 0)
        ctx.set(box.go, 0)
        assert not ctx.get(box.enough)
        ctx.set(box.i.valid, 1)
        ctx.set(box.i.payload, 0x12345678)
        await ctx.tick()
        ctx.set(box.i.valid, 0)
        assert ctx.get(box.enough)
        assert ctx.get(box.o) == 0x45678

    simulate(box, bench)
