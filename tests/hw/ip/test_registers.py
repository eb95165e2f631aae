# SPDX-License-Identifier: Apache-2.0
"""Register block: what software reads, writes and is told, and what the decoder sees of it."""

import gc

import pytest
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.ip.csr import MAP, REGISTERS, Cause, identity
from xorloom.hw.ip.registers import Registers
from xorloom.sim.simulate.runner import build, run
from xorloom.sw.base.errors import ConfigError

from tests.hw.ip.register_bus import READER, SIZES, Bus, with_bus


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
        await bus.start(0, 8)
        status = await bus.read("STATUS")
        assert (status["BUSY"], status["IDLE"]) == (1, 0)

    with_bus(test)


def test_registers_are_not_idle_because_a_start_was_refused() -> None:
    async def test(bus: Bus) -> None:
        await bus.start(0, 7)
        status = await bus.read("STATUS")
        assert (status["BUSY"], status["IDLE"], status["ERROR"]) == (0, 0, 1)

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


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bus_bits": 48}, "bus_bits must be one of 32, 64, 128, 256, 512, not 48"),
        ({"n_out": 0}, "n_out must be between 1 and 65535, not 0"),
        ({"planes": 256}, "planes must be between 1 and 255, not 256"),
        ({"kinds": -1}, "kinds must be between 0 and 4294967295, not -1"),
        ({"network": 1 << 32}, "network must be between 0 and 4294967295"),
        ({"queue": 16}, "queue must be a power of two between 2 and 8, not 16"),
        ({"queue": 3}, "queue must be a power of two between 2 and 8, not 3"),
        ({"align_bytes": 24}, "align_bytes must be a power of two between 1 and 8, not 24"),
        ({"address_bits": 65}, "address_bits must be between 12 and 64, not 65"),
    ],
)
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_registers_refuse_sizes_out_of_range(changes: dict[str, int], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Registers(**(SIZES | READER | changes))
    gc.collect(1)  # the young ones: all that the tests keep would take seconds


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
