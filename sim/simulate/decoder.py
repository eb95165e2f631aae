# SPDX-License-Identifier: Apache-2.0
"""Simulation of generated value decoders on encoded tensors: bit-exact, cycles counted."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xorloom.hw.lib.payloads import level_bits
from xorloom.hw.units import GeneratedVerilog, kept_unit
from xorloom.sim.bandwidth.presets import memory, model_cycles
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.codecs import value_decoder
from xorloom.sw.golden.direct import direct_levels
from xorloom.sw.golden.output import leveled
from xorloom.sw.model.verify import beat_bytes, expected_bytes
from xorloom.sw.spec.config import ValueConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.layout import COUNT_OFFSET_BITS, last_slice_bits

from .cases import Case
from .result import SimulationResult, check_pattern
from .runner import build, run

__all__ = ["simulate_case", "simulate_streams"]


def _valid_bits(stream: bytes, config: ValueConfig) -> int:
    """Return the bits that count in the last slice of a memory stream."""
    at = COUNT_OFFSET_BITS // 8
    count = int.from_bytes(stream[at : at + 4], "little")
    return last_slice_bits(count, config.n_out)


def _beat_bytes(config: ValueConfig, levels: bool) -> int:
    """Return the bytes of an output beat; of levels, a byte for each lane."""
    return level_bits(config) // 8 if levels else beat_bytes(config)


def _expected(stream: bytes, config: ValueConfig, levels: bool) -> bytes:
    """Return the bytes of all beats of a memory stream, of codes or levels."""
    if not levels:
        return expected_bytes(stream, config)
    assert isinstance(config, DirectConfig)
    words = bus_words(stream, config.bus_bits)
    table = direct_levels(config, words)
    slices = value_decoder(config, words)
    beats = (leveled(bits, config.planes, config.lanes, table) for bits in slices)
    return b"".join(beat.to_bytes(config.lanes, "little") for beat in beats)


def simulate_streams(
    streams: Sequence[bytes],
    config: ValueConfig,
    *,
    verilog: GeneratedVerilog | None = None,
    stages: int = 1,
    levels: bool = False,
    simulator: str = "verilator",
    source: str = "none",
    sink: str = "none",
    seed: int = 1,
    reset_after: Sequence[int] = (),
    waves_to: Path | None = None,
    waves_cycles: int | None = None,
    timeline_slices: int = 0,
) -> SimulationResult | str:
    """Run memory streams through the generated Verilog and compare every bit.

    Parameters
    ----------
    streams : sequence of bytes
        Memory streams with at least one slice each, sent back to back.
    config : ValueConfig
    verilog : GeneratedVerilog, optional
        Generated from ``config`` if not given.
    levels : bool
        Of the direct codec: the decoder puts out levels, 8 bits for each weight.
    source, sink : str
        Stall patterns, see :func:`xorloom.sim.simulate.result.stalls`.
    reset_after : sequence of int
        Before the run, for each number: start the first stream, and reset after so many clocks.
    waves_to, waves_cycles
        See :func:`xorloom.sim.simulate.runner.run`.
    timeline_slices : int
        Record a window decoder's clocks until so many slices have left.

    Returns
    -------
    SimulationResult, or str
        The string tells the first mismatch.

    Raises
    ------
    ToolError
        If the simulator is missing or crashes.
    """
    verilog = verilog or kept_unit("decoder", config, stages=stages, levels=levels)
    built = build(
        verilog.text,
        verilog.name,
        simulator=simulator,
        waves=waves_to is not None,
        inside=timeline_slices > 0,
    )
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        job: dict[str, Any] = {
            "streams": [],
            "expected": [],
            "n_out": level_bits(config) if levels else config.n_out,
            "beat_bytes": _beat_bytes(config, levels),
            "valid_bits": [],
            "source": source,
            "sink": sink,
            "seed": seed,
            "reset_after": list(reset_after),
            "timeline_slices": timeline_slices,
        }
        if config.has_layouts:
            job["valid_bits"] = [_valid_bits(stream, config) for stream in streams]
        for number, stream in enumerate(streams):
            wanted = _expected(stream, config, levels)
            for kind, data in (("streams", stream), ("expected", wanted)):
                path = folder / f"{kind}-{number}"
                path.write_bytes(data)
                job[kind].append(str(path))
        test = "recovers_from_reset_mid_stream" if reset_after else "decodes_streams"
        result = run(
            built,
            "xorloom.sim.testbenches.decoder",
            test,
            job,
            waves_to=waves_to,
            waves_cycles=waves_cycles,
        )
    if "failure" in result:
        return str(result["failure"])
    return SimulationResult(**result)


def simulate_case(
    case: Case,
    *,
    memory_name: str | None = None,
    clock_mhz: float = 100.0,
    source: str = "none",
    sink: str = "none",
    simulator: str = "verilator",
    stages: int = 1,
    levels: bool = False,
    waves: Path | None = None,
    waves_cycles: int | None = None,
    timeline: bool = False,
) -> dict[str, Any]:
    """Simulate a case; return counted cycles beside those of the memory-bandwidth model.

    Returns
    -------
    dict
        JSON-able; ``bit_exact`` tells whether every slice bit equals the golden model's. With
        ``timeline`` it holds the signals of the window decoder's first frame, clock by clock.

    Raises
    ------
    ConfigError
        If the memory, simulator or a pattern is unknown, both memory and source are given, a
        timeline is asked of another decoder than the window one, or levels of one that has none.
    ToolError
        If the simulator is missing or crashes.
    """
    if not clock_mhz > 0:
        raise ConfigError(f"clock must be positive, not {clock_mhz} MHz")
    check_pattern("source", source)
    check_pattern("sink", sink)
    timeline_slices = 0
    if timeline:
        if not isinstance(case.config, WindowConfig):
            raise ConfigError(
                f"--timeline shows the window decoder's frames, not --value {case.config.codec}"
            )
        timeline_slices = case.config.frame
    rate = 1.0
    if memory_name is not None:
        if source != "none":
            raise ConfigError("give either a memory or a source pattern")
        source = memory(memory_name).stall_pattern(clock_mhz, case.config.bus_bits)
        rate = memory(memory_name).words_per_cycle(clock_mhz, case.config.bus_bits)
    row: dict[str, Any] = {
        "case": case.title,
        "config": case.config.to_dict(),
        "slices": case.slices,
        "weights": case.weights,
        "bus_bits": case.config.bus_bits,
        "memory": memory_name or "ideal memory",
        "clock_mhz": clock_mhz,
    }
    result = simulate_streams(
        case.streams,
        case.config,
        simulator=simulator,
        stages=stages,
        levels=levels,
        source=source,
        sink=sink,
        waves_to=waves,
        waves_cycles=waves_cycles,
        timeline_slices=timeline_slices,
    )
    if isinstance(result, str):
        return row | {"bit_exact": False, "mismatch": result}
    model = model_cycles(case.words, case.steps, rate)
    return (
        row
        | result.to_dict()
        | {
            "bit_exact": True,
            "bits_checked": case.slices * case.config.n_out,
            "model_cycles": model.total,
            "model_limit": model.limit,
            "cycles_to_model": result.cycles / model.total,
            "weights_per_cycle": case.weights / result.cycles,
        }
    )
