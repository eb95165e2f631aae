# SPDX-License-Identifier: Apache-2.0
import random

import pytest
from xorloom.hw.boards.text_line import Number, TextLine, Word
from xorloom.hw.boards.uart_tx import UartTx
from xorloom.sw.base.errors import ConfigError

from tests.helpers.rtl import simulate

TEXTS = ("OK", "", "FAIL cause=HEADER")


def lines_of(cases, ready_share):
    dut = TextLine(
        ["n=", Number("n"), " ", Word("w", TEXTS), " x=", Number("x", hexadecimal=True), ".\r\n"]
    )
    rng = random.Random(3)
    lines = []

    async def bench(ctx, _reset):
        for n, w, x in cases:
            ctx.set(dut.n, n)
            ctx.set(dut.w, w)
            ctx.set(dut.x, x)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            text = bytearray()
            for _ in range(2000):
                if not ctx.get(dut.busy):
                    break
                ctx.set(dut.o.ready, rng.random() < ready_share)
                _, _, valid, ready, byte = await ctx.tick().sample(
                    dut.o.valid, dut.o.ready, dut.o.payload
                )
                if valid and ready:
                    text.append(byte)
            lines.append(text.decode())

    simulate(dut, bench)
    return lines


@pytest.mark.parametrize("ready_share", [1.0, 0.2])
def test_text_line_writes_numbers_as_python_does(ready_share):
    rng = random.Random(1)
    cases = [(0, 0, 0), (2**32 - 1, 1, 2**32 - 1), (10, 2, 0xABC), (1000000000, 0, 1)]
    cases += [(rng.getrandbits(32), k % 3, rng.getrandbits(32)) for k in range(6)]
    expected = [f"n={n} {TEXTS[w]} x={x:08x}.\r\n" for n, w, x in cases]
    assert lines_of(cases, ready_share) == expected


@pytest.mark.parametrize("divisor", [2, 7])
def test_uart_tx_sends_start_data_low_bit_first_and_stop(divisor):
    data = [0x55, 0x00, 0xFF, 0x81, 0x0D]
    dut = UartTx(divisor)
    line = []

    async def bench(ctx, _reset):
        assert ctx.get(dut.o) == 1
        at = 0
        ctx.set(dut.i.valid, 1)
        for _ in range((10 * divisor + 1) * len(data) + 5):
            ctx.set(dut.i.valid, at < len(data))
            ctx.set(dut.i.payload, data[min(at, len(data) - 1)])
            _, _, ready, bit = await ctx.tick().sample(dut.i.ready, dut.o)
            at += ready and at < len(data)
            line.append(bit)

    simulate(dut, bench)
    characters = []
    while 0 in line:
        line = line[line.index(0) :]
        bits = [line[k * divisor : (k + 1) * divisor] for k in range(10)]
        assert all(len(set(bit)) == 1 for bit in bits)
        characters.append([bit[0] for bit in bits])
        line = line[10 * divisor :]
    assert [bits[0] for bits in characters] == [0] * len(data)
    assert [bits[9] for bits in characters] == [1] * len(data)
    assert [sum(bit << k for k, bit in enumerate(bits[1:9])) for bits in characters] == data


def test_uart_tx_needs_two_cycles_per_bit():
    with pytest.raises(ConfigError, match=r"2 cycles or more, not 1 \(lower the baud\)"):
        UartTx(1)
