# SPDX-License-Identifier: Apache-2.0
"""Commands that make the README's figures: bench value, curve, speed."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import Json, print_json, print_table, progress_bar

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Measure: value-plane efficiency, the paper's curve, coding speed.",
)
Codec = Annotated[str, typer.Option(help="Value codec: block.")]
Weights = Annotated[int, typer.Option(min=1, help="Weights of the i.i.d. mask.")]


def _check_codec(codec: str) -> None:
    from xorloom.sw.errors import ConfigError

    if codec != "block":
        raise ConfigError(f"codec must be block, not {codec!r}")


@app.command()
def value(
    codec: Codec = "block",
    sparsity: Annotated[
        list[float] | None, typer.Option(help="Repeat; default: 0.6 to 0.95.")
    ] = None,
    n_in: Annotated[list[int] | None, typer.Option(help="Repeat; default: 20, 32, 60.")] = None,
    weights: Weights = 4_000_000,
    planes: Annotated[int, typer.Option(min=1, max=8)] = 1,
    as_json: Json = False,
) -> None:
    """Stored bits of the value plane on i.i.d. masks, everything counted."""
    from .bench import value_rows

    _check_codec(codec)
    sparsities = sparsity or [0.6, 0.7, 0.8, 0.9, 0.91, 0.95]
    n_ins = n_in or [20, 32, 60]
    with progress_bar("bench", len(sparsities) * len(n_ins)) as step:
        rows = value_rows(sparsities, n_ins, weights, planes, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = ["codec", "sparsity", "n_in", "n_out", "bits_per_weight", "efficiency"]
        keys += ["patches_per_weight", "lossless"]
        print_table("value plane", keys, [[row[key] for key in keys] for row in rows])
    if not all(row["lossless"] for row in rows):
        raise typer.Exit(1)


@app.command()
def curve(
    sparsity: Annotated[float, typer.Option()] = 0.91,
    n_in: Annotated[list[int] | None, typer.Option(help="Repeat; default: 10, 20, 32, 60.")] = None,
    weights: Weights = 4_000_000,
    plot: Annotated[Path | None, typer.Option(help="Draw to a .png or .svg file.")] = None,
    as_json: Json = False,
) -> None:
    """The paper's curve: total bits against slice length for several seed widths."""
    from xorloom.sw.prune import check_sparsity

    from .bench import curve_rows, plot_curve

    check_sparsity(sparsity)
    n_ins = n_in or [10, 20, 32, 60]
    with progress_bar("bench", len(n_ins)) as step:
        rows = curve_rows(sparsity, n_ins, weights, progress=step)
    if plot is not None:
        plot_curve(rows, plot)
    if as_json:
        print_json(rows)
    else:
        keys = ("n_in", "n_out", "seeds", "control", "patches", "bits_per_weight")
        best = [
            min((r for r in rows if r["n_in"] == n), key=lambda r: r["bits_per_weight"])
            for n in n_ins
        ]
        print_table(
            f"fewest bits a weight, S = {sparsity}",
            keys,
            [[row[key] for key in keys] for row in best],
        )


@app.command()
def speed(
    sparsity: Annotated[float, typer.Option()] = 0.9,
    n_in: Annotated[int, typer.Option()] = 20,
    weights: Weights = 20_000_000,
    repeats: Annotated[int, typer.Option(min=1)] = 7,
    as_json: Json = False,
) -> None:
    """Encode and decode speed in million weights a second, median of several runs."""
    from xorloom.sw.prune import check_sparsity

    from .bench import speed_rows

    check_sparsity(sparsity)
    with progress_bar("bench", repeats + 1) as step:
        rows = speed_rows(sparsity, n_in, weights, repeats, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = ["what", "codec", "n_in", "n_out", "threads"]
        keys += ["mweights_per_s", "mweights_per_s_min", "mweights_per_s_max"]
        title = f"speed, S = {sparsity}, {weights:,} weights"
        print_table(title, keys, [[row[key] for key in keys] for row in rows])
