# SPDX-License-Identifier: Apache-2.0
"""Timeline of the report: one frame of the window decoder, clock by clock, as simulated."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from xorloom.sw.base.errors import FormatError
from xorloom.sw.spec.config import WindowConfig

from .figure import Figure, Table, number, percent
from .input import Piece

__all__ = ["STRIPS", "timeline_figure"]

_COLUMNS = 32
_CELL = 14
_CLOCKS = 12
"""Clocks of one strip of the waveform: as many as a phone shows."""
STRIPS = 3
"""Strips of a figure: the clocks around the first rate word, and a window later."""
_FILLS = [".s7{fill:#c3e6d3}", ".s8{fill:#f4b8b2}", ".s10{fill:#b5d5f3}"]
"""Of WaveDrom's cells 2, 3 and 5 in its narrow skin, to match the legend."""
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


def _wave(bits: str) -> str:
    """Write a signal in WaveDrom's way: a dot where it stays."""
    return "".join("." if n and bits[n - 1] == bit else bit for n, bit in enumerate(bits))


def _waveform(signals: Mapping[str, str], clocks: list[_Clock], first: int, strip: int) -> str:
    """Draw some clocks from ``first`` on as an SVG; only strip 0 has the shapes all need."""
    from wavedrom.waveform import WaveDrom

    until = min(first + _CLOCKS, len(clocks))
    part = clocks[first:until]
    kinds = "".join({"rate": "3", "slice": "5", "seeds": "="}.get(c.kind, "x") for c in part)
    data = ["R" if c.kind == "rate" else str(c.chunk) for c in part if c.chunk is not None]
    lanes = [{"name": "aclk", "wave": "p" + "." * (len(part) - 1)}]
    lanes += [
        {"name": name, "wave": _wave(signals[key][first:until])}
        for name, key in (("s_axis valid", "in_valid"), ("s_axis ready", "in_ready"))
    ]
    lanes.append({"name": "chunk", "wave": re.sub("(?<=x)x", ".", kinds), "data": data})  # type: ignore[dict-item]
    lanes += [
        {"name": name, "wave": _wave(signals[key][first:until])}
        for name, key in (
            ("slice made", "has_slice"),
            ("m_axis valid", "out_valid"),
            ("m_axis ready", "out_ready"),
        )
    ]
    source = {"signal": lanes, "config": {"skin": "narrow"}}
    svg = WaveDrom().render_waveform(0, source).tostring()
    # Its style holds for the whole page: of it, only the classes of shapes, and once.
    style, shapes = re.search(r"<style.*?</style>", svg, re.DOTALL), not strip
    rules = (
        re.findall(r"^\.s\d+\{[^}]*\}", style[0], re.MULTILINE) + _FILLS if style and shapes else []
    )
    svg = re.sub(r"<style.*?</style>", f"<style>{' '.join(rules)}</style>", svg, flags=re.DOTALL)
    if not shapes:
        svg = re.sub(r"<style></style>|(?<=<defs>).*?(?=</defs>)", "", svg, flags=re.DOTALL)
    svg = re.sub(r'id="(\w+?)_0"', rf'id="\1_{strip}"', svg)
    size = re.search(r'viewBox="0,0,(\d+),(\d+)"', svg)
    assert size is not None
    svg = re.sub(r' (height|width)="\d+"', "", svg[: svg.index(">")]) + svg[svg.index(">") :]
    title = f"clocks {first} to {until - 1}"
    return (
        f'<figure class="wave" style="max-width:{1.25 * int(size[1]):.0f}px">{svg}'
        f"<figcaption>{title}</figcaption></figure>"
    )


def timeline_figure(piece: Piece, key: str, strips: int) -> Figure:
    """Draw the first frame of a simulated window decoder.

    Parameters
    ----------
    strips : int
        Strips of waveform that are on the page before this figure.

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
        _waveform(signals, clocks, first, strips + n)
        for n, first in enumerate(
            range(max(0, start), min(len(clocks), start + STRIPS * _CLOCKS), _CLOCKS)
        )
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
