# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of the AXI4-Stream value decoders: exported Verilog against the golden model."""

from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge
from xorloom.sim.testbenches.agents.bench import Bench, read_job, report
from xorloom.sim.testbenches.agents.packets import keep_fault

__all__ = ["decodes_streams", "first_mismatch", "recovers_from_reset_mid_stream"]

_TIMELINE = {
    "in_valid": "s_axis_tvalid",
    "in_ready": "s_axis_tready",
    "step": "decoder.unit.control.step",
    "has_slice": "decoder.unit.control.emit",
    "out_valid": "m_axis_tvalid",
    "out_ready": "m_axis_tready",
}
"""Facts that ``simulate --timeline`` records of a window decoder, and their signals.

One more is made of ``_OPENS``: ``opens_frame``, the chunk of the last step opens a frame."""
_OPENS = ("decoder.unit.control.take", "decoder.unit.control.frame_ends")
"""Both are set when a step takes a chunk that opens a frame."""
_CLOCKS_MAX = 1 << 14


def first_mismatch(got: bytes, expected: bytes, n_out: int, beat_bytes: int) -> str | None:
    """Say where two packets differ: slice of the stream, bit, expected, got."""
    if got == expected:
        return None
    if len(got) != len(expected):
        return f"packet of {len(got)} bytes, expected {len(expected)}"
    a, b = (np.frombuffer(x, np.uint8) for x in (got, expected))
    at = int(np.flatnonzero(a != b)[0])
    bit = int(a[at] ^ b[at])
    place = (at % beat_bytes) * 8 + (bit & -bit).bit_length() - 1
    beat, lane = at // beat_bytes, place // n_out
    want = (b[at] >> (place % 8)) & 1
    return (
        f"beat {beat} lane {lane} slice bit {place % n_out}: expected {want}, got {1 - want} "
        f"({int(np.count_nonzero(a != b))} bytes differ)"
    )


def _handle(dut: Any, path: str) -> Any:
    for name in path.split("."):
        dut = getattr(dut, name)
    return dut


async def _record(bench: Bench, slices: int, into: dict[str, str]) -> None:
    """Record all clocks from the first offered word until so many slices have left."""
    handles = {name: _handle(bench.dut, path) for name, path in _TIMELINE.items()}
    opening = [_handle(bench.dut, path) for path in _OPENS]
    left = clocks = 0
    opens = False
    while left < slices and clocks < _CLOCKS_MAX:
        await RisingEdge(bench.dut.aclk)
        now = {name: bool(handle.value) for name, handle in handles.items()}
        now["opens_frame"] = opens
        if now["step"]:
            opens = all(handle.value for handle in opening)
        if not (clocks or now["in_valid"]):
            continue
        clocks += 1
        left += now["out_valid"] and now["out_ready"]
        for name, value in now.items():
            into[name] += "01"[value]


async def _send_and_check(bench: Bench, job: dict[str, Any]) -> dict[str, Any]:
    """Send all streams back to back; compare every packet."""
    streams = [Path(path).read_bytes() for path in job["streams"]]
    expected = [Path(path).read_bytes() for path in job["expected"]]
    timeline = dict.fromkeys([*_TIMELINE, "opens_frame"], "")
    if job["timeline_slices"]:
        cocotb.start_soon(_record(bench, job["timeline_slices"], timeline))
    for data in streams:
        bench.source.send_nowait(data)
    bits = 0
    for number, want in enumerate(expected):
        packet = await bench.sink.recv(compact=False)
        fault = keep_fault(packet, bench.sink.byte_lanes)
        if fault:
            return {"failure": f"stream {number}: {fault}"}
        keep = np.array(packet.tkeep or [1] * len(packet.tdata), bool)
        if job["valid_bits"] and packet.tuser[-1] != job["valid_bits"][number]:
            want_bits = job["valid_bits"][number]
            return {"failure": f"stream {number}: tuser {packet.tuser[-1]}, expected {want_bits}"}
        got = np.frombuffer(bytes(packet.tdata), np.uint8)
        if got[~keep].any():
            return {"failure": f"stream {number}: data in bytes that tkeep masks out"}
        fault = first_mismatch(got.tobytes(), want, job["n_out"], job["beat_bytes"])
        if fault:
            return {"failure": f"stream {number}: {fault}"}
        bits += 8 * int(keep.sum())
    await ClockCycles(bench.dut.aclk, 20)
    if not bench.sink.empty() or bench.dut.m_axis_tvalid.value:
        return {"failure": "the decoder offers data after its last stream"}
    result: dict[str, Any] = bench.counts | {"bits_checked": bits}
    return result | ({"timeline": timeline} if job["timeline_slices"] else {})


def _finish(result: dict[str, Any]) -> None:
    report(result)
    assert "failure" not in result, result["failure"]


@cocotb.test()
async def decodes_streams(dut: Any) -> None:
    """Every bit of every slice equals the golden model's, under the job's stall patterns."""
    job = read_job()
    bench = Bench(dut, job)
    await bench.start()
    _finish(await _send_and_check(bench, job))


@cocotb.test()
async def recovers_from_reset_mid_stream(dut: Any) -> None:
    """Reset at any clock leaves nothing behind: the next streams decode as on a fresh device."""
    job = read_job()
    bench = Bench(dut, job)
    await bench.start()
    for clocks in job["reset_after"]:
        bench.source.send_nowait(Path(job["streams"][0]).read_bytes())
        await ClockCycles(dut.aclk, clocks)
        await bench.reset_clocks(3)
        bench.source.clear()
        bench.sink.clear()
        dut.aresetn.value = 1
    _finish(await _send_and_check(bench, job))
