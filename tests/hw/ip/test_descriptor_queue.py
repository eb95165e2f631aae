# SPDX-License-Identifier: Apache-2.0
"""Descriptors: how registers take them, and their queue against a list."""

import random
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.ip.csr import MAP, Cause
from xorloom.hw.ip.descriptor_queue import DescriptorQueue
from xorloom.hw.ip.registers import Registers

from tests.helpers.rtl import simulate
from tests.hw.ip.register_bus import SIZES, Bus, with_bus


@pytest.mark.parametrize(
    ("bits", "kept"), [(32, (0xFFFFFFFF, 0)), (40, (0xFFFFFFFF, 0xFF)), (20, (0xFFFFF, 0))]
)
def test_registers_of_a_descriptor_are_written_by_bytes(bits: int, kept: tuple[int, int]) -> None:
    rng = random.Random(bits)

    async def test(bus: Bus) -> None:
        masks = {"ADDRESS_LO": kept[0], "ADDRESS_HI": kept[1], "LENGTH": 0xFFFFFFFF}
        words = dict.fromkeys(masks, 0)
        for _ in range(60):
            name, strobe = rng.choice(list(masks)), rng.randrange(16)
            value = rng.getrandbits(32)
            await bus.write(name, strobe, VALUE=value)
            lanes = sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)
            words[name] = (words[name] & ~lanes | value & lanes) & masks[name]
            for each, word in words.items():
                assert (await bus.read(each))["VALUE"] == word, each

    with_bus(test, address_bits=bits)


@pytest.mark.parametrize("queue", [2, 4, 8])
def test_registers_queue_descriptors_in_order_and_refuse_one_too_many(queue: int) -> None:
    starts = [(0x12_3456_7800 + 64 * n, 8 * (n + 1)) for n in range(queue)]

    async def test(bus: Bus) -> None:
        for _ in range(2):  # the second round finds the pointers elsewhere
            await bus.start(*starts[0])
            assert await bus.queued() == [starts[0]]
            for number, (address, length) in enumerate(starts):
                assert (await bus.read("STATUS"))["QUEUE_SPACE"] == queue - number
                await bus.start(address, length)
                assert (await bus.read("STATUS"))["BUSY"]
            assert await bus.status() == (0, 0, Cause.NONE)
            await bus.start(0, 8)
            assert await bus.status() == (0, 1, Cause.BUSY)
            assert await bus.queued() == starts
            assert not (await bus.read("STATUS"))["BUSY"]
            await bus.write("STATUS", ERROR=1)
            assert await bus.status() == (0, 0, Cause.NONE)

    with_bus(test, queue=queue)


@pytest.mark.parametrize(("address", "length"), [(0, 0), (0, 12), (0, 7), (4, 8), (0x801, 16)])
def test_registers_refuse_a_bad_descriptor(address: int, length: int) -> None:
    async def test(bus: Bus) -> None:
        await bus.start(0x100, 24)
        await bus.start(address, length)
        assert await bus.status() == (0, 1, Cause.DESCRIPTOR)
        assert await bus.queued() == [(0x100, 24)]

    with_bus(test)


def test_registers_take_any_address_without_alignment() -> None:
    async def test(bus: Bus) -> None:
        await bus.start(0x803, 24)
        assert await bus.queued() == [(0x803, 24)]

    with_bus(test, align_bytes=1)


def test_registers_fault_empties_the_queue() -> None:
    async def test(bus: Bus) -> None:
        for _ in range(3):
            await bus.start(0x100, 24)
        await bus.pulse(fault=1, cause=Cause.DECERR)
        assert await bus.queued() == []
        assert await bus.status() == (0, 1, Cause.DECERR)
        await bus.start(0x200, 32)
        assert await bus.queued() == [(0x200, 32)]

    with_bus(test)


def test_registers_without_a_reader_ignore_starts() -> None:
    dut = Registers(**SIZES)
    assert not hasattr(dut, "descriptor")

    async def bench(ctx: Any, _reset: Signal) -> None:
        bus = Bus(ctx, dut)
        await bus.start(0xFF_0000_1000, 64)
        assert await bus.read_word(MAP["STATUS"].offset) == 0
        for name in ("ADDRESS_LO", "ADDRESS_HI", "LENGTH"):
            assert await bus.read_word(MAP[name].offset) == 0
        await bus.pulse(fault=1, cause=Cause.TRUNCATED)
        assert await bus.status() == (0, 1, Cause.TRUNCATED)

    simulate(dut, bench)


@pytest.mark.parametrize(
    ("bits", "last"), [(12, 0xFF8), (32, 0xFFFF_FFF8), (40, 0xFF_FFFF_FFF8), (64, (1 << 64) - 8)]
)
def test_registers_refuse_what_lies_beyond_memory(bits: int, last: int) -> None:
    """The last word of memory can be read; nothing is wrapped, and no address is cut."""
    good = [(last, 8), (last - 8, 16), (0, min(1 << bits, 0xFFFF_FFF8)), (0, 8)]
    bad = [(last, 16), (last - 8, 24), (last, 0xFFFF_FFF8)]
    bad += [(1 << bit, 8) for bit in range(bits, 64)] + [(last + 8 + 8, 8)] * (bits < 64)

    async def test(bus: Bus) -> None:
        for pair in [item for both in zip(bad, good * len(bad), strict=False) for item in both]:
            address, length = pair
            await bus.write("ADDRESS_HI", VALUE=address >> 32)
            await bus.write("ADDRESS_LO", VALUE=address & 0xFFFFFFFF)
            await bus.write("LENGTH", VALUE=length)
            await bus.write("CONTROL", START=1)
            cause = Cause.DESCRIPTOR if pair in bad else Cause.NONE
            assert await bus.status() == (0, int(pair in bad), cause), pair
            assert await bus.queued() == ([] if pair in bad else [pair]), pair
            await bus.write("STATUS", ERROR=1)

    with_bus(test, address_bits=bits)


@pytest.mark.parametrize("depth", [2, 4])
def test_descriptor_queue_equals_a_list_at_every_clock(depth: int) -> None:
    dut = DescriptorQueue(bus_bytes=4, address_bits=16, align_bytes=2, depth=depth)
    rng = random.Random(depth)

    async def bench(ctx: Any, _reset: Signal) -> None:
        queue: list[tuple[int, int]] = []
        checks, starts, coming, now = False, False, False, (0, 4)
        fullest = 0
        for clock in range(1500):
            if not (checks or starts or coming):
                length = rng.choice([0, 2, 4, 8, 12, 1 << 15, 1 << 31, (1 << 32) - 4])
                top = rng.choice([0, 1, 2, 4])  # the descriptor ends near the top of memory
                near = ((1 << 16) - length + rng.randrange(-top, top + 1)) % (1 << 16)
                now = rng.choice([rng.getrandbits(16), near]), length
            # The descriptor stands still from the clock before a start to the second after it.
            start, coming = coming, rng.random() < 0.5
            ready = rng.random() < (clock // 100 % 3) / 2
            ctx.set(dut.beyond, now[0] % 16 == 6)
            flush = rng.random() < 0.03
            ctx.set(dut.descriptor, {"address": now[0], "length": now[1]})
            for signal, bit in ((dut.start, start), (dut.o.ready, ready), (dut.flush, flush)):
                ctx.set(signal, bit)
            bad = now[0] % 2 or not now[1] or now[1] % 4 or sum(now) > 1 << 16
            bad = bad or now[0] % 16 == 6
            full = len(queue) == depth
            refused = Cause.DESCRIPTOR if bad else Cause.BUSY
            assert ctx.get(dut.space) == depth - len(queue)
            put = [now] if starts and not bad and not full else []
            assert ctx.get(dut.busy) == bool(put or queue)
            assert ctx.get(dut.refused) == (starts and bool(bad or full))
            assert not ctx.get(dut.refused) or ctx.get(dut.cause) == refused
            assert ctx.get(dut.o.valid) == bool(queue)
            if queue:
                item = ctx.get(dut.o.payload)
                assert (item.address, item.length) == queue[0], f"clock {clock}"
            queue = [] if flush else queue[bool(queue) and ready :] + put
            fullest = max(fullest, len(queue))
            checks, starts = start and not flush, checks and not flush
            await ctx.tick()
        assert fullest == depth

    simulate(dut, bench)
