# SPDX-License-Identifier: Apache-2.0
"""Command ``explore``: a sweep of decoders over a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

__all__ = ["COMMANDS", "explore"]

_PARAMETERS = {  # columns and their titles
    "value": "value",
    "rate": "rate",
    "n_in": "n_in",
    "n_out": "n_out",
    "window": "window",
    "taps": "taps",
    "lanes": "lanes",
    "bus_bits": "bus",
    "planes": "planes",
    "index": "index",
    "index_bits": "index bits",
}
_RESULTS = {
    "bits_per_weight": ("bits/weight", ".4f"),
    "kept": ("kept", ".3f"),
    "error": ("error", ".3f"),
    "lut": ("LUT", ",d"),
    "ff": ("FF", ",d"),
    "fmax_mhz": ("MHz", ".1f"),
    "mweights_per_s": ("Mweights/s", ",.0f"),
    "lut_per_weight": ("LUT/(w/cycle)", ".2f"),
}


def _many(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, show_default=False)


def explore(
    model: Annotated[
        Path | None,
        typer.Argument(help="Checkpoint as for compress; default: a transformer layer of MiniLM."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Results so far, JSON lines; continued if there.")
    ] = Path("explore.jsonl"),
    density: Annotated[float, typer.Option(help="Share of kept weights; direct keeps all.")] = 0.1,
    quantizer: Annotated[
        str, typer.Option(help="window, block: binary, alternating or uniform.")
    ] = "binary",
    scale: Annotated[str, typer.Option(help="Scale per tensor, row or group.")] = "row",
    tensors: Annotated[
        list[str] | None,
        typer.Option("--tensors", "-t", help="Names, or globs over matrices; default: all."),
    ] = None,
    min_size: Annotated[int, typer.Option(help="Fewest elements of a matrix.")] = 4096,
    rows: Annotated[
        int | None, typer.Option(help="Only the first rows of each matrix; default: all.")
    ] = None,
    value: Annotated[
        list[str] | None, _many("Value codecs: window, block, direct; repeat.")
    ] = None,
    n_in: Annotated[list[int] | None, _many("window: seed bits per step; repeat.")] = None,
    n_out: Annotated[list[int] | None, _many("window: slice bits; repeat.")] = None,
    window: Annotated[
        list[int] | None, _many("window: seed bits in view, 0: n_out, at least 512; repeat.")
    ] = None,
    taps: Annotated[
        list[str] | None, _many("window: OWN+SHAREDxPARITY, as 1+3x4 or 7+0x4; repeat.")
    ] = None,
    index: Annotated[
        list[str] | None, _many("trellis, entropy, lowrank, hashed, bitmap; repeat.", "--index")
    ] = None,
    index_bits: Annotated[
        list[float] | None, _many("Index bits per weight of trellis and lowrank; repeat.")
    ] = None,
    bus_bits: Annotated[list[int] | None, _many("Memory word; repeat.")] = None,
    planes: Annotated[
        list[int] | None, _many("window, block: bits per kept weight; repeat.")
    ] = None,
    block_n_in: Annotated[list[int] | None, _many("block: seed bits per slice; repeat.")] = None,
    block_n_out: Annotated[list[int] | None, _many("block: slice bits; repeat.")] = None,
    lanes: Annotated[
        list[int] | None, _many("block: slices per cycle, 0: as many as fit a word; repeat.")
    ] = None,
    rate: Annotated[
        list[str] | None, _many("direct: bits per weight, as 2, 0.25 or 3/2; repeat.")
    ] = None,
    direct_window: Annotated[list[int] | None, _many("direct: seed bits in view; repeat.")] = None,
    direct_planes: Annotated[
        list[int] | None, _many("direct: bits of a code, 0: the best one found; repeat.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Start from the large grid.")] = False,
    points: Annotated[
        int | None, typer.Option(help="Most points to measure; a grid always yields the same ones.")
    ] = None,
    target: Annotated[str, typer.Option(help="Synthesis target, see synth.")] = "ecp5",
    seeds: Annotated[int, typer.Option(min=0, help="Placement seeds; 0: no Fmax.")] = 1,
    memory: Annotated[str, typer.Option(help="Memory, see bandwidth.")] = "ideal",
    clock: Annotated[
        float | None, typer.Option(help="Upper limit of the clock in MHz; without Fmax: the clock.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        _many(
            "Of the front: bits_per_weight, kept, error, lut, lut_per_weight, fmax_mhz, "
            "mweights_per_s; repeat. Default: all but lut_per_weight."
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the points: .png or .svg.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: as many as cores.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sweep decoders over a model's matrices: bits per weight, LUTs, Fmax, speed, Pareto front."""
    import tempfile
    from dataclasses import replace

    import numpy as np
    from xorloom.hw.flow.targets import check_target
    from xorloom.sim.bandwidth.presets import memory as memory_named
    from xorloom.sim.bench.explore.grid import DEFAULT, FULL
    from xorloom.sim.bench.explore.grid import points as grid_points
    from xorloom.sim.bench.explore.pareto import OBJECTIVES, check_objectives
    from xorloom.sim.bench.explore.plot import draw
    from xorloom.sim.bench.explore.store import Store
    from xorloom.sim.bench.explore.sweep import (
        Sweep,
        count_jobs,
        cut_rows,
        data_facts,
        run_sweep,
        sweep_rows,
    )
    from xorloom.sim.datasets import DEMO_TENSORS, minilm
    from xorloom.sim.plots import check_plot
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.base.outputs import check_outputs
    from xorloom.sw.model.plan.selection import select
    from xorloom.sw.model.plan.source import open_plain
    from xorloom.sw.tensors.prune import check_sparsity
    from xorloom.sw.tensors.quantize import Quantizer

    check_plot(plot)
    part = check_target(target)
    if clock is not None and not clock > 0:
        raise ConfigError(f"clock must be positive, not {clock} MHz")
    if points is not None and points < 1:
        raise ConfigError(f"points must be at least 1, not {points}")
    if rows is not None and rows < 1:
        raise ConfigError(f"rows must be at least 1, not {rows}")
    memory_named(memory)
    check_sparsity(1 - density)
    goals = objective or [name for name in OBJECTIVES if name != "lut_per_weight"]
    check_objectives(goals)
    given: dict[str, Any] = {
        "value": value,
        "n_in": n_in,
        "n_out": n_out,
        "window": window,
        "taps": taps,
        "index": index,
        "index_bits": index_bits,
        "bus_bits": bus_bits,
        "planes": planes,
        "block_n_in": block_n_in,
        "block_n_out": block_n_out,
        "lanes": lanes,
        "rate": rate,
        "direct_window": direct_window,
        "direct_planes": direct_planes,
    }
    start = FULL if full else DEFAULT
    changes: dict[str, Any] = {k: tuple(dict.fromkeys(v)) for k, v in given.items() if v}
    grid = replace(start, **changes)
    source = open_plain(minilm() if model is None else model)
    written = [path for path in (output, plot) if path is not None]
    check_outputs(written, source.files, [path.parent for path in written])
    patterns = tuple(tensors or ([DEMO_TENSORS] if model is None else []))
    names = select(source, patterns, min_size)
    sample = np.abs(source[names[0]].weights()[:rows])
    chosen, skipped = grid_points(grid, density, importance=sample, at_most=points)
    with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
        weights = Path(folder) / "weights.npz"
        digest = cut_rows(source, names, rows, weights)
        how = Quantizer(quantizer, 1, scale)
        sweep = Sweep(weights, density, how, target, seeds, memory, clock)
        with Store(output, data_facts(digest)) as store:
            with progress_bar("explore", count_jobs(chosen, sweep, store)) as step:
                run_sweep(chosen, sweep, store, workers=workers, progress=step)
            found, more, missing = sweep_rows(chosen, sweep, store, goals)
            errors = store.errors
    skipped.update(more)
    if plot is not None and found:
        draw(found, plot, f"{len(names)} matrices, density {density:g}, {part.title}")
    if as_json:
        print_json(
            {
                "command": "explore",
                "target": target,
                "seeds": seeds,
                "memory": memory,
                "density": density,
                "objectives": goals,
                "tensors": names,
                "sampled_rows": rows,
                "rows": found,
                "skipped": dict(skipped),
                "failed": missing,
                "errors": errors,
            }
        )
    else:
        _report(found, names, rows, skipped, errors)
    if missing:
        raise typer.Exit(1)


def _report(
    found: "Sequence[Mapping[str, Any]]",
    names: "Sequence[str]",
    rows: int | None,
    skipped: "Counter[str]",
    errors: "Sequence[str]",
) -> None:
    """Print the points, those on the front first and marked."""
    order = sorted(found, key=lambda row: (not row["pareto"], row["bits_per_weight"]))
    cut = "" if rows is None else f", the first {rows} rows of each"
    values = {name: {row.get(name) for row in found} for name in _PARAMETERS}
    differ = [name for name, seen in values.items() if len(seen) > 1] or ["value"]
    columns = ["front", *(_PARAMETERS[name] for name in differ)]
    print_table(
        f"{len(found)} decoders on {len(names)} matrices{cut}",
        [*columns, *(title for title, _ in _RESULTS.values())],
        [
            [
                "*" if row["pareto"] else "",
                *("-" if row.get(name) is None else f"{row[name]}" for name in differ),
                *(
                    "-" if row[name] is None else format(row[name], form)
                    for name, (_, form) in _RESULTS.items()
                ),
            ]
            for row in order
        ],
    )
    same = [f"{_PARAMETERS[n]} {next(iter(v))}" for n, v in values.items() if len(v) == 1]
    if same:
        typer.echo(f"all: {', '.join(same)}; *: no other is as good in everything")
    for reason, count in skipped.items():
        typer.echo(f"skipped {count}: {reason}")
    for error in errors:
        typer.echo(f"failed: {error}")


COMMANDS = (explore,)
