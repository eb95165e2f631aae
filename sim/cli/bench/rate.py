# SPDX-License-Identifier: Apache-2.0
"""Command ``bench rate``: error against stored bits, of all codecs, beside the bound."""

from pathlib import Path
from typing import Annotated, Any

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar

from .area import app

__all__ = ["app"]


@app.command()
def rate(
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="gaussian, laplacian: i.i.d.; minilm: 36 encoder matrices; minilm-rotated; "
            "repeat; default: all."
        ),
    ] = None,
    codec: Annotated[
        list[str] | None,
        typer.Option(help="As in the column codec, e.g. direct-10; repeat; default: all."),
    ] = None,
    weights: Annotated[
        int | None, typer.Option(min=1024, help="i.i.d. weights; default: 4194304.")
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Fewer codecs, rates, weights and matrices; no synthesis.")
    ] = False,
    area: Annotated[bool, typer.Option(help="Synthesize the decoders (lut4_per_weight).")] = True,
    fmax: Annotated[int, typer.Option(min=0, help="Placement seeds for fmax_mhz; 0: no Fmax.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it as well, as .png or .svg; needs the extra plot.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Squared error that codecs leave at their bits per weight, beside the least possible."""
    from xorloom.sim.bench.rate.measure import rate_rows
    from xorloom.sim.bench.rate.plot import draw
    from xorloom.sim.bench.rate.points import CODECS, points
    from xorloom.sim.bench.rate.sources import QUICK_WEIGHTS, SOURCES, WEIGHTS, check_sources
    from xorloom.sim.plots import check_plot
    from xorloom.sw.base.errors import ConfigError

    names = list(dict.fromkeys(source or SOURCES))
    check_sources(names)
    if fmax and (quick or not area):
        raise ConfigError("--fmax needs synthesis: leave --quick and --no-area out")
    check_plot(plot)
    chosen = points(codec or CODECS, quick)
    size = weights or (QUICK_WEIGHTS if quick else WEIGHTS)
    with progress_bar("bench", len(names) * len(chosen)) as step:
        rows = rate_rows(
            names,
            chosen,
            size,
            quick=quick,
            area=area and not quick,
            seeds=fmax,
            progress=step,
        )
    if plot is not None:
        draw(rows, plot)
    if as_json:
        print_json(rows)
    else:
        _print_rows(rows)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    columns = (
        *("source", "codec", "bits/weight", "error", "gap, bits", "energy", "of bound"),
        "of dense bound",
        *("LUT4/weight", "MHz", "Mweights/s", "options"),
    )
    cells = [
        (
            row["source"],
            row["codec"],
            f"{row['rate_bits']:.4f}",
            f"{row['error']:.4f}",
            f"{row['bound_bits_gap']:.4f}",
            f"{row['energy']:.4f}",
            f"{row['energy_share_of_bound']:.4f}",
            f"{row['share_of_dense_bound']:.4f}",
            *(
                "-" if row[key] is None else f"{row[key]:.{digits}f}"
                for key, digits in (
                    ("lut4_per_weight", 2),
                    ("fmax_mhz", 0),
                    ("mweights_per_s", 2),
                )
            ),
            row["options"],
        )
        for row in rows
        if row["codec"] != "bound"
    ]
    print_table("error against stored bits", columns, cells)
