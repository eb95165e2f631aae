# SPDX-License-Identifier: Apache-2.0
"""Simulation of decoders with their read master on a memory model: bit-exact, cycles measured."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.ip.top import IpBlock
from xorloom.sim.bandwidth.presets import memory as memory_named
from xorloom.sw.bits.framing import index_overhead
from xorloom.sw.golden.weights import weight_decoder
from xorloom.sw.index.plane import decode_index
from xorloom.sw.memory.weight_stream import split_stream, split_weight_streams
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import WeightHeader, last_slice_bits
from xorloom.sw.spec.weight_format import WeightFormat, slice_weights
from xorloom.sw.tensors.orders import beats
from xorloom.sw.value.plane import ValueLayout, decode_value

from .packets import Packet, ones
from .runner import build, run

__all__ = [
    "DECODER",
    "BusResult",
    "beat_bytes_of",
    "decoder_top",
    "packet_of",
    "run_job",
    "simulate_bus",
]

DECODER = "xorloom_decoder"
"""Name of the decoder's top module."""
_BASE = 0x1000
"""Address of the image."""
_GOLDEN_WEIGHTS = 1 << 14
"""Most weights of a stream that is checked against the golden model by default."""


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


@lru_cache(maxsize=8)
def decoder_top(
    value: ValueConfig,
    indexes: tuple[IndexConfig, ...],
    planes: int,
    masked: bool = True,
    outstanding: int = 4,
    max_burst: int = 256,
) -> str:
    """Return the Verilog of an :class:`xorloom.hw.ip.top.IpBlock` with a read master."""
    decoder = IpBlock(
        value,
        indexes,
        planes=planes,
        masked=masked,
        reader=True,
        outstanding=outstanding,
        max_burst=max_burst,
        align_bytes=value.bus_bytes,
    )
    return component_verilog(decoder, DECODER)


def beat_bytes_of(
    mask: np.ndarray, codes: np.ndarray, lanes: int, planes: int, code_bits: int
) -> np.ndarray:
    """Return beats as rows of bytes: codes in ``code_bits`` bits, the mask above."""
    cut = [beats(array, "row", lanes) for array in (np.where(mask, codes, 0), mask)]
    bits = np.zeros((len(cut[0]), -(-(code_bits + lanes) // 8) * 8), np.uint8)
    for plane in range(planes):
        bits[:, plane : lanes * planes : planes] = cut[0] >> plane & 1
    bits[:, code_bits : code_bits + lanes] = cut[1]
    return np.packbits(bits, axis=1, bitorder="little")


def packet_of(data: bytes, form: WeightFormat, *, golden: bool | None = None) -> tuple[Packet, int]:
    """Return the packet that one weight stream yields, and its payload bits.

    Parameters
    ----------
    data : bytes
    form : WeightFormat
    golden : bool, optional
        As in :func:`simulate_bus`.

    Raises
    ------
    FormatError
        If the stream is not for this decoder.
    """
    value, planes = form.value, form.planes
    bus, n_out = value.bus_bytes, value.n_out
    count = WeightHeader.unpack(data, "stream").count
    weights = slice_weights(count, form)
    lanes = n_out // planes
    strings = split_stream(data, form)
    payload = 8 * sum(map(len, strings)) - sum(index_overhead(s, bus, "stream") for s in strings)
    if golden if golden is not None else weights <= _GOLDEN_WEIGHTS:
        size = -(-(n_out + lanes) // 8)
        parts = [
            (beat.codes | beat.mask << n_out).to_bytes(size, "little")
            for beat in weight_decoder(form, data)
        ]
        expected = b"".join(parts)
    else:
        mask = decode_index(strings[1], (weights,), form.index, "row", 0, "index")
        layout = ValueLayout("row", -(-weights // lanes))
        codes = decode_value(strings[0], mask, planes, value, layout, "values")
        expected = beat_bytes_of(mask, codes, lanes, planes, n_out).tobytes()
    live = last_slice_bits(count, n_out)
    kept = ones(live) | ones(-(-live // planes)) << n_out
    return Packet(expected, weights, kept, live), payload


def simulate_bus(
    streams: Sequence[bytes],
    value: ValueConfig,
    indexes: Sequence[IndexConfig],
    *,
    planes: int = 1,
    memory: str = "ideal",
    clock_mhz: float = 100.0,
    sink: str = "none",
    seed: int = 1,
    golden: bool | None = None,
    simulator: str = "verilator",
    outstanding: int = 4,
    max_burst: int = 256,
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
    value, indexes, planes
        See :class:`xorloom.hw.ip.decoder.WeightDecoder`; a stream's kind tells which index it has.
    memory : str
        A preset of :mod:`xorloom.sim.bandwidth.presets`, or ``ideal``.
    clock_mhz : float
        Of bus and decoder.
    sink : str
        Stall pattern of the consumer, see
        :func:`xorloom.sim.testbenches.agents.bench.stalls`.
    golden : bool, optional
        Compare with the golden model, which is slow, instead of the fast software decoder; by
        default streams of up to 16 Ki weights.
    simulator : str
        ``verilator`` or ``icarus``.
    outstanding, max_burst : int
        Of the read master.
    waves_to, waves_cycles
        See :func:`xorloom.sim.simulate.runner.run`.

    Returns
    -------
    BusResult, or str
        The string tells the first mismatch, or the decoder's fault.

    Raises
    ------
    ConfigError
        If the memory is unknown, or the configurations do not fit together.
    FormatError
        If a stream is not for this decoder.
    ToolError
        If the simulator is missing or crashes.
    """
    forms = {form.kind: form for form in (WeightFormat(value, planes, i) for i in indexes)}
    packets, payload_bits = [], 0
    for data in streams:
        for part in split_weight_streams(data, value.bus_bytes):
            kind = WeightHeader.unpack(part, "stream").kind
            # A kind that is not built in: the format error names those that are.
            form = forms.get(kind, next(iter(forms.values())))
            packet, bits = packet_of(part, form, golden=golden)
            packets.append(packet)
            payload_bits += bits
    text = decoder_top(value, tuple(indexes), planes, True, outstanding, max_burst)
    lanes = value.n_out // planes
    job = {
        "simulator": simulator,
        "registers": True,
        "memory": memory,
        "clock_mhz": clock_mhz,
        "sink": sink,
        "seed": seed,
        "beat_bytes": -(-(value.n_out + lanes) // 8),
        "whole": f"{ones(value.n_out + lanes):x}",
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
        waves_to=waves_to,
        waves_cycles=waves_cycles,
    )


def run_job(
    text: str,
    top: str,
    streams: Sequence[bytes],
    packets: Sequence[Packet],
    job: dict[str, Any],
    *,
    bus_bits: int,
    payload_bits: int,
    waves_to: Path | None = None,
    waves_cycles: int | None = None,
) -> BusResult | str:
    """Put streams and expected beats into files, run the testbench, and return what it measured."""
    share = memory_named(job["memory"]).words_per_cycle(job["clock_mhz"], bus_bits)
    simulator = job.get("simulator", "verilator")
    built = build(text, top, simulator=simulator, waves=waves_to is not None)
    words = sum(map(len, streams)) * 8 // bus_bits
    at, descriptors = _BASE, []
    for data in streams:
        descriptors.append((at, len(data)))
        at += len(data)
    beats_due = sum(len(packet.data) for packet in packets) // job["beat_bytes"]
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        (folder / "image").write_bytes(b"".join(streams))
        more = {
            "image": str(folder / "image"),
            "base": _BASE,
            "descriptors": descriptors,
            "packets": [p.write(folder / f"expected-{n}") for n, p in enumerate(packets)],
            # Many times the cycles of memory and beats: enough for the slowest pattern of stalls.
            "limit": round(4 * words / share + 16 * beats_due) + 20_000,
        }
        found = run(
            built,
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
