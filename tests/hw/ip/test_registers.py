# SPDX-License-Identifier: Apache-2.0
"""Register block: what software reads, writes and is told, and what the decoder sees of it."""

import gc
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.ip.csr import COUNTERS, MAP, REGISTERS, Cause, identity
from xorloom.hw.ip.descriptor_queue import DescriptorQueue
from xorloom.hw.ip.event_counters import EventCounters
from xorloom.hw.ip.registers import Registers
from xorloom.sim.simulate.runner import build, run
from xorloom.sw.base.errors import ConfigError

from tests.helpers.rtl import simulate

SIZES = {"bus_bits": 64, "n_out": 256, "planes": 4, "kinds": 0x70, "network": 0xDEADBEEF}
READER = {"reader": True, "address_bits": 40, "align_bytes": 8}


class Bus:
    """Software's view: one access at a time, over the AXI4-Lite port."""

    def __init__(self, ctx: Any, dut: Registers) -> None:
        self.ctx, self.dut = ctx, dut

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            self.ctx.set(getattr(self.dut, f"s_axil_{name}"), value)

    async def _until(self, name: str) -> None:
        for _ in range(20):
            *_, seen = await self.ctx.tick().sample(getattr(self.dut, f"s_axil_{name}"))
            if seen:
                return
        raise AssertionError(f"no {name} in 20 clocks")

    async def write_word(self, offset: int, value: int, strobe: int = 0xF) -> None:
        self._set(awaddr=offset, awvalid=1, wdata=value, wstrb=strobe, wvalid=1, bready=1)
        await self._until("awready")
        self._set(awvalid=0, wvalid=0)
        await self._until("bvalid")
        self._set(bready=0)

    async def read_word(self, offset: int) -> int:
        self._set(araddr=offset, arvalid=1)
        await self._until("arready")
        self._set(arvalid=0)
        self._set(rready=1)
        for _ in range(20):
            *_, valid, value, response = await self.ctx.tick().sample(
                self.dut.s_axil_rvalid, self.dut.s_axil_rdata, self.dut.s_axil_rresp
            )
            if valid:
                assert response == 0, "not OKAY"
                self._set(rready=0)
                return value
        raise AssertionError("no data in 20 clocks")

    async def write(self, name: str, strobe: int = 0xF, /, **fields: int) -> None:
        await self.write_word(MAP[name].offset, MAP[name].pack(**fields), strobe)

    async def read(self, name: str) -> dict[str, int]:
        return MAP[name].unpack(await self.read_word(MAP[name].offset))

    async def status(self) -> tuple[int, int, int]:
        """Return done, error and cause."""
        fields = await self.read("STATUS")
        return fields["DONE"], fields["ERROR"], fields["CAUSE"]

    async def start(self, address: int, length: int) -> None:
        await self.write("ADDRESS_LO", VALUE=address & 0xFFFFFFFF)
        await self.write("ADDRESS_HI", VALUE=address >> 32)
        await self.write("LENGTH", VALUE=length)
        await self.write("CONTROL", START=1)

    async def pulse(self, **values: Any) -> None:
        """Set inputs of the decoder's side for one clock."""
        for name, value in values.items():
            self.ctx.set(getattr(self.dut, name), value)
        await self.ctx.tick()
        for name, value in values.items():
            self.ctx.set(
                getattr(self.dut, name), dict.fromkeys(value, 0) if name == "events" else 0
            )

    async def queued(self) -> list[tuple[int, int]]:
        """Take all descriptors that are offered."""
        dut, found = self.dut, []
        self.ctx.set(dut.descriptor.ready, 1)
        for _ in range(12):
            *_, valid, item = await self.ctx.tick().sample(
                dut.descriptor.valid, dut.descriptor.payload
            )
            if valid:
                found.append((item.address, item.length))
        self.ctx.set(dut.descriptor.ready, 0)
        return found


def with_bus(test: Callable[[Bus], Awaitable[None]], **changes: Any) -> None:
    """Run a test on a register block with a reader, or as changed."""
    dut = Registers(**(SIZES | READER | changes))

    async def bench(ctx: Any, _reset: Signal) -> None:
        await test(Bus(ctx, dut))

    simulate(dut, bench)


@pytest.mark.parametrize("reader", [True, False])
def test_registers_tell_how_they_were_built(reader: bool) -> None:
    async def test(bus: Bus) -> None:
        queue = {"queue": 4, **READER, "reader": int(reader)}
        for name, word in identity(**SIZES, **queue).items():
            assert await bus.read_word(MAP[name].offset) == word, name

    with_bus(test, reader=reader)


def test_registers_of_holes_read_0_and_ignore_writes() -> None:
    async def test(bus: Bus) -> None:
        taken = {register.offset for register in REGISTERS}
        before = {offset: await bus.read_word(offset) for offset in sorted(taken)}
        for offset in range(0, 256, 4):
            if offset not in taken:
                await bus.write_word(offset, 0xFFFFFFFF)
                assert await bus.read_word(offset) == 0, hex(offset)
        assert {offset: await bus.read_word(offset) for offset in sorted(taken)} == before

    with_bus(test)


def test_registers_that_are_read_only_stay() -> None:
    async def test(bus: Bus) -> None:
        for register in REGISTERS:
            if all(field.access == "ro" for field in register.fields):
                before = await bus.read_word(register.offset)
                await bus.write_word(register.offset, 0xFFFFFFFF)
                assert await bus.read_word(register.offset) == before, register.name

    with_bus(test)


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


def test_registers_ignore_bits_whose_byte_is_not_written() -> None:
    async def test(bus: Bus) -> None:
        await bus.pulse(done=1)
        await bus.write("LENGTH", VALUE=8)
        await bus.write("CONTROL", 0b1110, START=1, ABORT=1, CLEAR_COUNTERS=1)
        await bus.write("STATUS", 0b1110, DONE=1)
        await bus.write("IRQ_ENABLE", 0b1110, DONE=1)
        assert await bus.queued() == []
        assert await bus.read("STREAMS") == {"VALUE": 1}
        assert await bus.status() == (1, 0, 0)
        assert await bus.read_word(MAP["IRQ_ENABLE"].offset) == 0

    with_bus(test)


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


def test_registers_keep_the_first_cause_until_cleared() -> None:
    async def test(bus: Bus) -> None:
        await bus.pulse(fault=1, cause=Cause.CRC)
        await bus.pulse(fault=1, cause=Cause.HEADER)
        assert await bus.status() == (0, 1, Cause.CRC)
        await bus.write("STATUS", DONE=1)
        assert await bus.status() == (0, 1, Cause.CRC)
        await bus.write("STATUS", ERROR=1)
        assert await bus.status() == (0, 0, Cause.NONE)
        await bus.pulse(fault=1, cause=Cause.SLVERR)
        assert await bus.status() == (0, 1, Cause.SLVERR)

    with_bus(test)


def test_registers_lose_no_event_while_software_clears() -> None:
    """A fault or an end in any cycle of the clearing write is seen afterwards."""

    async def test(bus: Bus) -> None:
        for delay in range(6):
            await bus.pulse(fault=1, cause=Cause.CRC, done=1)
            clear = MAP["STATUS"].pack(DONE=1, ERROR=1)
            bus._set(awaddr=MAP["STATUS"].offset, awvalid=1, wdata=clear, wstrb=15, wvalid=1)
            bus._set(bready=1)
            for clock in range(8):
                await bus.pulse(fault=clock == delay, cause=Cause.LENGTH, done=clock == delay)
                bus._set(awvalid=0, wvalid=0)
            bus._set(bready=0)
            seen.append(await bus.status())
            await bus.write("STATUS", DONE=1, ERROR=1)

    seen: list[tuple[int, int, int]] = []
    with_bus(test)
    early, late = (0, 0, Cause.NONE), (1, 1, Cause.LENGTH)
    at = seen.index(late)
    assert 0 < at < 5
    assert seen == [early] * at + [late] * (len(seen) - at)


def test_registers_interrupt_follows_status_and_enables() -> None:
    events = {"DONE": {"done": 1}, "ERROR": {"fault": 1, "cause": 4}, "IDLE": {"busy": 1}}

    async def test(bus: Bus) -> None:
        for event, inputs in events.items():
            await bus.write("IRQ_ENABLE", **{event: 1})
            assert await bus.read("IRQ_ENABLE") == dict.fromkeys(events, 0) | {event: 1}
            for other in events.keys() - {event}:
                await bus.pulse(**events[other])
            await bus.ctx.tick().repeat(4)
            assert not bus.ctx.get(bus.dut.interrupt)
            await bus.pulse(**inputs)
            await bus.ctx.tick().repeat(2)
            assert bus.ctx.get(bus.dut.interrupt)
            fields = await bus.read("STATUS")
            assert all(fields[name] for name in events)
            await bus.write("STATUS", **{event: 1})
            await bus.ctx.tick()
            assert not bus.ctx.get(bus.dut.interrupt)
            await bus.write("STATUS", **dict.fromkeys(events, 1))


def test_registers_are_idle_when_the_last_is_over() -> None:
    async def test(bus: Bus) -> None:
        await bus.start(0, 8)
        await bus.start(0, 8)
        bus.ctx.set(bus.dut.busy, 1)
        await bus.queued()
        assert (await bus.read("STATUS"))["IDLE"] == 0
        bus.ctx.set(bus.dut.busy, 0)
        assert (await bus.read("STATUS"))["IDLE"] == 1

    with_bus(test)


async def _abort_pulses(bus: Bus) -> int:
    """Write ABORT; count clocks with ``abort``, in which no descriptor may be offered."""
    word = MAP["CONTROL"].pack(ABORT=1)
    bus._set(awaddr=MAP["CONTROL"].offset, awvalid=1, wdata=word, wstrb=15, wvalid=1, bready=1)
    pulses = 0
    for _ in range(10):
        *_, abort, offered = await bus.ctx.tick().sample(bus.dut.abort, bus.dut.descriptor.valid)
        bus._set(awvalid=0, wvalid=0)
        pulses += abort
        assert not (abort and offered)
    bus._set(bready=0)
    return pulses


def test_registers_abort_empties_the_queue_then_tells_the_decoder_once() -> None:
    async def test(bus: Bus) -> None:
        for _ in range(3):
            await bus.start(0x100, 24)
        assert await _abort_pulses(bus) == 1
        assert await bus.status() == (0, 1, Cause.ABORTED)
        assert (await bus.read("STATUS"))["QUEUE_SPACE"] == 4
        assert await bus.queued() == []
        await bus.write("STATUS", ERROR=1)
        await bus.start(0x200, 32)
        assert await bus.queued() == [(0x200, 32)]
        bus.ctx.set(bus.dut.busy, 1)
        assert await _abort_pulses(bus) == 1
        assert await bus.status() == (0, 1, Cause.ABORTED)

    with_bus(test)


def test_registers_abort_of_nothing_is_no_error() -> None:
    async def test(bus: Bus) -> None:
        assert await _abort_pulses(bus) == 1
        assert await bus.status() == (0, 0, Cause.NONE)

    with_bus(test)


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


@pytest.mark.parametrize("depth", [2, 4])
def test_descriptor_queue_equals_a_list_at_every_clock(depth: int) -> None:
    dut = DescriptorQueue(bus_bytes=4, address_bits=16, align_bytes=2, depth=depth)
    rng = random.Random(depth)

    async def bench(ctx: Any, _reset: Signal) -> None:
        queue: list[tuple[int, int]] = []
        starts, now = False, (0, 4)
        fullest = 0
        for clock in range(1500):
            if not starts:
                now = rng.getrandbits(16), rng.choice([0, 2, 4, 8, 12, 1 << 31])
            start, ready = rng.random() < 0.5, rng.random() < (clock // 100 % 3) / 2
            flush = rng.random() < 0.03
            ctx.set(dut.descriptor, {"address": now[0], "length": now[1]})
            for signal, bit in ((dut.start, start), (dut.o.ready, ready), (dut.flush, flush)):
                ctx.set(signal, bit)
            bad = now[0] % 2 or not now[1] or now[1] % 4
            full = len(queue) == depth
            refused = Cause.DESCRIPTOR if bad else Cause.BUSY
            assert ctx.get(dut.space) == depth - len(queue)
            assert ctx.get(dut.busy) == (starts or bool(queue))
            assert ctx.get(dut.refused) == (starts and bool(bad or full))
            assert not ctx.get(dut.refused) or ctx.get(dut.cause) == refused
            assert ctx.get(dut.o.valid) == bool(queue)
            if queue:
                item = ctx.get(dut.o.payload)
                assert (item.address, item.length) == queue[0], f"clock {clock}"
            put = [now] if starts and not bad and not full else []
            queue = [] if flush else queue[bool(queue) and ready :] + put
            fullest = max(fullest, len(queue))
            starts = start and not flush
            await ctx.tick()
        assert fullest == depth

    simulate(dut, bench)


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
    ("changes", "text"),
    [
        ({"bus_bits": 48}, "bus_bits must be one of 32, 64, 128, 256, 512, not 48"),
        ({"n_out": 0}, "n_out must be between 1 and 65535, not 0"),
        ({"planes": 256}, "planes must be between 1 and 255, not 256"),
        ({"kinds": -1}, "kinds must be between 0 and 4294967295, not -1"),
        ({"network": 1 << 32}, "network must be between 0 and 4294967295"),
        ({"queue": 16}, "queue must be between 2 and 8, not 16"),
        ({"queue": 3}, "queue must be a power of two, not 3"),
        ({"align_bytes": 24}, "align_bytes must be a power of two, not 24"),
        ({"address_bits": 65}, "address_bits must be between 12 and 64, not 65"),
    ],
)
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_registers_refuse_sizes_out_of_range(changes: dict[str, int], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Registers(**(SIZES | READER | changes))
    gc.collect()


@pytest.mark.slow  # a Verilator build
@pytest.mark.parametrize("pauses", ["none", "random", "bursts"])
def test_registers_answer_a_third_party_master(pauses: str) -> None:
    dut = Registers(**SIZES, **READER)
    built = build(component_verilog(dut, "registers"), "registers")
    words = identity(**SIZES, **READER, queue=4).values()
    job = {
        "pauses": pauses,
        "seed": 5,
        "accesses": 150,
        "address_high": 0xFF,
        "identity": b"".join(word.to_bytes(4, "little") for word in words).hex(),
    }
    result = run(built, "xorloom.sim.testbenches.registers", "answers_a_random_master", job)
    assert result == {"accesses": 150}
