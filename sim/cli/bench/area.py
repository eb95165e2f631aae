# SPDX-License-Identifier: Apache-2.0
"""Command ``bench area``: area and Fmax of decoders."""

from typing import Annotated, Any

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar

from .bus import app

__all__ = ["app"]


@app.command()
def area(
    design: Annotated[
        list[str] | None,
        typer.Option(help="As in the table, e.g. 'window 512'; repeat; default: all."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="As of xorloom synth; repeat; default: all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=0, help="Placement seeds on ECP5; 0: no Fmax.")] = 5,
    harness_seeds: Annotated[
        int, typer.Option(min=0, help="Placement seeds on the other targets that are placed.")
    ] = 1,
    ratio: Annotated[
        bool,
        typer.Option(help="Instead: window decoders beside the paper's blocks, per weight bit."),
    ] = False,
    as_json: Json = False,
) -> None:
    """LUTs, flip-flops and Fmax of every decoder on every target; resumes where it was stopped."""
    from xorloom.hw.flow.targets import TARGETS
    from xorloom.sim.bench.area import DESIGNS, area_pairs, area_rows, ratio_rows

    pairs = area_pairs(design, target)
    placed = [(name, where) for name, where in pairs if TARGETS[where].family is not None]
    seeded = (DESIGNS[name].seeds(where, seeds, harness_seeds) for name, where in placed)
    steps = len(pairs) + sum(seeded)
    with progress_bar("bench", steps) as step:
        rows = area_rows(pairs, seeds=seeds, harness_seeds=harness_seeds, progress=step)
    if ratio:
        compared = ratio_rows(rows)
        if as_json:
            print_json(compared)
        else:
            _print_ratios(compared)
    elif as_json:
        print_json(rows)
    else:
        _print_rows(rows)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    columns = ("design", "target", "LUT", "LUT RAM", "FF", "RAM", "placed", "NAND2", "per bit")
    cells = [
        (
            row["design"],
            row["target"],
            "-" if row["lut"] is None else f"{row['lut']:,}",
            "-" if row["lut_ram"] is None else f"{row['lut_ram']:,}",
            f"{row['ff']:,}",
            str(row["ram"]),
            "-" if row["placed"] is None else f"{row['placed']:,} {row['placed_cell']}",
            "-" if row["nand2"] is None else f"{row['nand2']:,.0f}",
            f"{row['size_per_weight_bit']:.2f}",
            "-" if row["fmax_mhz"] is None else f"{row['fmax_mhz']:.1f}",
            "-" if row["fmax_min_mhz"] is None else f"{row['fmax_min_mhz']:.1f}",
            str(row["seeds"] or "-") if row["fits"] else "too big",
            row["critical_path"] or "-",
        )
        for row in rows
    ]
    clocks = ("Fmax", "min", "seeds", "critical path")
    print_table("area and clock in MHz", (*columns, *clocks), cells)


def _print_ratios(rows: list[dict[str, Any]]) -> None:
    cells = [
        (
            row["kind"],
            row["design"],
            row["paper"],
            row["target"],
            f"{row['size_per_weight_bit']:.2f}",
            f"{row['paper_size_per_weight_bit']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['sustained_ratio']:.2f}",
        )
        for row in rows
    ]
    columns = ("kind", "design", "paper", "target", "per bit", "paper's", "ratio", "at S 0.9")
    print_table("LUTs (gates: NAND2) per weight bit of the best cycle", columns, cells)
