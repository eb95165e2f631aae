# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of index decoders: exported Verilog against the golden model."""

from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles
from xorloom.sim.testbenches.agents.bench import Bench, read_job, report
from xorloom.sim.testbenches.agents.packets import packet_fault

__all__ = ["decodes_indexed_streams"]


@cocotb.test()
async def decodes_indexed_streams(dut: Any) -> None:
    """Every bit that counts equals the golden model's, under the job's stall patterns."""
    job = read_job()
    bench = Bench(dut, job, tuple(job["inputs"]))
    await bench.start()
    for model, prefix in zip(bench.sources, job["inputs"], strict=True):
        for path in job["inputs"][prefix]:
            model.send_nowait(Path(path).read_bytes())
    result: dict[str, Any] = {}
    bits = 0
    for number, packet in enumerate(job["packets"]):
        received = await bench.sink.recv(compact=False)
        want = Path(packet["expected"]).read_bytes()
        care = int(packet["care"], 16)
        fault = packet_fault(bytes(received.tdata), want, care, job["beat_bytes"])
        if fault:
            result = {"failure": f"stream {number}: {fault}"}
            break
        bits += packet["weights"]
    else:
        await ClockCycles(dut.aclk, 20)
        if not bench.sink.empty() or dut.m_axis_tvalid.value:
            result = {"failure": "the decoder offers data after its last stream"}
        else:
            result = bench.counts | {"bits_checked": bits}
    report(result)
    assert "failure" not in result, result["failure"]
