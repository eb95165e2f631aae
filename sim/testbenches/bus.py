# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of decoders on a memory, behind their AXI read master.

Whole matrices go through it, so that only the memory runs at every clock, and all use plain
handles. The protocol is checked by the third-party models of other testbenches.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, SimTimeoutError, with_timeout
from cocotb.utils import get_sim_time
from xorloom.hw.baselines.shell import BASELINE_COUNTERS
from xorloom.hw.ip.driver.driver import DecoderFault, Driver
from xorloom.sim.bandwidth.axi_memory import AxiMemory
from xorloom.sim.bandwidth.presets import memory
from xorloom.sim.testbenches.agents.bench import CLOCK_NS, read_job, report, stalls

__all__ = ["RegisterPort", "decodes_from_memory"]


class RegisterPort:
    """Register port: reads and writes through ``s_axil``, one access at a time.

    It is a :class:`xorloom.hw.ip.driver.driver.RegisterBus`.
    """

    def __init__(self, dut: Any) -> None:
        self._dut, self._edge = dut, RisingEdge(dut.aclk)
        for name in ("aw", "w", "ar"):
            getattr(dut, f"s_axil_{name}valid").value = 0
        dut.s_axil_awprot.value = dut.s_axil_arprot.value = 0
        dut.s_axil_wstrb.value = 0xF
        dut.s_axil_bready.value = dut.s_axil_rready.value = 1

    async def _access(self, asks: tuple[str, ...], answers: str) -> None:
        """Offer on channels until each has been taken, then wait for the answer."""
        dut = self._dut
        offered = dict.fromkeys(asks, True)
        for name in asks:
            getattr(dut, f"s_axil_{name}valid").value = 1
        answer = getattr(dut, f"s_axil_{answers}valid")
        while True:
            await self._edge
            for name in asks:
                if offered[name] and getattr(dut, f"s_axil_{name}ready").value:
                    offered[name] = False
                    getattr(dut, f"s_axil_{name}valid").value = 0
            if answer.value:
                return

    async def read(self, offset: int) -> int:
        """Read a register."""
        self._dut.s_axil_araddr.value = offset
        await self._access(("ar",), "r")
        return int(self._dut.s_axil_rdata.value)

    async def write(self, offset: int, value: int) -> None:
        """Write a register."""
        self._dut.s_axil_awaddr.value = offset
        self._dut.s_axil_wdata.value = value
        await self._access(("aw", "w"), "b")


def _clocks() -> int:
    return round(get_sim_time("ns") / CLOCK_NS)


class Sink:
    """Sink: takes beats and compares each with the expected one.

    ``fault`` tells the first difference. ``beats`` were taken, the last one at clock ``at``.
    """

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self._dut, self._job = dut, job
        self._pauses = stalls(job["sink"], job["seed"])
        self.beats, self.at, self.fault = 0, 0, ""

    def _expected(self) -> Iterator[tuple[str, int, int, int, int, int]]:
        """Yield place, data, bits that count, last, user and keep of every beat."""
        job, size = self._job, self._job["beat_bytes"]
        whole = int(job["whole"], 16)
        for number, packet in enumerate(job["packets"]):
            data = Path(packet["expected"]).read_bytes()
            count = len(data) // size
            for k in range(count):
                last = k == count - 1
                yield (
                    f"stream {number}: beat {k}",
                    int.from_bytes(data[k * size : (k + 1) * size], "little"),
                    int(packet["care"], 16) if last else whole,
                    last,
                    packet["user"] if last else job["user"],
                    int(packet["keep"], 16) if last else (1 << size) - 1,
                )

    async def run(self) -> None:
        """Take beats until all have come, or one is wrong."""
        dut, edge = self._dut, RisingEdge(self._dut.aclk)
        valid, ready = dut.m_axis_tvalid, dut.m_axis_tready
        data, last = dut.m_axis_tdata, dut.m_axis_tlast
        user = dut.m_axis_tuser if self._job["registers"] else None
        keep = dut.m_axis_tkeep if self._job["keeps"] else None
        offers = RisingEdge(valid)
        expected = self._expected()
        pauses = self._pauses
        goes = pauses is None
        ready.value = goes
        beat = next(expected, None)
        while beat is not None:
            await edge
            if pauses is None and not valid.value:
                await offers  # in the clock before the beat is taken
                continue
            if goes and valid.value:
                place, want, care, is_last, of_user, of_keep = beat
                wrong = (int(data.value) ^ want) & care
                if user is not None and int(user.value) != of_user:
                    self.fault = f"{place}: tuser {int(user.value)}, expected {of_user}"
                elif keep is not None and int(keep.value) != of_keep:
                    self.fault = f"{place}: tkeep {int(keep.value):x}, expected {of_keep:x}"
                elif wrong:
                    bit = (wrong & -wrong).bit_length() - 1
                    one = want >> bit & 1
                    self.fault = (
                        f"{place} bit {bit}: expected {one}, got {1 - one} "
                        f"({wrong.bit_count()} bits differ)"
                    )
                elif bool(last.value) != is_last:
                    self.fault = f"{place}: tlast {int(last.value)}, expected {int(is_last)}"
                if self.fault:
                    return
                self.beats += 1
                self.at = _clocks()
                beat = next(expected, None)
            if pauses is not None:
                goes = not next(pauses)
                ready.value = goes


async def _first_read(dut: Any) -> int:
    """Return the clock in which the first address is taken; the memory is ready at first."""
    await RisingEdge(dut.m_axi_arvalid)
    await RisingEdge(dut.aclk)
    return _clocks()


async def _pulses(dut: Any, descriptors: list[list[int]]) -> None:
    """Start the reads of a baseline decoder."""
    edge = RisingEdge(dut.aclk)
    for address, length in descriptors:
        dut.address.value, dut.length.value, dut.start.value = address, length, 1
        await edge
    dut.start.value = 0


async def _decodes(dut: Any, job: dict[str, Any], sink: Sink, driver: Driver | None) -> str:
    """Run the job; return what went wrong, or nothing."""
    taking = cocotb.start_soon(sink.run())
    try:
        if driver is None:
            await _pulses(dut, job["descriptors"])
        else:
            await driver.probe()
            await driver.decode(tuple(pair) for pair in job["descriptors"])
    except DecoderFault as fault:
        return f"{fault}; {sink.fault}" if sink.fault else str(fault)
    await taking
    if sink.fault:
        return sink.fault
    for _ in range(20):
        await RisingEdge(dut.aclk)
        if dut.m_axis_tvalid.value:
            return "the decoder offers data after its last stream"
    return ""


@cocotb.test()
async def decodes_from_memory(dut: Any) -> None:
    """Every bit that counts is the expected one; report clocks, and who waited."""
    job = read_job()
    dut.aresetn.value, dut.m_axis_tready.value = 0, 0
    driver = None
    if job["registers"]:

        async def interrupt() -> None:
            if not dut.irq.value:
                await RisingEdge(dut.irq)

        driver = Driver(RegisterPort(dut), interrupt=interrupt)
    else:
        dut.start.value = dut.address.value = dut.length.value = 0
    model = AxiMemory(
        dut,
        dut.aclk,
        memory(job["memory"]),
        Path(job["image"]).read_bytes(),
        clock_mhz=job["clock_mhz"],
        base=job["base"],
    )
    cocotb.start_soon(Clock(dut.aclk, CLOCK_NS, "ns").start())
    cocotb.start_soon(model.run())
    for _ in range(4):
        await RisingEdge(dut.aclk)
    dut.aresetn.value = 1
    first = cocotb.start_soon(_first_read(dut))
    sink = Sink(dut, job)
    try:
        failure = await with_timeout(
            _decodes(dut, job, sink, driver), job["limit"] * CLOCK_NS, "ns"
        )
    except SimTimeoutError:
        failure = f"no end after {job['limit']} clocks and {sink.beats} beats"
    if failure:
        report({"failure": failure})
        raise AssertionError(failure)
    if driver is None:
        counters = {name: int(getattr(dut, name).value) for name in BASELINE_COUNTERS}
    else:
        counters = await driver.counters()
    counts = model.counts()
    report(
        {
            "cycles": sink.at - await first,
            "bus_cycles": counts.pop("cycles"),
            "beats": sink.beats,
            "memory": counts,
            "counters": counters,
        }
    )
