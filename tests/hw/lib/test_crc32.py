# SPDX-License-Identifier: Apache-2.0
"""The CRC of words: streams without a gap but the clear, and words that hold the CRC."""

import random
import zlib

import pytest
from xorloom.hw.lib.crc32 import Crc32

from tests.helpers.rtl import simulate


def run(dut, slots):
    """Drive a word, None for nothing or "clear" in each clock; return ``right`` and ``o``."""
    found = []

    async def bench(ctx, _reset):
        for slot in [*slots, *[None] * dut.latency]:
            ctx.set(dut.clear, slot == "clear")
            ctx.set(dut.valid, isinstance(slot, int))
            if isinstance(slot, int):
                ctx.set(dut.data, slot)
            await ctx.tick()
            found.append((ctx.get(dut.right), ctx.get(dut.o)))

    simulate(dut, bench)
    return found


@pytest.mark.parametrize("bits", [32, 64, pytest.param(512, marks=pytest.mark.slow)])
def test_crc_is_right_in_the_word_that_holds_it_and_no_other(bits):
    dut = Crc32(bits)
    rng = random.Random(bits)
    slots, wanted = [], {}
    for number in range(40):
        words = [rng.getrandbits(bits) for _ in range(rng.randint(1, 5))]
        crc = zlib.crc32(b"".join(word.to_bytes(bits // 8, "little") for word in words))
        wrong = 0 if number % 2 else 1 << number % 32
        for word in words:
            slots += [word] + [None] * (number % 3 == 0)
        wanted[len(slots) + dut.latency - 2] = (None, crc)
        wanted[len(slots) + dut.latency - 1] = (not wrong, None)
        slots += [crc ^ wrong, "clear"]
    found = run(dut, slots)
    for clock, (right, crc) in wanted.items():
        assert right in (None, found[clock][0])
        assert crc in (None, found[clock][1])


def test_crc_wants_zeros_behind_the_crc():
    dut = Crc32(64)
    word = 0x0123456789ABCDEF
    crc = zlib.crc32(word.to_bytes(8, "little"))
    wrongs = [0, *(1 << k for k in range(64))]
    found = run(dut, [slot for wrong in wrongs for slot in (word, crc ^ wrong, "clear")])
    for number, wrong in enumerate(wrongs):
        assert found[3 * number + dut.latency][0] == (not wrong), hex(wrong)
