# SPDX-License-Identifier: Apache-2.0
"""Simulates generated decoders on encoded tensors: bit-exact, with cycles counted."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.hw.units import GeneratedVerilog, generate
from xorloom.sim.bandwidth.presets import memory, model_cycles
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.golden import block as decoder
from xorloom.sw.model.container import STREAM, Container
from xorloom.sw.model.decompress import decode_tensor
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.layout import COUNT_OFFSET_BITS
from xorloom.sw.spec.taps import columns
from xorloom.sw.tensors.orders import lanes, needs_transpose, slice_count
from xorloom.sw.value.block.stream import split_streams
from xorloom.sw.value.plane import Config

from .cases import Case
from .runner import build, run

STALLS = ("none", "random", "bursts", "slow")
"""Named stall patterns, see :func:`xorloom.sim.testbenches.agents.bench.stalls`."""

__all__ = [
    "SimulationResult",
    "beat_bytes",
    "check_pattern",
    "expected_frame",
    "golden_codes",
    "simulate_case",
    "simulate_streams",
]


def check_pattern(side: str, pattern: str) -> None:
    """Check a stall pattern.

    Raises
    ------
    ConfigError
        If it is none.
    """
    if pattern not in STALLS and (set(pattern) - {".", "x"} or "." not in pattern):
        names = ", ".join(STALLS)
        raise ConfigError(
            f"{side} pattern must be {names}, or of . (go) and x (wait) with at least one ., "
            f"not {pattern!r}"
        )


@dataclass(frozen=True)
class SimulationResult:
    """Cycles of one simulation run, from first input transfer to last output transfer.

    ``input_waits``: the bus offered a word and the decoder did not take it; ``starved``: the
    decoder was ready and the bus had nothing; ``output_waits``: the consumer was not ready.
    ``timeline``: signals of the window decoder, one character a clock, if asked for.
    """

    cycles: int
    words: int
    input_waits: int
    starved: int
    output_waits: int
    bits_checked: int
    timeline: dict[str, str] | None = None

    @property
    def bus_utilisation(self) -> float:
        """Bus words transferred a cycle."""
        return self.words / self.cycles

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        values = {key: value for key, value in asdict(self).items() if value is not None}
        return values | {"bus_utilisation": self.bus_utilisation}


def beat_bytes(config: Config) -> int:
    """Bytes of an output beat: a group of slices (block) or a slice (window)."""
    lanes = config.lanes if isinstance(config, BlockConfig) else 1
    return -(-lanes * config.n_out // 8)


def expected_frame(stream: bytes, config: Config) -> bytes:
    """Return the bytes that the decoder must put on ``m_axis`` for one memory stream."""
    words = decoder.bus_words(stream, config.bus_bits)
    if isinstance(config, WindowConfig):
        network = columns(config.network.rows, config.window)
        beats = decoder.window_decoder(config, network, words)
    else:
        beats = decoder.block_decoder(config, columns(config.rows, config.n_in), words)
    return b"".join(beat.to_bytes(beat_bytes(config), "little") for beat in beats)


def _valid_bits(stream: bytes, config: WindowConfig) -> int:
    """Bits that count in the last slice of a memory stream."""
    at = COUNT_OFFSET_BITS // 8
    count = int.from_bytes(stream[at : at + 4], "little")
    return (count - 1) % config.n_out + 1


def simulate_streams(
    streams: Sequence[bytes],
    config: Config,
    *,
    verilog: GeneratedVerilog | None = None,
    stages: int = 1,
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
    config : BlockConfig or WindowConfig
    verilog : GeneratedVerilog, optional
        Generated from ``config`` if not given.
    source, sink : str
        Stall patterns, see :func:`xorloom.sim.testbenches.agents.bench.stalls`.
    reset_after : sequence of int
        Start the first stream and reset after so many clocks, for each number, before the run.
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
    verilog = verilog or generate(config, stages=stages)
    built = build(verilog.text, verilog.name, simulator=simulator, waves=waves_to is not None)
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        job: dict[str, Any] = {
            "streams": [],
            "expected": [],
            "n_out": config.n_out,
            "beat_bytes": beat_bytes(config),
            "valid_bits": [],
            "source": source,
            "sink": sink,
            "seed": seed,
            "reset_after": list(reset_after),
            "timeline_slices": timeline_slices,
        }
        if isinstance(config, WindowConfig):
            job["valid_bits"] = [_valid_bits(stream, config) for stream in streams]
        for number, stream in enumerate(streams):
            for kind, data in (("streams", stream), ("expected", expected_frame(stream, config))):
                path = folder / f"{kind}-{number}"
                path.write_bytes(data)
                job[kind].append(str(path))
        test = "recovers_from_reset_mid_stream" if reset_after else "decodes_streams"
        result = run(
            *(built, "xorloom.sim.testbenches.decoder", test, job),
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
    waves: Path | None = None,
    waves_cycles: int | None = None,
    timeline: bool = False,
) -> dict[str, Any]:
    """Simulate a case and put the counted cycles beside the memory-bandwidth model.

    Returns
    -------
    dict
        JSON-able; ``bit_exact`` tells whether every slice bit equals the golden model's. With
        ``timeline`` it holds the signals of the window decoder's first frame, clock by clock.

    Raises
    ------
    ConfigError
        If the memory, simulator or a pattern is unknown, both memory and source are given, or the
        block decoder is to have a timeline.
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
            raise ConfigError("--timeline shows the window decoder's frames, not --value block")
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


def golden_codes(container: Container, name: str) -> np.ndarray:
    """Decode a compressed tensor with the golden model; codes are 0 where pruned."""
    info, config = container.tensor(name), container.config
    mask = decode_tensor(container, name).mask
    streams = split_streams(container.raw(name + STREAM), config.bus_bytes, name)
    frame = b"".join(expected_frame(data, config) for data in streams)
    flat = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
    bits = flat.reshape(-1, 8 * beat_bytes(config))
    if isinstance(config, WindowConfig):
        codes = _window_codes(bits, mask.size, info.planes, config, info.layout.order)
        if needs_transpose(info.layout.order) and mask.ndim > 1:
            codes = codes.reshape(-1, mask.shape[0]).T.reshape(-1)
    else:
        slices = bits[:, : config.lanes * config.n_out].reshape(-1, config.n_out)
        count = slice_count(mask.size, config.n_out)
        planes = slices[: count * info.planes].reshape(count, info.planes, config.n_out)
        weight = np.left_shift(1, np.arange(info.planes, dtype=np.uint8), dtype=np.uint8)[:, None]
        codes = (planes * weight).sum(axis=1, dtype=np.uint8).reshape(-1)[: mask.size]
    return np.where(mask, codes.reshape(mask.shape), 0).astype(np.uint8)


def _window_codes(
    slices: np.ndarray, weights: int, planes: int, config: WindowConfig, order: str
) -> np.ndarray:
    """Put decoded slice bits (slices, n_out) in the order's own sequence of weights."""
    per_slice = config.n_out // planes
    where = lanes(order, weights, per_slice)
    codes = np.zeros(weights, np.uint8)
    for lane in range(per_slice):
        length = int(where.length[lane])
        if length:
            turned = (np.arange(length) + where.turn[lane]) % length
            own = slices[:length, lane * planes : (lane + 1) * planes]
            place = where.start[lane] + where.step * turned
            codes[place] = np.packbits(own, axis=1, bitorder="little")[:, 0]
    return codes
