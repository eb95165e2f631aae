# SPDX-License-Identifier: Apache-2.0
"""Area benchmark: area and Fmax of every decoder on every target, and area per weight bit."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xorloom.hw.flow.synth import SynthReport, synthesize_all
from xorloom.hw.flow.targets import TARGETS, WITHOUT_LUT_RAM, check_target
from xorloom.hw.units import has_pipeline
from xorloom.sim.generate.options import ConfigOptions, UnitOptions
from xorloom.sim.generate.units import UnitSource, unit_source
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.progress import Progress, no_progress

__all__ = ["CLAIM", "DESIGNS", "AreaDesign", "area_pairs", "area_rows", "ratio_rows"]


@dataclass(frozen=True)
class AreaDesign:
    """Unit with its options, and the most weight bits that it yields per cycle.

    ``placed`` tells whether it is placed where others are: a network over 1,024 bits keeps
    nextpnr's router busy for more than ten minutes per seed. ``harness`` tells the same of targets
    with a harness: the paper's decoder of three lanes does not route on Nexus, and not within
    eight minutes on Gowin; the IP blocks are as large.
    """

    unit: str
    bits: int
    options: dict[str, Any] = field(default_factory=dict)
    index: dict[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = tuple(TARGETS)  # if none is asked for
    placed: bool = True
    harness: bool = True

    def seeds(self, target: str, seeds: int, harness_seeds: int) -> int:
        """Return how many placement seeds it gets on the target."""
        if TARGETS[target].harness:
            return harness_seeds if self.placed and self.harness else 0
        return seeds if self.placed else 0

    def for_target(self, target: str) -> "AreaDesign":
        """Return the design with the small pipeline, if it has one and the target no LUT RAM."""
        codec = self.options.get("value", "window")
        if self.unit in ("index", "core"):
            codec = self.index.get("index", ["trellis"])[0]
        if not (target in WITHOUT_LUT_RAM and has_pipeline(self.unit, codec)):
            return self
        return replace(self, index=self.index | {"pipeline": "small"})

    def source(self) -> UnitSource:
        """Return its Verilog."""
        return unit_source(self.unit, ConfigOptions(**self.options), UnitOptions(**self.index))

    def command(self, target: str, seeds: int) -> str:
        """Return the command that makes the same row."""
        words = ["xorloom", "synth", "--unit", self.unit, "--target", target]
        words += ["--seeds", str(seeds)]
        for name, value in (self.options | self.index).items():
            for each in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", str(each)]
        return shlex.join(words)


_PAPER = {"value": "block", "n_in": 20, "n_out": 200}


def _paper(patches: int) -> AreaDesign:
    return AreaDesign("lane", 200, _PAPER | {"patches_per_cycle": patches})


def _window(n_out: int, patches: int = 0, unit: str = "decoder") -> AreaDesign:
    options = {"n_in": 32, "n_out": n_out, "patches": 1} if patches else {"n_out": n_out}
    return AreaDesign(unit, n_out, options, placed=n_out <= 512)


_IP = {"n_out": 256, "n_in": 16, "window": 256}
_IP_INDEX = {"index": ["trellis"], "index_bits": 0.15625}
_ECP5 = ("ecp5",)
DESIGNS = {
    "paper network": AreaDesign("network", 200, _PAPER),
    "paper lane, 1 patch": _paper(1),
    "paper lane, 4 patches": _paper(4),
    "paper lane, 8 patches": _paper(8),
    "paper decoder, 8 patches": AreaDesign(
        "decoder", 600, _PAPER | {"lanes": 3, "patches_per_cycle": 8}, harness=False
    ),
    "window 128": _window(128),
    "window 256": _window(256),
    "window 512": _window(512),
    "window 1024": _window(1024),
    "window 512, 1 patch": _window(512, 1),
    "window 1024, 1 patch": _window(1024, 1),
    "window unit 512, 1 patch": _window(512, 1, "value"),
    "window unit 1024, 1 patch": _window(1024, 1, "value"),
    "trellis core": AreaDesign("core", 512),
    "IP block, streamed": AreaDesign("stream-ip", 256, _IP, _IP_INDEX, harness=False),
    "IP block": AreaDesign("ip", 256, _IP, _IP_INDEX | {"align_bytes": 8}, harness=False),
    "window 512, n_in 32": AreaDesign("decoder", 512, {"n_in": 32, "n_out": 512}, targets=_ECP5),
    "window unit 512": AreaDesign("value", 512, {"n_out": 512}, targets=_ECP5),
    "window 512, XORs of 7": AreaDesign(
        "decoder", 512, {"n_out": 512, "own_taps": 7, "shared_taps": 0}, targets=_ECP5
    ),
    "window network": AreaDesign("network", 512, targets=_ECP5),
    "trellis core, n_in 84": AreaDesign("core", 512, index={"index_bits": 0.1641}, targets=_ECP5),
    "trellis core, 4 classes": AreaDesign("core", 512, index={"index_classes": 4}, targets=_ECP5),
    "trellis index": AreaDesign("index", 512, targets=_ECP5),
    "low-rank core": AreaDesign("core", 512, index={"index": ["lowrank"]}, targets=_ECP5),
    "entropy core, 16 lanes": AreaDesign("core", 512, index={"index": ["entropy"]}, targets=_ECP5),
    "hashed core": AreaDesign("core", 512, index={"index": ["hashed"]}, targets=_ECP5),
    "direct 512": AreaDesign("decoder", 512, {"value": "direct", "n_out": 512}, targets=_ECP5),
    "block decoder, 1 patch": AreaDesign("decoder", 600, _PAPER | {"lanes": 3}, targets=_ECP5),
    "block decoder, 4 lanes": AreaDesign(
        "decoder",
        800,
        _PAPER | {"stages": 2, "patches_per_cycle": 2, "lanes": 4},
        targets=_ECP5,
    ),
}
"""Designs by name. ``bits`` counts a cycle in which a slice leaves. Not every cycle is one: block
lanes stall for slices with more patches, the window decoder while its rate control takes seeds."""

CLAIM = (
    ("decoder", "window 512, 1 patch", "paper decoder, 8 patches"),
    ("decoder", "window 1024, 1 patch", "paper decoder, 8 patches"),
    ("unit", "window unit 512, 1 patch", "paper lane, 8 patches"),
    ("unit", "window unit 1024, 1 patch", "paper lane, 8 patches"),
)
"""What is compared: whole decoders, and units without framing and shell."""


def check_designs(names: Sequence[str]) -> None:
    """Check names of designs.

    Raises
    ------
    ConfigError
        If one is unknown.
    """
    for name in names:
        if name not in DESIGNS:
            raise ConfigError(f"design must be one of {'; '.join(DESIGNS)}, not {name!r}")


def _row(name: str, report: SynthReport, seeds: int) -> dict[str, Any]:
    design = DESIGNS[name]
    size = report.nand2 if report.lut is None else report.lut
    return {
        "design": name,
        "target": report.target,
        "lut": report.lut,
        "ff": report.ff,
        "ram": report.ram,
        "lut_ram": report.lut_ram,
        "placed": report.placed,
        "placed_cell": report.placed_cell,
        "nand2": report.nand2,
        "fmax_mhz": report.fmax_mhz,
        "fmax_min_mhz": report.fmax_min_mhz,
        "bits_per_cycle": design.bits,
        "lut_per_weight_bit": None if report.lut is None else report.lut / design.bits,
        "size_per_weight_bit": None if size is None else size / design.bits,
        "fits": report.fits,
        "excess": report.excess,
        "seeds": report.seeds,
        "critical_path": report.critical_path,
        "critical_wires": report.critical_wires,
        "command": design.for_target(report.target).command(report.target, seeds),
    }


def area_pairs(
    designs: Sequence[str] | None = None, targets: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """Return what to measure, designs with targets: all, or those asked for.

    Raises
    ------
    ConfigError
        If a design or target is unknown.
    """
    check_designs(designs or ())
    for target in targets or ():
        check_target(target)
    names = designs or DESIGNS
    return [(name, target) for name in names for target in targets or DESIGNS[name].targets]


def area_rows(
    pairs: Sequence[tuple[str, str]],
    *,
    seeds: int = 5,
    harness_seeds: int = 1,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Synthesize designs on targets; return one row each. Results in the cache are not made again.

    ``lut_per_weight_bit`` is LUTs per bit of a cycle in which a slice leaves;
    ``size_per_weight_bit`` is the same, with NAND2 equivalents for ``gates``. A design that does
    not fit a part has no Fmax, and ``excess`` says how much does not fit.

    Parameters
    ----------
    pairs : sequence of (design, target)
        As :func:`area_pairs` returns them.
    seeds, harness_seeds : int
        Placement seeds on targets that are placed out of context, and in a harness.
    progress : callable
        Called after every step.

    Raises
    ------
    ToolError
        If a tool fails; names the log.
    """
    designs = {pair: DESIGNS[pair[0]].for_target(pair[1]) for pair in pairs}
    sources = {pair: design.source() for pair, design in designs.items()}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    counts = {
        (name, target): DESIGNS[name].seeds(target, seeds, harness_seeds) for name, target in pairs
    }
    for count in sorted(set(counts.values())):
        group = [pair for pair in pairs if counts[pair] == count]
        reports = synthesize_all(
            [(sources[pair].text, sources[pair].name, pair[1]) for pair in group],
            seeds=count,
            progress=progress,
            must_fit=False,
        )
        for (name, target), report in zip(group, reports, strict=True):
            rows[name, target] = _row(name, report, count)
    return [rows[pair] for pair in pairs]


def ratio_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare the window decoder with the paper's blocks, per weight bit of the best cycle.

    ``ratio`` is how many times smaller the window decoder is. ``sustained_ratio`` takes for the
    window decoder the rate that its seeds carry at 90 % sparsity, at most 10 n_in bits per cycle,
    and for the blocks still their best cycle.
    """
    size = {(row["design"], row["target"]): row["size_per_weight_bit"] for row in rows}
    compared = []
    for kind, ours, paper in CLAIM:
        design = DESIGNS[ours]
        sustained = min(1.0, 10 * design.options["n_in"] / design.bits)
        for target in TARGETS:
            if (ours, target) in size and (paper, target) in size:
                ratio = size[paper, target] / size[ours, target]
                compared.append(
                    {
                        "kind": kind,
                        "design": ours,
                        "paper": paper,
                        "target": target,
                        "size_per_weight_bit": size[ours, target],
                        "paper_size_per_weight_bit": size[paper, target],
                        "ratio": ratio,
                        "sustained_ratio": ratio * sustained,
                    }
                )
    return compared
