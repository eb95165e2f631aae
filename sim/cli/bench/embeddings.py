# SPDX-License-Identifier: Apache-2.0
"""Command bench embeddings."""

from pathlib import Path
from typing import Annotated

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar, say

from .index import app

__all__ = ["app"]


@app.command()
def embeddings(
    method: Annotated[
        list[str] | None,
        typer.Option(help="As in the table's first column; repeat; default: all, or --model."),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A file made of MiniLM-L6, compressed or not; repeat."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The first layer only, and fewer sentences.")
    ] = False,
    collect: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz", help="Measure nothing: write moments for compress --calibration."
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(help="collect: bits per weight, as of compress.", show_default="2"),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="collect: seed bits in view, as of compress.", show_default="10"),
    ] = None,
    as_json: Json = False,
) -> None:
    """What compression leaves of MiniLM-L6's sentence embeddings, without training."""
    from xorloom.sim.bench.embeddings import METHODS, embedding_rows, file_row, minilm_subject
    from xorloom.sw.base.errors import ConfigError

    if collect is not None:
        if method or model or as_json:
            raise ConfigError("--collect measures nothing: leave out --method, --model and --json")
        _collect(collect, rate, window, quick)
        return
    if rate is not None or window is not None:
        raise ConfigError("--rate and --window go with --collect (a method has its own)")
    for name in method or ():
        if name not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, not {name!r}")
    methods = {name: METHODS[name] for name in method or ([] if model else METHODS)}
    with progress_bar("bench", len(methods) + len(model or ())) as step:
        subject = minilm_subject(quick=quick)
        rows = []
        for path in model or ():
            rows.append(file_row(subject, path))
            step("model", path.name)
        rows += embedding_rows(subject, methods, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = list(rows[0])
        cells = [["-" if row[key] is None else row[key] for key in keys] for row in rows]
        print_table("sentence embeddings of MiniLM-L6", keys, cells)


def _collect(path: Path, rate: str | None, window: int | None, quick: bool) -> None:
    """Write a file of calibrations, of what the direct codec makes of MiniLM-L6."""
    from xorloom.sim.bench.embeddings import ROTATION, calibrated, minilm_subject
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.model.calibration.file import save
    from xorloom.sw.spec.direct import DirectConfig
    from xorloom.sw.spec.direct_preset import direct_config, rate_of

    if path.suffix != ".npz":
        raise ConfigError(f"{path}: a file of calibrations must end in .npz")
    config = direct_config(
        rate=rate_of("2" if rate is None else rate),
        window=DirectConfig.window if window is None else window,
    )
    subject = minilm_subject(quick=quick)
    found = calibrated(subject, config, ROTATION)
    save(path, found)
    samples = next(iter(found.values())).samples
    say(
        f"{path}: {len(found)} matrices, {samples:,} inputs of {len(subject.calibration)} "
        f"sentences; rate {config.rate}, window {config.window}, rotated"
    )
