# SPDX-License-Identifier: Apache-2.0
"""Storage figures of the report: bits by tensor, kept weights, efficiency."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from xorloom.sim.report.results.input import Piece
from xorloom.sw.index.rate_distortion import share_bound
from xorloom.sw.model.metrics import TensorBits, loss_row, mean_error

from .figure import (
    COLOURS,
    ROW_PIXELS,
    Figure,
    Table,
    axis,
    chart,
    label,
    number,
    percent,
    row_axis,
    row_labels,
    short_names,
)

__all__ = ["PARTS", "bits_figure", "efficiency_figure", "kept_figure", "total_of"]

PARTS = {
    "index": "index",
    "seeds": "seeds",
    "control": "control",
    "patches": "patches",
    "scales": "scales",
    "overhead": "headers, CRC, padding",
}
"""Parts of a tensor's bits in the order of the stack, and their titles."""
_BOUND = "--ink"
_CODECS = {
    "heuristic": "low-rank, the paper's heuristic",
    "lowrank": "low-rank, local search",
    "classes": "trellis, 4 classes",
}
"""Titles of codecs by their names in ``bench index``."""


def total_of(bits: Mapping[str, TensorBits]) -> TensorBits:
    """Sum up all tensors."""
    first, *rest = bits.values()
    return sum(rest, start=first)


def _parts(bits: TensorBits) -> dict[str, float]:
    """Return bits per weight by part; patches are a part of their own, not in control."""
    row = bits.per_weight()
    return row | {"control": row["control"] - row["patches"]}


def bits_figure(piece: Piece, key: str, commands: tuple[str, ...]) -> Figure:
    """Draw stored bits per weight of every tensor, stacked, with the entropy bound as a mark."""
    names = ["all", *short_names(list(piece.bits))]
    rows = [_parts(b) for b in (total_of(piece.bits), *piece.bits.values())]
    shown = [part for part in PARTS if any(row[part] for row in rows)]
    places = list(range(len(rows)))
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": PARTS[part],
            "width": 0.42,
            "x": [row[part] for row in rows],
            "y": places,
            "marker": {"color": COLOURS[list(PARTS).index(part)]},
            "text": [label(name) for name in names],
            "textposition": "none",
            "hovertemplate": f"%{{text}}<br>{PARTS[part]} %{{x:.4f}} bits per weight"
            "<extra></extra>",
        }
        for part in shown
    ]
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "entropy bound",
            "x": [row["bound"] for row in rows],
            "y": places,
            "marker": {
                "symbol": "line-ns",
                "size": 22,
                "line": {"width": 3, "color": _BOUND},
                "color": _BOUND,
            },
            "text": [label(name) for name in names],
            "hovertemplate": "%{text}<br>bound %{x:.4f} bits per weight<extra></extra>",
        }
    )
    titles = [f"{name}: {row['total']:.4f}" for name, row in zip(names, rows, strict=True)]
    drawing = chart(
        data,
        axis("bits per weight", rangemode="tozero"),
        row_axis(len(rows)),
        barmode="stack",
        height=150 + ROW_PIXELS * len(rows),
        annotations=row_labels(titles),
    )
    columns = ("tensor", "weights", "kept", *(PARTS[part] for part in shown), "all", "bound")
    columns += ("error", "of the dense bound")
    counted = (total_of(piece.bits), *piece.bits.values())
    errors = (mean_error(piece.bits, piece.errors), *(piece.errors[name] for name in piece.bits))
    table = Table(
        columns,
        tuple(
            (
                name,
                number(b.weights),
                percent(b.kept / max(1, b.weights)),
                *(f"{row[part]:.4f}" for part in (*shown, "total", "bound")),
                *map(number, loss_row(b, error).values()),
            )
            for name, b, row, error in zip(("all", *piece.bits), counted, rows, errors, strict=True)
        ),
    )
    return Figure(
        key,
        f"Bits per weight, by layer: {len(piece.bits)} tensors, {rows[0]['total']:.3f} in all",
        "Each bar is everything stored for one tensor; the black mark is what an ideal entropy "
        "coder would need for the same mask, values and scales. A bar that ends left of its mark "
        "has a mask that was chosen to be cheap.",
        commands,
        table,
        drawing,
    )


@cache
def _gaussian_bound(density: float, rates: tuple[float, ...]) -> tuple[float, ...]:
    """Return the most that a mask keeps of Gaussian weights, at several rates."""
    normal, count = NormalDist(), 4096
    sizes = np.array([normal.inv_cdf(0.5 + (n + 0.5) / (2 * count)) for n in range(count)])
    return tuple(share_bound(sizes, density, rate) for rate in rates)


def _kept_points(pieces: Sequence[Piece]) -> Iterator[tuple[str, str, float, dict[str, float]]]:
    """Yield (series, what, density, index_bits/kept/kept_bound) of all pieces."""
    for piece in pieces:
        if piece.kind == "kept":
            mean = {
                key: float(np.mean([row[key] for row in piece.rows]))
                for key in ("density", "index_bits", "kept", "kept_bound")
            }
            yield "trellis, whole files", f"{len(piece.rows)} tensors", mean["density"], mean
        for row in piece.rows:
            if piece.kind == "index" and row["codec"] != "bitmap":
                what = f"{row['tensor']}, mean of {row.get('tensors', 1)}"
                name = _CODECS.get(row["codec"], row["codec"])
                yield name, what, row["density"], row | {"index_bits": row["rate"]}
            elif piece.kind == "total" and row["index"] != "bitmap":
                name = _CODECS.get(row["index"], row["index"])
                yield f"{name}, whole files", row["case"], row["density"], row


def kept_figure(pieces: Sequence[Piece], key: str) -> Figure | None:
    """Draw the share of magnitude that masks keep against their rate, with the Shannon bound."""
    points = list(_kept_points(pieces))
    if not points:
        return None
    data: list[dict[str, Any]] = []
    rates = sorted(point["index_bits"] for *_, point in points)
    grid = tuple(float(r) for r in np.linspace(0.02, max(0.26, min(0.5, rates[-1])), 25))
    densities = sorted({round(density, 2) for _, _, density, _ in points})
    for n, density in enumerate(densities):
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": list(grid),
                "y": list(_gaussian_bound(density, grid)),
                "name": f"Shannon bound, Gaussian, density {density:g}",
                "line": {"color": "--muted", "width": 2, "dash": ("dash", "dot", "dashdot")[n % 3]},
                "hovertemplate": "bound %{y:.3f} at %{x:.3f} bits<extra></extra>",
            }
        )
    series = list(dict.fromkeys(name for name, *_ in points))
    for n, name in enumerate(series):
        mine = sorted((p for p in points if p[0] == name), key=lambda p: p[3]["index_bits"])
        colour = COLOURS[n % len(COLOURS)]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label(name),
                "x": [point["index_bits"] for *_, point in mine],
                "y": [point["kept"] for *_, point in mine],
                "marker": {"color": colour, "size": 11},
                "text": [label(f"{what}, density {d:.3f}") for _, what, d, _ in mine],
                "hovertemplate": "%{text}<br>kept %{y:.4f} at %{x:.4f} bits",
            }
        )
        bounded = [p for p in mine if "kept_bound" in p[3]]
        if bounded:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "showlegend": False,
                    "name": label(f"bound of {name}"),
                    "x": [point["index_bits"] for *_, point in bounded],
                    "y": [point["kept_bound"] for *_, point in bounded],
                    "marker": {
                        "symbol": "line-ew",
                        "size": 16,
                        "color": colour,
                        "line": {"width": 3, "color": colour},
                    },
                    "hovertemplate": "bound of these weights %{y:.4f}",
                }
            )
    columns = (
        *("index", "weights", "density", "index bits per weight", "kept", "bound"),
        "of the dense bound",
    )
    rows = tuple(
        (
            name,
            what,
            f"{density:.4f}",
            f"{point['index_bits']:.4f}",
            f"{point['kept']:.4f}",
            number(point.get("kept_bound")),
            number(point.get("share_of_dense_bound")),
        )
        for name, what, density, point in points
    )
    return Figure(
        key,
        "Kept magnitude against index rate",
        "Higher and further left is better: a dot is the share of |w| that a mask keeps, of what "
        "as many of the largest weights hold; the dash above it is the most that any mask of that "
        "rate could keep of these weights if they had no memory, the line the same for i.i.d. "
        "Gaussian weights.",
        tuple(dict.fromkeys(piece.command for piece in pieces if piece.rows)),
        Table(columns, rows),
        chart(
            data,
            axis("index bits per weight", rangemode="tozero"),
            axis("kept |w|, share of the ideal", range=[_floor(points), 1.02]),
            height=480,
        ),
    )


def _floor(points: Sequence[tuple[str, str, float, Mapping[str, float]]]) -> float:
    return max(0.0, min(point["kept"] for *_, point in points) - 0.12)


def efficiency_figure(pieces: Sequence[Piece], key: str) -> Figure | None:
    """Draw value-plane efficiency against sparsity: window codec, and the paper's blocks."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for piece in pieces:
        where = "MiniLM-L6" if piece.kind == "matrices" else "i.i.d."
        for row in piece.rows:
            codec = f"block (Kwon et al.), n_in {row['n_in']}"
            name = "window" if row["codec"] == "window" else codec
            lines.setdefault(f"{name}, {where}", []).append(row)
    if not lines:
        return None
    data = []
    order = sorted(lines, key=lambda name: not name.startswith("window"))
    for n, name in enumerate(order):
        rows = sorted(lines[name], key=lambda row: row["sparsity"])
        real = name.endswith("MiniLM-L6")
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label(name),
                "x": [row["sparsity"] for row in rows],
                "y": [row["efficiency"] for row in rows],
                "line": {
                    "color": COLOURS[n % len(COLOURS)],
                    "width": 3 if name.startswith("window") else 2,
                    "dash": "dash" if real else "solid",
                },
                "marker": {"size": 8, "symbol": "diamond" if real else "circle"},
                "text": [
                    f"n_in {row['n_in']}, n_out {row['n_out']}, {row['bits_per_weight']:.4f} bits"
                    for row in rows
                ],
                "hovertemplate": "S %{x}: %{y:.4f}<br>%{text}",
            }
        )
    low = min(row["efficiency"] for rows in lines.values() for row in rows)
    table = Table(
        ("codec", "sparsity", "n_in", "n_out", "bits per weight", "efficiency", "lossless"),
        tuple(
            (
                name,
                f"{row['sparsity']:g}",
                number(row["n_in"]),
                number(row["n_out"]),
                f"{row['bits_per_weight']:.5f}",
                f"{row['efficiency']:.4f}",
                number(row["lossless"]),
            )
            for name in order
            for row in sorted(lines[name], key=lambda row: row["sparsity"])
        ),
    )
    return Figure(
        key,
        "Value-plane efficiency against sparsity",
        "1 means that every stored bit is a kept bit; headers, rate words, patches and padding "
        "all count. The block lines are the paper's scheme at its best slice length.",
        tuple(dict.fromkeys(piece.command for piece in pieces)),
        table,
        chart(
            data,
            axis("sparsity"),
            axis("kept bits / stored bits", range=[max(0.0, low - 0.06), 1.015]),
            height=460,
        ),
    )
