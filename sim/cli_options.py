# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and how they print."""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from xorloom.sw.config import BlockConfig

__all__ = [
    "BlockGroups",
    "BusBits",
    "Json",
    "Lanes",
    "Model",
    "NIn",
    "NOut",
    "NetworkSeed",
    "PatchesPerCycle",
    "Stages",
    "block_config",
    "print_json",
    "print_table",
    "progress_bar",
]

NIn = Annotated[int, typer.Option("--n-in", help="Seed bits a slice, 1 to 64.")]
NOut = Annotated[
    int | None,
    typer.Option(
        "--n-out",
        help="Weights a slice, 1 to 32768.",
        show_default="searched where there is data to encode, else 200",
    ),
]
Lanes = Annotated[
    int | None,
    typer.Option(
        help="Slices a cycle, 1 to 64.", show_default="as many as fit a bus word, at least 1"
    ),
]
PatchesPerCycle = Annotated[int, typer.Option(help="Patches a lane applies a cycle, 1 to 16.")]
BusBits = Annotated[int, typer.Option(help="Memory word: 32, 64, 128, 256 or 512 bits.")]
BlockGroups = Annotated[
    int | None,
    typer.Option(
        help="Groups of slices that share an n_patch width, 2 to 65536.",
        show_default="searched with --n-out, else 16",
    ),
]
NetworkSeed = Annotated[int, typer.Option(help="Seed of the XOR network.")]
Stages = Annotated[
    int, typer.Option(min=1, max=2, help="Registers of the network; 2 needs fewer LUTs.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[
    Path | None,
    typer.Option("--model", help="Take the decoder's parameters from a compressed model."),
]


def block_config(
    model: Path | None,
    n_in: int,
    n_out: int | None,
    lanes: int | None,
    patches_per_cycle: int,
    bus_bits: int,
    block_groups: int | None,
    network_seed: int,
) -> "BlockConfig":
    """Build a configuration from options, or read it from a compressed model."""
    from xorloom.sw.config import BlockConfig
    from xorloom.sw.container import read_container

    if model is not None:
        return read_container(model).config
    return BlockConfig(
        n_in=n_in,
        n_out=200 if n_out is None else n_out,
        lanes=max(1, bus_bits // max(1, n_in)) if lanes is None else lanes,
        patches_per_cycle=patches_per_cycle,
        bus_bits=bus_bits,
        block_groups=16 if block_groups is None else block_groups,
        network_seed=network_seed,
    )


def print_json(value: Any) -> None:
    """Write a result to stdout as JSON."""
    typer.echo(json.dumps(value, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table to stdout; numbers are aligned right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        left = all(isinstance(row[number], str) and not _numeric(row[number]) for row in rows)
        table.add_column(
            column, justify="left" if left else "right", no_wrap=number > 0, overflow="fold"
        )
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False).print(table)


def _numeric(cell: object) -> bool:
    return str(cell).replace(".", "").replace(",", "").strip("-+% ").isdigit()


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator["Callable[..., None]"]:
    """Show progress on stderr (only on a terminal); yields the function that makes a step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    quiet = logging.getLogger().level >= logging.ERROR or not sys.stderr.isatty()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task(what, total=total)

        def step(*done: str) -> None:
            bar.update(task, advance=1, description=f"{what}: {' '.join(done)[:48]}")

        yield step
