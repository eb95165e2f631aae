# SPDX-License-Identifier: Apache-2.0
"""Timeline of the report: one frame of the window decoder, clock by clock, as simulated."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from xorloom.sim.report.results.input import Piece
from xorloom.sw.base.errors import FormatError
from xorloom.sw.spec.config import WindowConfig

from .figure import Figure, Table, number, percent

__all__ = ["timeline_figure"]

_COLUMNS = 32
_CELL = 14
_CLOCKS = 12
"""Clocks of one strip of the waveform: as many as a phone shows."""
_STRIPS = 3
"""Strips of a figure: the clocks around the first rate word, and a window later."""
_NAMES, _CLOCK, _LANE = 80, 18, 20
"""Size of the waveform: column of names, a clock's width, a lane's height."""
_LANES = {
    "aclk": None,
    "s_axis valid": "in_valid",
    "s_axis ready": "in_ready",
    "chunk": None,
    "slice made": "has_slice",
    "m_axis valid": "out_valid",
    "m_axis ready": "out_ready",
}
"""Lanes of the waveform, and the recorded signals that are drawn as they are."""
_SIGNALS = ("in_valid", "in_ready", "step", "opens_frame", "has_slice", "out_valid", "out_ready")


@dataclass(frozen=True)
class _Clock:
    """What a clock did: the chunk that it took, if any, and what that chunk was for."""

    chunk: int | None
    kind: str


_KINDS = {
    "slice": "chunk of seeds, then a slice",
    "seeds": "chunk of seeds only",
    "rate": "chunk with the rate word",
    "idle": "no chunk: header, or nothing there",
}


def _clocks(signals: Mapping[str, str]) -> list[_Clock]:
    """Say what every clock did; state after a step shows one clock later."""
    found, chunk = [], 0
    for n, step in enumerate(signals["step"][:-1]):
        if step == "0":
            found.append(_Clock(None, "idle"))
            continue
        after = n + 1
        if signals["opens_frame"][after] == "1":
            kind = "rate"
        else:
            kind = "slice" if signals["has_slice"][after] == "1" else "seeds"
        found.append(_Clock(chunk, kind))
        chunk += 1
    return found


def _strip(clocks: list[_Clock]) -> str:
    """Draw every clock of the frame as a coloured cell, row by row."""
    cells = []
    for n, clock in enumerate(clocks):
        x, y = n % _COLUMNS * _CELL, n // _COLUMNS * (_CELL + 4)
        what = _KINDS[clock.kind]
        cells.append(
            f'<rect class="clock {clock.kind}" x="{x + 1}" y="{y + 1}" width="{_CELL - 2}" '
            f'height="{_CELL - 1}" rx="2"><title>clock {n}: {what}</title></rect>'
        )
    height = -(-len(clocks) // _COLUMNS) * (_CELL + 4)
    return (
        f'<svg class="strip" viewBox="0 0 {_COLUMNS * _CELL} {height}" role="img" '
        f'aria-label="{len(clocks)} clocks of one frame, 32 a row">{"".join(cells)}</svg>'
    )


def _signal(bits: str, top: int, clock: int = _CLOCK) -> str:
    """Draw a level for every bit; edges lean a little, as on paper."""
    points = []
    for n, bit in enumerate(bits):
        x, y = _NAMES + n * clock, top + (4 if bit == "1" else _LANE - 4)
        points.append(f"{x + 2},{y} {x + clock},{y}")
    return f'<polyline class="signal" points="{" ".join(points)}"/>'


def _chunks(clocks: list[_Clock], top: int) -> str:
    """Draw every clock as a cell in the colour of the legend, with its chunk's number."""
    cells = []
    for n, clock in enumerate(clocks):
        x = _NAMES + n * _CLOCK
        cells.append(
            f'<rect class="cell {clock.kind}" x="{x + 1}" y="{top + 2}" width="{_CLOCK - 2}" '
            f'height="{_LANE - 4}" rx="2"/>'
        )
        if clock.chunk is not None:
            value = "R" if clock.kind == "rate" else str(clock.chunk)
            middle = f'x="{x + _CLOCK / 2:g}" y="{top + _LANE - 6}"'
            cells.append(f'<text class="value" {middle}>{value}</text>')
    return "".join(cells)


def _waveform(signals: Mapping[str, str], clocks: list[_Clock], first: int) -> str:
    """Draw some clocks from ``first`` on, a lane for each signal."""
    until = min(first + _CLOCKS, len(clocks))
    part = clocks[first:until]
    width, height = _NAMES + _CLOCKS * _CLOCK + 2, len(_LANES) * _LANE
    edges = "".join(f"M{_NAMES + n * _CLOCK + 1},0V{height}" for n in range(len(part) + 1))
    shapes = [f'<path class="edges" d="{edges}"/>']
    for n, (name, key) in enumerate(_LANES.items()):
        top = n * _LANE
        shapes.append(f'<text class="lane" x="{_NAMES - 6}" y="{top + _LANE - 6}">{name}</text>')
        if key is not None:
            shapes.append(_signal(signals[key][first:until], top))
        elif name == "aclk":
            shapes.append(_signal("10" * len(part), top, _CLOCK // 2))
        else:
            shapes.append(_chunks(part, top))
    title = f"clocks {first} to {until - 1}"
    return (
        f'<figure class="wave"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{", ".join(_LANES)}: {title}">{"".join(shapes)}</svg>'
        f"<figcaption>{title}</figcaption></figure>"
    )


def timeline_figure(piece: Piece, key: str) -> Figure:
    """Draw the first frame of a simulated window decoder.

    Raises
    ------
    FormatError
        If signals are missing or no slice was made.
    """
    signals = piece.rows[0]
    missing = [name for name in _SIGNALS if name not in signals]
    if missing:
        raise FormatError(f"{piece.source}: timeline has no {', '.join(missing)}")
    clocks = _clocks(signals)
    if not any(clock.kind == "slice" for clock in clocks):
        raise FormatError(f"{piece.source}: timeline shows no slice, expected a frame of them")
    config = WindowConfig.from_dict(piece.facts["config"])
    start = next(n for n, clock in enumerate(clocks) if clock.kind == "rate") - 3
    parts = [
        _waveform(signals, clocks, first)
        for first in range(max(0, start), min(len(clocks), start + _STRIPS * _CLOCKS), _CLOCKS)
    ]
    legend = "".join(
        f'<span><i class="clock {kind}"></i>{escape(text)}</span>' for kind, text in _KINDS.items()
    )
    counts = {kind: sum(clock.kind == kind for clock in clocks) for kind in _KINDS}
    steps = sum(clock.chunk is not None for clock in clocks)
    out = sum(
        v == r == "1" for v, r in zip(signals["out_valid"], signals["out_ready"], strict=True)
    )
    rows = [
        *(
            (_KINDS[kind], number(count), percent(count / len(clocks)))
            for kind, count in counts.items()
        ),
        ("slices that left", number(out), percent(out / len(clocks))),
    ]
    drawing = (
        f'<div class="legend">{legend}</div>{_strip(clocks)}'
        f'<div class="waves">{"".join(parts)}</div>'
    )
    return Figure(
        key,
        "One frame of the decoder, clock by clock",
        f"Top: every clock of the first frame, 32 a row: the decoder takes a chunk of "
        f"{config.n_in} seed bits a clock, and the rate word (R) decides which of them yield a "
        f"slice of {config.n_out} bits, evenly spread; {steps} chunks for {out} slices here. "
        "Below: the clocks around the rate word as a waveform.",
        (piece.command,),
        Table(("clocks", "count", "share"), tuple(rows)),
        drawing=drawing,
        notes=(
            "Recorded in the simulation of the generated Verilog. The first chunks only fill the "
            "window. A slice leaves on m_axis some clocks after the chunk that completed it.",
        ),
    )
