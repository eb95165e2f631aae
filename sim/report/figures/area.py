# SPDX-License-Identifier: Apache-2.0
"""Hardware figures of the report: area and clock by target, area by unit, boards."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xorloom.sim.report.results.input import Piece

from .figure import (
    COLOURS,
    ROW_PIXELS,
    Dots,
    Figure,
    Table,
    axis,
    cell,
    chart,
    dot_chart,
    label,
    number,
    row_axis,
    row_labels,
    shorten,
    size_axis,
)

__all__ = ["area_figures", "boards_figure", "ratio_figure", "units_figure"]


def _designs(pieces: Sequence[Piece]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (design, row); parameters are added to names that differ in size only."""
    for piece in pieces:
        for row in piece.rows:
            name = row["design"].removeprefix("xorloom_").replace("_", " ")
            config = piece.facts.get("config", {})
            # The demo's configuration is its window decoder's, beside which it has a core.
            if {"n_in", "n_out"} <= set(config) and "core" not in name:
                name += f", n_in {config['n_in']}, n_out {config['n_out']}"
            yield name, row


def _dots(
    rows: Sequence[tuple[str, Mapping[str, Any]]], key: str, low: str | None, unit: str
) -> list[Dots]:
    """Return one series per target; of two rows of one design, the later counts."""
    targets: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, row in rows:
        if row[key]:
            targets.setdefault(row["target"], {})[name] = row
    return [
        Dots(
            target,
            {name: row[key] for name, row in found.items()},
            {name: row[low] for name, row in found.items() if row[low]} if low else None,
            unit,
        )
        for target, found in targets.items()
    ]


def area_figures(pieces: Sequence[Piece], key: str) -> Iterator[Figure]:
    """Draw LUTs and Fmax of every design on every target."""
    rows = list(_designs(pieces))
    commands = tuple(dict.fromkeys(piece.command for piece in pieces))
    table = Table(
        (
            "design",
            "target",
            "LUT",
            "LUT RAM",
            "FF",
            "placed",
            "NAND2",
            "Fmax MHz, median",
            "least",
            "seeds",
            "LUT per weight bit",
            "critical path",
        ),
        tuple(
            (
                name,
                row["target"],
                number(row["lut"], 6),
                number(row.get("lut_ram"), 6),
                number(row["ff"], 6),
                f"{number(row.get('placed'), 6)} {row.get('placed_cell') or ''}".rstrip(),
                number(row.get("nand2"), 6),
                number(row["fmax_mhz"]),
                number(row["fmax_min_mhz"]),
                number(row.get("seeds") or None),
                number(row.get("lut_per_weight_bit"), 3),
                str(row.get("critical_path") or "-"),
            )
            for name, row in rows
        ),
    )
    for what, title, reading in (
        (
            ("lut", None, "LUT"),
            "Area over targets",
            "Further left is smaller. A LUT has four inputs on ECP5, iCE40, Nexus and Gowin, up to "
            "six on AMD and Intel parts, so compare designs within one target.",
        ),
        (
            ("fmax_mhz", "fmax_min_mhz", "MHz"),
            "Clock over targets",
            "Further right is faster: the dot is the median over placement seeds, the line reaches "
            "to the slowest seed.",
        ),
    ):
        field, low, unit = what
        series = _dots(rows, field, low, unit)
        names = [
            name
            for name in dict.fromkeys(name for name, _ in rows)
            if any(name in dots.values for dots in series)
        ]
        if not names:
            continue
        values = [value for dots in series for value in dots.values.values()]
        x = size_axis("LUTs", values) if field == "lut" else axis("MHz", rangemode="tozero")
        yield Figure(f"{key}-{field}", title, reading, commands, table, dot_chart(names, series, x))


def units_figure(piece: Piece, key: str) -> Figure:
    """Draw LUTs and flip-flops of every unit of a design."""
    rows = [row for row in piece.rows if row["lut"] or row["ff"] or row["lut_ram"]]
    places = list(range(len(rows)))
    names = [str(row["unit"]) for row in rows]
    total = sum(row["lut"] for row in rows) or 1
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "width": 0.2,
            "x": [row[field] for row in rows],
            "y": [n + shift for n in places],
            "marker": {"color": colour},
            "text": [label(name) for name in names],
            "textposition": "none",
            "hovertemplate": f"%{{text}}<br>%{{x:,}} {name}<extra></extra>",
        }
        for field, name, colour, shift in (
            ("lut", "LUT4", COLOURS[0], -0.06),
            ("ff", "flip-flops", COLOURS[2], 0.15),
        )
    ]
    titles = [
        f"{shorten(name)}: {row['lut']:,} LUT4, {row['ff']:,} FF"
        for name, row in zip(names, rows, strict=True)
    ]
    return Figure(
        key,
        f"Area by unit: {str(piece.facts['design']).removeprefix('xorloom_').replace('_', ' ')}",
        "Where the LUTs and flip-flops are, synthesized for ECP5 with the units kept apart, which "
        "costs a few percent.",
        (piece.command,),
        Table(
            ("unit", "LUT4", "share", "FF", "16x4 RAM"),
            tuple(
                (
                    row["unit"],
                    number(row["lut"], 7),
                    f"{100 * row['lut'] / total:.1f} %",
                    number(row["ff"], 7),
                    number(row["lut_ram"], 7),
                )
                for row in rows
            ),
        ),
        chart(
            data,
            axis("LUT4 or flip-flops", rangemode="tozero"),
            row_axis(len(rows)),
            height=120 + ROW_PIXELS * len(rows),
            annotations=row_labels(titles, 0.2),
            barmode="overlay",
        ),
    )


def ratio_figure(piece: Piece, key: str) -> Figure:
    """Draw how many times smaller per weight bit a design is than the paper's, by target."""
    rows = piece.rows
    pairs: dict[str, dict[str, float]] = {}
    for row in rows:
        pairs.setdefault(f"{row['design']} : {row['paper']}", {})[row["target"]] = row["ratio"]
    return Figure(
        key,
        "How many times smaller than the paper's decoder",
        "Each dot is the paper's area per weight bit over ours on one target, both in the cycle in "
        "which a slice leaves; further right is better for us, 1 is equal.",
        (piece.command,),
        Table(
            ("design", "paper's", "target", "times smaller"),
            tuple(
                (row["design"], row["paper"], row["target"], f"{row['ratio']:.2f}") for row in rows
            ),
        ),
        dot_chart(
            list(dict.fromkeys(row["target"] for row in rows)),
            [Dots(pair, found, unit="times") for pair, found in pairs.items()],
            axis("times smaller", rangemode="tozero"),
        ),
    )


def boards_figure(piece: Piece, key: str) -> Figure:
    """Draw the clock that every board needs and the one that its bitstream reaches."""
    rows = piece.rows
    columns = tuple(k for k in dict.fromkeys(k for row in rows for k in row) if k != "command")
    return Figure(
        key,
        "Boards: clock reached and needed",
        "A bitstream closes timing where the clock it reaches lies right of the one it needs.",
        (piece.command,),
        Table(columns, tuple(tuple(cell(row.get(k, "")) for k in columns) for row in rows)),
        dot_chart(
            [row["board"] for row in rows],
            [
                Dots("needed", {row["board"]: row["clock_mhz"] for row in rows}, unit="MHz"),
                Dots("reached", {row["board"]: row["fmax_mhz"] for row in rows}, unit="MHz"),
            ],
            axis("MHz", rangemode="tozero"),
        ),
    )
