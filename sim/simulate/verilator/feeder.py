# SPDX-License-Identifier: Apache-2.0
"""Runs jobs of :mod:`xorloom.sim.testbenches.bus` in C++: the same clocks, many times as fast.

Registers are programmed by the same :class:`xorloom.hw.ip.driver.driver.Driver`.
"""

import ctypes
import itertools
from collections.abc import Coroutine, Sequence
from ctypes import c_double, c_int64, c_uint32, c_uint64, c_void_p
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xorloom.hw.ip.driver.driver import DecoderFault, Driver
from xorloom.sim.bandwidth.presets import CAUSES
from xorloom.sim.bandwidth.presets import memory as memory_named

from .library import feeder_library

__all__ = ["run_feeder"]

_QUEUE = 8
"""Reads that the memory lets wait, as :class:`xorloom.sim.bandwidth.axi_memory.AxiMemory`."""
_USER, _KEEP, _DATA, _LAST = 1, 2, 3, 4


class _Job(ctypes.Structure):
    """``Job`` in ``feeder.cpp``."""

    _fields_ = [
        ("image", c_void_p),
        *((name, c_uint64) for name in ("image_bytes", "base", "bus_bytes", "queue")),
        *((name, c_double) for name in ("rate", "start", "refresh", "refresh_every", "row_miss")),
        *((name, c_uint64) for name in ("row_bytes", "one_command")),
        ("expected", c_void_p),
        *((name, c_uint64) for name in ("beat_bytes", "packets")),
        *((name, c_void_p) for name in ("beats", "care", "user", "keep")),
        ("keep_bytes", c_uint64),
        ("whole", c_void_p),
        ("whole_user", c_uint64),
        ("pauses", c_void_p),
        *((name, c_uint64) for name in ("pauses_count", "limit")),
    ]


class _Result(ctypes.Structure):
    """``Result`` in ``feeder.cpp``."""

    _fields_ = [
        *((name, c_int64) for name in ("clock", "first_read", "last_beat")),
        *((name, c_uint64) for name in ("beats", "fault", "fault_packet", "fault_beat")),
        *((name, c_uint64) for name in ("fault_user", "fault_last", "bus_cycles", "reads")),
        *((name, c_uint64) for name in ("words", "not_ready", "idle")),
        ("waits", c_uint64 * len(CAUSES)),
    ]


class _LimitError(Exception):
    """The run took too many clocks."""


class _Registers:
    """Register port; a :class:`xorloom.hw.ip.driver.driver.RegisterBus` that never suspends."""

    def __init__(self, library: ctypes.CDLL, feeder: c_void_p) -> None:
        self._library, self._feeder = library, feeder

    def _access(self, write: bool, offset: int, value: int) -> int:
        word = c_uint32(value)
        if self._library.feeder_access(
            self._feeder, int(write), c_uint32(offset), ctypes.byref(word)
        ):
            raise _LimitError
        return word.value

    async def read(self, offset: int) -> int:
        """Read a register."""
        return self._access(False, offset, 0)

    async def write(self, offset: int, value: int) -> None:
        """Write a register."""
        self._access(True, offset, value)

    async def interrupt(self) -> None:
        """Return when the interrupt line is 1."""
        if self._library.feeder_interrupt(self._feeder):
            raise _LimitError


def _finish(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never suspends."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError


def _words(values: Sequence[int]) -> Any:
    return (c_uint64 * len(values))(*values)


class _Inputs:
    """Job in memory; what the pointers point at lives as long as this."""

    def __init__(self, job: dict[str, Any], bus_bits: int, pauses: bytes) -> None:
        size = job["beat_bytes"]
        keep_bytes = -(-size // 8)
        image = Path(job["image"]).read_bytes()
        packets = job["packets"]
        parts = [Path(packet["expected"]).read_bytes() for packet in packets]
        self.expected = b"".join(parts)
        self.size, self.keep_bytes = size, keep_bytes
        self.packets = packets

        def masks(name: str, width: int) -> bytes:
            return b"".join(int(packet[name], 16).to_bytes(width, "little") for packet in packets)

        self.whole = int(job["whole"], 16)
        self._kept = {
            "image": image,
            "expected": self.expected,
            "beats": _words([len(part) // size for part in parts]),
            "care": masks("care", size),
            "user": _words([packet["user"] for packet in packets]),
            "keep": masks("keep", keep_bytes),
            "whole": self.whole.to_bytes(size, "little"),
            "pauses": pauses,
        }
        self.starts = list(itertools.accumulate((len(part) for part in parts), initial=0))
        self.job = _Job(
            **{name: ctypes.cast(data, c_void_p) for name, data in self._kept.items()},
            image_bytes=len(image),
            base=job["base"],
            bus_bytes=bus_bits // 8,
            queue=_QUEUE,
            **asdict(memory_named(job["memory"]).timing(job["clock_mhz"], bus_bits // 8)),
            beat_bytes=size,
            packets=len(packets),
            keep_bytes=keep_bytes,
            whole_user=job["user"],
            pauses_count=len(pauses),
            limit=job["limit"],
        )


def _fault(inputs: _Inputs, found: _Result, wrong: bytes, user: int) -> str:
    """Say what the sink found, in the words of :class:`xorloom.sim.testbenches.bus.Sink`."""
    packet, beat, size = found.fault_packet, found.fault_beat, inputs.size
    told = inputs.packets[packet]
    at = inputs.starts[packet] + beat * size
    last = at + size == inputs.starts[packet + 1]
    place = f"stream {packet}: beat {beat}"
    if found.fault == _USER:
        return f"{place}: tuser {found.fault_user}, expected {told['user'] if last else user}"
    if found.fault == _KEEP:
        keep = int(told["keep"], 16) if last else (1 << size) - 1
        got = int.from_bytes(wrong[size:], "little")
        return f"{place}: tkeep {got:x}, expected {keep:x}"
    if found.fault == _LAST:
        return f"{place}: tlast {found.fault_last}, expected {int(last)}"
    want = int.from_bytes(inputs.expected[at : at + size], "little")
    care = int(told["care"], 16) if last else inputs.whole
    different = (int.from_bytes(wrong[:size], "little") ^ want) & care
    bit = (different & -different).bit_length() - 1
    one = want >> bit & 1
    return f"{place} bit {bit}: expected {one}, got {1 - one} ({different.bit_count()} bits differ)"


def run_feeder(
    text: str, top: str, job: dict[str, Any], bus_bits: int, pauses: bytes
) -> dict[str, Any]:
    """Run a job of :func:`xorloom.sim.testbenches.bus.decodes_from_memory` on the IP block.

    Parameters
    ----------
    text, top : str
        Verilog of the block.
    job : dict
        As the testbench reads it.
    bus_bits : int
    pauses : bytes
        Of the sink, one byte per clock, 1 where it waits; repeated. Empty: it never waits.

    Returns
    -------
    dict
        What the testbench reports; has key ``failure`` if it fails.

    Raises
    ------
    ToolError
        If Verilator is missing or the build fails.
    """
    library, held = feeder_library(text, top, keeps=job["keeps"])
    inputs = _Inputs(job, bus_bits, pauses)
    library.feeder_new.restype = library.feeder_wrong.restype = c_void_p
    feeder = c_void_p(library.feeder_new(ctypes.byref(inputs.job)))
    found = _Result()
    try:
        registers = _Registers(library, feeder)
        driver = Driver(registers, interrupt=registers.interrupt)
        counters: dict[str, int] = {}
        try:
            failure = _decodes(library, feeder, driver, job["descriptors"])
            if not failure:
                counters = _finish(driver.counters())
        except _LimitError:
            library.feeder_report(feeder, ctypes.byref(found))
            failure = f"no end after {job['limit']} clocks and {found.beats} beats"
        library.feeder_report(feeder, ctypes.byref(found))
        if found.fault:
            length = inputs.size + (inputs.keep_bytes if job["keeps"] else 0)
            wrong = ctypes.string_at(library.feeder_wrong(feeder), length)
            told = _fault(inputs, found, wrong, job["user"])
            failure = f"{failure}; {told}" if failure else told
    finally:
        library.feeder_delete(feeder)
        del held
    if failure:
        return {"failure": failure}
    return {
        "cycles": found.last_beat - found.first_read,
        "bus_cycles": found.bus_cycles,
        "beats": found.beats,
        "memory": {
            "reads": found.reads,
            "beats": found.words,
            "waits": dict(zip(CAUSES, found.waits, strict=True)),
            "not_ready": found.not_ready,
            "idle": found.idle,
        },
        "counters": counters,
    }


def _decodes(
    library: ctypes.CDLL, feeder: c_void_p, driver: Driver, descriptors: Sequence[Sequence[int]]
) -> str:
    """Run the job; return what went wrong beside the sink's fault."""
    _finish(driver.probe())
    try:
        _finish(driver.decode((address, length) for address, length in descriptors))
    except DecoderFault as fault:
        return str(fault)
    if library.feeder_settle(feeder):
        raise _LimitError
    if library.feeder_offers(feeder, 20):
        return "the decoder offers data after its last stream"
    return ""
