# SPDX-License-Identifier: Apache-2.0
"""Command ``bench peers``: other packages' codecs on the same weights."""

from typing import Annotated, Any

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar

from .accuracy import app

__all__ = ["app"]


@app.command()
def peers(
    method: Annotated[
        list[str] | None, typer.Option(help="As in the column method; repeat; default: all.")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="gaussian: one matrix; minilm: 36 matrices; repeat; default: both."),
    ] = None,
    sparsity: Annotated[list[float] | None, typer.Option(help="Repeat; default: 0.9.")] = None,
    planes: Annotated[
        list[int] | None,
        typer.Option(help="Bits of a kept weight, 1 to 7; repeat; default: 1 and 4."),
    ] = None,
    weights: Annotated[int, typer.Option(min=1024, help="Of the Gaussian matrix.")] = 1 << 22,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    as_json: Json = False,
) -> None:
    """Sizes and speeds of xorloom and of other codecs on the same weights; needs the extra peers.

    CPU time of one thread, in million weights per second; medians.
    """
    from xorloom.sim.peers.measure import METHODS, SOURCES, peer_rows

    methods, sources = method or list(METHODS), source or list(SOURCES)
    sparsities, counts = sparsity or [0.9], planes or [1, 4]
    turns = len(sources) * len(sparsities) * len(counts) * (repeats + 1)
    with progress_bar("bench", turns * len(methods)) as step:
        rows = peer_rows(sources, sparsities, counts, methods, weights, repeats, progress=step)
    if as_json:
        print_json(rows)
    else:
        _tables(rows)
    if not all(row["lossless"] for row in rows):
        raise typer.Exit(1)


def _tables(rows: list[dict[str, Any]]) -> None:
    """Print a table for each case."""
    columns = ("method", "package", "bits/weight", "kept", "encode", "to int8", "to planes")
    for key in dict.fromkeys(map(_case, rows)):
        name, sparsity, planes, entropy = key
        cells = [
            (
                row["method"],
                row["package"],
                f"{row['bits_per_weight']:.4f}",
                f"{row['kept']:.3f}",
                *(_speed(row[f"{what}_mweights_per_s"]) for what in ("encode", "decode", "planes")),
                "yes" if row["lossless"] else "NO",
            )
            for row in rows
            if _case(row) == key
        ]
        bits = "1 bit" if planes == 1 else f"{planes} bits"
        title = f"{name}, S {sparsity:g}, {bits}; entropy {entropy:.4f}; Mweights/s"
        print_table(title, (*columns, "lossless"), cells)


def _case(row: dict[str, Any]) -> tuple[str, float, int, float]:
    """Return what the rows of a table share."""
    return row["source"], row["sparsity"], row["planes"], row["entropy"]


def _speed(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"
