# SPDX-License-Identifier: Apache-2.0
import random

import pytest
from xorloom.hw.boards.rom import BoardRom
from xorloom.sw.base.errors import ConfigError

from tests.helpers.rtl import simulate


def passes_of(words, bank_words, stall, passes=2):
    """Return what came in every pass: (data, last), and the clocks from start to the last word."""
    dut = BoardRom(words, bus_bits=32, bank_words=bank_words)
    rng = random.Random(5)
    runs, clocks = [], []

    async def bench(ctx, _reset):
        for _ in range(passes):
            while not ctx.get(dut.idle):
                await ctx.tick()
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            run, clock = [], 0
            while not (run and run[-1][1]):
                ctx.set(dut.o.ready, rng.random() >= stall)
                _, _, valid, ready, data, last = await ctx.tick().sample(
                    dut.o.valid, dut.o.ready, dut.o.p.data, dut.o.p.last
                )
                clock += 1
                if valid and ready:
                    assert not ctx.get(dut.idle) or last
                    run.append((data, last))
            runs.append(run)
            clocks.append(clock)

    simulate(dut, bench)
    return runs, clocks


@pytest.mark.parametrize(
    ("count", "bank_words", "stall"),
    [(1, 16, 0), (16, 16, 0), (17, 16, 0.5), (300, 16, 0), (300, 16, 0.6), (100, 128, 0.1)],
)
def test_board_rom_gives_all_words_in_order_every_time(count, bank_words, stall):
    rng = random.Random(count)
    words = [rng.getrandbits(32) for _ in range(count)]
    runs, clocks = passes_of(words, bank_words, stall)
    expected = [(word, k == count - 1) for k, word in enumerate(words)]
    assert runs == [expected, expected]
    if not stall:  # one word per cycle after the latency of banks and queue
        assert max(clocks) <= count + 11


def test_board_rom_needs_a_word():
    with pytest.raises(ConfigError, match="must have a word or more, not none"):
        BoardRom([], bus_bits=32, bank_words=16)
