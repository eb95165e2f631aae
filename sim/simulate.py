# SPDX-License-Identifier: Apache-2.0
"""Simulates generated decoders on encoded tensors: bit-exact, with cycles counted."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from xorloom.hw.verilog import GeneratedVerilog, generate_block
from xorloom.sw.config import BlockConfig
from xorloom.sw.decoder import block_decoder, bus_words
from xorloom.sw.taps import columns

from .runner import build, run

__all__ = ["SimulationResult", "expected_frame", "simulate_block"]


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
        job = {
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
