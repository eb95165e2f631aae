# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of the IP block that is fed by AXI4-Stream: third-party models on both streams.

What the sink gives is what a DMA engine would store: the kept bytes of all beats.
"""

from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, First, RisingEdge, SimTimeoutError, with_timeout
from xorloom.hw.ip.csr import MAP
from xorloom.hw.ip.driver.driver import DecoderFault, Driver
from xorloom.sim.testbenches.agents.bench import CLOCK_NS, Bench, read_job, report
from xorloom.sim.testbenches.agents.packets import keep_fault, packet_fault

from .bus import RegisterPort

__all__ = ["decodes_weight_streams"]


def _fault(received: Any, packet: dict[str, Any], job: dict[str, Any], lanes: int) -> str | None:
    """Say what is wrong with a received packet: sideband, kept bytes, or what is in them."""
    fault = keep_fault(received, lanes)
    if fault:
        return fault
    users = received.tuser[::lanes]
    for beat, user in enumerate(users):
        wanted = packet["user"] if beat == len(users) - 1 else job["user"]
        if user != wanted:
            return f"beat {beat}: tuser {user}, expected {wanted}"
    expected = Path(packet["expected"]).read_bytes()
    kept = int(packet["keep"], 16).bit_count()
    received.compact()
    return packet_fault(
        bytes(received.tdata),
        expected[: len(expected) - lanes + kept],
        int(packet["care"], 16),
        lanes,
    )


async def _decodes(
    bench: Bench, port: RegisterPort, driver: Driver, job: dict[str, Any]
) -> str | None:
    """Send all streams and judge all packets; return what went wrong."""
    await driver.probe()
    enable = MAP["IRQ_ENABLE"]
    await port.write(enable.offset, enable.pack(ERROR=1))
    for path in job["inputs"]:
        bench.source.send_nowait(Path(path).read_bytes())
    raised = cocotb.start_soon(_edge(bench.dut.irq))
    lanes = bench.sink.byte_lanes
    for number, packet in enumerate(job["packets"]):
        receiving = cocotb.start_soon(bench.sink.recv(compact=False))
        await First(receiving, raised)
        if raised.done():
            status = await driver.status()
            return str(DecoderFault(status.cause, f" in stream {number}"))
        fault = _fault(receiving.result(), packet, job, lanes)
        if fault:
            return f"stream {number}: {fault}"
    await ClockCycles(bench.dut.aclk, 20)
    if not bench.sink.empty() or bench.dut.m_axis_tvalid.value:
        return "the decoder offers data after its last stream"
    status = await driver.status()
    if status.busy or status.error or not status.done:
        return f"after the last stream: {status}"
    return None


async def _edge(signal: Any) -> None:
    await RisingEdge(signal)


@cocotb.test()
async def decodes_weight_streams(dut: Any) -> None:
    """Kept bytes are the expected ones in every bit that counts, under the job's stalls."""
    job = read_job()
    bench = Bench(dut, job)
    port = RegisterPort(dut)
    driver = Driver(port)
    await bench.start()
    try:
        running = _decodes(bench, port, driver, job)
        failure = await with_timeout(running, job["limit"] * CLOCK_NS, "ns")
    except SimTimeoutError:
        failure = f"no end after {job['limit']} clocks"
    if failure:
        report({"failure": failure})
        raise AssertionError(failure)
    report(bench.counts | {"counters": await driver.counters()})
