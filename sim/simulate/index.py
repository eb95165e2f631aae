# SPDX-License-Identifier: Apache-2.0
"""Simulation of generated index decoders on memory streams: bit-exact, cycles counted."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xorloom.hw.units import GeneratedVerilog, kept_unit
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.codecs import index_decoder
from xorloom.sw.model.container import INDEX, Container, read_container
from xorloom.sw.spec.index_config import EntropyConfig, IndexConfig, TrellisConfig
from xorloom.sw.spec.layout import Header, last_slice_bits

from .packets import Packet, ones
from .result import SimulationResult, check_pattern
from .runner import build, run

__all__ = [
    "case_names",
    "case_title",
    "golden_index",
    "index_steps",
    "simulate_index",
    "simulate_model",
]


def golden_index(config: IndexConfig, data: bytes) -> list[int]:
    """Return the masks of one memory stream, by the codec's golden model."""
    return index_decoder(config, bus_words(data, config.bus_bits))


def _packet(config: IndexConfig, data: bytes, beat_bytes: int) -> Packet:
    """Return the beats that one memory stream must yield, one mask each."""
    masks = golden_index(config, data)
    count = Header.unpack(data, "stream").count
    expected = b"".join(mask.to_bytes(beat_bytes, "little") for mask in masks)
    return Packet(expected, count, ones(last_slice_bits(count, config.n_out)))


def simulate_index(
    streams: Sequence[bytes],
    config: IndexConfig,
    *,
    verilog: GeneratedVerilog | None = None,
    simulator: str = "verilator",
    source: str = "none",
    sink: str = "none",
    seed: int = 1,
    waves_to: Path | None = None,
    waves_cycles: int | None = None,
) -> SimulationResult | str:
    """Run index memory streams through the generated decoder and compare every mask bit.

    Parameters
    ----------
    streams : sequence of bytes
        Memory streams of at least one weight each, sent back to back.
    config : IndexConfig
    verilog : GeneratedVerilog, optional
        Generated from ``config`` if not given.
    source, sink : str
        Stall patterns, see :func:`xorloom.sim.simulate.result.stalls`.
    waves_to, waves_cycles
        See :func:`xorloom.sim.simulate.runner.run`.

    Returns
    -------
    SimulationResult, or str
        The string tells the first mismatch.

    Raises
    ------
    ConfigError
        If the configuration is not an index codec's.
    ToolError
        If the simulator is missing or crashes.
    """
    verilog = verilog or kept_unit("index", config)
    beat_bytes = verilog.manifest["ports"]["m_axis_tdata"]["bits"] // 8
    built = build(verilog.text, verilog.name, simulator=simulator, waves=waves_to is not None)
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        inputs, packets = [], []
        for number, data in enumerate(streams):
            path = folder / f"stream-{number}"
            path.write_bytes(data)
            inputs.append(str(path))
            packet = _packet(config, data, beat_bytes)
            packets.append(packet.write(folder / f"expected-{number}"))
        job = {
            "inputs": {"s_axis": inputs},
            "packets": packets,
            "beat_bytes": beat_bytes,
            "source": source,
            "sink": sink,
            "seed": seed,
        }
        result = run(
            built,
            "xorloom.sim.testbenches.index",
            "decodes_indexed_streams",
            job,
            waves_to=waves_to,
            waves_cycles=waves_cycles,
        )
    if "failure" in result:
        return str(result["failure"])
    return SimulationResult(**result)


def case_names(container: Container, names: Sequence[str]) -> list[str]:
    """Return the names of tensors to simulate: as given; without any, the largest one."""
    if names or not container.tensors:
        return list(names)
    return [max(container.tensors, key=lambda n: math.prod(container.tensors[n].shape))]


def case_title(container: Container, names: Sequence[str]) -> str:
    """Return the title of a case."""
    return names[0] if len(names) == 1 else f"{len(names)} tensors of {container.path.name}"


def index_steps(index: IndexConfig, beats: int) -> int:
    """Return the cycles of an index decoder that never waits for bits."""
    if isinstance(index, TrellisConfig):
        return beats + -(-beats // index.period) * index.class_chunks
    if isinstance(index, EntropyConfig):
        return beats * index.n_out // (4 * index.lanes)  # two lanes share a state machine
    return beats


def simulate_model(
    path: Path,
    names: Sequence[str],
    *,
    source: str = "none",
    sink: str = "none",
    simulator: str = "verilator",
    waves: Path | None = None,
    waves_cycles: int | None = None,
    max_weights: int | None = None,
) -> dict[str, Any]:
    """Run the masks of tensors of a compressed model, back to back, through its index decoder.

    The modelled cycles are the larger of two numbers: bus words, and beats with their class chunks
    or symbol steps.

    Parameters
    ----------
    path : Path
    names : sequence of str
        Tensors; none: the largest.
    source, sink, simulator : str
        See :func:`simulate_index`.
    waves, waves_cycles
        See :func:`xorloom.sim.simulate.runner.run`.
    max_weights : int, optional
        See :func:`xorloom.sw.model.container.reader.read_container`.

    Returns
    -------
    dict
        JSON-able; ``bit_exact`` tells whether every bit equals the golden model's.

    Raises
    ------
    ConfigError
        If a tensor is not there, or the file has no window codec.
    FormatError
        If the file is damaged.
    ToolError
        If the simulator is missing or crashes.
    """
    check_pattern("source", source)
    check_pattern("sink", sink)
    container = read_container(path, max_weights)
    container.check_weights()
    names = case_names(container, names)
    decoder = container.decoder(names)
    value, index = decoder.value, decoder.index
    if not value.has_layouts:
        raise ConfigError(f"--unit index needs the window or direct value codec, not {value.codec}")
    sizes = [math.prod(container.tensor(name).shape) for name in names]
    width = value.bus_bytes
    streams = [
        part for name in names for part in split_streams(container.raw(name + INDEX), width, name)
    ]
    result = simulate_index(
        streams,
        index,
        source=source,
        sink=sink,
        simulator=simulator,
        waves_to=waves,
        waves_cycles=waves_cycles,
    )
    weights, beats = sum(sizes), sum(-(-size // index.n_out) for size in sizes)
    row: dict[str, Any] = {
        "case": case_title(container, names),
        "unit": "index",
        "index": index.codec,
        "bus_bits": value.bus_bits,
        "weights": weights,
        "beats": beats,
    }
    if isinstance(result, str):
        return row | {"bit_exact": False, "mismatch": result}
    model = max(sum(map(len, streams)) // width, index_steps(index, beats))
    return (
        row
        | result.to_dict()
        | {
            "bit_exact": True,
            "model_cycles": model,
            "cycles_to_model": result.cycles / model,
            "weights_per_cycle": weights / result.cycles,
        }
    )
