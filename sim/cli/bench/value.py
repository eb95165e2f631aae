# SPDX-License-Identifier: Apache-2.0
"""Commands on the value plane: bench value, matrices, curve, speed, taps, scale, profile."""

from pathlib import Path
from typing import Annotated

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Measure: value-plane efficiency, the paper's curve, coding speed.",
)
Codecs = Annotated[
    list[str] | None, typer.Option("--codec", help="window or block; repeat; default: both.")
]
Weights = Annotated[int, typer.Option(min=1, help="Weights of the i.i.d. mask.")]
CODECS = ("window", "block")


def _codecs(given: list[str] | None) -> list[str]:
    from xorloom.sw.base.errors import ConfigError

    for codec in given or ():
        if codec not in CODECS:
            raise ConfigError(f"codec must be window or block, not {codec!r}")
    return list(given or CODECS)


@app.command()
def value(
    codec: Codecs = None,
    sparsity: Annotated[
        list[float] | None, typer.Option(help="Repeat; default: 0.5 to 0.95.")
    ] = None,
    n_in: Annotated[
        list[int] | None,
        typer.Option(help="Repeat; default: window: chosen to fit; block: 20, 32, 60."),
    ] = None,
    weights: Weights = 4_000_000,
    planes: Annotated[int, typer.Option(min=1, max=8)] = 1,
    area: Annotated[bool, typer.Option(help="Synthesize the window decoders (lut4).")] = True,
    as_json: Json = False,
) -> None:
    """Stored bits of the value plane on i.i.d. masks, everything counted."""
    from xorloom.sim.bench.value import value_rows, window_value_rows

    codecs = _codecs(codec)
    sparsities = sparsity or [0.5, 0.6, 0.7, 0.8, 0.9, 0.91, 0.95]
    n_ins = n_in or [20, 32, 60]
    runs = len(sparsities) * (len(n_in or [0]) if "window" in codecs else 0)
    runs += len(sparsities) * len(n_ins) if "block" in codecs else 0
    rows = []
    with progress_bar("bench", runs) as step:
        if "window" in codecs:
            rows += window_value_rows(
                sparsities, n_in or (), weights, planes, area=area, progress=step
            )
        if "block" in codecs:
            rows += value_rows(sparsities, n_ins, weights, planes, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = ["codec", "sparsity", "n_in", "n_out", "window", "taps", "bits_per_weight"]
        keys += ["efficiency", "patches_per_weight", "lut4", "lossless"]
        print_table("value plane", keys, [[row.get(key, "-") for key in keys] for row in rows])
    if not all(row["lossless"] for row in rows):
        raise typer.Exit(1)


@app.command()
def matrices(
    codec: Codecs = None,
    sparsity: Annotated[
        list[float] | None, typer.Option(help="Repeat; default: 0.7, 0.9, 0.95.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The same on real weights: the 36 large encoder matrices of MiniLM-L6, 1 bit."""
    from xorloom.sim.bench.value import matrix_rows
    from xorloom.sim.datasets import minilm

    sparsities, codecs = sparsity or [0.7, 0.9, 0.95], _codecs(codec)
    with progress_bar("bench", len(sparsities) * len(codecs)) as step:
        rows = matrix_rows(minilm(), sparsities, codecs, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = ["codec", "sparsity", "matrices", "n_in", "n_out", "bits_per_weight"]
        keys += ["efficiency", "patches_per_weight", "lossless"]
        cells = [
            [*(row[key] for key in keys), " ".join(map(str, next(iter(row["orders"].items()))))]
            for row in rows
        ]
        print_table("value plane, MiniLM-L6", [*keys, "most often"], cells)
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
    from xorloom.sim.bench.value import curve_rows, plot_curve
    from xorloom.sim.plots import check_plot
    from xorloom.sw.tensors.prune import check_sparsity

    check_sparsity(sparsity)
    check_plot(plot)
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
            f"fewest bits per weight, S = {sparsity}",
            keys,
            [[row[key] for key in keys] for row in best],
        )


@app.command()
def speed(
    codec: Codecs = None,
    sparsity: Annotated[list[float] | None, typer.Option(help="Repeat; default: 0.9.")] = None,
    n_in: Annotated[
        int | None, typer.Option(help="Default: window: chosen to fit; block: 20.")
    ] = None,
    weights: Weights = 20_000_000,
    repeats: Annotated[int, typer.Option(min=1)] = 7,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Encoder threads; default: all cores.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Encode and decode speed in million weights per second, median of several runs."""
    from xorloom.sim.bench.value import speed_config, speed_rows
    from xorloom.sw.tensors.prune import check_sparsity

    codecs, sparsities = _codecs(codec), [check_sparsity(s) for s in sparsity or [0.9]]
    rows = []
    with progress_bar("bench", len(codecs) * len(sparsities) * (repeats + 1)) as step:
        for name in codecs:
            for s in sparsities:
                config = speed_config(name, s, n_in)
                rows += speed_rows(config, s, weights, repeats, threads, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = ["what", "codec", "sparsity", "n_in", "n_out", "threads"]
        keys += ["mweights_per_s", "mweights_per_s_min", "mweights_per_s_max"]
        title = f"speed, {weights:,} weights"
        print_table(title, keys, [[row[key] for key in keys] for row in rows])


@app.command()
def taps(
    sparsity: Annotated[
        list[float] | None, typer.Option(help="Repeat; default: 0.5, 0.7, 0.9.")
    ] = None,
    weights: Weights = 1_000_000,
    area: Annotated[bool, typer.Option(help="Synthesize the networks.")] = True,
    as_json: Json = False,
) -> None:
    """The study behind the window codec's network: taps, shared parities, window, placement."""
    from xorloom.sim.bench.studies import tap_rows

    sparsities = sparsity or [0.5, 0.7, 0.9]
    with progress_bar("bench") as step:
        rows = tap_rows(sparsities, weights, area=area, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = list(rows[0])
        cells = [["-" if row[key] is None else row[key] for key in keys] for row in rows]
        print_table(f"tap networks, {weights:,} weights", keys, cells)


@app.command()
def scale(
    weights: Annotated[
        list[int] | None, typer.Option(help="Repeat; default: 1 M to 256 M.")
    ] = None,
    sparsity: Annotated[float, typer.Option()] = 0.9,
    plot: Annotated[Path | None, typer.Option(help="Draw to a .png or .svg file.")] = None,
    as_json: Json = False,
) -> None:
    """Time and memory of the window codec over the number of weights."""
    from xorloom.sim.bench.studies import plot_scale, scale_rows
    from xorloom.sim.plots import check_plot
    from xorloom.sw.tensors.prune import check_sparsity

    check_sparsity(sparsity)
    check_plot(plot)
    sizes = weights or [1 << n for n in (20, 22, 24, 26, 28)]
    with progress_bar("bench", len(sizes)) as step:
        rows = scale_rows(sizes, sparsity, progress=step)
    if plot is not None:
        plot_scale(rows, plot)
    if as_json:
        print_json(rows)
    else:
        keys = list(rows[0])
        print_table("cost", keys, [[row[key] for key in keys] for row in rows])
    if not all(row["lossless"] for row in rows):
        raise typer.Exit(1)


@app.command()
def profile(
    sparsity: Annotated[list[float] | None, typer.Option(help="Repeat; default: 0.5, 0.9.")] = None,
    weights: Weights = 20_000_000,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    as_json: Json = False,
) -> None:
    """Time of each stage of the window codec, on one core."""
    from xorloom.sim.bench.studies import profile_rows
    from xorloom.sw.tensors.prune import check_sparsity

    sparsities = [check_sparsity(s) for s in sparsity or [0.5, 0.9]]
    with progress_bar("bench", len(sparsities)) as step:
        rows = profile_rows(sparsities, weights, repeats, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = list(rows[0])
        print_table(
            f"time, {weights:,} weights", keys, [[row[key] for key in keys] for row in rows]
        )
