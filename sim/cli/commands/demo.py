# SPDX-License-Identifier: Apache-2.0
"""Command ``demo``: real weights from a checkpoint to Verilog, simulation and synthesis."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from xorloom.sim.cli.console.model_report import BITS_COLUMNS, bits_rows
from xorloom.sim.cli.console.output import Json, print_json, print_table, with_command

from .simulate import indexed_rows

if TYPE_CHECKING:
    from xorloom.sim.bench.demo import DemoResult

__all__ = ["demo"]


@contextmanager
def _stage(number: int, what: str, quiet: bool) -> Iterator[None]:
    start = time.perf_counter()
    if not quiet:
        typer.echo(f"[{number}/6] {what} ...", nl=False, err=True)
    yield
    if not quiet:
        typer.echo(f" {time.perf_counter() - start:.1f} s", err=True)


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for what is made.")] = Path(
        "build/demo"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Placement seeds for Fmax.")] = 1,
    as_json: Json = False,
) -> None:
    """Take MiniLM-L6 matrices all the way: encode, verify, generate, simulate, synthesize, draw."""
    from functools import partial

    from xorloom.sim.bench.demo import run_demo
    from xorloom.sim.report.page import write_report
    from xorloom.sw.base.extras import require
    from xorloom.sw.base.host import write_whole

    require("plotly")
    output.mkdir(parents=True, exist_ok=True)
    result = run_demo(output, seeds=seeds, stage=partial(_stage, quiet=as_json))
    page = output / "report.html"
    text = json.dumps(with_command(result.to_dict()), indent=2) + "\n"
    write_whole(page.with_suffix(".json"), text)
    write_report([page.with_suffix(".json")], page, "xorloom demo: a layer of MiniLM-L6")
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result)
        typer.echo(f"files: {', '.join(map(str, (*result.files, page)))}")
    if not result.passed:
        raise typer.Exit(1)


def _print(result: "DemoResult") -> None:
    """Print the tables of a result."""
    from xorloom.sim.datasets import DEMO_LAYER
    from xorloom.sw.model.reports.kept import KEPT_COLUMNS

    from .synth import SYNTH_COLUMNS, synth_rows

    def short(name: object) -> str:
        return str(name).removeprefix(f"{DEMO_LAYER}.").removesuffix(".weight")

    rows = [(short(row[0]), *row[1:]) for row in bits_rows(result.bits, result.errors)]
    print_table(f"{DEMO_LAYER}, bits per weight", BITS_COLUMNS, rows)
    config = result.config.to_dict() | {"index n_in": result.index.to_dict()["n_in"]}
    typer.echo(
        f"software decode: {'bit-exact' if result.exact else 'DIFFERENT'}; decoder: "
        + ", ".join(f"{key} {value}" for key, value in config.items())
    )
    kept = [[short(row["tensor"]), *(row[k] for k in KEPT_COLUMNS[1:])] for row in result.kept]
    print_table("what the masks keep, beside the bound and N:M", KEPT_COLUMNS, kept)
    simulation = indexed_rows(result.simulation)
    print_table("generated Verilog, simulated on an ideal memory", ("what", "value"), simulation)
    title = "synthesis of its parts, the decoder with --pipeline small"
    print_table(title, SYNTH_COLUMNS, synth_rows(result.synthesis))
