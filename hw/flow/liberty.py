# SPDX-License-Identifier: Apache-2.0
"""ASIC synthesis with any Liberty file: area, NAND2 equivalents, an estimate of the delay."""

import gzip
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xorloom.sw.base.cache import cached, digest
from xorloom.sw.base.errors import ConfigError, FormatError, ToolError
from xorloom.sw.base.progress import Progress, no_progress

from .boolean import truth_table
from .synth import SynthReport
from .tools import yosys

__all__ = ["Library", "read_library", "synthesize_asic"]

_GOAL_PS = 1000
_SCRIPT = (
    "+strash;dch,-f;map,-B,0.9;topo;buffer,-c,-N,16;"
    f"upsize,-D,{_GOAL_PS};dnsize,-D,{_GOAL_PS};stime,-p"
)
"""ABC's delay-driven mapping: it sizes and buffers for a goal of 1 ns."""
_CELL = re.compile(r'\bcell\s*\(\s*"?([^")\s]+)"?\s*\)\s*\{')
_PIN = re.compile(r'(?<![\w])pin\s*\(\s*"?([^")\s]+)"?\s*\)\s*\{')
_AREA = re.compile(r'\barea\s*:\s*"?([-+.\deE]+)"?')
_DIRECTION = re.compile(r'\bdirection\s*:\s*"?(\w+)"?')
_FUNCTION = re.compile(r'\bfunction\s*:\s*"([^"]*)"')
_STATE = re.compile(r"\b(ff|latch|ff_bank|latch_bank|statetable)\s*\(")
_NAND = 0b0111


@dataclass(frozen=True)
class Library:
    """A Liberty file: areas, which cells hold state, and the NAND2 that areas are counted in."""

    name: str
    text: str
    areas: dict[str, float]
    sequential: frozenset[str]
    nand2: str

    @property
    def nand2_area(self) -> float:
        """Area of the smallest 2-input NAND."""
        return self.areas[self.nand2]

    def area(self, cells: Mapping[str, int]) -> float:
        """Return the total area of cells by type; unknown cells have no area."""
        return sum(n * self.areas.get(kind, 0.0) for kind, n in cells.items())


def _is_nand2(body: str) -> bool:
    """Return whether a cell has two inputs and one output that is their NAND."""
    pieces = _PIN.split(body)[1:]
    inputs, functions = [], []
    for name, pin in zip(pieces[::2], pieces[1::2], strict=True):
        way = _DIRECTION.search(pin)
        function = _FUNCTION.search(pin)
        if way and way[1] == "input":
            inputs.append(name)
        if way and way[1] == "output":
            functions.append(function[1] if function else "")
    if len(inputs) != 2 or len(functions) != 1 or not functions[0]:
        return False
    try:
        return truth_table(functions[0], inputs) == _NAND
    except FormatError:
        return False


def read_library(path: Path) -> Library:
    """Read a Liberty file, plain or gzipped.

    Raises
    ------
    ConfigError
        If there is no such file.
    FormatError
        If it is damaged, or lacks what a mapping needs: cells with an area, a flip-flop, a 2-input
        NAND.
    """
    if not path.is_file():
        raise ConfigError(f"--liberty: no file {path}")
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode(errors="replace")
    except (OSError, EOFError, ValueError) as error:
        raise FormatError(f"{path}: damaged gzip file ({error})") from error
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    head = re.search(r'\blibrary\s*\(\s*"?([^")\s]*)"?\s*\)', bare)
    if head is None:
        raise FormatError(f"{path}: expected a Liberty file that starts with library (NAME)")
    if bare.count("{") != bare.count("}"):
        raise FormatError(
            f"{path}: {bare.count('{')} opening but {bare.count('}')} closing braces: cut off?"
        )
    pieces = _CELL.split(bare)[1:]
    areas, sequential, nands = {}, set(), []
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        area = _AREA.search(body)
        if area is None:
            continue
        areas[name] = float(area[1])
        if _STATE.search(body):
            sequential.add(name)
        elif _is_nand2(body):
            nands.append(name)
    missing = [
        what
        for what, there in (
            ("cell with an area", areas),
            ("flip-flop", sequential),
            ("2-input NAND", nands),
        )
        if not there
    ]
    if missing:
        raise FormatError(f"{path}: library {head[1]} has no {', no '.join(missing)}")
    nand2 = min(nands, key=lambda name: (areas[name], name))
    return Library(head[1], text, areas, frozenset(sequential), nand2)


def synthesize_asic(
    text: str,
    top: str,
    library: Library,
    *,
    progress: Progress = no_progress,
    cache: bool = True,
) -> SynthReport:
    """Map Verilog to a library; report area, its sequential share, NAND2 equivalents and a delay.

    The design is mapped twice: for small area, which gives area and NAND2 equivalents, and for
    speed, with sized gates and buffered nets, which gives the delay. The delay is ABC's estimate
    of the longest path of gates, without wires, clock-to-output and set-up times. There is none
    for a library whose timing ABC cannot use.

    Parameters
    ----------
    text, top : str
        Verilog and its top module.
    library : Library
    progress : callable
        Called after every step.
    cache : bool
        Whether to use cached results, and to cache new ones.

    Raises
    ------
    ToolError
        If Yosys or ABC fails; names the log.
    """
    passes = [
        f"synth -flatten -top {top}",
        "setattr -unset init",
        "dfflibmap -liberty library.lib",
        "write_rtlil flops.il",
        "abc -liberty library.lib",
        "opt_clean -purge",
        "tee -q -o small.txt stat",
    ]
    fast_passes = [
        "read_rtlil flops.il",
        f"abc -liberty library.lib -script {_SCRIPT}",
        "opt_clean -purge",
        "tee -q -o fast.txt stat",
    ]

    def make() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
            folder = Path(name)
            (folder / "top.v").write_text(text, encoding="utf-8")
            (folder / "library.lib").write_text(library.text, encoding="utf-8")
            log = folder / "yosys-asic.log"
            yosys(["read_verilog top.v", *passes], log)
            small = _cells((folder / "small.txt").read_text())
            try:
                yosys(fast_passes, log)
            except ToolError:
                return {"small": small, "fast": {}, "delay_ps": None}
            delays = re.findall(r"\bDelay\s*=\s*([\d.]+)\s*ps", log.read_text(errors="replace"))
            fast = _cells((folder / "fast.txt").read_text())
        return {"small": small, "fast": fast, "delay_ps": float(delays[-1]) if delays else None}

    key = digest(text, top, *passes, *fast_passes, library.text, version("pyosys"))
    made = cached("synth", key, make, use=cache)
    progress("yosys", library.name)
    kinds = {*made["small"], *made["fast"]}
    left = sorted(kind for kind in kinds if kind.startswith("$_"))
    if left or not kinds & library.areas.keys():
        raise ToolError(f"library {library.name} has no cells for {', '.join(left) or top}")
    flops = {kind: n for kind, n in made["small"].items() if kind in library.sequential}
    area = library.area(made["small"])
    return SynthReport(
        design=top,
        target=library.name,
        lut=None,
        ff=sum(flops.values()),
        nand2=area / library.nand2_area,
        area=area,
        sequential=library.area(flops) / area,
        delay_ns=None if made["delay_ps"] is None else made["delay_ps"] / 1000,
        fast_area=library.area(made["fast"]) if made["fast"] else None,
    )


def _cells(stat: str) -> dict[str, int]:
    """Return the cells by type in a table of Yosys."""
    rows = re.findall(r"^\s+(\d+)\s+(?:-\s+)?(\S+)$", stat, re.MULTILINE)
    return {kind: int(count) for count, kind in rows}
