# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of the read master behind a :mod:`xorloom.sim.bandwidth.axi_memory`."""

import time
from collections import deque
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from xorloom.sim.bandwidth.axi_memory import AxiMemory
from xorloom.sim.bandwidth.presets import memory
from xorloom.sim.testbenches.agents.bench import CLOCK_NS, read_job, report, stalls

from .reader import memory_bytes

__all__ = ["reads_at_the_memorys_rate"]


@cocotb.test()
async def reads_at_the_memorys_rate(dut: Any) -> None:
    """Every word equals the image's, behind a memory as slow as the job's preset."""
    job = read_job()
    width, bits = job["bus_bits"] // 8, job["address_bits"]
    image = memory_bytes(0, job["image_bytes"])
    dut.rst.value = 1
    for name in ("descriptor__valid", "descriptor__payload", "abort", "o__ready"):
        getattr(dut, name).value = 0
    model = AxiMemory(
        dut, dut.clk, memory(job["memory"]), image, clock_mhz=job["clock_mhz"], base=job["base"]
    )
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, "ns").start())
    cocotb.start_soon(model.run())
    edge = RisingEdge(dut.clk)
    for _ in range(4):
        await edge
    dut.rst.value = 0
    pauses = stalls(job.get("sink", "none"), 1)
    ready = pauses is None
    dut.o__ready.value = ready
    waiting = deque(job["descriptors"])
    address, length = waiting[0]
    dut.descriptor__payload.value = length << bits | address
    dut.descriptor__valid.value = 1
    left = sum(length for _, length in waiting) // width
    words = iter(
        (offset, int.from_bytes(image[offset : offset + width], "little"))
        for address, length in job["descriptors"]
        for offset in range(address - job["base"], address - job["base"] + length, width)
    )
    mask = (1 << job["bus_bits"]) - 1
    errors = []
    started = time.process_time()
    clocks = 0
    offered, payload = dut.o__valid, dut.o__payload
    while left:
        await edge
        clocks += 1
        if clocks > job["limit"]:
            raise AssertionError(f"{left} words are missing after {clocks} clocks")
        if waiting and dut.descriptor__ready.value:
            waiting.popleft()
            dut.descriptor__valid.value = bool(waiting)
            if waiting:
                dut.descriptor__payload.value = waiting[0][1] << bits | waiting[0][0]
        if ready and offered.value:
            left -= 1
            word = int(payload.value)
            offset, expected = next(words)
            if word >> (job["bus_bits"] + 1):
                errors.append(offset)
            elif word & mask != expected:
                raise AssertionError(f"byte {offset}: expected {expected:#x}, got {word & mask:#x}")
        if pauses is not None:
            ready = not next(pauses)
            dut.o__ready.value = ready
    seconds = time.process_time() - started
    report(model.counts() | {"errors": errors, "clocks": clocks, "hz": clocks / seconds})
