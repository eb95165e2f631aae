# SPDX-License-Identifier: Apache-2.0
"""Simulation of the IP block that is fed by AXI4-Stream: bit-exact, cycles counted."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xorloom.hw.units import kept_unit
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import BEATS, BeatLayout

from .packets import packets_of
from .runner import build, run

__all__ = ["StreamIpResult", "simulate_stream_ip"]


@dataclass(frozen=True)
class StreamIpResult:
    """Cost of one run, in clocks from the first bus word to the last beat.

    Parameters
    ----------
    cycles, words, beats, weights : int
    bus_utilisation : float
        Payload bits over bus bits of all clocks.
    stall_cycles : dict
        Clocks in which the source had nothing, the decoder did not take a word, and a beat was not
        taken.
    """

    cycles: int
    words: int
    beats: int
    weights: int
    bus_utilisation: float
    stall_cycles: dict[str, int]


def _wait(pattern: str) -> float:
    """Return the clocks for each transfer under a stall pattern, about; see ``agents.bench``."""
    return len(pattern) / pattern.count(".") if "." in pattern else 8


def simulate_stream_ip(
    streams: Sequence[bytes],
    value: ValueConfig,
    indexes: Sequence[IndexConfig],
    *,
    planes: int = 1,
    levels: bool = False,
    beats: str = BEATS[0],
    source: str = "none",
    sink: str = "none",
    seed: int = 1,
    golden: bool | None = None,
    simulator: str = "verilator",
    waves_to: Path | None = None,
    waves_cycles: int | None = None,
) -> StreamIpResult | str:
    """Run weight streams through the generated block; compare what a DMA engine would store.

    Parameters
    ----------
    streams : sequence of bytes
        Packets: each one or several weight streams, back to back.
    value, indexes, planes, levels, beats
        See :class:`xorloom.hw.ip.top.IpBlock`; a stream's kind tells which index it has.
    source, sink : str
        Stall patterns, see :func:`xorloom.sim.simulate.result.stalls`.
    golden : bool, optional
        See :func:`xorloom.sim.simulate.packets.packet_of`.
    simulator : str
        ``verilator`` or ``icarus``.
    waves_to, waves_cycles
        See :func:`xorloom.sim.simulate.runner.run`.

    Returns
    -------
    StreamIpResult, or str
        The string tells the first mismatch, or the decoder's fault.

    Raises
    ------
    ConfigError
        If the configurations do not fit together.
    FormatError
        If a stream is not for this decoder.
    ToolError
        If the simulator is missing or crashes.
    """
    layout = BeatLayout(value.n_out, planes, levels, beats)
    packets, payload_bits = packets_of(streams, value, indexes, layout, golden=golden)
    verilog = kept_unit(
        "stream-ip", value, indexes=indexes, planes=planes, levels=levels, beats=beats
    )
    built = build(verilog.text, verilog.name, simulator=simulator, waves=waves_to is not None)
    words = sum(map(len, streams)) // value.bus_bytes
    beats_due = sum(len(packet.data) for packet in packets) // layout.bytes
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        inputs = []
        for number, data in enumerate(streams):
            path = folder / f"stream-{number}"
            path.write_bytes(data)
            inputs.append(str(path))
        job = {
            "inputs": inputs,
            "packets": [p.write(folder / f"expected-{n}") for n, p in enumerate(packets)],
            "user": value.n_out,
            "source": source,
            "sink": sink,
            "seed": seed,
            # Many times what patterns of stalls allow.
            "limit": 100 * round(_wait(source) * words + _wait(sink) * beats_due) + 20_000,
        }
        found = run(
            built,
            "xorloom.sim.testbenches.stream_ip",
            "decodes_weight_streams",
            job,
            waves_to=waves_to,
            waves_cycles=waves_cycles,
        )
    if "failure" in found:
        return str(found["failure"])
    counters = found["counters"]
    return StreamIpResult(
        cycles=found["cycles"],
        words=found["words"],
        beats=counters["beats"],
        weights=sum(packet.weights for packet in packets),
        bus_utilisation=payload_bits / (value.bus_bits * found["cycles"]),
        stall_cycles={
            "source": counters["starved"],
            "blocked": counters["blocked"],
            "output": counters["stalled"],
        },
    )
