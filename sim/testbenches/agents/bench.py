# SPDX-License-Identifier: Apache-2.0
"""Bench that testbenches share: jobs, clock and reset, AXI4-Stream models, stalls, counters."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource
from xorloom.sim.simulate.result import stalls
from xorloom.sim.simulate.runner import CLOCK_NS

__all__ = ["CLOCK_NS", "Bench", "read_job", "report", "stalls"]


def _job_folder() -> Path:
    return Path(os.environ["XORLOOM_JOB"])


def read_job() -> dict[str, Any]:
    """Return the job that :func:`xorloom.sim.simulate.runner.run` was given."""
    return json.loads((_job_folder() / "job.json").read_text())


def report(result: dict[str, Any]) -> None:
    """Hand a result back to :func:`xorloom.sim.simulate.runner.run`."""
    (_job_folder() / "report.json").write_text(json.dumps(result))


class Bench:
    """Clock, reset, AXI4-Stream sources and a sink, and cycle counters around one DUT.

    Events of inputs are summed over all inputs.
    """

    def __init__(
        self, dut: Any, job: dict[str, Any], inputs: tuple[str, ...] = ("s_axis",)
    ) -> None:
        self.dut, self._inputs = dut, inputs
        self.counts = {"cycles": 0, "input_waits": 0, "starved": 0, "output_waits": 0, "words": 0}
        self._job = job
        self._running = False

    async def start(self) -> None:
        """Reset the DUT, then connect the models (reset first: they sample the bus at once)."""
        dut = self.dut
        for prefix in self._inputs:
            for port in ("tvalid", "tdata", "tlast"):
                getattr(dut, f"{prefix}_{port}").value = 0
        for port in ("m_axis_tready", "aresetn"):
            getattr(dut, port).value = 0
        cocotb.start_soon(Clock(dut.aclk, CLOCK_NS, "ns").start())
        await self.reset_clocks(4)
        dut.aresetn.value = 1
        logging.getLogger("cocotb").setLevel(logging.WARNING)
        seed = self._job.get("seed", 1)
        ports = {"reset": dut.aresetn, "reset_active_level": False}
        self.sources = [
            AxiStreamSource(AxiStreamBus.from_prefix(dut, prefix), dut.aclk, **ports)
            for prefix in self._inputs
        ]
        self.source = self.sources[0]
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **ports)
        models = [(model, "source") for model in self.sources] + [(self.sink, "sink")]
        for number, (model, key) in enumerate(models):
            model.log.setLevel(logging.WARNING)
            # The first source and the sink keep the seed, so that results stay what they were.
            offset = number if number < len(self.sources) else 0
            pattern = stalls(self._job.get(key, "none"), seed + offset)
            if pattern is not None:
                model.set_pause_generator(pattern)
        cocotb.start_soon(self._count())

    async def reset_clocks(self, clocks: int) -> None:
        """Hold reset for some clocks."""
        self.dut.aresetn.value = 0
        for _ in range(clocks):
            await RisingEdge(self.dut.aclk)
        self._running = False

    async def _count(self) -> None:
        """Count clocks from the first input transfer to the last output transfer."""
        dut, counts = self.dut, self.counts
        since = dict.fromkeys(counts, 0)
        while True:
            await RisingEdge(dut.aclk)
            inputs = [
                tuple(bool(getattr(dut, f"{name}_{end}").value) for end in ("tvalid", "tready"))
                for name in self._inputs
            ]
            out_valid, out_ready = bool(dut.m_axis_tvalid.value), bool(dut.m_axis_tready.value)
            self._running |= any(valid and ready for valid, ready in inputs)
            if not self._running:
                since = dict.fromkeys(counts, 0)
                continue
            since["cycles"] += 1
            for in_valid, in_ready in inputs:
                since["words"] += in_valid and in_ready
                since["input_waits"] += in_valid and not in_ready
                since["starved"] += in_ready and not in_valid
            since["output_waits"] += out_valid and not out_ready
            if out_valid and out_ready:  # clocks after the last output do not count
                counts.update(since)
            await ReadOnly()
