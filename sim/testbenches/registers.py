# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of the register block: third-party bus master, drivers, stand-in decoder."""

import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp
from xorloom.hw.ip.csr import MAP
from xorloom.hw.ip.driver.c import CDriver
from xorloom.hw.ip.driver.driver import DecoderFault, Driver
from xorloom.sim.testbenches.agents.bench import CLOCK_NS, read_job, report, stalls

__all__ = ["answers_a_random_master", "c_driver_decodes", "python_driver_decodes"]

INPUTS = ("busy", "fault", "cause", "done", "events", "descriptor__ready")


class AxilBus:
    """Register bus of the drivers, on the third-party bus master."""

    def __init__(self, master: Any) -> None:
        self._master = master

    async def read(self, offset: int) -> int:
        """Read a register."""
        answer = await self._master.read(offset, 4)
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def write(self, offset: int, value: int) -> None:
        """Write a register."""
        answer = await self._master.write(offset, value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY


async def _start(dut: Any, job: dict[str, Any]) -> Any:
    """Reset the block, then connect a bus master whose five channels pause."""
    for name in INPUTS:
        getattr(dut, name).value = 0
    for channel in ("aw", "w", "ar"):
        getattr(dut, f"s_axil_{channel}valid").value = 0
    dut.s_axil_bready.value = dut.s_axil_rready.value = 0
    dut.rst.value = 1
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, "ns").start())
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
    writes, reads = master.write_if, master.read_if
    channels = [writes.aw_channel, writes.w_channel, writes.b_channel]
    channels += [reads.ar_channel, reads.r_channel]
    for number, channel in enumerate(channels):
        pattern = stalls(job.get("pauses", "none"), job.get("seed", 1) + number)
        if pattern is not None:
            channel.set_pause_generator(pattern)
    await ClockCycles(dut.clk, 2)
    return master


class StandIn:
    """Stand-in decoder: takes descriptors, is ``busy``, then ``done``, or has the fault asked for.

    ``faults`` are addresses with the cause of their fault. ``taken`` are the descriptors.
    """

    def __init__(self, dut: Any, faults: list[tuple[int, int]]) -> None:
        self._dut, self._faults = dut, dict(faults)
        self.taken: list[tuple[int, int]] = []
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut = self._dut
        address_bits = len(dut.descriptor__payload) - 32
        while True:
            dut.descriptor__ready.value = 1
            await RisingEdge(dut.clk)
            if not (dut.descriptor__valid.value and dut.descriptor__ready.value):
                continue
            payload = int(dut.descriptor__payload.value)
            address, length = payload & ((1 << address_bits) - 1), payload >> address_bits
            self.taken.append((address, length))
            dut.descriptor__ready.value, dut.busy.value = 0, 1
            dut.events.value = 1  # a bus word each cycle
            for _ in range(length // 8):
                await RisingEdge(dut.clk)
                if dut.abort.value:
                    break
            else:
                cause = self._faults.get(address)
                dut.events.value = 0
                dut.done.value = cause is None
                dut.fault.value, dut.cause.value = cause is not None, cause or 0
                await RisingEdge(dut.clk)
            for name in ("events", "done", "fault", "busy"):
                getattr(dut, name).value = 0


@cocotb.test()
async def answers_a_random_master(dut: Any) -> None:
    """Writes of single bytes, with reads at the same time, act as on plain registers."""
    job = read_job()
    rng = random.Random(job["seed"])
    master = await _start(dut, job)
    # Holes, and registers whose writes have no side effect; these keep what is written.
    first, end = 0x2C, 0x40
    kept = {"ADDRESS_LO": 0xFFFFFFFF, "ADDRESS_HI": job["address_high"], "LENGTH": 0xFFFFFFFF}
    mask, model = bytearray(end), bytearray(end)
    for name, bits in kept.items():
        mask[MAP[name].offset : MAP[name].offset + 4] = bits.to_bytes(4, "little")
    identity = bytes.fromhex(job["identity"])
    for number in range(job["accesses"]):
        at = rng.randrange(first, end)
        written = rng.randbytes(rng.randint(1, min(9, end - at)))
        other = cocotb.start_soon(master.read(0, len(identity)))
        answer = await master.write(at, written)
        assert answer.resp == AxiResp.OKAY
        for place, byte in enumerate(written, at):
            model[place] = byte & mask[place]
        found = await other
        assert found.resp == AxiResp.OKAY
        assert found.data == identity, f"access {number}: identity {found.data.hex()}"
        at = rng.randrange(first, end)
        size = rng.randint(1, end - at)
        found = await master.read(at, size)
        assert found.resp == AxiResp.OKAY
        want = bytes(model[at : at + size])
        assert found.data == want, (
            f"access {number}: {found.data.hex()} at {at:#x}, not {want.hex()}"
        )
    report({"accesses": job["accesses"]})


@cocotb.test()
async def python_driver_decodes(dut: Any) -> None:
    """The job's calls of ``decode`` end as they should, with and without interrupts."""
    job = read_job()
    master = await _start(dut, job)
    stand_in = StandIn(dut, job["faults"])

    async def interrupt() -> None:
        while not dut.interrupt.value:
            await RisingEdge(dut.clk)

    driver = Driver(AxilBus(master), interrupt=interrupt if job["interrupt"] else None)
    result: dict[str, Any] = {"info": asdict(await driver.probe()), "ends": []}
    for descriptors in job["calls"]:
        try:
            result["ends"].append(await driver.decode(descriptors))
        except DecoderFault as fault:
            result["ends"].append(fault.cause.name)
    result["counters"] = await driver.counters()
    await driver.clear_counters()
    result["cleared"] = await driver.counters()
    report(result | {"taken": stand_in.taken})


@cocotb.test()
async def c_driver_decodes(dut: Any) -> None:
    """The C driver does the same: its register accesses become bus transfers."""
    job = read_job()
    master = await _start(dut, job)
    stand_in = StandIn(dut, job["faults"])
    bus = AxilBus(master)

    def calls() -> dict[str, Any]:
        driver = CDriver(Path(job["library"]), resume(bus.read), resume(bus.write))
        result: dict[str, Any] = {"info": asdict(driver.probe()), "ends": []}
        for descriptors in job["calls"]:
            try:
                result["ends"].append(driver.decode([tuple(pair) for pair in descriptors]))
            except DecoderFault as fault:
                result["ends"].append(fault.cause.name)
        result["counters"] = driver.counters()
        driver.clear_counters()
        return result | {"cleared": driver.counters()}

    report(await bridge(calls)() | {"taken": stand_in.taken})
