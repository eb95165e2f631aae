# SPDX-License-Identifier: Apache-2.0
"""Fixed gearbox RTL against the obvious queue of bits."""

import random
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.lib.fixed_gearbox import FixedGearbox
from xorloom.sw.golden.bus import BitQueue

from tests.helpers.rtl import StreamRun, drive, simulate

SHAPES = [  # bus_bits, unit_bits
    (64, 64),
    (64, 16),
    (32, 1),
    (512, 8),
    (32, 128),
    (64, 60),
    (64, 80),
    (64, 85),
    (32, 33),
    (64, 5),
    (512, 500),
    (512, 85),
    (256, 96),
    (32, 200),
]


def ident(shape: tuple[int, int]) -> str:
    return "-".join(map(str, shape))


def run(shape: tuple[int, int], words: int, **stalls: Any) -> tuple[StreamRun, FixedGearbox]:
    """Send random words; compare all chunks that they hold."""
    bus, unit = shape
    rng = random.Random(str(shape))
    given = [rng.getrandbits(bus) for _ in range(words)]
    queue = BitQueue(iter(given), bus)
    chunks = []
    for _ in range(words * bus // unit):
        queue.fill(unit)
        chunks.append(queue.take(unit))
    box = FixedGearbox(bus_bits=bus, unit_bits=unit)
    done = drive(box, given, len(chunks), **stalls)
    assert done.items == chunks
    return done, box


def count(shape: tuple[int, int]) -> int:
    """Return words for some sixty chunks, and for every place that they can have in a word."""
    bus, unit = shape
    return max(60 * unit // bus, 6)


@pytest.mark.parametrize(("source", "sink"), [(0.5, 0.0), (0.0, 0.5), (0.4, 0.4), (0.1, 0.8)])
@pytest.mark.parametrize("shape", SHAPES, ids=ident)
def test_fixed_gearbox_equals_bit_queue_under_stalls(
    shape: tuple[int, int], source: float, sink: float
) -> None:
    run(shape, count(shape), source=source, sink=sink)


@pytest.mark.parametrize("shape", SHAPES, ids=ident)
def test_fixed_gearbox_makes_a_chunk_or_takes_a_word_per_cycle(shape: tuple[int, int]) -> None:
    bus, unit = shape
    done, box = run(shape, 2 * count(shape))
    ends = [-(-(k + 1) * unit // bus) - 1 for k in range(len(done.items))]
    if unit < bus:
        first = done.out_at[0]
        assert done.out_at == list(range(first, first + len(ends)))
    else:
        assert done.in_at == list(range(done.in_at[0], done.in_at[0] + len(done.in_at)))
        assert done.out_at == [done.in_at[end] + box.latency for end in ends]
    assert done.out_at[0] == done.in_at[ends[0]] + box.latency


@pytest.mark.parametrize("shape", SHAPES, ids=ident)
def test_fixed_gearbox_flush_forgets_all_bits(shape: tuple[int, int]) -> None:
    bus, unit = shape
    box = FixedGearbox(bus_bits=bus, unit_bits=unit)

    async def bench(ctx: Any, _reset: Signal) -> None:
        rng = random.Random(bus + unit)
        for _ in range(8):
            before = rng.randrange(12)
            words: list[int] = []
            for clock in range(before + 40 + 4 * unit // bus):
                ctx.set(box.flush, clock == before)
                if clock == before:
                    words = []
                word = rng.getrandbits(bus)
                # A chunk of bits before the flush must not be taken with it.
                late = clock > before + box.latency
                ctx.set(box.i.valid, clock != before)
                ctx.set(box.i.payload, word)
                ctx.set(box.o.ready, clock < before or late)
                _, _, accepts, valid, chunk = await ctx.tick().sample(
                    box.i.ready, box.o.valid, box.o.payload
                )
                if clock != before and accepts:
                    words.append(word)
                if late and valid:
                    value = sum(w << bus * k for k, w in enumerate(words))
                    assert chunk == value & ((1 << unit) - 1)
                    break
            else:
                raise AssertionError("no chunk after the flush")

    simulate(box, bench)
