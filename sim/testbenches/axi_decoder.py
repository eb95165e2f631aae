# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of the IP block: third-party bus models on every port, injected faults.

A case has phases. Each phase sends its streams, waits until the decoder is idle, and reports the
output packets and ``STATUS``. The tests on the host judge them.
"""

import itertools
import logging
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiReadBus,
    AxiResp,
    AxiSlaveRead,
    AxiStreamBus,
    AxiStreamSink,
    AxiStreamSource,
)
from cocotbext.axi.sparse_memory import SparseMemory
from xorloom.hw.ip.csr import MAP, Cause
from xorloom.hw.ip.driver.driver import DecoderFault, Driver
from xorloom.sim.testbenches.agents.bench import CLOCK_NS, read_job, report, stalls
from xorloom.sim.testbenches.agents.packets import keep_fault

from .registers import AxilBus

__all__ = ["ends_every_stream"]

PATIENCE = 1000
"""Cycles after the last word in which the decoder must become idle, without back-pressure."""


class _Memory:
    """Memory of the AXI slave model; at some addresses it answers with an error."""

    def __init__(self, contents: dict[str, str]) -> None:
        self._data = SparseMemory(1 << 32)
        for address, data in contents.items():
            self._data.write(int(address), bytes.fromhex(data))
        self.errors: dict[int, int] = {}
        self.response = AxiResp.OKAY

    async def read(self, address: int, length: int) -> bytes:
        """Read a word; the model turns an exception into SLVERR."""
        self.response = AxiResp(self.errors.get(address, 0))
        if self.response in (AxiResp.SLVERR, AxiResp.DECERR):
            raise ValueError
        return bytes(self._data.read(address, length))


class DecoderBench:
    """Decoder with models around it; it has a read master if the job has ``memory``."""

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self.dut, self.job = dut, job
        self.reader = "memory" in job
        self.clock = self.last_word = 0
        self.memory = _Memory(job.get("memory", {}))

    async def start(self) -> None:
        """Reset, then connect the models."""
        dut = self.dut
        inputs = ["arready", "rvalid", "rdata", "rresp", "rlast", "rid"] if self.reader else []
        for name in inputs:
            getattr(dut, f"m_axi_{name}").value = 0
        for name in [] if self.reader else ["tvalid", "tdata", "tlast"]:
            getattr(dut, f"s_axis_{name}").value = 0
        for name in ("awvalid", "wvalid", "arvalid", "bready", "rready"):
            getattr(dut, f"s_axil_{name}").value = 0
        dut.m_axis_tready.value = dut.aresetn.value = 0
        cocotb.start_soon(Clock(dut.aclk, CLOCK_NS, "ns").start())
        await ClockCycles(dut.aclk, 4)
        dut.aresetn.value = 1
        logging.getLogger("cocotb").setLevel(logging.ERROR)
        ports = {"reset": dut.aresetn, "reset_active_level": False}
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **ports)
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.aclk, **ports)
        if self.reader:
            self.slave = AxiSlaveRead(
                AxiReadBus.from_prefix(dut, "m_axi"), dut.aclk, target=self.memory, **ports
            )
            self.pausing = {"ar": self.slave.ar_channel, "r": self.slave.r_channel}
            self._answer_with_errors()
        else:
            self.source = AxiStreamSource(
                AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **ports
            )
            self.pausing = {"source": self.source}
        self.pausing["sink"] = self.sink
        self.driver = Driver(AxilBus(self.master), interrupt=self._interrupt)
        cocotb.start_soon(self._watch())
        await ClockCycles(dut.aclk, 2)

    def _answer_with_errors(self) -> None:
        """Replace the model's SLVERR by the response that the memory wants."""
        channel = self.slave.r_channel
        send = channel.send

        async def answer(beat: Any) -> None:
            beat.rresp = self.memory.response
            await send(beat)

        channel.send = answer

    async def _interrupt(self) -> None:
        while not self.dut.irq.value:
            await RisingEdge(self.dut.aclk)

    async def _watch(self) -> None:
        """Count clocks; note the last transfer on any port but the registers'."""
        dut = self.dut
        names = ("m_axi_r", "m_axi_ar") if self.reader else ("s_axis_t",)
        pairs = [
            (getattr(dut, f"{name}valid"), getattr(dut, f"{name}ready"))
            for name in (*names, "m_axis_t")
        ]
        for clock in itertools.count():
            await RisingEdge(dut.aclk)
            self.clock = clock
            if any(valid.value and ready.value for valid, ready in pairs):
                self.last_word = clock

    def pauses(self, case: dict[str, Any]) -> None:
        """Set the stall patterns of a case."""
        for number, (key, model) in enumerate(self.pausing.items()):
            model.clear_pause_generator()
            model.pause = False
            pattern = stalls(case.get(key, "none"), case.get("seed", 1) + number)
            if pattern is not None:
                model.set_pause_generator(pattern)

    def packets(self) -> list[list[list[int]]]:
        """Return the output packets that have come; a beat is data, keep and user."""
        lanes = self.sink.byte_lanes
        found = []
        while not self.sink.empty():
            packet = self.sink.recv_nowait(compact=False)
            fault = keep_fault(packet, lanes)
            if fault:
                raise AssertionError(fault)
            cut = range(0, len(packet.tdata), lanes)
            found.append(
                [
                    [
                        int.from_bytes(bytes(packet.tdata[at : at + lanes]), "little"),
                        sum(bit << k for k, bit in enumerate(packet.tkeep[at : at + lanes])),
                        int(packet.tuser[at]),
                    ]
                    for at in cut
                ]
            )
        return found

    async def settle(self) -> str | None:
        """Wait until the decoder is not busy; return what is wrong if it stays so."""
        while True:
            status = await self.driver.status()
            if not status.busy and (self.reader or self.source.idle()):
                return None
            if self.clock - self.last_word > PATIENCE + 50:
                return f"busy {self.clock - self.last_word} clocks after the last transfer"

    async def reset(self) -> None:
        """Reset in mid-stream; the models are reset with it."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 3)
        if not self.reader:
            self.source.clear()
        self.sink.clear()
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)

    async def _later(self, clocks: int, key: str) -> None:
        """Abort, reset or start again after some clocks."""
        await ClockCycles(self.dut.aclk, clocks)
        if key == "abort":
            await self.master.write(0x20, b"\2\0\0\0")
        elif key == "reset":
            await self.reset()
        else:
            self.sink.pause = False

    async def _start(self, address: int, length: int) -> None:
        """Write the registers as they are, since the driver refuses what the decoder has to."""
        bus = AxilBus(self.master)
        for name, field, value in (
            ("ADDRESS_LO", "VALUE", address),
            ("LENGTH", "VALUE", length),
            ("CONTROL", "START", 1),
        ):
            await bus.write(MAP[name].offset, MAP[name].pack(**{field: value}))

    async def phase(self, phase: dict[str, Any]) -> dict[str, Any]:
        """Run one phase: send, wait, read the state, clear it."""
        self.last_word = self.clock
        self.memory.errors = {int(at): kind for at, kind in phase.get("errors", {}).items()}
        tasks = []
        if "stuck" in phase:
            self.sink.pause = True
        for packet in phase.get("packets", ()):
            self.source.send_nowait(bytes.fromhex(packet))
        for address, length in phase.get("starts", ()):
            await self._start(address, length)
        for key in ("abort", "reset", "stuck"):
            if key in phase:
                tasks.append(cocotb.start_soon(self._later(phase[key], key)))
        result: dict[str, Any] = {}
        if "decode" in phase:
            try:
                result["end"] = await self.driver.decode([tuple(d) for d in phase["decode"]])
            except DecoderFault as fault:
                result["end"] = fault.cause.name
        for task in tasks:
            await task
        self.last_word = self.clock
        hang = await self.settle()
        if hang:
            raise AssertionError(hang)
        status = await self.driver.status()
        await self.driver.clear()
        return result | {
            "packets": self.packets(),
            "cause": status.cause.name if status.error else Cause.NONE.name,
            "done": status.done,
        }


@cocotb.test()
async def ends_every_stream(dut: Any) -> None:
    """Whatever is sent, the decoder becomes idle and reports it; each phase is handed back."""
    job = read_job()
    bench = DecoderBench(dut, job)
    await bench.start()
    results = []
    for number, case in enumerate(job["cases"]):
        bench.pauses(case)
        try:
            results.append([await bench.phase(phase) for phase in case["phases"]])
        except AssertionError as error:
            failure = f"case {number} {case.get('name', '')}: {error}"
            report({"failure": failure})
            raise AssertionError(failure) from None
    report({"cases": results, "clocks": bench.clock})
