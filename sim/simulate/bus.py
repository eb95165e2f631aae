# SPDX-License-Identifier: Apache-2.0
"""Simulation of decoders with their read master on a memory model: bit-exact, cycles measured."""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xorloom.hw.units import kept_unit
from xorloom.sim.bandwidth.presets import memory as memory_named
from xorloom.sim.simulate.verilator.feeder import run_feeder
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import BEATS, BeatLayout

from .packets import Packet, packets_of, whole_care
from .result import stalls
from .runner import build, run

__all__ = [
    "DECODER",
    "BusResult",
    "decoder_top",
    "run_job",
    "simulate_bus",
]

DECODER = "xorloom_decoder"
"""Name of the decoder's top module."""
_BASE = 0x1000
"""Address of the image."""


@dataclass(frozen=True)
class BusResult:
    """Cost of one run, in clocks from the one in which the first address is taken.

    Parameters
    ----------
    cycles, bus_cycles : int
        To the last beat; to the last bus word.
    words, beats, weights : int
    bus_bits, payload_bits : int
        Payload is index and values, without headers, CRCs, schedule and padding.
    waits : dict
        Clocks in which a read waited and the memory offered nothing, by cause.
    idle, not_ready : int
        Clocks without a read; clocks in which an offered word was not taken.
    counters : dict
        Of the decoder: ``starved``, ``blocked``, ``stalled`` and others, see ``hw.ip.csr``.
    """

    cycles: int
    bus_cycles: int
    words: int
    beats: int
    weights: int
    bus_bits: int
    payload_bits: int
    waits: dict[str, int]
    idle: int
    not_ready: int
    counters: dict[str, int]

    @property
    def bus_utilisation(self) -> float:
        """Payload bits over bus bits of all clocks to the last word."""
        return self.payload_bits / (self.bus_bits * self.bus_cycles)

    @property
    def memory_share(self) -> float:
        """Share of the clocks in which the memory could deliver: it did not wait by itself."""
        return 1 - sum(self.waits.values()) / self.bus_cycles

    @property
    def stall_cycles(self) -> dict[str, int]:
        """Clocks lost to the memory, to the decoder, and to the consumer of its output."""
        return {
            "memory": sum(self.waits.values()),
            "blocked": self.counters["blocked"],
            "output": self.counters["stalled"],
        }


def decoder_top(
    value: ValueConfig,
    indexes: tuple[IndexConfig, ...],
    planes: int,
    levels: bool = False,
    beats: str = BEATS[0],
    outstanding: int = 4,
    max_burst: int = 256,
) -> str:
    """Return the Verilog of the IP block with a read master, from the cache."""
    memory = {"outstanding": outstanding, "max_burst": max_burst, "align_bytes": value.bus_bytes}
    return kept_unit(
        "ip",
        value,
        name=DECODER,
        indexes=indexes,
        planes=planes,
        levels=levels,
        beats=beats,
        memory=memory,
    ).text


def simulate_bus(
    streams: Sequence[bytes],
    value: ValueConfig,
    indexes: Sequence[IndexConfig],
    *,
    planes: int = 1,
    levels: bool = False,
    beats: str = BEATS[0],
    memory: str = "ideal",
    clock_mhz: float = 100.0,
    sink: str = "none",
    seed: int = 1,
    golden: bool | None = None,
    simulator: str = "verilator",
    outstanding: int = 4,
    max_burst: int = 256,
    volume: bool = False,
    waves_to: Path | None = None,
    waves_cycles: int | None = None,
) -> BusResult | str:
    """Run weight streams out of a memory through the generated decoder; compare every beat.

    The testbench programs the registers, one descriptor for each item of ``streams``.

    Parameters
    ----------
    streams : sequence of bytes
        Each one or several weight streams, back to back, such as
        :func:`xorloom.sw.memory.weight_stream.join_tensor` makes.
    value, indexes, planes, levels, beats
        See :class:`xorloom.hw.ip.top.IpBlock`; a stream's kind tells which index it has.
    memory : str
        A preset of :mod:`xorloom.sim.bandwidth.presets`, or ``ideal``.
    clock_mhz : float
        Of bus and decoder.
    sink : str
        Stall pattern of the consumer, see
        :func:`xorloom.sim.simulate.result.stalls`.
    golden : bool, optional
        See :func:`xorloom.sim.simulate.packets.packet_of`.
    simulator : str
        ``verilator`` or ``icarus``.
    outstanding, max_burst : int
        Of the read master.
    volume : bool
        Use the testbench in C++, which takes longer to build and finds the same, faster; without
        waves, with Verilator only.
    waves_to, waves_cycles
        See :func:`xorloom.sim.simulate.runner.run`.

    Returns
    -------
    BusResult, or str
        The string tells the first mismatch, or the decoder's fault.

    Raises
    ------
    ConfigError
        If the memory is unknown, the configurations do not fit together, or ``volume`` does not go
        with the rest.
    FormatError
        If a stream is not for this decoder.
    ToolError
        If the simulator is missing or crashes.
    """
    if volume and (waves_to is not None or simulator != "verilator"):
        raise ConfigError("the testbench in C++ runs in verilator, and writes no waveform")
    layout = BeatLayout(value.n_out, planes, levels, beats)
    packets, payload_bits = packets_of(streams, value, indexes, layout, golden=golden)
    text = decoder_top(value, tuple(indexes), planes, levels, beats, outstanding, max_burst)
    job = {
        "simulator": simulator,
        "registers": True,
        "keeps": layout.packed,
        "memory": memory,
        "clock_mhz": clock_mhz,
        "sink": sink,
        "seed": seed,
        "beat_bytes": layout.bytes,
        "whole": f"{whole_care(layout):x}",
        "user": value.n_out,
    }
    return run_job(
        text,
        DECODER,
        streams,
        packets,
        job,
        bus_bits=value.bus_bits,
        payload_bits=payload_bits,
        volume=volume,
        waves_to=waves_to,
        waves_cycles=waves_cycles,
    )


def _pauses(pattern: str, seed: int, limit: int) -> bytes:
    """Return a pattern's pauses, one byte a clock, to repeat; the random ones up to the limit."""
    found = stalls(pattern, seed)
    if found is None:
        return b""
    period = 8 if pattern == "slow" else limit if pattern in ("random", "bursts") else len(pattern)
    return bytes(itertools.islice(found, period))


def run_job(
    text: str,
    top: str,
    streams: Sequence[bytes],
    packets: Sequence[Packet],
    job: dict[str, Any],
    *,
    bus_bits: int,
    payload_bits: int,
    volume: bool = False,
    waves_to: Path | None = None,
    waves_cycles: int | None = None,
) -> BusResult | str:
    """Put streams and expected beats into files, run the testbench, and return what it measured."""
    share = memory_named(job["memory"]).words_per_cycle(job["clock_mhz"], bus_bits)
    simulator = job.get("simulator", "verilator")
    words = sum(map(len, streams)) * 8 // bus_bits
    at, descriptors = _BASE, []
    for data in streams:
        descriptors.append((at, len(data)))
        at += len(data)
    beats_due = sum(len(packet.data) for packet in packets) // job["beat_bytes"]
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        (folder / "image").write_bytes(b"".join(streams))
        more: dict[str, Any] = {
            "image": str(folder / "image"),
            "base": _BASE,
            "descriptors": descriptors,
            "packets": [p.write(folder / f"expected-{n}") for n, p in enumerate(packets)],
            # Many times the cycles of memory and beats: enough for the slowest pattern of stalls.
            "limit": round(4 * words / share + 16 * beats_due) + 20_000,
        }
        if volume:
            pauses = _pauses(job["sink"], job["seed"], more["limit"])
            found = run_feeder(text, top, job | more, bus_bits, pauses)
        else:
            found = run(
                build(text, top, simulator=simulator, waves=waves_to is not None),
                "xorloom.sim.testbenches.bus",
                "decodes_from_memory",
                job | more,
                waves_to=waves_to,
                waves_cycles=waves_cycles,
            )
    if "failure" in found:
        return str(found["failure"])
    counts = found["memory"]
    return BusResult(
        cycles=found["cycles"],
        bus_cycles=found["bus_cycles"],
        words=counts["beats"],
        beats=found["beats"],
        weights=sum(packet.weights for packet in packets),
        bus_bits=bus_bits,
        payload_bits=payload_bits,
        waits=counts["waits"],
        idle=counts["idle"],
        not_ready=counts["not_ready"],
        counters=found["counters"],
    )
