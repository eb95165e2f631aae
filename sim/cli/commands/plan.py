# SPDX-License-Identifier: Apache-2.0
"""Command ``plan``: what ``compress`` would take, and how large its file would be."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from xorloom.sim.cli.console.model_options import options_of, recipe_of
from xorloom.sim.cli.console.output import Json, print_json, print_table, say
from xorloom.sim.cli.console.trial import Trial, given_words, run_trial, trial_rows

from .compress import compress

if TYPE_CHECKING:
    from xorloom.sim.bench.forecast.forecast import Forecast
    from xorloom.sim.bench.forecast.layers import Layer

__all__ = ["COMMANDS", "plan"]

_NOT_FORESEEN = (
    *("output", "saliency", "calibration", "masks", "choices", "save_choices", "codes"),
    *("verify", "tell_kept", "resume", "max_shard_size", "cluster", "tensor", "stages"),
)
"""Options of ``compress`` that say nothing of the work, or bring arrays that a plan has not."""
_COLUMNS = (
    *("tensors", "count", "shape", "dtype", "becomes", "Mweights"),
    *("bits/weight", "MB", "CPU s", "MiB/job"),
)


@options_of(compress, *_NOT_FORESEEN)
def plan(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint, as compress takes it; or a table of shapes, .csv or .json: see "
            "docs/usage.md, Plans."
        ),
    ],
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure rates anew, whatever was found before.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Then compress it for a trial, in a temporary folder, and tell both; of a table, "
            "normal weights of its shapes.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell size, time and memory of a compression by layer, from rates of this machine."""
    from xorloom.sim.bench.forecast.forecast import forecast
    from xorloom.sim.bench.forecast.shapes import is_table, read_shapes
    from xorloom.sw.model.plan.source import open_plain

    table = is_table(model)
    wanted = recipe_of(context)
    found = read_shapes(model) if table else open_plain(model)
    made = forecast(
        found,
        wanted,
        weights=not table,
        jobs=context.params["jobs"],
        block_weights=context.params["block_weights"],
        use_cache=not measure,
        note=say,
    )
    real = None
    if check:
        words = given_words(context, "model", "measure", "check", "as_json")
        real = run_trial(model, words, found if table else None)
    if as_json:
        print_json(_facts(made) | ({"check": real.to_dict()} if real else {}))
        return
    _print(str(model), made, real)


def _facts(made: "Forecast") -> dict[str, Any]:
    """Return a forecast for JSON."""
    layers = [
        asdict(layer) | {"shape": list(layer.shape), "bits_per_weight": layer.bits_per_weight}
        for layer in made.layers
    ]
    facts = {key: value for key, value in asdict(made).items() if key not in ("layers", "notes")}
    more = {"weights": made.weights, "bits_per_weight": made.bits_per_weight}
    return {"layers": layers, "all": facts | more, "notes": list(made.notes)}


def _print(title: str, made: "Forecast", real: Trial | None) -> None:
    rows = [_row(layer) for layer in made.compressed]
    others = [layer for layer in made.layers if not layer.becomes]
    if others:
        count, weights = (sum(getattr(o, key) for o in others) for key in ("tensors", "weights"))
        stored = sum(other.stored for other in others)
        facts = (f"{count:,}", "", "", "as they are", f"{weights / 1e6:,.2f}")
        per_weight = 8 * stored / max(1, weights)
        rows.append(("others", *facts, f"{per_weight:.4f}", f"{stored / 1e6:,.2f}", "", ""))
    print_table(f"{title}: what compress will take", _COLUMNS, rows)
    jobs = f"{made.jobs} job{'' if made.jobs == 1 else 's'}"
    for line in (
        f"size: {made.file / 1e6:,.1f} MB, of {made.source / 1e6:,.1f} MB; "
        f"{made.bits_per_weight:.4f} bits per weight that is compressed",
        f"time: {_clock(made.seconds)} with {jobs}, {made.cpu:,.1f} CPU seconds; "
        f"decompress {_clock(made.decode)}",
        f"memory: {made.memory / 2**20:,.0f} MiB with {jobs}",
        *made.notes,
    ):
        typer.echo(line)
    if real is not None:
        print_table("trial", ("what", "planned", "found", "ratio"), trial_rows(made, real))


def _row(layer: "Layer") -> tuple[str, ...]:
    blocks = f", {layer.blocks:,} blocks" if layer.blocks else ""
    return (
        layer.name,
        f"{layer.tensors:,}",
        "x".join(map(str, layer.shape)) + blocks,
        layer.dtype,
        layer.becomes,
        f"{layer.weights / 1e6:,.2f}",
        f"{layer.bits_per_weight:.4f}",
        f"{layer.stored / 1e6:,.2f}",
        f"{layer.cpu:,.3g}" if layer.cpu < 1000 else f"{layer.cpu:,.0f}",
        f"{layer.memory / 2**20:,.0f}",
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if minutes or hours else f"{seconds:.1f} s"


COMMANDS = (plan,)
