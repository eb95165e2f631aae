# SPDX-License-Identifier: Apache-2.0
"""Demonstration: a layer of MiniLM encoded, verified, generated, simulated and synthesized."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xorloom.hw.flow.synth import SynthReport, synthesize_all
from xorloom.hw.flow.targets import QUICK
from xorloom.hw.units import generate_unit
from xorloom.sim.datasets import DEMO_DENSITY, DEMO_INDEX_BITS, DEMO_TENSORS, minilm
from xorloom.sim.simulate.ip import simulate_image
from xorloom.sw.index.choice import index_config
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.metrics import TensorBits, loss_row
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.reports.kept import KeptReport
from xorloom.sw.model.verify import verify_model
from xorloom.sw.spec.config import ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.tensors.checkpoint import open_model

__all__ = ["DemoResult", "Stage", "run_demo"]

Stage = Callable[[int, str], AbstractContextManager[None]]
"""Called with a stage's number, from 1 to 6, and its title; the stage runs inside the context."""


@dataclass(frozen=True)
class DemoResult:
    """Result of the demonstration.

    Parameters
    ----------
    config, index
        The decoder.
    bits, errors, kept
        Of every tensor, see :mod:`xorloom.sw.model.metrics` and
        :mod:`xorloom.sw.model.reports.kept`.
    exact : bool
        Whether the fast decoder and the golden model agree on all codes.
    simulation : dict
        See :func:`xorloom.sim.simulate.ip.simulate_image`.
    synthesis : list of SynthReport
    files : tuple of Path
        Compressed model, Verilog, manifest.
    """

    config: ValueConfig
    index: IndexConfig
    bits: dict[str, TensorBits]
    errors: dict[str, float | None]
    kept: list[dict[str, Any]]
    exact: bool
    simulation: dict[str, Any]
    synthesis: list[SynthReport]
    files: tuple[Path, ...]

    @property
    def passed(self) -> bool:
        """Whether software and simulation are bit-exact."""
        return self.exact and bool(self.simulation["bit_exact"])

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            "bit_exact": self.passed,
            "config": self.config.to_dict(),
            "index": {"codec": self.index.codec} | self.index.to_dict(),
            "kept": self.kept,
            "bits": {
                name: bits.to_dict() | loss_row(bits, self.errors[name])
                for name, bits in self.bits.items()
            },
            "simulation": self.simulation,
            "synthesis": [report.to_dict() for report in self.synthesis],
        }


def run_demo(output: Path, *, seeds: int, stage: Stage) -> DemoResult:
    """Take MiniLM matrices from the checkpoint to synthesized Verilog.

    Parameters
    ----------
    output : Path
        Folder of the files; it is there.
    seeds : int
        Placement seeds for Fmax.
    stage : callable
        See :data:`Stage`.

    Raises
    ------
    ToolError
        If the weights cannot be downloaded, or a tool is missing or fails.
    """
    compressed = output / "minilm.xl.safetensors"
    value = WindowConfig()
    index = index_config("trellis", value, 1, density=DEMO_DENSITY, rate=DEMO_INDEX_BITS)
    spec = CompressSpec(
        sparsity=1 - DEMO_DENSITY, config=value, index=index, include=(DEMO_TENSORS,)
    )
    with stage(1, "MiniLM-L6 weights from the Python package index"):
        model = open_model(minilm())
    with stage(2, "choose masks of 10 %, quantize to 1 bit, encode"):
        report = KeptReport(model)
        made = compress_model(model, compressed, spec, done=report)
        config, bits = made.config, made.bits
    with stage(3, "decode and verify with the fast decoder and the golden model"):
        container = read_container(compressed)
        exact = all(verdict.ok for verdict in verify_model(container, golden=True))
    with stage(4, "generate Verilog"):
        # The unit that is simulated: aligned to bus words, it needs no shifter.
        memory = {"align_bytes": config.bus_bytes}
        verilog = generate_unit("ip", config, indexes=[index], memory=memory)
        paths = verilog.write(output / "verilog")
    with stage(5, "build the simulation and run all matrices, back to back"):
        row = simulate_image(compressed, list(container.tensors))
    with stage(
        6, f"synthesize for {len(QUICK)} targets, {seeds} placement seed{'s' * (seeds > 1)}"
    ):
        # One design for all targets: not all have LUT RAM, and queues in it take minutes to route.
        part = generate_unit("decoder", config, pipeline="small")
        core = generate_unit("core", index)
        designs = [(part.text, part.name, target) for target in QUICK]
        reports = synthesize_all([designs[0], (core.text, core.name, "ecp5")], seeds=seeds)
        # Cells only: placing an iCE40 takes longer than all the rest.
        reports[1:1] = synthesize_all(designs[1:], seeds=0)
    files = (compressed, paths[0], paths[1])
    return DemoResult(config, index, bits, made.errors, report.rows, exact, row, reports, files)
