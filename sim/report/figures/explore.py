# SPDX-License-Identifier: Apache-2.0
"""Sweep figure of the report: the decoders of ``explore`` and their Pareto front."""

from collections.abc import Mapping
from typing import Any

from xorloom.sim.report.results.input import Piece

from .figure import (
    COLOURS,
    Figure,
    Table,
    axis,
    chart,
    label,
    number,
    shorten,
    size_axis,
)

__all__ = ["pareto_figure"]

_MEASURED = {
    "bits_per_weight",
    "kept",
    "error",
    "lut",
    "ff",
    "nand2",
    "fmax_mhz",
    "fmax_min_mhz",
    "weights_per_cycle",
    "mweights_per_s",
    "lut_per_weight",
    "pareto",
    "command",
}
"""Keys of a row of ``explore`` that are results, not choices."""


def _choice(row: Mapping[str, Any]) -> str:
    """Return the choices of a row of ``explore`` as a text."""
    chosen = {key: row[key] for key in row if key not in _MEASURED and row[key] is not None}
    return ", ".join(f"{key} {value}" for key, value in chosen.items())


def pareto_figure(piece: Piece, key: str) -> Figure | None:
    """Draw the decoders of ``explore``: bits per weight against LUTs, with the front marked."""
    rows = [row for row in piece.rows if row["lut"] is not None]
    if not rows:
        return None
    field = "lut_per_weight" if all(row.get("lut_per_weight") for row in rows) else "lut"
    title = "LUTs per weight per cycle" if field != "lut" else "LUTs"
    rows.sort(key=lambda row: (row[field], row["bits_per_weight"]))
    best = [row for row in rows if row["pareto"]]
    codecs = sorted({str(row.get("index", "decoder")) for row in rows})
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "legendgroup": codec,
            "name": label(codec),
            "showlegend": front or not any(r["pareto"] for r in some),
            "x": [row[field] for row in mine],
            "y": [row["bits_per_weight"] for row in mine],
            "marker": {
                "color": COLOURS[n % len(COLOURS)],
                "opacity": 1.0 if front else 0.3,
                "size": 13 if front else 8,
                "line": {"width": 2 if front else 0, "color": "--ink"},
            },
            "text": [_hover(row) for row in mine],
            "hovertemplate": "%{text}<br>%{x:,.4~g} LUTs, %{y:.4f} bits<extra></extra>",
        }
        for n, codec in enumerate(codecs)
        for some in [[row for row in rows if str(row.get("index", "decoder")) == codec]]
        for front in (False, True)
        for mine in [[row for row in some if row["pareto"] == front]]
        if mine
    ]
    goals = piece.facts.get("objectives")
    note = f"{len(best)} of {len(rows)} choices are on the front; the table lists them."
    if isinstance(goals, list):
        note += f" It is the front in {', '.join(map(str, goals))}."
    return Figure(
        key,
        "Pareto front of the choices",
        "Each dot is one decoder on the same layers: further left is smaller, lower stores fewer "
        "bits; colours are index codecs. Large dots with a rim are those that no other beats in "
        "every objective.",
        (piece.command,),
        Table(
            ("choice", title, "LUT", "bits per weight", "kept", "error", "Fmax MHz", "Mweights/s"),
            tuple(
                (
                    _choice(row),
                    number(row[field]),
                    number(row["lut"], 7),
                    f"{row['bits_per_weight']:.4f}",
                    number(row.get("kept")),
                    number(row.get("error")),
                    number(row["fmax_mhz"]),
                    number(row["mweights_per_s"]),
                )
                for row in best
            ),
        ),
        chart(
            data,
            size_axis(title, [row[field] for row in rows]),
            axis("bits per weight"),
            height=480,
        ),
        notes=(note,),
    )


def _hover(row: Mapping[str, Any]) -> str:
    words = label(shorten(_choice(row), 90))
    if row.get("kept") is not None:
        words += f"<br>kept {row['kept']:.3f}"
    if row.get("error") is not None:
        words += f"<br>error {row['error']:.3f}"
    if row["mweights_per_s"]:
        words += f"<br>{number(row['mweights_per_s'])} Mweights/s"
    return words
