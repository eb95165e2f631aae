# SPDX-License-Identifier: Apache-2.0
"""Command ``report``: one HTML page of results."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMMANDS", "report"]


def report(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="JSON that commands printed with --json, or folders of it. Of two files of the "
            "same command, the later one counts."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .html file.")] = Path(
        "report.html"
    ),
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "xorloom report",
) -> None:
    """Make one self-contained HTML page, with charts, of the results of other commands."""
    from xorloom.sim.report.page import write_report

    count = write_report(files, output, title)
    size = output.stat().st_size / 1e6
    typer.echo(f"{output}: {count} figures, {size:.1f} MB, one file")


COMMANDS = (report,)
