# SPDX-License-Identifier: Apache-2.0
"""Printing of commands: JSON, tables, progress."""

import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from xorloom.sw.remote.urls import named_as_given

__all__ = [
    "Json",
    "command_line",
    "print_json",
    "print_table",
    "progress_bar",
    "rate_text",
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
        typer.echo(named_as_given(text), err=True)


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
    title = named_as_given(title)
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


def rate_text(done: int, total: int, then: float, now: float) -> str:
    """Return how fast weights are done, and how long the rest takes.

    Parameters
    ----------
    done, total : int
        Weights.
    then, now : float
        Seconds from the beginning to when so many were done, and till now.
    """
    if not done or then <= 0:
        return ""
    left = max(0, round(total / done * then - now))
    minutes, seconds = divmod(left, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{done / then / 1e6:,.1f} Mweights/s, {hours}:{minutes:02}:{seconds:02} left"


@contextmanager
def progress_bar(
    what: str, total: int | None = None, weights: Sequence[Mapping[str, int]] = ()
) -> Iterator[Callable[..., None]]:
    """Show progress on stderr, if that is a terminal; yield the call-back for its steps.

    Parameters
    ----------
    what : str
    total : int, optional
        Steps.
    weights : sequence of mappings, optional
        Weights of the tensors of every stage, by name, in the place of ``total``: each step is as
        long as it has weights, and rate and time left are shown.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    quiet = logging.getLogger().level >= logging.ERROR or not sys.stderr.isatty()
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn()]
    if weights:
        columns += [TextColumn("{task.fields[tensors]}"), TextColumn("{task.fields[rate]}")]
    else:
        columns += [MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    sizes = {name: size for stage in weights for name, size in stage.items()}
    if weights:
        total = sum(sum(stage.values()) for stage in weights)
    steps = sum(map(len, weights))
    began = then = time.monotonic()
    made = 0

    class Shown(Progress):
        """Progress whose time left falls between the steps as well."""

        def get_renderables(self) -> Iterable[Any]:
            for shown in self.tasks if weights else ():
                text = rate_text(
                    int(shown.completed), total or 0, then - began, time.monotonic() - began
                )
                shown.fields |= {"rate": text, "tensors": f"{made:,}/{steps:,}"}
            return super().get_renderables()

    with Shown(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task(what, total=total, rate="", tensors="")

        def step(*done: str) -> None:
            nonlocal then, made
            then, made = time.monotonic(), made + 1
            words = done[done[:1] == (what,) :]
            advance = sizes.get(done[-1], 0) if weights else 1
            bar.update(task, advance=advance, description=f"{what}: {' '.join(words)[:48]}")

        yield step
