# SPDX-License-Identifier: Apache-2.0
"""Figures of the report, and the style that their charts share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xorloom.sim.report.results.input import Piece

__all__ = [
    "COLOURS",
    "Dots",
    "Figure",
    "Table",
    "axis",
    "cell",
    "chart",
    "dot_chart",
    "label",
    "number",
    "percent",
    "short_names",
    "shorten",
    "size_axis",
    "table_figure",
]

COLOURS = tuple(f"--series-{n}" for n in range(1, 9))
"""Colours of series, by names in the style sheet, which has a light and a dark one of each."""
_NONE = "-"
INK, MUTED, GRID = "--ink", "--muted", "--grid"


@dataclass(frozen=True)
class Table:
    """Table with the numbers of a figure, as texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """Figure, with a sentence on how to read it and the commands that made it.

    Parameters
    ----------
    key : str
        Name in links; unique.
    title, reading : str
    commands : tuple of str
    table : Table
    chart : dict, optional
        Plotly's data and layout.
    drawing : str
        SVG instead of a chart.
    notes : tuple of str
        Lines below.
    """

    key: str
    title: str
    reading: str
    commands: tuple[str, ...]
    table: Table
    chart: dict[str, Any] | None = None
    drawing: str = ""
    notes: tuple[str, ...] = ()


def number(value: float | None, digits: int = 4) -> str:
    """Return a number for people: separated thousands, significant ``digits``, a dash for none."""
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(value: float, digits: int = 1) -> str:
    """Return a share as percent."""
    return f"{100 * value:.{digits}f} %"


def label(text: str) -> str:
    """Return a text that is safe as a label: Plotly reads tags in them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shorten(text: str, length: int = 42) -> str:
    """Return a text, without its middle if it is long."""
    if len(text) <= length:
        return text
    head = length // 3
    return f"{text[:head]}…{text[head + 1 - length :]}"


def short_names(names: Sequence[str]) -> list[str]:
    """Return names without the dotted parts that all begin or end with."""
    parts = [name.split(".") for name in names]
    if len(parts) < 2:
        return [shorten(name) for name in names]
    fewest = min(map(len, parts)) - 1
    head = tail = 0
    while head < fewest and len({part[head] for part in parts}) == 1:
        head += 1
    while tail < fewest - head and len({part[-1 - tail] for part in parts}) == 1:
        tail += 1
    return [shorten(".".join(part[head : len(part) - tail])) for part in parts]


def size_axis(title: str, values: Sequence[float]) -> dict[str, Any]:
    """Return an axis for sizes: from 0, or logarithmic if they differ a lot."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 8 * min(positive):
        decades = max(positive) / min(positive)
        return axis(title, type="log", dtick="D2" if decades < 300 else 1)
    return axis(title, rangemode="tozero")


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """Return an axis in the house style; it does not zoom, so that a finger scrolls the page."""
    return {
        "title": {"text": title, "standoff": 8},
        "fixedrange": True,
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": MUTED,
        "tickcolor": MUTED,
        "automargin": True,
        **more,
    }


def chart(
    data: Iterable[dict[str, Any]], x: Mapping[str, Any], y: Mapping[str, Any], **layout: Any
) -> dict[str, Any]:
    """Return Plotly's data and layout, in the house style."""
    base: dict[str, Any] = {
        "height": 420,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 12},
            "traceorder": "normal",
        },
        "hoverlabel": {"bgcolor": "--card", "bordercolor": MUTED, "font": {"color": INK}},
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": dict(x),
        "yaxis": dict(y),
    }
    return {"data": list(data), "layout": base | layout}


ROW_PIXELS = 46


def row_labels(names: Sequence[str], offset: float = 0.22) -> list[dict[str, Any]]:
    """Return the names of horizontal rows, written above them: long ones stay readable."""
    return [
        {
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": n - offset,
            "yanchor": "bottom",
            "text": label(name),
            "showarrow": False,
            "align": "left",
            "font": {"size": 12},
        }
        for n, name in enumerate(names)
    ]


def row_axis(rows: int) -> dict[str, Any]:
    """Return the axis of horizontal rows, the first on top."""
    return axis(range=[rows - 0.6, -0.85], showticklabels=False, showgrid=False, ticks="")


@dataclass(frozen=True)
class Dots:
    """Series of :func:`dot_chart`.

    ``values`` are by row name. From ``low``, if given, a line goes to the dot. ``hover`` has the
    texts that appear on a dot.
    """

    name: str
    values: Mapping[str, float]
    low: Mapping[str, float] | None = None
    unit: str = ""


_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")


def _symbol(n: int) -> str:
    """Return the symbol of a series: it changes when colours repeat."""
    return _SYMBOLS[(n + n // len(COLOURS)) % len(_SYMBOLS)]


def dot_chart(
    rows: Sequence[str], series: Sequence[Dots], x: Mapping[str, Any], **layout: Any
) -> dict[str, Any]:
    """Return a chart with a row per name, and in it a dot per series."""
    data = []
    names = [label(shorten(row)) for row in rows]
    for n, dots in enumerate(series):
        colour, places = COLOURS[n % len(COLOURS)], [r for r in rows if r in dots.values]
        values = [dots.values[row] for row in places]
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "name": label(dots.name),
            "x": values,
            "y": [rows.index(row) for row in places],
            "marker": {"color": colour, "size": 11, "symbol": _symbol(n)},
            "text": [names[rows.index(row)] for row in places],
            "hovertemplate": f"%{{text}}<br>%{{x:,.4~g}} {label(dots.unit)}",
        }
        if dots.low is not None:
            below = [max(0.0, dots.values[r] - dots.low.get(r, dots.values[r])) for r in places]
            trace["error_x"] = {
                "type": "data",
                "symmetric": False,
                "array": [0] * len(below),
                "arrayminus": below,
                "color": colour,
                "thickness": 2,
                "width": 5,
            }
        data.append(trace)
    lines = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": n,
            "y1": n,
            "line": {"color": GRID, "width": 1},
            "layer": "below",
        }
        for n in range(len(rows))
    ]
    height = 120 + ROW_PIXELS * len(rows)
    return chart(
        data,
        x,
        row_axis(len(rows)),
        height=height,
        shapes=lines,
        annotations=row_labels([shorten(row) for row in rows]),
        **layout,
    )


def cell(value: Any) -> str:
    """Return any JSON value as a text."""
    if isinstance(value, bool | int | float) or value is None:
        return number(value)
    if isinstance(value, list):
        return " ".join(cell(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    return str(value)


def table_figure(piece: Piece, key: str) -> Figure:
    """List the rows of a result that has no figure of its own."""
    columns = tuple(
        k for k in dict.fromkeys(k for row in piece.rows for k in row) if k != "command"
    )
    rows = tuple(tuple(cell(row.get(column, "")) for column in columns) for row in piece.rows)
    return Figure(
        key,
        piece.command.removeprefix("xorloom "),
        "The command's result as it is.",
        (piece.command,),
        Table(columns, rows),
    )
