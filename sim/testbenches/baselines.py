# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of the baseline decoders: one word per clock, unless the job says otherwise."""

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from xorloom.sim.testbenches.agents.bench import CLOCK_NS, read_job, report, stalls

__all__ = ["decodes_words"]


@cocotb.test()
async def decodes_words(dut: Any) -> None:
    """Send the job's words; report beats, and cycles from the first word to the last beat."""
    job = read_job()
    words = [int(word, 16) for word in job["words"]]
    seed = job.get("seed", 1)
    pauses = [stalls(job.get(key, "none"), seed + n) for n, key in enumerate(("source", "sink"))]
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, "ns").start())
    dut.rst.value = 1
    dut.i__valid.value, dut.o__ready.value = 0, 0
    for _ in range(3):
        await RisingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    beats: list[str] = []
    sent, cycles, first, last, offering = 0, 0, -1, 0, False
    while len(beats) < job["beats"] and cycles < job["limit"]:
        offering = offering or (sent < len(words) and not (pauses[0] and next(pauses[0])))
        dut.i__valid.value = offering
        dut.i__payload.value = words[sent] if offering else 0
        dut.o__ready.value = not (pauses[1] and next(pauses[1]))
        # Outputs settle before the rising edge: what is read there belongs to these inputs.
        await RisingEdge(dut.clk)
        cycles += 1
        if offering and int(dut.i__ready.value):
            first = cycles if first < 0 else first
            sent, offering = sent + 1, False
        if int(dut.o__valid.value) and int(dut.o__ready.value):
            beats.append(f"{int(dut.o__payload.value):x}")
            last = cycles
        await FallingEdge(dut.clk)
    report({"beats": beats, "cycles": last - first + 1, "words": sent})
