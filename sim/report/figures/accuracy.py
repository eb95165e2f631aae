# SPDX-License-Identifier: Apache-2.0
"""Accuracy figures of the report: what a bit buys on trained networks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from xorloom.sim.bench.accuracy.plot import TITLES, drawn, y_title
from xorloom.sim.report.results.input import Piece

from .figure import COLOURS, MUTED, Figure, Table, axis, chart, label, number

__all__ = ["accuracy_figures"]

_TICKS = [0.05, 0.1, 0.2, 0.5, 1, 2]
_BARS = "; bars are one standard deviation over the seeds"
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")


def accuracy_figures(pieces: Sequence[Piece], key: str) -> list[Figure]:
    """Draw a figure for every network on its data: accuracy against bits, a line per method."""
    rows = [row for piece in pieces for row in piece.rows]
    cases = list(dict.fromkeys((row["network"], row["data"], row["metric"]) for row in rows))
    return [
        _figure(
            [row for row in rows if (row["network"], row["data"], row["metric"]) == case],
            key if not n else f"{key}-{n + 1}",
            case,
        )
        for n, case in enumerate(cases)
    ]


def _traces(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return a trace per method, of rows that were trained equally long."""
    found = []
    usual = Counter(row["epochs"] for row in rows).most_common(1)[0][0]
    for n, method in enumerate(TITLES):
        line = [row for row in rows if (row["method"], row["epochs"]) == (method, usual)]
        line.sort(key=lambda row: row["bits_per_weight"])
        if not line:
            continue
        colour = COLOURS[n % len(COLOURS)]
        found.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label(TITLES[method]),
                "x": [row["bits_per_weight"] for row in line],
                "y": [drawn(row, "accuracy") for row in line],
                "error_y": {
                    "type": "data",
                    "array": [row["accuracy_std"] for row in line],
                    "color": colour,
                    "thickness": 1,
                    "width": 3,
                },
                "line": {"color": colour, "width": 1.8},
                "marker": {
                    "size": 8,
                    "symbol": _SYMBOLS[(n + n // 8) % len(_SYMBOLS)],
                    "color": colour,
                },
                "text": [_hover(row) for row in line],
                "hovertemplate": f"{label(TITLES[method])}<br>%{{text}}<extra></extra>",
            }
        )
    return found


def _hover(row: Mapping[str, Any]) -> str:
    seeds = row["seeds"]
    spread = f" ± {row['accuracy_std']:.2g}, {seeds} seeds" if seeds > 1 else ", 1 seed"
    return (
        f"{row['bits_per_weight']:.4f} bits: {row['accuracy']:.4g}{spread}<br>"
        f"density {row['density']:.4g}, {row['index_bits']:.4g} index bits, {row['planes']} planes"
    )


def _figure(rows: Sequence[Mapping[str, Any]], key: str, case: tuple[str, str, str]) -> Figure:
    network, data, metric = case
    dense = drawn(rows[0], "dense_accuracy")
    made = chart(
        _traces(rows),
        axis("bits per weight, everything counted", type="log", tickvals=_TICKS),
        axis(y_title(metric), type="log", dtick="D1"),
    )
    made["layout"]["shapes"] = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": dense,
            "y1": dense,
            "line": {"color": MUTED, "dash": "dash", "width": 1.2},
        }
    ]
    table = Table(
        (
            *(
                "method",
                "bits per weight",
                metric.replace("_", " "),
                "std",
                "dense",
                "density",
                "index bits",
            ),
            *("planes", "epochs", "seeds", "lost by the codec"),
        ),
        tuple(
            (
                TITLES.get(row["method"], row["method"]),
                f"{row['bits_per_weight']:.4f}",
                number(row["accuracy"]),
                number(row["accuracy_std"], 2),
                number(row["dense_accuracy"]),
                number(row["density"], 3),
                number(row["index_bits"], 3),
                number(row["planes"]),
                number(row["epochs"]),
                number(row["seeds"]),
                number(row["accuracy_loss_from_codec"]),
            )
            for row in sorted(rows, key=lambda row: (row["bits_per_weight"], row["method"]))
        ),
    )
    better = "Higher" if metric == "cosine" else "Lower"
    return Figure(
        key,
        f"What a bit buys: {network} on {data}",
        f"{better} and further left is better. Every method was trained alike from the same dense "
        f"network, the dashed line{_BARS if any(row['seeds'] > 1 for row in rows) else ''}.",
        (f"xorloom bench accuracy --network {network} --data {data}",),
        table,
        made,
    )
