# SPDX-License-Identifier: Apache-2.0
"""Synthesis reports: cells by Yosys, Fmax and critical path by nextpnr; cached by content."""

import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xorloom.sw.base.cache import cache_folder, cached, digest, read_text, write_text
from xorloom.sw.base.errors import CapacityError, ToolError, UnroutedError
from xorloom.sw.base.progress import Progress, no_progress

from .critical_path import path_text, wire_share
from .devices import CELLS
from .harness import wrap
from .place import FAMILIES, Placement, check_family, place
from .targets import NAND2_WEIGHTS, Target, check_target
from .tools import yosys
from .verilog.identifiers import JOINT

__all__ = [
    "SynthReport",
    "UnitArea",
    "area_by_unit",
    "synthesize",
    "synthesize_all",
]

_RECIPE = 1  # part of the cache key: raise it when harness or report change
_ATTEMPTS = 3
"""Seeds tried in place of one whose placement nextpnr does not route: its router for Nexus gives up
on the clock of one in a few."""
_MOST_CPU_S = 600
"""CPU time of a placement in a harness: router2 does not end where wires are short."""
_GOAL_MHZ = 400.0
"""Clock that the placer aims for: more than any design reaches."""


@dataclass(frozen=True)
class SynthReport:
    """Area of one design on one target.

    ``lut`` counts LUTs of logic: LUT4 (ECP5: a carry cell is two), LUT1 to LUT6 (AMD) or ALUTs
    (Intel). LUTs of distributed memory are not in it, but count where ``fits`` is decided;
    ``lut_ram`` counts its cells (ECP5: TRELLIS_DPR16X4, 16 words of 4 bits), and is ``None`` where
    they are not known. ``placed`` is how many cells ``placed_cell`` nextpnr places: LUTs of logic
    and of memory, and what packing adds; with the harness, if there is one. ``ram`` counts block
    RAMs; ``nand2`` is NAND2 equivalents (``gates`` and Liberty only).

    ``fmax_mhz`` is the median over placement seeds, ``fmax_min_mhz`` the minimum: out of context
    on ``ecp5``, on the other placed targets in a harness, whose cells are not counted.
    ``critical_path`` is that of the slowest seed, ``critical_wires`` the share of wires in it.
    ``fits`` says whether the part is large enough, ``excess`` by how much it is not. A seed that
    nextpnr does not route is replaced by the next one; if none is routed, there is no Fmax, and
    ``excess`` says so.

    With a Liberty file, ``area``, in the unit of the library, and its ``sequential`` share are of
    a mapping for small area; ``delay_ns`` and ``fast_area`` are of a mapping for speed.
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
    lut_ram: int | None = None
    placed: int | None = None
    placed_cell: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class UnitArea:
    """Area of one unit of a design on ECP5; as in :class:`SynthReport`."""

    unit: str
    lut: int
    ff: int
    lut_ram: int


class _Job:
    """One design on one target: Yosys once, then one placement per seed."""

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
        """Return the netlist; it is made again if the cache has lost it."""
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
                    wrapped = wrap(json.loads(netlist), self.top, str(target.family))
                    netlist = json.dumps(wrapped)
                (folder / "netlist.json").write_text(netlist, encoding="utf-8")
                (folder / "pins").write_text(target.pins, encoding="utf-8")
                placed = place(
                    folder / "netlist.json",
                    str(target.family),
                    target.device,
                    seed=seed,
                    constraints=folder / "pins" if target.pins else None,
                    out_of_context=not target.harness,
                    freq_mhz=_GOAL_MHZ,
                    arguments=target.arguments,
                    cpu_s=_MOST_CPU_S if target.harness else None,
                )
            return placed.to_dict()

        return Placement.from_dict(cached("place", key, make, use=self.cache))

    def report(self, cells: dict[str, int], placed: Sequence[Placement]) -> SynthReport:
        """Return the report of cells and placements."""
        use = self.target.cells.use(cells)
        excess = self.target.excess(use)
        report = SynthReport(
            design=self.top,
            target=self.name,
            lut=use.lut or None,
            ff=use.ff,
            nand2=_nand2(cells) if self.name == "gates" else None,
            ram=use.ram,
            fits=not excess,
            excess=excess,
            lut_ram=self.target.cells.lut_ram_cells(cells),
        )
        if not placed:
            return report
        worst = min(placed, key=lambda p: p.slowest_mhz)
        fmax = [p.slowest_mhz for p in placed]
        logic = FAMILIES[str(self.target.family)].logic
        return replace(
            report,
            placed=worst.use[logic].used,
            placed_cell=logic,
            fmax_mhz=statistics.median(fmax),
            fmax_min_mhz=min(fmax),
            seeds=len(fmax),
            critical_path=path_text(worst.path),
            critical_wires=wire_share(worst.path),
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
    progress: Progress = no_progress,
    cache: bool = True,
    must_fit: bool = True,
) -> list[SynthReport]:
    """Synthesize designs in parallel on all cores; return a report of each, in order.

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
        progress("yosys", job.name)
        return cells

    def run_seed(job: _Job, seed: int) -> Placement:
        placed = _routed(job, seed, seeds)
        progress("nextpnr", f"seed {seed}")
        return placed

    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        mapped = [pool.submit(run, job) for job in jobs]
        placed: list[list[Future[Placement]]] = []
        for job, cells in zip(jobs, mapped, strict=True):
            use = job.target.cells.use(cells.result())
            if must_fit:
                job.target.check_fit(use)
            wanted = seeds if job.target.family and not job.target.excess(use) else 0
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
            except UnroutedError as error:
                if must_fit:
                    raise
                reports.append(replace(job.report(cells.result(), ()), excess=str(error)))
        return reports
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _routed(job: _Job, seed: int, seeds: int) -> Placement:
    """Place with a seed; with one of the next that nobody else has, where the router gives up."""
    *others, last = range(seed, seed + _ATTEMPTS * seeds, seeds)
    for number in others:
        try:
            return job.place(number)
        except UnroutedError as error:
            if error.late:
                raise
    return job.place(last)


def synthesize(
    text: str,
    top: str,
    target: str,
    *,
    seeds: int = 5,
    progress: Progress = no_progress,
    cache: bool = True,
    must_fit: bool = True,
) -> SynthReport:
    """Synthesize Verilog text and report its area, and Fmax where the target is placed.

    Results are cached by content (Verilog, passes, tool versions), those of each seed apart.

    Parameters
    ----------
    text, top : str
        Verilog and its top module.
    target : str
        One of :data:`xorloom.hw.flow.targets.TARGETS`.
    seeds : int
        Number of placement seeds for Fmax; 0 to skip placement.
    progress : callable
        Called after every step.
    cache : bool
        Whether to use cached results, and to cache new ones.
    must_fit : bool
        Whether a design that does not fit is an error; otherwise the report says so.

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
    """Synthesize for ECP5 without flattening; return the area of each unit, the largest first.

    A unit is a submodule of the top or, in the decoder, a submodule of the decoder; what is inside
    it counts. Nothing is optimized across units, so the sum is a few percent above that of
    :func:`synthesize`.

    Parameters
    ----------
    text, top : str
        Verilog, exported by this package, and its top module.

    Raises
    ------
    ToolError
        If Yosys fails; names the log.
    """
    ecp5 = CELLS["ecp5"]
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        source, stat = folder / f"{top}.v", folder / "stat.json"
        source.write_text(text, encoding="utf-8")
        passes = [
            f"read_verilog {source}",
            f"{ecp5.recipe} -noflatten -top {top}",
            f"tee -q -o {stat} stat -json",
        ]
        yosys(passes, folder / "yosys-units.log")
        modules = json.loads(stat.read_text())["modules"]
    totals: dict[str, list[int]] = {}
    for module, counts in modules.items():
        cells = counts["num_cells_by_type"]
        path = module.split(JOINT)[1:]
        total = totals.setdefault(" ".join(path[: 1 + (path[:1] == ["decoder"])]) or top, [0, 0, 0])
        use = ecp5.use(cells)
        total[0] += use.lut
        total[1] += use.ff
        total[2] += ecp5.lut_ram_cells(cells) or 0
    areas = [UnitArea(unit, *total) for unit, total in totals.items()]
    return sorted(areas, key=lambda area: -area.lut)
