# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of index decoders: exported Verilog against the golden model."""

from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles
from xorloom.sim.testbenches.agents.bench import Bench, read_job, report

__all__ = ["decodes_indexed_streams", "packet_fault"]


def packet_fault(got: bytes, expected: bytes, care: int, beat_bytes: int) -> str | None:
    """Say where two packets differ; in the last beat, only bits of ``care`` count."""
    if len(got) != len(expected):
        return f"packet of {len(got)} bytes, expected {len(expected)}"
    a, b = (int.from_bytes(data, "little") for data in (got, expected))
    counts = (1 << 8 * (len(got) - beat_bytes)) - 1
    counts |= care << 8 * (len(got) - beat_bytes)
    wrong = (a ^ b) & counts
    if not wrong:
        return None
    place = (wrong & -wrong).bit_length() - 1
    want = b >> place & 1
    return (
        f"beat {place // (8 * beat_bytes)} bit {place % (8 * beat_bytes)}: expected {want}, "
        f"got {1 - want} ({wrong.bit_count()} bits differ)"
    )


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
