# SPDX-License-Identifier: Apache-2.0
"""Page of the report: key figures and sections in one self-contained HTML file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.extras import require
from xorloom.sw.base.host import write_whole

from .figures.accuracy import accuracy_figures
from .figures.area import area_figures, boards_figure, ratio_figure, units_figure
from .figures.bits import bits_figure, efficiency_figure, kept_figure, total_of
from .figures.datapath import datapath_figure
from .figures.explore import pareto_figure
from .figures.figure import Figure, number, percent, table_figure
from .figures.rate import best_rate, rate_figures
from .figures.speed import (
    bandwidth_figure,
    curve_figure,
    cycles_figure,
    roofline_figures,
    total_figure,
)
from .figures.timeline import timeline_figure
from .results.input import Piece, read_pieces

__all__ = ["Section", "Tile", "render", "sections", "tiles", "write_report"]

_TEMPLATES = "templates"
_DENSE_BITS = 16


@dataclass(frozen=True)
class Section:
    """Section: a heading and its figures."""

    key: str
    title: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Tile:
    """Tile with a key figure: a value, its meaning, and its case."""

    value: str
    name: str
    what: str
    link: str
    bad: bool = False


def _of(pieces: Sequence[Piece], *kinds: str) -> list[Piece]:
    return [piece for piece in pieces if piece.kind in kinds]


def _keys(name: str, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, str]]:
    for n, piece in enumerate(pieces):
        yield piece, name if not n else f"{name}-{n + 1}"


def _datapaths(pieces: Sequence[Piece]) -> list[Figure]:
    """Draw one decoder per codec: the first with an index, else the first."""
    found: dict[bool, Piece] = {}
    known = [
        replace(piece, facts=facts)
        for piece in pieces
        if piece.kind in ("bits", "simulation")
        for facts in ([piece.facts] if "config" in piece.facts else piece.facts.get("decoders", ()))
    ]
    for piece in sorted(known, key=lambda p: p.kind):
        found.setdefault("window" in piece.facts["config"], piece)
    return [datapath_figure(p, key) for p, key in _keys("datapath", list(found.values()))]


def _bits(pieces: Sequence[Piece]) -> list[Figure]:
    """Draw every set of tensors once, although several commands may have counted it.

    Counts of ``compress`` are drawn only where there are no others: they are often one of a series
    that was made for its masks.
    """
    same: list[list[Piece]] = []
    others = [p for p in pieces if not p.command.startswith("xorloom compress")]
    for piece in others or pieces:
        group = next((group for group in same if group[0].bits == piece.bits), None)
        if group is None:
            same.append([piece])
        else:
            group.append(piece)
    firsts = [group[0] for group in same]
    return [
        bits_figure(piece, key, tuple(p.command for p in group))
        for (piece, key), group in zip(_keys("bits", firsts), same, strict=True)
    ]


def sections(pieces: Sequence[Piece]) -> list[Section]:
    """Return all sections that there are data for."""
    bits = _bits(_of(pieces, "bits"))
    bits += [total_figure(p, key) for p, key in _keys("total", _of(pieces, "total"))]
    kept = [kept_figure(_of(pieces, "kept", "index", "total"), "kept")]
    value = [efficiency_figure(_of(pieces, "value", "matrices"), "efficiency")]
    value += [curve_figure(p, key) for p, key in _keys("curve", _of(pieces, "curve"))]
    timelines = [timeline_figure(p, key) for p, key in _keys("timeline", _of(pieces, "timeline"))]
    areas = _of(pieces, "synthesis", "area")
    hardware = list(area_figures(areas, "area")) if areas else []
    hardware += [ratio_figure(p, key) for p, key in _keys("ratio", _of(pieces, "ratio"))]
    hardware += [units_figure(p, key) for p, key in _keys("units", _of(pieces, "units"))]
    hardware += [boards_figure(p, key) for p, key in _keys("boards", _of(pieces, "boards"))]
    explored = [pareto_figure(p, key) for p, key in _keys("pareto", _of(pieces, "explore"))]
    speed = roofline_figures(_of(pieces, "bus"), "roofline")
    speed += [bandwidth_figure(p, key) for p, key in _keys("memories", _of(pieces, "bandwidth"))]
    if simulated := _of(pieces, "simulation"):
        speed.append(cycles_figure(simulated, "cycles"))
    tables = [table_figure(p, key) for p, key in _keys("table", _of(pieces, "table"))]
    made = (
        ("accuracy", "What a bit buys", accuracy_figures(_of(pieces, "accuracy"), "accuracy")),
        ("rate", "What is lost", rate_figures(_of(pieces, "rate"), "rate")),
        ("decoder", "The decoder", [*_datapaths(pieces), *timelines]),
        ("stored", "What is stored", bits),
        ("mask", "What the masks keep", kept),
        ("values", "How well values are stored", value),
        ("hardware", "Area and clock", hardware),
        ("explore", "Choices", explored),
        ("speed", "Speed", speed),
        ("more", "More figures", tables),
    )
    found = [
        Section(key, title, tuple(figure for figure in figures if figure is not None))
        for key, title, figures in made
    ]
    return [section for section in found if section.figures]


def tiles(pieces: Sequence[Piece]) -> list[Tile]:
    """Return the key figures, each of the first result that has it."""
    found = []
    rated = [row for p in _of(pieces, "rate") for row in p.rows]
    if best := best_rate(rated):
        what = f"rate-distortion function, at {best['rate_bits']:.2f} bits, {best['source']}"
        found.append(Tile(f"{best['bound_bits_gap']:.3f}", "bits above the bound", what, "rate"))
    if bits := _of(pieces, "bits"):
        total = total_of(bits[0].bits)
        what = f"{total.weights:,} weights, {percent(total.kept / max(1, total.weights))} kept"
        stored = total.per_weight()["total"]
        found.append(Tile(f"{stored:.3f}", "bits per weight, all counted", what, "bits"))
        times = f"{_DENSE_BITS / stored:.0f} x"
        found.append(Tile(times, "smaller", "than all weights in 16 bits each", "bits"))
    if kept := _of(pieces, "kept"):
        rows = kept[0].rows
        mean = sum(row["kept"] for row in rows) / len(rows)
        bound = sum(row["kept_bound"] for row in rows) / len(rows)
        what = f"of the best choice's |w|; bound {percent(bound)}"
        found.append(Tile(percent(mean), "magnitude kept", what, "kept"))
    if value := [row for p in _of(pieces, "value") for row in p.rows if row["codec"] == "window"]:
        best = max(value, key=lambda row: row["efficiency"])
        what = f"of stored bits are kept bits, sparsity {best['sparsity']:g}"
        found.append(Tile(percent(best["efficiency"]), "value efficiency", what, "efficiency"))
    simulated = [row for p in _of(pieces, "simulation") for row in p.rows]
    if done := [row for row in simulated if row["bit_exact"]]:
        row = done[0]
        what = f"{row['bus_bits']}-bit bus, {row['memory']}" if "memory" in row else row["case"]
        found.append(Tile(number(row["weights_per_cycle"]), "weights per cycle", what, "cycles"))
    areas = [row for p in _of(pieces, "synthesis", "area") for row in p.rows]
    if luts := [row for row in areas if row["lut"]]:
        row = next((row for row in luts if "window" in row["design"]), luts[0])
        name = row["design"].removeprefix("xorloom_").replace("_", " ")
        what = f"{name}, {row['target']}"
        found.append(Tile(number(row["lut"], 6), "LUTs", what, "area-lut"))
        if row["fmax_mhz"]:
            found.append(Tile(f"{row['fmax_mhz']:.0f}", "MHz, median", what, "area-fmax_mhz"))
    checks = [row["bit_exact"] for row in simulated]
    checks += [row["lossless"] for p in _of(pieces, "value", "matrices", "total") for row in p.rows]
    checks += [row["bit_exact"] for p in _of(pieces, "bus") for row in p.rows]
    checks += [p.facts["bit_exact"] for p in _of(pieces, "bits") if "bit_exact" in p.facts]
    if checks:
        good = sum(checks)
        link = "cycles" if simulated else "efficiency"
        text = "bit-exact" if all(checks) else "NOT bit-exact"
        what = f"{good} of {len(checks)} results checked bit for bit"
        found.append(Tile(text, "decoded output", what, link, bad=not all(checks)))
    return found


def _json_text(value: Any) -> str:
    """Return JSON that is safe in a script element, whatever texts it holds."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def render(pieces: Sequence[Piece], title: str) -> str:
    """Return the page."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    folder = files(__package__) / _TEMPLATES
    parts = sections(pieces)
    charts = {f.key: f.chart for section in parts for f in section.figures if f.chart is not None}
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
    )
    sources: dict[str, list[str]] = {}
    for piece in pieces:
        commands = sources.setdefault(piece.source, [])
        if piece.command not in commands:
            commands.append(piece.command)
    return environment.get_template("report.html.j2").render(
        title=title,
        tiles=tiles(pieces),
        sections=parts,
        sources=sources,
        version=version("xorloom"),
        style=(folder / "report.css").read_text(encoding="utf-8"),
        script=(folder / "report.js").read_text(encoding="utf-8"),
        charts=_json_text(charts),
        plotly=get_plotlyjs() if charts else "",
    )


def write_report(paths: Sequence[Path], output: Path, title: str) -> int:
    """Read JSON of commands and write the report; return the number of figures.

    The same files give the same bytes.

    Raises
    ------
    ConfigError
        If the output is not HTML or is one of the inputs, or there is nothing to show.
    FormatError
        If a file is damaged.
    ToolError
        If Plotly is not installed.
    """
    if output.suffix not in (".html", ".htm"):
        raise ConfigError(f"output must end in .html, not {output.name!r}")
    if not paths:
        raise ConfigError("name at least one JSON file or folder (make report makes some)")
    require("plotly")
    pieces = read_pieces(paths)
    page = render(pieces, title)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, page)
    return sum(len(section.figures) for section in sections(pieces))
