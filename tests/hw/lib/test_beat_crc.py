# SPDX-License-Identifier: Apache-2.0
import random
import re
import zlib

import pytest
from xorloom.hw.lib.beat_crc import BeatCrc
from xorloom.sw.base.errors import ConfigError

from tests.helpers.rtl import simulate


def crc_of(dut, beats, pause, seed):
    """Return the CRC after every run of beats, and the clocks that all runs took."""
    rng = random.Random(seed)
    found = []
    clocks = 0

    async def bench(ctx, _reset):
        nonlocal clocks
        for run in beats:
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            for beat in run:
                while rng.random() < pause:
                    await ctx.tick()
                    clocks += 1
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.i.payload, beat)
                taken = 0
                while not taken:
                    _, _, taken = await ctx.tick().sample(dut.i.ready)
                    clocks += 1
                ctx.set(dut.i.valid, 0)
            while not ctx.get(dut.idle):
                await ctx.tick()
            found.append(ctx.get(dut.o))

    simulate(dut, bench)
    return found, clocks


@pytest.mark.parametrize(
    ("bits", "steps", "pause"),
    [
        (96, 1, 0.5),
        (96, 3, 0.3),
        pytest.param(640, 1, 0.0, marks=pytest.mark.slow),
        pytest.param(1024, 2, 0.5, marks=pytest.mark.slow),
        (256, 8, 0.0),
    ],
)
def test_beat_crc_is_zlibs_over_the_bytes(bits, steps, pause):
    rng = random.Random(bits + steps)
    runs = [[rng.getrandbits(bits) for _ in range(n)] for n in (1, 7, 0, 4)]
    found, clocks = crc_of(BeatCrc(bits, steps=steps), runs, pause, seed=1)
    data = [b"".join(beat.to_bytes(bits // 8, "little") for beat in run) for run in runs]
    assert found == [zlib.crc32(part) for part in data]
    if not pause:  # a run's first beat is taken at once, each other as soon as the parts are done
        assert clocks == sum(1 + (len(run) - 1) * steps for run in runs if run)


def test_beat_crc_feels_every_bit():
    bits = 96
    runs = [[1 << k] for k in range(bits)]
    found, _ = crc_of(BeatCrc(bits, steps=3), runs, 0, seed=1)
    assert found == [zlib.crc32((1 << k).to_bytes(bits // 8, "little")) for k in range(bits)]


@pytest.mark.parametrize(("bits", "steps"), [(96, 4), (100, 1), (64, 0), (24, 1)])
def test_beat_crc_parts_must_be_bytes_and_hold_the_crc(bits, steps):
    text = f"a beat of {bits} bits must be cut into whole bytes, 32 bits or more, not into {steps}"
    with pytest.raises(ConfigError, match=re.escape(text)):
        BeatCrc(bits, steps=steps)
