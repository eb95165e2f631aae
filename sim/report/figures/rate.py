# SPDX-License-Identifier: Apache-2.0
"""Rate figures of the report: error against stored bits, beside the rate-distortion bound."""

from collections.abc import Mapping, Sequence
from typing import Any

from xorloom.sim.bench.rate.points import SOURCE_TITLES, TITLES
from xorloom.sim.report.results.input import Piece

from .figure import COLOURS, Figure, Table, axis, chart, label, number

__all__ = ["best_rate", "rate_figures"]

_BOUND = "bound"
_FEW = 1.1
"""Bits per weight up to which energy is drawn."""
_ALL = 4.4
_OURS = "direct"
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
_TILE_BITS = 2.0


def best_rate(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the row of our codec of the least gap near 2 bits, of the first source."""
    near = [
        row
        for row in rows
        if row["codec"].startswith(_OURS) and abs(row["rate_bits"] - _TILE_BITS) < 0.1
    ]
    near = [row for row in near if row["source"] == near[0]["source"]]
    return min(near, key=lambda row: row["bound_bits_gap"], default=None)


def _traces(rows: Sequence[Mapping[str, Any]], key: str, most: float, panel: str) -> list[Any]:
    """Return a trace per codec; the upper panel has the legend."""
    found = []
    for n, codec in enumerate((_BOUND, *TITLES)):
        line = [row for row in rows if row["codec"] == codec and row["rate_bits"] < most]
        line.sort(key=lambda row: row["rate_bits"])
        if not line:
            continue
        bound, ours = codec == _BOUND, codec.startswith(_OURS)
        title = label(TITLES.get(codec, _BOUND))
        colour = "--ink" if bound else COLOURS[(n - 1) % len(COLOURS)]
        found.append(
            {
                "type": "scatter",
                "mode": "lines" if bound else "lines+markers",
                "name": title,
                "legendgroup": codec,
                "showlegend": not panel,
                "xaxis": f"x{panel}",
                "yaxis": f"y{panel}",
                "x": [row["rate_bits"] for row in line],
                "y": [row[key] for row in line],
                "line": {
                    "color": colour,
                    "width": 2.5 if bound or ours else 1.5,
                    "dash": "solid" if bound or ours else "dot",
                },
                "marker": {"size": 8, "symbol": _SYMBOLS[n % len(_SYMBOLS)], "color": colour},
                "text": [_hover(row) for row in line],
                "hovertemplate": f"{title}<br>%{{text}}<extra></extra>",
            }
        )
    return found


def _hover(row: Mapping[str, Any]) -> str:
    text = f"{row['rate_bits']:.4f} bits: error {row['error']:.4f}, energy {row['energy']:.4f}"
    if row["codec"] != _BOUND:
        text += f"<br>{row['bound_bits_gap']:.4f} bits above the bound<br>{label(row['options'])}"
    return text


def rate_figures(pieces: Sequence[Piece], key: str) -> list[Figure]:
    """Draw a figure for every source: error over all rates, and energy over the low ones."""
    rows = [row for piece in pieces for row in piece.rows]
    sources = [name for name in SOURCE_TITLES if any(row["source"] == name for row in rows)]
    return [
        _figure(
            [row for row in rows if row["source"] == source],
            key if not n else f"{key}-{n + 1}",
            SOURCE_TITLES[source],
            tuple(dict.fromkeys(p.command for p in pieces)),
        )
        for n, source in enumerate(sources)
    ]


def _figure(
    rows: Sequence[Mapping[str, Any]], key: str, title: str, commands: tuple[str, ...]
) -> Figure:
    upper = axis("squared error / variance", type="log", dtick="D2", domain=[0.44, 1])
    lower = axis("energy kept", rangemode="tozero", domain=[0, 0.33], anchor="x2")
    made = chart(
        [*_traces(rows, "error", _ALL, ""), *_traces(rows, "energy", _FEW, "2")],
        axis("bits per weight, everything counted", range=[0, _ALL], anchor="y"),
        upper,
        xaxis2=axis("bits per weight, where there are few", range=[0, _FEW], anchor="y2"),
        yaxis2=lower,
        height=860,
    )
    shown = [row for row in rows if row["codec"] != _BOUND]
    table = Table(
        (
            *("codec", "bits per weight", "error", "gap, bits", "energy", "of the bound"),
            "of the dense bound",
            *("LUT4 per weight", "Mweights/s", "options"),
        ),
        tuple(
            (
                TITLES.get(row["codec"], row["codec"]),
                f"{row['rate_bits']:.4f}",
                f"{row['error']:.4f}",
                f"{row['bound_bits_gap']:.4f}",
                f"{row['energy']:.4f}",
                f"{row['energy_share_of_bound']:.4f}",
                f"{row['share_of_dense_bound']:.4f}",
                number(row["lut4_per_weight"], 3),
                number(row["mweights_per_s"], 3),
                row["options"],
            )
            for row in shown
        ),
    )
    return Figure(
        key,
        f"Error against stored bits: {title}",
        "Lower and further left is better, and nothing can lie below the bound, the "
        "rate-distortion function of independent weights of the same density. Below: the share "
        "of the weights' energy that is kept where there are few bits; higher is better.",
        commands,
        table,
        made,
    )
