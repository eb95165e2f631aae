# SPDX-License-Identifier: Apache-2.0
"""Command ``bench accuracy``: what bits per weight buy on networks that are trained."""

from pathlib import Path
from typing import Annotated, Any

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, say

from .rate import app

__all__ = ["app"]


@app.command()
def accuracy(
    network: Annotated[
        list[str] | None,
        typer.Option(help="lenet-300-100, lenet-5, resnet, lstm, minilm-l6; repeat; default: all."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="mnist, fashion-mnist, moby-dick; repeat; default: all."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="As in the column method; repeat; default: all.")
    ] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option(help="Bits per weight in all; repeat; default: those of the network."),
    ] = None,
    epochs: Annotated[
        str, typer.Option(help="Of each final run: 12, or 3x the usual number.")
    ] = "1x",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Final runs of each row.")] = 3,
    quick: Annotated[
        bool, typer.Option(help="A few steps on a few inputs: to try the way, not to compare.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be measured, and how long.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON file that rows are merged into.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it as well, as .png or .svg; needs the extra plot.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Accuracy of networks that are trained through the code, at equal bits per weight.

    Rows are kept as they are measured: a command that was stopped goes on where it was.
    """
    from xorloom.sim.bench.accuracy.jobs import jobs
    from xorloom.sim.bench.accuracy.plot import draw
    from xorloom.sim.bench.accuracy.run import WORKERS, estimate, run
    from xorloom.sim.bench.accuracy.store import merged, read_results
    from xorloom.sim.plots import check_plot
    from xorloom.sw.base.errors import ConfigError

    check_plot(plot)
    for bits in budget or ():
        if not 0 < bits <= 8:
            raise ConfigError(f"budget must be above 0 and at most 8 bits per weight, not {bits:g}")
    asked = jobs(
        network or (),
        data or (),
        method or (),
        budget or (),
        epochs=epochs,
        seeds=seeds,
        quick=quick,
    )
    if output is not None:
        if quick:
            raise ConfigError("--quick makes no results to keep: leave -o or --quick out")
        read_results(output)  # a file that cannot be merged into is refused before the work
    minutes = estimate(asked) / 60
    say(f"{len(asked)} jobs, {minutes:.0f} min on {WORKERS} idle cores if none is measured yet")
    if dry_run:
        _plan(asked, as_json)
        return
    rows, failed = run(asked, say)
    if output is not None:
        rows_there = merged(output, rows)
    if plot is not None:
        draw(rows if output is None else rows_there, plot)
    for line in failed:
        say(f"failed: {line}")
    if as_json:
        print_json(rows)
    else:
        _tables(rows)
    if failed:
        raise typer.Exit(1)


def _plan(asked: list[Any], as_json: bool) -> None:
    """Print what would be measured."""
    from xorloom.sim.bench.accuracy.run import estimate

    rows = []
    for name, data in dict.fromkeys((job.network, job.data) for job in asked):
        own = [job for job in asked if (job.network, job.data) == (name, data)]
        rows.append(
            {
                "network": name,
                "data": data,
                "jobs": len(own),
                "epochs": own[0].epochs,
                "seeds": own[0].seeds,
                "minutes": round(estimate(own) / 60, 1),
            }
        )
    if as_json:
        print_json(rows)
    else:
        print_table("to be measured", list(rows[0]), [list(row.values()) for row in rows])


def _tables(rows: list[dict[str, Any]]) -> None:
    """Print a table a network and data set: a row a method, a column a budget."""
    for key in dict.fromkeys(map(_table_of, rows)):
        own = [row for row in rows if _table_of(row) == key]
        name, data, metric, epochs = key
        budgets = sorted({row["budget"] for row in own})
        found = {(row["method"], row["budget"]): _cell(row) for row in own}
        cells = [
            ["not compressed", *[f"{own[0]['dense_accuracy']:.{_digits(metric)}f}"] * len(budgets)]
        ]
        cells += [
            [method, *(found.get((method, bits), "-") for bits in budgets)]
            for method in dict.fromkeys(row["method"] for row in own)
        ]
        what = metric.replace("_", " ")
        print_table(
            f"{name}, {data}, {epochs:g} epochs",
            [what, *(f"{bits:g} bits" for bits in budgets)],
            cells,
        )
        if "rank_correlation" in own[0]:
            _ranks(name, own)


def _table_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the rows of a table share."""
    return row["network"], row["data"], row["metric"], row["epochs"]


def _ranks(name: str, rows: list[dict[str, Any]]) -> None:
    """Print how embeddings rank pairs of sentences and of words, a row a method and budget."""
    columns = ("rank_correlation", "wordsim353", "simlex999")
    dense = [f"{rows[0].get(f'dense_{key}', 1.0):.3f}" for key in columns]
    print_table(
        f"{name}: rank correlation with the original's cosines, and with what people said",
        ["method", "bits", "sentences", *columns[1:]],
        [
            ["not compressed", "-", *dense],
            *(
                [row["method"], f"{row['budget']:g}", *(f"{row[key]:.3f}" for key in columns)]
                for row in rows
            ),
        ],
    )


def _cell(row: dict[str, Any]) -> str:
    digits = _digits(row["metric"])
    mean = f"{row['accuracy']:.{digits}f}"
    return mean if row["seeds"] == 1 else f"{mean} ± {row['accuracy_std']:.{digits}f}"


def _digits(metric: str) -> int:
    return 2 if metric == "accuracy" else 3
