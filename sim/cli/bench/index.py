# SPDX-License-Identifier: Apache-2.0
"""Commands on the index: bench index, index-speed, total."""

from typing import Annotated

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar

from .value import app

__all__ = ["app"]

Windows = Annotated[
    list[int] | None, typer.Option("--window", help="Of the trellis; repeat; default: 14.")
]
Rate = Annotated[float, typer.Option(help="Index bits per weight of the trellis.")]


@app.command()
def index(
    codec: Annotated[
        list[str] | None,
        typer.Option(
            help="bitmap, entropy, heuristic, lowrank, trellis, classes, hashed; repeat; "
            "default: all."
        ),
    ] = None,
    density: Annotated[list[float] | None, typer.Option(help="Repeat; default: 0.09.")] = None,
    rate: Rate = 1 / 6,
    window: Windows = None,
    tensor: Annotated[
        str, typer.Option(help="minilm: all encoder matrices; gaussian: i.i.d. weights.")
    ] = "minilm",
    weights: Annotated[int, typer.Option(min=1, help="gaussian: weights.")] = 2_000_000,
    area: Annotated[bool, typer.Option(help="Synthesize the decoders (lut4_per_bit).")] = True,
    as_json: Json = False,
) -> None:
    """Magnitude that index codecs keep of a tensor, beside the rate-distortion bound."""
    import numpy as np
    from xorloom.sim import datasets
    from xorloom.sim.bench.index import CODECS, index_rows, matrices
    from xorloom.sw.base.errors import ConfigError

    codecs = codec or list(CODECS)
    for name in codecs:
        if name not in CODECS:
            raise ConfigError(f"codec must be one of {', '.join(CODECS)}, not {name!r}")
    if tensor == "minilm":
        tensors = matrices(datasets.minilm())
    elif tensor == "gaussian":
        rng = np.random.default_rng(datasets.SEED)
        tensors = {tensor: rng.standard_normal(weights, np.float32)}
    else:
        raise ConfigError(f"tensor must be minilm or gaussian, not {tensor!r}")
    densities, windows = density or [0.09], window or [14]
    for d in densities:
        if not 0 < d < 1:
            raise ConfigError(f"density must be in (0, 1), not {d}")
    runs = sum(len(windows) if name in ("trellis", "classes") else 1 for name in codecs)
    with progress_bar("bench", runs * len(densities) * len(tensors)) as step:
        rows = index_rows(
            tensors, tensor, codecs, densities, rate, windows, area=area, progress=step
        )
    if as_json:
        print_json(rows)
    else:
        keys = list(rows[0])
        cells = [["-" if row[key] is None else row[key] for key in keys] for row in rows]
        print_table("index codecs", keys, cells)


@app.command("index-speed")
def index_speed(
    window: Annotated[
        list[int] | None, typer.Option(help="Repeat; default: 10, 12, 14, 16.")
    ] = None,
    rate: Rate = 1 / 6,
    weights: Annotated[int, typer.Option(min=1)] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    as_json: Json = False,
) -> None:
    """Speed of the trellis search in million weights per second, one pass on one core."""
    from xorloom.sim.bench.index import speed_rows

    windows = window or [10, 12, 14, 16]
    with progress_bar("bench", len(windows) * (repeats + 1)) as step:
        rows = speed_rows(windows, rate, weights, repeats, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = list(rows[0])
        print_table("trellis search", keys, [[row[key] for key in keys] for row in rows])


@app.command()
def total(
    case: Annotated[
        str, typer.Option(help="alexnet-fc: its shapes with i.i.d. Gaussian weights.")
    ] = "alexnet-fc",
    density: Annotated[float, typer.Option()] = 0.09,
    rate: Annotated[
        list[float] | None,
        typer.Option(help="Index bits per weight of the trellis; repeat; default: 1/6 and 0.077."),
    ] = None,
    as_json: Json = False,
) -> None:
    """All bits of a whole case with every index: the paper's headline."""
    from xorloom.sim.bench.index import total_rows

    rates = rate or [1 / 6, 0.077]
    with progress_bar("bench", 3 + len(rates)) as step:
        rows = total_rows(case, density, rates, progress=step)
    if as_json:
        print_json(rows)
    else:
        keys = list(rows[0])
        print_table(case, keys, [[row[key] for key in keys] for row in rows])
    if not all(row["lossless"] for row in rows):
        raise typer.Exit(1)
