# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of the AXI read master, against cocotbext-axi's memory side."""

import hashlib
import itertools
import logging
import time
from collections import deque
from functools import lru_cache
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge
from cocotbext.axi import AxiReadBus, AxiSlaveRead
from xorloom.sim.agents import CLOCK_NS, read_job, report, stalls
from xorloom.sim.axi_memory import AxiMemory
from xorloom.sim.bandwidth import memory

__all__ = ["memory_bytes", "reads_at_the_memorys_rate", "reads_descriptors"]

_CHUNK = 64


@lru_cache(maxsize=1 << 16)
def _chunk(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(8, "little"), digest_size=_CHUNK).digest()


def memory_bytes(address: int, length: int) -> bytes:
    """Return what the testbench's memory holds: a hash of the address, so no two words agree."""
    first, end = address // _CHUNK, -(-(address + length) // _CHUNK)
    text = b"".join(_chunk(number) for number in range(first, end))
    return text[address - first * _CHUNK :][:length]


class _Target:
    """Memory behind the AXI slave model."""

    async def read(self, address: int, length: int) -> bytes:
        return memory_bytes(address, length)


class AxiRules:
    """Watches the read channels and the words, every clock; the first fault stays in ``fault``."""

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self._dut, self._job = dut, job
        self._bus_bytes = job["bus_bits"] // 8
        self.fault: str | None = None
        self.bursts: list[tuple[int, int]] = []
        self.words: list[tuple[int, int, int]] = []  # data, last, error
        self.word_at: list[int] = []
        self.clock = 0
        self.flying: deque[int] = deque()
        self.most_flying = 0
        self._before: dict[str, Any] = {}
        self._data = (1 << job["bus_bits"]) - 1

    def _wrong(self, text: str) -> None:
        self.fault = self.fault or f"clock {self.clock}: {text}"

    def _accept(self, address: int, beats: int) -> None:
        dut, job = self._dut, self._job
        if int(dut.m_axi_arburst.value) != 1:
            self._wrong("arburst is not INCR")
        if 1 << int(dut.m_axi_arsize.value) != self._bus_bytes:
            self._wrong("arsize is not the bus word")
        if int(dut.m_axi_arid.value):
            self._wrong("arid is not 0")
        if address % self._bus_bytes:
            self._wrong(f"araddr {address:#x} is not that of a bus word")
        if beats > job["max_burst"]:
            self._wrong(f"burst of {beats} beats")
        if address // 4096 != (address + beats * self._bus_bytes - 1) // 4096:
            self._wrong(f"burst of {beats} beats from {address:#x} on crosses 4 KiB")
        self.bursts.append((address, beats))
        self.flying.append(beats)
        self.most_flying = max(self.most_flying, len(self.flying))
        if len(self.flying) > job["outstanding"]:
            self._wrong(f"{len(self.flying)} bursts in flight")

    def sample(self) -> None:
        """Look at the clock edge that just came."""
        dut, before = self._dut, self._before
        self.clock += 1
        if dut.rst.value:
            self.flying.clear()
            self._before = {}
            return
        now: dict[str, Any] = {
            "arvalid": int(dut.m_axi_arvalid.value),
            "ovalid": int(dut.o__valid.value),
        }
        if now["arvalid"]:
            now["ar"] = (int(dut.m_axi_araddr.value), int(dut.m_axi_arlen.value) + 1)
        if now["ovalid"]:
            now["o"] = int(dut.o__payload.value)
        if "ar_waits" in before and now.get("ar") != before["ar_waits"]:
            self._wrong("an address on offer was withdrawn or changed")
        if "o_waits" in before and now.get("o") != before["o_waits"]:
            self._wrong("a word on offer was withdrawn or changed")
        if now["arvalid"]:
            if dut.m_axi_arready.value:
                self._accept(*now["ar"])
            else:
                now["ar_waits"] = now["ar"]
        if now["ovalid"]:
            if dut.o__ready.value:
                payload = now["o"]
                width = self._job["bus_bits"]
                self.words.append(
                    (payload & self._data, payload >> width & 1, payload >> width + 1)
                )
                self.word_at.append(self.clock)
            elif not dut.abort.value:
                now["o_waits"] = now["o"]
        if dut.m_axi_rvalid.value and dut.m_axi_rready.value:
            if not self.flying:
                self._wrong("a beat was taken that nobody asked for")
            else:
                self.flying[0] -= 1
                if bool(self.flying[0] == 0) != bool(dut.m_axi_rlast.value):
                    self._wrong("the testbench's rlast is wrong")
                if not self.flying[0]:
                    self.flying.popleft()
        if not dut.busy.value and (self.flying or now["arvalid"] or now["ovalid"]):
            self._wrong("not busy, with something on the way")
        self._before = now


class ReaderBench:
    """The reader, a memory, a source of descriptors and a sink."""

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
        """Let the model's beats carry the response that the case wants of their address."""
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
        """Wait."""
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
        """Hand descriptors over, with pauses between them."""
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
    """Return the beats that descriptors take, one more each where the start is within a word."""
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
        # The word of the very cycle in which the abort was seen may still have been taken.
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


@cocotb.test()
async def reads_at_the_memorys_rate(dut: Any) -> None:
    """Every word is that of the image, behind a memory that is as slow as the job's preset."""
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
