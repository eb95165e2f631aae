# SPDX-License-Identifier: Apache-2.0
"""Command ``boards``: bitstreams of the board demonstrations."""

from pathlib import Path
from typing import Annotated

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table

__all__ = ["COMMANDS", "boards"]

_COLUMNS = ("board", "weights", "LUT4", "FF", "block RAM", "clock MHz", "Fmax MHz", "bitstream")


def boards(
    board: Annotated[
        list[str] | None,
        typer.Option("--board", help="ulx3s, icebreaker, tang-nano-9k; repeat; default: all."),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for what is made.")] = Path(
        "build/boards"
    ),
    model: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="MiniLM-L6 in a file, instead of the downloaded one."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Most placement seeds to try, until the clock is reached.")
    ] = 8,
    jobs: Annotated[int, typer.Option(min=1, help="Boards built side by side.")] = 2,
    sources: Annotated[
        bool, typer.Option("--sources", help="Verilog, image and Tcl only, also for arty-a7.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Build bitstreams that decode MiniLM weights in a loop and report over a serial line."""
    from xorloom.sim.boards.build import BUILDABLE, build_boards
    from xorloom.sim.boards.sources import write_sources
    from xorloom.sim.datasets import minilm

    names = list(board or (["arty-a7"] if sources else BUILDABLE))
    checkpoint = model or minilm()
    if sources:
        written = [path for name in names for path in write_sources(name, checkpoint, output)]
        if as_json:
            print_json({"files": [str(path) for path in written]})
        else:
            typer.echo("\n".join(map(str, written)))
        return
    reports = build_boards(names, checkpoint, output, seeds=seeds, jobs=jobs, quiet=quiet)
    if as_json:
        print_json({"rows": [report.to_dict() for report in reports]})
        return
    rows = [
        (
            report.board,
            f"{report.weights:,}",
            *(f"{used:,} of {limit:,}" for used, limit in (report.lut, report.ff, report.bram)),
            f"{report.clock_mhz:g}",
            f"{report.fmax_mhz:.1f}",
            report.bitstream,
        )
        for report in reports
    ]
    print_table("bitstreams", _COLUMNS, rows)


COMMANDS = (boards,)
