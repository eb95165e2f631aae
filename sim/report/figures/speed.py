# SPDX-License-Identifier: Apache-2.0
"""Speed figures of the report: roofline, memories, simulated cycles, and the paper's cases."""

from collections.abc import Sequence
from typing import Any

from xorloom.sim.bandwidth.roofline import STYLES
from xorloom.sim.report.results.input import Piece

from .figure import (
    COLOURS,
    Dots,
    Figure,
    Table,
    axis,
    chart,
    dot_chart,
    label,
    number,
    percent,
    size_axis,
)

__all__ = [
    "bandwidth_figure",
    "curve_figure",
    "cycles_figure",
    "roofline_figures",
    "total_figure",
]


def roofline_figures(pieces: Sequence[Piece], key: str) -> list[Figure]:
    """Draw weights per second against memory bandwidth, one figure per case and sparsity."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    commands: dict[tuple[str, float], list[str]] = {}
    for piece in pieces:
        for row in piece.rows:
            if row["bit_exact"]:
                groups.setdefault((row["case"], row["sparsity"]), []).append(row)
                commands.setdefault((row["case"], row["sparsity"]), []).append(piece.command)
    figures = []
    for n, (case, rows) in enumerate(groups.items()):
        places = [row["bus_mbytes_per_s"] for row in rows]
        ends = [min(places) / 1.7, max(places) * 1.7]
        data: list[dict[str, Any]] = []
        known = list(STYLES)
        designs = sorted({r["design"] for r in rows}, key=lambda d: (d not in known, d))
        designs.sort(key=lambda d: known.index(d) if d in known else len(known))
        for k, design in enumerate(designs):
            mine = [row for row in rows if row["design"] == design]
            title = STYLES[design][3] if design in STYLES else design
            bits, colour = mine[0]["bits_per_weight"], COLOURS[k % len(COLOURS)]
            name = label(f"{title}: {bits:.2f} bits")
            data += [
                {
                    "type": "scatter",
                    "mode": "lines",
                    "showlegend": False,
                    "name": name,
                    "x": ends,
                    "y": [8 * x / bits for x in ends],
                    "line": {"color": colour, "width": 1.5},
                    "hoverinfo": "skip",
                },
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [row["bus_mbytes_per_s"] for row in mine],
                    "y": [row["mweights_per_s"] for row in mine],
                    "marker": {"color": colour, "size": 10},
                    "text": [label(row["memory"]) for row in mine],
                    "hovertemplate": "%{text}: %{y:,.4~g} Mweights/s<br>%{x:,.4~g} MB/s",
                },
            ]
        figures.append(
            Figure(
                key if not n else f"{key}-{n + 1}",
                f"Roofline: {case[0]}, sparsity {case[1]:g}",
                "A line is memory bandwidth over a design's stored bits per weight, the most it "
                "could do; dots are measured in simulation and lie on the line where nothing of "
                "the memory is lost.",
                tuple(dict.fromkeys(commands[case])),
                Table(
                    ("design", "memory", "MB/s", "Mweights/s", "bits per weight", "of the memory"),
                    tuple(
                        (
                            row["design"],
                            row["memory"],
                            number(row["bus_mbytes_per_s"]),
                            number(row["mweights_per_s"]),
                            f"{row['bits_per_weight']:.3f}",
                            percent(row["of_memory"]),
                        )
                        for row in rows
                    ),
                ),
                chart(
                    data,
                    axis("MB/s that the memory delivers", type="log", dtick="D2"),
                    axis("million weights per second", type="log", dtick="D2"),
                    height=520,
                ),
            )
        )
    return figures


def bandwidth_figure(piece: Piece, key: str) -> Figure:
    """Draw modelled weights per second on every memory preset."""
    facts, rows = piece.facts, piece.rows
    cases = {name: bits for name, bits in facts["bits_per_weight"].items() if bits}
    series = [
        Dots(
            f"{name}: {bits:.2f} bits",
            {row["title"]: row["mweights_per_s"][name] for row in rows},
            unit="Mweights/s",
        )
        for name, bits in sorted(cases.items(), key=lambda item: item[1])
    ]
    return Figure(
        key,
        "Memories: weights per second by the model",
        f"Each row is a memory, with a decoder of {facts['bus_bits']} bits at "
        f"{facts['clock_mhz']:g} MHz behind it; further right is faster.",
        (piece.command,),
        Table(
            ("memory", "MB/s here", *(f"{name}, Mweights/s" for name in cases)),
            tuple(
                (
                    row["title"],
                    number(row["bus_mbytes_per_s"]),
                    *(number(row["mweights_per_s"][name]) for name in cases),
                )
                for row in rows
            ),
        ),
        dot_chart(
            [row["title"] for row in rows],
            series,
            size_axis(
                "million weights per second",
                [value for dots in series for value in dots.values.values()],
            ),
        ),
    )


def curve_figure(piece: Piece, key: str) -> Figure:
    """Draw the paper's curve: bits of the block scheme against slice length."""
    data, best = [], []
    sparsity = piece.rows[0]["sparsity"]
    for n, n_in in enumerate(sorted({row["n_in"] for row in piece.rows})):
        rows = sorted(
            (row for row in piece.rows if row["n_in"] == n_in), key=lambda row: row["n_out"]
        )
        best.append(min(rows, key=lambda row: row["bits_per_weight"]))
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"n_in {n_in}",
                "x": [row["n_out"] * (1 - sparsity) / n_in for row in rows],
                "y": [row["bits_per_weight"] for row in rows],
                "line": {"color": COLOURS[n % len(COLOURS)], "width": 2.5},
                "text": [f"n_out {row['n_out']}" for row in rows],
                "hovertemplate": "%{text}: %{y:.4f} bits",
            }
        )
    floor = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 1 - sparsity,
        "y1": 1 - sparsity,
        "line": {"color": "--muted", "width": 2, "dash": "dash"},
    }
    columns = ("n_in", "n_out", "seeds", "n_patch fields", "patches", "bits per weight")
    return Figure(
        key,
        f"The paper's trade: slice length against patches, S {sparsity:g}",
        "Long slices need fewer seeds and more patches; each line is one seed width of the block "
        f"scheme, the dashed line one bit per kept weight ({1 - sparsity:.2f}). The table has each "
        "line's best.",
        (piece.command,),
        Table(
            columns,
            tuple(
                (
                    number(row["n_in"]),
                    number(row["n_out"]),
                    *(f"{row[k]:.4f}" for k in ("seeds", "control", "patches", "bits_per_weight")),
                )
                for row in best
            ),
        ),
        chart(
            data,
            axis("expected kept bits per seed bit"),
            axis("value plane, bits per weight", rangemode="tozero"),
            shapes=[floor],
        ),
    )


def total_figure(piece: Piece, key: str) -> Figure:
    """Draw all bits of a case with every index."""
    rows = piece.rows
    names = [f"{row['index']}, {row['index_bits']:.3f} bits" for row in rows]
    parts = (
        ("index", [row["index_bits"] for row in rows]),
        ("values, scales, headers", [row["bits_per_weight"] - row["index_bits"] for row in rows]),
    )
    data = [
        {
            "type": "bar",
            "name": part,
            "x": [label(n) for n in names],
            "y": values,
            "marker": {"color": COLOURS[n]},
            "hovertemplate": "%{y:.4f} bits per weight",
        }
        for n, (part, values) in enumerate(parts)
    ]
    return Figure(
        key,
        f"A whole case: {rows[0]['case']}, density {rows[0]['density']:.3g}",
        "Everything stored for the case under every index codec; Kwon et al. give 0.28 bits a "
        "weight for it. What the masks keep is in the table.",
        (piece.command,),
        Table(
            ("index", "index bits per weight", "bits per weight", "kept", "lossless"),
            tuple(
                (
                    row["index"],
                    f"{row['index_bits']:.4f}",
                    f"{row['bits_per_weight']:.4f}",
                    f"{row['kept']:.4f}",
                    number(row["lossless"]),
                )
                for row in rows
            ),
        ),
        chart(data, axis(), axis("bits per weight", rangemode="tozero"), barmode="stack"),
    )


def cycles_figure(pieces: Sequence[Piece], key: str) -> Figure:
    """Draw simulated cycles over the model's, and list what was checked."""
    rows = [row for piece in pieces for row in piece.rows]
    done = [row for row in rows if row["bit_exact"]]
    names = list(dict.fromkeys(row["case"] for row in done))
    measured = {row["case"]: row["cycles_to_model"] for row in done}
    return Figure(
        key,
        "Simulated cycles over the model's",
        "1 means that the Verilog takes exactly the cycles of the model, which is limited by bus "
        "words or decoder steps, whichever are more; every output bit was compared.",
        tuple(dict.fromkeys(piece.command for piece in pieces)),
        Table(
            ("case", "bit-exact", "weights", "cycles", "model", "weights per cycle", "memory"),
            tuple(
                (
                    row["case"],
                    number(row["bit_exact"]),
                    number(row["weights"]),
                    *(number(row.get(k)) for k in ("cycles", "model_cycles", "weights_per_cycle")),
                    str(row.get("memory", "-")),
                )
                for row in rows
            ),
        ),
        dot_chart(
            names,
            [Dots("measured / model", measured)],
            axis(
                "measured / model", range=[0.9, max(1.1, 1.05 * max(measured.values(), default=1))]
            ),
        )
        if done
        else None,
        notes=tuple(
            f"NOT BIT-EXACT: {row['case']}: {row.get('mismatch', '')}"
            for row in rows
            if not row["bit_exact"]
        ),
    )
