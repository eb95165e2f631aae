# SPDX-License-Identifier: Apache-2.0
"""Simulates generated decoders on encoded tensors: bit-exact, with cycles counted."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.hw.verilog import GeneratedVerilog, generate_block
from xorloom.sw import block_codec, stream
from xorloom.sw.compress import decode_tensor
from xorloom.sw.config import BlockConfig
from xorloom.sw.container import STREAM, Container, read_container
from xorloom.sw.decoder import block_decoder, bus_words
from xorloom.sw.errors import ConfigError
from xorloom.sw.prune import check_sparsity
from xorloom.sw.search import cut_sample, search_block
from xorloom.sw.taps import columns

from .bandwidth import memory, model_cycles
from .datasets import iid
from .runner import build, run

STALLS = ("none", "random", "bursts", "slow")
"""Named stall patterns, see :func:`xorloom.sim.agents.stalls`."""

__all__ = [
    "Case",
    "SimulationResult",
    "expected_frame",
    "golden_codes",
    "iid_case",
    "model_case",
    "simulate_block",
    "simulate_case",
]


@dataclass(frozen=True)
class SimulationResult:
    """Cycles of one simulation run, from first input transfer to last output transfer.

    ``input_waits``: the bus offered a word and the decoder did not take it; ``starved``: the
    decoder was ready and the bus had nothing; ``output_waits``: the consumer was not ready.
    """

    cycles: int
    words: int
    input_waits: int
    starved: int
    output_waits: int
    bits_checked: int

    @property
    def bus_utilisation(self) -> float:
        """Bus words transferred a cycle."""
        return self.words / self.cycles

    def to_dict(self) -> dict[str, float]:
        """Return the numbers for JSON."""
        return asdict(self) | {"bus_utilisation": self.bus_utilisation}


def expected_frame(stream: bytes, config: BlockConfig) -> bytes:
    """Return the bytes that the decoder must put on ``m_axis`` for one memory stream."""
    groups = block_decoder(
        config, columns(config.rows, config.n_in), bus_words(stream, config.bus_bits)
    )
    group_bytes = -(-config.lanes * config.n_out // 8)
    return b"".join(group.to_bytes(group_bytes, "little") for group in groups)


def simulate_block(
    streams: Sequence[bytes],
    config: BlockConfig,
    *,
    verilog: GeneratedVerilog | None = None,
    stages: int = 1,
    simulator: str = "verilator",
    source: str = "none",
    sink: str = "none",
    seed: int = 1,
    reset_after: Sequence[int] = (),
    waves_to: Path | None = None,
) -> SimulationResult | str:
    """Run memory streams through the generated Verilog and compare every bit.

    Parameters
    ----------
    streams : sequence of bytes
        Memory streams with at least one slice each, sent back to back.
    config : BlockConfig
    verilog : GeneratedVerilog, optional
        Generated from ``config`` if not given.
    source, sink : str
        Stall patterns, see :func:`xorloom.sim.agents.stalls`.
    reset_after : sequence of int
        Start the first stream and reset after so many clocks, for each number, before the run.

    Returns
    -------
    SimulationResult, or str
        The string tells the first mismatch.

    Raises
    ------
    ToolError
        If the simulator is missing or crashes.
    """
    verilog = verilog or generate_block(config, stages=stages)
    built = build(verilog.text, verilog.name, simulator=simulator, waves=waves_to is not None)
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        job: dict[str, Any] = {
            "streams": [],
            "expected": [],
            "n_out": config.n_out,
            "group_bytes": -(-config.lanes * config.n_out // 8),
            "source": source,
            "sink": sink,
            "seed": seed,
            "reset_after": list(reset_after),
        }
        for number, stream in enumerate(streams):
            for kind, data in (("streams", stream), ("expected", expected_frame(stream, config))):
                path = folder / f"{kind}-{number}"
                path.write_bytes(data)
                job[kind].append(str(path))
        test = "recovers_from_reset_mid_stream" if reset_after else "decodes_streams"
        result = run(built, "xorloom.sim.tb_block_decoder", test, job, waves_to=waves_to)
    if "failure" in result:
        return str(result["failure"])
    return SimulationResult(**result)


@dataclass(frozen=True)
class Case:
    """Memory streams to simulate, and what they hold.

    Parameters
    ----------
    title : str
    config : BlockConfig
    streams : tuple of bytes
    weights, slices, words, steps : int
        Sums over the streams; ``words`` counts header and CRC words as well.
    """

    title: str
    config: BlockConfig
    streams: tuple[bytes, ...]
    weights: int
    slices: int
    words: int
    steps: int


def _case(
    title: str, config: BlockConfig, parts: Sequence[tuple[bytes, block_codec.BlockSlices, int]]
) -> Case:
    return Case(
        title,
        config,
        tuple(data for data, _, _ in parts),
        sum(weights for _, _, weights in parts),
        sum(slices.seeds.size for _, slices, _ in parts),
        sum(len(data) // config.bus_bytes for data, _, _ in parts),
        sum(stream.block_bits(slices, config).steps for _, slices, _ in parts),
    )


def model_case(path: Path, names: Sequence[str]) -> Case:
    """Take tensors of a compressed model; without names, the largest.

    Raises
    ------
    ConfigError
        If the file or a tensor is not there.
    FormatError
        If it is damaged.
    """
    container = read_container(path)
    if not names:
        names = [max(container.tensors, key=lambda n: int(np.prod(container.tensors[n].shape)))]
    parts = []
    for name in names:
        decoded = decode_tensor(container, name)
        data = container.raw(name + STREAM)
        slices = stream.unpack_block(data, container.config, name)
        parts.append((data, slices, decoded.mask.size))
    shapes = ", ".join(f"{n} {'x'.join(map(str, container.tensors[n].shape))}" for n in names)
    return _case(shapes, container.config, parts)


def iid_case(
    sparsity: float, weights: int, planes: int, config: BlockConfig, *, search: bool, seed: int = 1
) -> Case:
    """Encode random codes under an i.i.d. mask, like AlexNet's pruned FC layers.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """
    check_sparsity(sparsity)
    if weights < 1:
        raise ConfigError(f"weights must be at least 1, not {weights}")
    mask, codes = iid(weights, sparsity, planes, seed)
    if search:
        config = search_block(cut_sample((mask, codes, planes), weights), config).config
    slices = block_codec.encode(mask, codes, planes, config)
    data, _ = stream.pack_block(slices, config)
    title = f"i.i.d. mask S {sparsity}, {planes} bit, {weights:,} weights"
    return _case(title, config, [(data, slices, weights)])


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
) -> dict[str, Any]:
    """Simulate a case and put the counted cycles beside the memory-bandwidth model.

    Returns
    -------
    dict
        JSON-able; ``bit_exact`` tells whether every slice bit equals the golden model's.

    Raises
    ------
    ConfigError
        If the memory, simulator or a pattern is unknown, or both memory and source are given.
    ToolError
        If the simulator is missing or crashes.
    """
    if not clock_mhz > 0:
        raise ConfigError(f"clock must be positive, not {clock_mhz} MHz")
    for side, pattern in (("source", source), ("sink", sink)):
        if pattern not in STALLS and (set(pattern) - {".", "x"} or "." not in pattern):
            names = ", ".join(STALLS)
            raise ConfigError(
                f"{side} pattern must be {names}, or of . (go) and x (wait) with at least one ., "
                f"not {pattern!r}"
            )
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
    result = simulate_block(
        case.streams,
        case.config,
        simulator=simulator,
        stages=stages,
        source=source,
        sink=sink,
        waves_to=waves,
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
    frame = expected_frame(container.raw(name + STREAM), config)
    group_bits = 8 * (-(-config.lanes * config.n_out // 8))
    bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little").reshape(-1, group_bits)
    slices = bits[:, : config.lanes * config.n_out].reshape(-1, config.n_out)
    count = -(-mask.size // config.n_out)
    planes = slices[: count * info.planes].reshape(count, info.planes, config.n_out)
    codes = np.zeros(count * config.n_out, np.uint8)
    for b in range(info.planes):
        codes |= planes[:, b].reshape(-1) << np.uint8(b)
    return np.where(mask, codes[: mask.size].reshape(mask.shape), 0).astype(np.uint8)
