# SPDX-License-Identifier: Apache-2.0
"""Command bench embeddings."""

from typing import Annotated

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar

from .index import app

__all__ = ["app"]


@app.command()
def embeddings(
    method: Annotated[
        list[str] | None, typer.Option(help="As in the table's first column; repeat; default: all.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The first layer only, and fewer sentences.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What compression leaves of MiniLM-L6's sentence embeddings, without training."""
    from xorloom.sim.bench.embeddings import METHODS, embedding_rows, minilm_subject
    from xorloom.sw.base.errors import ConfigError

    for name in method or ():
        if name not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, not {name!r}")
    methods = {name: METHODS[name] for name in method or METHODS}
    with progress_bar("bench", len(methods)) as step:
        rows = embedding_rows(minilm_subject(quick=quick), methods, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = list(rows[0])
        title = "sentence embeddings of MiniLM-L6"
        print_table(title, keys, [[row[key] for key in keys] for row in rows])
