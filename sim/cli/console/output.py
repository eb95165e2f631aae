# SPDX-License-Identifier: Apache-2.0
"""Printing of commands: JSON, tables, progress."""

import json
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

__all__ = [
    "Json",
    "command_line",
    "print_json",
    "print_table",
    "progress_bar",
    "say",
    "with_command",
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def command_line() -> str:
    """Return the running command as one types it, without ``--json``."""
    return shlex.join(["xorloom", *(word for word in sys.argv[1:] if word != "--json")])


def with_command(value: Any) -> Any:
    """Add the running command to a result, or to each of its rows that names none."""
    command = {"command": command_line()}
    if isinstance(value, list):
        return [command | row for row in value]
    return command | value | command


def print_json(value: Any) -> None:
    """Write a result with its command to stdout, as JSON that ``xorloom report`` reads."""
    typer.echo(json.dumps(with_command(value), indent=2))


def say(text: str) -> None:
    """Write a line for people to stderr, unless ``--quiet``."""
    if logging.getLogger().level < logging.ERROR:
        typer.echo(text, err=True)


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
def progress_bar(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show progress on stderr, if that is a terminal; yield the call-back for its steps."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    quiet = logging.getLogger().level >= logging.ERROR or not sys.stderr.isatty()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task(what, total=total)

        def step(*done: str) -> None:
            bar.update(task, advance=1, description=f"{what}: {' '.join(done)[:48]}")

        yield step
