# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of the AXI read master, against cocotbext-axi's memory side."""

import hashlib
import itertools
import logging
from functools import lru_cache
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge
from cocotbext.axi import AxiReadBus, AxiSlaveRead
from xorloom.sim.testbenches.agents.axi_rules import AxiRules
from xorloom.sim.testbenches.agents.bench import CLOCK_NS, read_job, report, stalls

__all__ = ["memory_bytes", "reads_descriptors"]

_CHUNK = 64


@lru_cache(maxsize=1 << 16)
def _chunk(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(8, "little"), digest_size=_CHUNK).digest()


def memory_bytes(address: int, length: int) -> bytes:
    """Return the contents of the testbench's memory: hashes of addresses, so all words differ."""
    first, end = address // _CHUNK, -(-(address + length) // _CHUNK)
    text = b"".join(_chunk(number) for number in range(first, end))
    return text[address - first * _CHUNK :][:length]


class _Target:
    """Memory behind the AXI slave model."""

    async def read(self, address: int, length: int) -> bytes:
        return memory_bytes(address, length)


class ReaderBench:
    """Read master with a memory, a source of descriptors and a sink."""

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self.dut, self.job = dut, job
        self.rules = AxiRules(dut, job)
        self.errors: dict[int, int] = {}
        self._sink: Any = itertools.repeat(False)

    async def start(self) -> None:
        """Reset, then connect the models."""
        dut = self.dut
        for name in ("descriptor__valid", "descriptor__payload", "abort", "o__ready"):
            getattr(dut, name).value = 0
        dut.rst.value = 1
        cocotb.start_soon(Clock(dut.clk, CLOCK_NS, "ns").start())
        await self.clocks(4)
        logging.getLogger("cocotb").setLevel(logging.WARNING)
        self.slave = AxiSlaveRead(
            AxiReadBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, target=_Target()
        )
        for part in (self.slave, self.slave.ar_channel, self.slave.r_channel):
            part.log.setLevel(logging.WARNING)
        self._answer_with_errors()
        await self.clocks(2)
        dut.rst.value = 0
        cocotb.start_soon(self._watch())

    def _answer_with_errors(self) -> None:
        """Give each of the model's beats the response that the case wants for its address."""
        channel, bus_bytes = self.slave.r_channel, self.job["bus_bits"] // 8
        send, of_data = channel.send, memory_bytes

        async def answer(beat: Any) -> None:
            for address, response in self.errors.items():
                word = address // bus_bytes * bus_bytes
                if beat.rdata == int.from_bytes(of_data(word, bus_bytes), "little"):
                    beat.rresp = response
            await send(beat)

        channel.send = answer

    async def clocks(self, count: int) -> None:
        """Wait for some clocks."""
        for _ in range(count):
            await RisingEdge(self.dut.clk)

    def pauses(self, case: dict[str, Any]) -> None:
        """Set the stall patterns of a case."""
        seed = case.get("seed", 1)
        for part, key in ((self.slave.ar_channel, "ar"), (self.slave.r_channel, "r")):
            part.clear_pause_generator()
            pattern = stalls(case.get(key, "none"), seed)
            if pattern is not None:
                part.set_pause_generator(pattern)
            else:
                part.pause = False
        self._sink = stalls(case.get("sink", "none"), seed + 1) or itertools.repeat(False)

    async def _watch(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)
            self.rules.sample()
            self.dut.o__ready.value = not next(self._sink)

    async def descriptors(self, descriptors: list[tuple[int, int]], pattern: str) -> None:
        """Send descriptors, with pauses between them."""
        dut, bits = self.dut, self.job["address_bits"]
        pauses = stalls(pattern, 3) or itertools.repeat(False)
        for address, length in descriptors:
            while next(pauses):
                await RisingEdge(dut.clk)
            dut.descriptor__payload.value = length << bits | address
            dut.descriptor__valid.value = 1
            await RisingEdge(dut.clk)
            while not dut.descriptor__ready.value:
                await RisingEdge(dut.clk)
            dut.descriptor__valid.value = 0

    async def idle(self, limit: int) -> None:
        """Wait until the reader is not busy."""
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            await ReadOnly()
            if not self.dut.busy.value:
                await RisingEdge(self.dut.clk)
                return
        raise AssertionError(f"busy after {limit} clocks")


def expected_words(
    job: dict[str, Any], descriptors: list[tuple[int, int]], errors: dict[int, int]
) -> list[tuple[int, int, int]]:
    """Return data, last and error of every word."""
    width = job["bus_bits"] // 8
    words = []
    for address, length in descriptors:
        for at in range(address, address + length, width):
            beats = {at // width, (at + width - 1) // width}
            error = 0
            for place, response in errors.items():
                error |= response if place // width in beats and response > 1 else 0
            data = int.from_bytes(memory_bytes(at, width), "little")
            words.append((data, int(at + width == address + length), error))
    return words


def expected_beats(job: dict[str, Any], descriptors: list[tuple[int, int]]) -> int:
    """Return the beats of descriptors; a start inside a bus word costs one more."""
    width = job["bus_bits"] // 8
    return sum(length // width + bool(address % width) for address, length in descriptors)


async def _run_case(bench: ReaderBench, case: dict[str, Any]) -> dict[str, Any]:
    dut, job, rules = bench.dut, bench.job, bench.rules
    descriptors = [tuple(d) for d in case["descriptors"]]
    bench.errors = {int(k): v for k, v in case.get("errors", {}).items()}
    bench.pauses(case)
    rules.words.clear()
    rules.word_at.clear()
    rules.bursts.clear()
    rules.most_flying = 0
    want = expected_words(job, descriptors, bench.errors)
    begin = rules.clock
    giving = cocotb.start_soon(bench.descriptors(descriptors, case.get("source", "none")))
    stop_after = case.get("abort_after", case.get("reset_after"))
    limit = 200 + 40 * (len(want) + 8 * len(descriptors))
    if stop_after is None:
        await giving
        await bench.idle(limit)
    else:
        await bench.clocks(stop_after)
        giving.cancel()
        dut.descriptor__valid.value = 0
        (dut.abort if "abort_after" in case else dut.rst).value = 1
        await bench.clocks(1)
        taken = len(rules.words)
        if "abort_after" in case:
            dut.abort.value = 0
            bursts = len(rules.bursts) + int(dut.m_axi_arvalid.value)
        else:
            await bench.clocks(3)
            dut.rst.value = 0
            bursts = len(rules.bursts)
        follow = [tuple(d) for d in case["then"]]
        if case.get("wait"):
            await bench.idle(limit)
            if len(rules.words) > taken + 1:
                return {"failure": "words came after the abort"}
            if len(rules.bursts) > bursts:
                return {"failure": "bursts were issued after the abort"}
        # A word of the cycle in which the abort was seen may still have been taken.
        await bench.clocks(1)
        before = len(rules.words)
        if rules.words != want[:before]:
            return {"failure": "words before the abort are wrong"}
        await bench.descriptors(follow, "none")
        await bench.idle(limit + 40 * sum(length for _, length in follow))
        want = want[:before] + expected_words(job, follow, bench.errors)
    if rules.fault:
        return {"failure": rules.fault}
    if rules.words != want:
        place = next(
            (
                n
                for n, pair in enumerate(zip(rules.words, want, strict=False))
                if pair[0] != pair[1]
            ),
            min(len(want), len(rules.words)),
        )
        got, expected = (
            tuple(map(hex, part[place])) if place < len(part) else "nothing"
            for part in (rules.words, want)
        )
        return {"failure": f"word {place} of {len(want)}: expected {expected}, got {got}"}
    if stop_after is None and sum(n for _, n in rules.bursts) != expected_beats(job, descriptors):
        return {"failure": f"{sum(n for _, n in rules.bursts)} beats were asked for"}
    return {
        "clocks": rules.clock - begin,
        "span": rules.word_at[-1] - rules.word_at[0] + 1 if rules.word_at else 0,
        "words": len(rules.words),
        "bursts": len(rules.bursts),
        "most_flying": rules.most_flying,
    }


@cocotb.test()
async def reads_descriptors(dut: Any) -> None:
    """Every word of every case is right, and no rule of AXI is broken."""
    job = read_job()
    bench = ReaderBench(dut, job)
    await bench.start()
    results = []
    for number, case in enumerate(job["cases"]):
        try:
            result = await _run_case(bench, case)
        except AssertionError as error:
            result = {"failure": str(error)}
        if "failure" in result:
            text = f"case {number} {case}: {bench.rules.fault or result['failure']}"
            report({"failure": text})
            raise AssertionError(text)
        results.append(result)
    report({"cases": results})
