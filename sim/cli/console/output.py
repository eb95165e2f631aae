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

_BESIDE = 3
"""Characters of a table's column beside its text: a space on both sides, and the gap."""

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
    """Write a table to stdout; numbers are aligned right.

    A terminal too narrow for it gets the columns in parts, each beside the first one; no figure is
    ever cut. A file or pipe gets every row on one line.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    cells = [[_cell(cell) for cell in row] for row in rows]
    words = [[column, *(row[at] for row in cells)] for at, column in enumerate(columns)]
    widths = [max(map(cell_len, column)) + _BESIDE for column in words]
    whole = sum(widths) + 1
    console = Console(width=None if sys.stdout.isatty() else whole, highlight=False)
    room = console.width - 1
    widths[0] = min(widths[0], max(room // 2, room - max(widths[1:])))
    for part in _parts(widths, room):
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for at in part:
            left = all(isinstance(row[at], str) and not _numeric(row[at]) for row in rows)
            most = None if at else widths[0] - _BESIDE
            table.add_column(
                columns[at], justify="left" if left else "right", overflow="fold", max_width=most
            )
        for row in cells:
            table.add_row(*(row[at] for at in part))
        console.print(table)
        title = ""


def _cell(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _parts(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Yield the columns of each part of a table: the first one, and what fits beside it."""
    part, used = [0], widths[0]
    for at in range(1, len(widths)):
        if len(part) > 1 and used + widths[at] > room:
            yield part
            part, used = [0], widths[0]
        part.append(at)
        used += widths[at]
    yield part


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
            words = done[done[:1] == (what,) :]
            bar.update(task, advance=1, description=f"{what}: {' '.join(words)[:48]}")

        yield step
