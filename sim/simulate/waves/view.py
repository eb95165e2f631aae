# SPDX-License-Identifier: Apache-2.0
"""Views of a waveform: the signals to show, for GTKWave (``.gtkw``) and Surfer (``.sucl``)."""

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path

from vcd.gtkw import GTKWFlag, GTKWSave
from xorloom.sw.base.host import write_all

from .fst import Waveform
from .vcd import Variable

__all__ = ["GROUPS", "view_groups", "view_paths", "write_views"]


def _below(unit: str, *names: str) -> tuple[str, ...]:
    """Patterns of signals in a unit of the window decoder, alone or in the IP block."""
    return tuple(f"decoder.{part}.{unit}.{name}" for name in names for part in ("unit", "window"))


GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("clock and reset", ("aclk", "aresetn")),
    ("registers", ("s_axil_*", "irq", "registers.first_cause", "registers.done_flag")),
    ("memory reads", ("m_axi_ar*", "m_axi_r*", "reader.level", "reader.flying")),
    ("bus in", ("s_axis_*",)),
    (
        "parser",
        (
            "*decoder.parser.phase",
            "*decoder.parser.cause",
            "*decoder.parser.fault",
            "*decoder.parser.opens",
            "*decoder.parser.count",
            "*decoder.frames.head",
            "*decoder.frames.words.ahead",
        ),
    ),
    (
        "frame and rate control",
        _below("control", "head", "frame_ends", "place", "rate", "debt", "ending"),
    ),
    (
        "window step",
        (
            *_below("pipe", "available", "step", "full"),
            *_below("network", "chunk"),
        ),
    ),
    (
        "index",
        (
            "*.table_unit.table_state",
            "*.core.lane_0__hungry",
            "*.core.lane_0__feed",
            "*.trellis.core.newest",
            "*.trellis.core.o__valid",
            "*.unit.core.o__valid",
            "*.unit.core.o__ready",
        ),
    ),
    ("patches", ("*.lane_0.patch_unit.waiting", "*.lane_0.patch_unit.i__ready")),
    ("slices out", ("m_axis_*",)),
)
"""Groups of signals that are shown, in this order: patterns of names below the top module."""
_DECIMAL = ("count", "left", "place", "rate", "debt", "tuser", "level", "flying")
_CLOSED = ("registers", "memory reads")
_ENUM = 1 << 32
"""GTKWave's flag for names of states; pyvcd does not have it."""
_CLOCKS = 60
"""Clock cycles to show around the first beat."""
_PIXELS = 900
_ZOOM_PIXELS = 200
"""Pixels that GTKWave's zoom refers to, as measured with GTKWave 3.3.104."""


def view_groups(variables: tuple[Variable, ...]) -> dict[str, list[Variable]]:
    """Return the groups that are not empty, and their variables.

    A variable is in the first group that it fits.
    """
    groups: dict[str, list[Variable]] = {}
    shown: set[str] = set()
    for title, patterns in GROUPS:
        for pattern in patterns:
            for variable in variables:
                name = variable.name.partition(".")[2]
                if fnmatchcase(name, pattern) and variable.name not in shown:
                    shown.add(variable.name)
                    groups.setdefault(title, []).append(variable)
    return groups


def _flags(variable: Variable, named: bool) -> int:
    """Return how GTKWave is to show a variable: with names, decimal or hexadecimal."""
    if named:
        return _ENUM | _trace(GTKWFlag.bin)  # GTKWave looks up names of states by bits
    word = variable.name.rpartition(".")[2]
    decimal = variable.bits > 1 and word.endswith(_DECIMAL)
    return _trace(GTKWFlag.dec if decimal else GTKWFlag.hex)


def _trace(radix: GTKWFlag) -> int:
    return (radix | GTKWFlag.rjustify).value


def _traces(waveform: Waveform) -> Iterator[str]:
    """Yield the lines of a GTKWave save file that show variables."""
    for title, variables in view_groups(waveform.variables).items():
        closed = GTKWFlag.closed if title in _CLOSED else GTKWFlag(0)
        yield f"@{(GTKWFlag.grp_begin | GTKWFlag.blank | closed).value:x}"
        yield f"-{title}"
        for variable in variables:
            yield f"@{_flags(variable, variable.name in waveform.named):x}"
            yield f"+{{{variable.name.partition('.')[2]}}} {variable.shown}"
        ends = GTKWFlag.grp_end | GTKWFlag.blank
        yield f"@{(ends | closed | (GTKWFlag.collapsed if closed else closed)).value:x}"
        yield f"-{title}"


def _start(waveform: Waveform, clock_ticks: int) -> int:
    """Return where to begin: shortly before the decoder's first beat."""
    return max(0, (waveform.first_beat or 0) - _CLOCKS * clock_ticks // 2)


def _gtkwave(waveform: Waveform, clock_ticks: int) -> str:
    """Return a GTKWave save file."""
    text = StringIO()
    save = GTKWSave(text)
    save.comment(f"gtkwave {waveform.path.with_suffix('.gtkw').name}")
    save.dumpfile(waveform.path.name, abspath=False)
    save.timestart(_start(waveform, clock_ticks))
    save.size(1600, 900)
    # Each step of zoom halves the ticks that some pixels stand for.
    zoom = -math.log2(_CLOCKS * clock_ticks / _PIXELS * _ZOOM_PIXELS)
    save.zoom_markers(zoom, -1 if waveform.first_beat is None else waveform.first_beat)
    save.signals_width(330)
    save.sst_expanded(True)
    return text.getvalue() + "\n".join(_traces(waveform)) + "\n"


def _surfer(waveform: Waveform, clock_ticks: int) -> Iterator[str]:
    """Yield the lines of a Surfer command file."""
    # Ref: Surfer documentation, "Commands": load_file, divider_add, variable_add, cursor_set
    yield f"load_file {waveform.path.name}"
    for title, variables in view_groups(waveform.variables).items():
        yield f"divider_add {title}"
        for variable in variables:
            yield f"variable_add {variable.name}"
    if waveform.first_beat is not None:
        yield f"cursor_set {waveform.first_beat}"
        yield "goto_cursor"


def view_paths(waveform: Path) -> tuple[Path, Path]:
    """Return where the views of a waveform are written: ``NAME.gtkw`` and ``NAME.sucl``."""
    return waveform.with_suffix(".gtkw"), waveform.with_suffix(".sucl")


def write_views(waveform: Waveform, clock_ticks: int) -> tuple[Path, ...]:
    """Write the views beside a waveform; they name only variables that it has.

    Parameters
    ----------
    waveform : Waveform
    clock_ticks : int
        The clock's period.

    Returns
    -------
    tuple of Path
        Of :func:`view_paths`.
    """
    paths = view_paths(waveform.path)
    surfer = "\n".join(_surfer(waveform, clock_ticks)) + "\n"
    write_all(dict(zip(paths, (_gtkwave(waveform, clock_ticks), surfer), strict=True)))
    return paths
