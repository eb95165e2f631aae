# SPDX-License-Identifier: Apache-2.0
"""Synthesis reports: Yosys for cells, nextpnr for Fmax and critical path, kept by content."""

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xorloom.sw.base.cache import cache_folder, cached, digest, read_text, write_text
from xorloom.sw.base.errors import CapacityError, ToolError

from .critical_path import path_text, wire_share
from .harness import wrap
from .place import FAMILIES, Placement, check_family, place
from .targets import NAND2_WEIGHTS, TARGETS, Target, check_target
from .tools import yosys

__all__ = [
    "TARGETS",
    "SynthReport",
    "UnitArea",
    "area_by_unit",
    "synthesize",
    "synthesize_all",
    "yosys",
]

_RECIPE = 1  # counts changes of how harness and report are made
_GOAL_MHZ = 400.0
"""Clock that the placer works for: more than a design reaches."""
Progress = Callable[[str], None]


@dataclass(frozen=True)
class SynthReport:
    """Area of one design on one target.

    ``lut`` counts LUT4 (ECP5: a carry cell is two), LUT1 to LUT6 (AMD) or ALUTs (Intel); ``ram``
    block RAMs; ``nand2`` is NAND2 equivalents (``gates`` and Liberty only). Fmax is over placement
    seeds, MHz: out of context on ``ecp5``, in a harness on the other placed targets, whose cells
    do not count. ``critical_path`` is that of the slowest seed, with the share of it that is
    wires. ``fits`` is whether the part has what the design needs, ``excess`` by how much not.
    ``area`` (in the library's unit) and its sequential share are a Liberty's, mapped to be small;
    ``delay_ns`` is of the mapping that is fast, ``fast_area`` what that takes.
    """

    design: str
    target: str
    lut: int | None
    ff: int
    nand2: float | None = None
    fmax_mhz: float | None = None
    fmax_min_mhz: float | None = None
    seeds: int = 0
    ram: int = 0
    fits: bool = True
    excess: str = ""
    critical_path: str = ""
    critical_wires: float | None = None
    area: float | None = None
    sequential: float | None = None
    delay_ns: float | None = None
    fast_area: float | None = None

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


class _Job:
    """One design on one target: Yosys once, then a placement a seed."""

    def __init__(self, text: str, top: str, name: str, cache: bool) -> None:
        self.text, self.top, self.name, self.cache = text, top, name, cache
        self.target: Target = check_target(name)
        passes = " ; ".join(self.target.passes)
        self.key = digest(text, top, passes, version("pyosys"))
        self.netlist = cache_folder() / "synth" / f"{self.key}.netlist.gz"
        self.kept: str | None = None

    def map(self) -> dict[str, int]:
        """Run Yosys; return cells by type."""

        def make() -> dict[str, int]:
            with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
                folder = Path(name)
                (folder / f"{self.top}.v").write_text(self.text, encoding="utf-8")
                passes = [p.format(top=self.top, netlist="netlist.json") for p in self.passes]
                passes = [f"read_verilog {self.top}.v", *passes, "tee -q -o stat.json stat -json"]
                yosys(passes, folder / f"yosys-{self.name}.log")
                if self.target.family is not None:
                    self.kept = (folder / "netlist.json").read_text(encoding="utf-8")
                    if self.cache:
                        write_text(self.netlist, self.kept)
                stat = json.loads((folder / "stat.json").read_text(encoding="utf-8"))
            return dict(stat["design"]["num_cells_by_type"])

        cells: dict[str, int] = cached("synth", self.key, make, use=self.cache)
        return cells

    @property
    def passes(self) -> tuple[str, ...]:
        return self.target.passes

    def _mapped(self) -> str:
        """Return the netlist; made again if the cache lost it."""
        text = self.kept or (read_text(self.netlist) if self.cache else None)
        if text is None:
            again = _Job(self.text, self.top, self.name, cache=False)
            again.map()
            text = again.kept
            assert text is not None
            write_text(self.netlist, text)
        return text

    def place(self, seed: int) -> Placement:
        """Place and route once."""
        target = self.target
        assert target.family is not None
        tool = FAMILIES[target.family].module.replace("_", "-")
        parts = (target.device, target.pins, target.arguments, _GOAL_MHZ, _RECIPE, version(tool))
        key = digest(self.key, *parts, seed)

        def make() -> dict[str, Any]:
            netlist = self._mapped()
            with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
                folder = Path(name)
                if target.harness:
                    framed = wrap(json.loads(netlist), self.top, str(target.family))
                    netlist = json.dumps(framed)
                (folder / "netlist.json").write_text(netlist, encoding="utf-8")
                (folder / "pins").write_text(target.pins, encoding="utf-8")
                placed = place(
                    *(folder / "netlist.json", str(target.family), target.device),
                    seed=seed,
                    constraints=folder / "pins" if target.pins else None,
                    out_of_context=not target.harness,
                    freq_mhz=_GOAL_MHZ,
                    arguments=target.arguments,
                )
            return placed.to_dict()

        return Placement.from_dict(cached("place", key, make, use=self.cache))

    def report(self, cells: dict[str, int], placed: Sequence[Placement]) -> SynthReport:
        """Put the numbers together."""
        lut, ff, ram = _count(self.target, cells)
        excess = self.target.excess(lut, ff, ram)
        nand2 = _nand2(cells) if self.name == "gates" else None
        report = SynthReport(
            *(self.top, self.name, lut or None, ff, nand2),
            ram=ram,
            fits=not excess,
            excess=excess,
        )
        if not placed:
            return report
        worst = min(placed, key=lambda p: p.slowest_mhz)
        fmax = [p.slowest_mhz for p in placed]
        return replace(
            report,
            fmax_mhz=statistics.median(fmax),
            fmax_min_mhz=min(fmax),
            seeds=len(fmax),
            critical_path=path_text(worst.path),
            critical_wires=wire_share(worst.path),
        )


def _count(target: Target, cells: dict[str, int]) -> tuple[int, int, int]:
    """Return LUTs, flip-flops and block RAMs."""
    return (
        sum(n * cells.get(cell, 0) for cell, n in target.lut.items()),
        sum(n for cell, n in cells.items() if cell.startswith(target.ff)),
        sum(n for cell, n in cells.items() if target.ram and cell.startswith(target.ram)),
    )


def _nand2(cells: dict[str, int]) -> float:
    odd = set(cells) - set(NAND2_WEIGHTS) - {"$scopeinfo"}
    if odd:
        raise ToolError(f"yosys left cells without a NAND2 weight: {', '.join(odd)}")
    return sum(NAND2_WEIGHTS.get(cell, 0.0) * n for cell, n in cells.items())


def synthesize_all(
    designs: Sequence[tuple[str, str, str]],
    *,
    seeds: int = 5,
    progress: Progress = lambda step: None,
    cache: bool = True,
    must_fit: bool = True,
) -> list[SynthReport]:
    """Synthesize designs side by side on all cores; return a report for each, in order.

    Parameters
    ----------
    designs : sequence of (text, top, target)
    seeds, progress, cache, must_fit
        As for :func:`synthesize`.

    Raises
    ------
    ConfigError, CapacityError, ToolError
        As for :func:`synthesize`.
    """
    jobs = [_Job(text, top, target, cache) for text, top, target in designs]
    for family in {job.target.family for job in jobs if job.target.family and seeds}:
        check_family(family)

    def run(job: _Job) -> dict[str, int]:
        cells = job.map()
        progress(f"yosys {job.name}")
        return cells

    def run_seed(job: _Job, seed: int) -> Placement:
        placed = job.place(seed)
        progress(f"nextpnr seed {seed}")
        return placed

    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        mapped = [pool.submit(run, job) for job in jobs]
        placed: list[list[Future[Placement]]] = []
        for job, cells in zip(jobs, mapped, strict=True):
            counts = _count(job.target, cells.result())
            if must_fit:
                job.target.check_fit(*counts)
            wanted = seeds if job.target.family and not job.target.excess(*counts) else 0
            placed.append([pool.submit(run_seed, job, n + 1) for n in range(wanted)])
        reports = []
        for job, cells, runs in zip(jobs, mapped, placed, strict=True):
            try:
                reports.append(job.report(cells.result(), [p.result() for p in runs]))
            except CapacityError as error:
                if must_fit:
                    raise
                report = job.report(cells.result(), ())
                reports.append(replace(report, fits=False, excess=str(error)))
        return reports
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def synthesize(
    text: str,
    top: str,
    target: str,
    *,
    seeds: int = 5,
    progress: Progress = lambda step: None,
    cache: bool = True,
    must_fit: bool = True,
) -> SynthReport:
    """Synthesize Verilog text and report its area, and Fmax where the target is placed.

    Results are kept by content (Verilog, passes, versions of the tools), each seed on its own.

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
    cache : bool
        Whether to take kept results, and keep them.
    must_fit : bool
        Whether a design that the part has no room for is an error; else the report says so.

    Raises
    ------
    ConfigError
        If the target is unknown.
    CapacityError
        If the design does not fit the part; says by how much.
    ToolError
        If a tool is missing or fails; names the extra or the log.
    """
    return synthesize_all(
        [(text, top, target)], seeds=seeds, progress=progress, cache=cache, must_fit=must_fit
    )[0]


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
