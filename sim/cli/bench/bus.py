# SPDX-License-Identifier: Apache-2.0
"""Command ``bench bus``: decoders on modelled memories."""

from pathlib import Path
from typing import Annotated

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar

from .embeddings import app

__all__ = ["app"]

Names = list[str] | None


@app.command()
def bus(
    design: Annotated[
        Names,
        typer.Option(
            help="xorloom, xorloom-entropy, xorloom-bitmap, csr, bitmask, rice, dense; repeat; "
            "default: all but xorloom-bitmap."
        ),
    ] = None,
    memory: Annotated[
        Names, typer.Option(help="ideal or a preset; repeat; default: ideal, ddr3-1600, sdr-133.")
    ] = None,
    case: Annotated[
        Names,
        typer.Option(
            help="gaussian-64k, minilm-ffn0, minilm-ffn, alexnet-fc; repeat; default: minilm-ffn0."
        ),
    ] = None,
    sparsity: Annotated[list[float] | None, typer.Option(help="Repeat; default: 0.9.")] = None,
    bus_bits: Annotated[int, typer.Option(help="Memory word in bits.")] = 64,
    clock: Annotated[float, typer.Option(help="Clock of bus and decoder in MHz.")] = 100.0,
    quick: Annotated[
        bool, typer.Option(help="64 Ki weights; xorloom, csr and bitmask; ideal.")
    ] = False,
    full: Annotated[
        bool,
        typer.Option(
            help="Every memory but spi-50, minilm-ffn and alexnet-fc, S 0.7, 0.9, 0.95: many "
            "minutes."
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the roofline of the first case and sparsity.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send whole matrices through the decoder and its baselines, on modelled memories."""
    from xorloom.sim.bandwidth.presets import MEMORIES
    from xorloom.sim.bandwidth.roofline import plot_roofline
    from xorloom.sim.bench.bus import DESIGNS, build_designs, bus_rows, check_names
    from xorloom.sim.plots import check_plot
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.spec.config import check_bus

    if quick and full:
        raise ConfigError("give --quick or --full, not both")
    if not clock > 0:
        raise ConfigError("the clock must be positive")
    check_bus(bus_bits)
    check_plot(plot)
    designs, memories, cases, sparsities = (
        [name for name in DESIGNS if name != "xorloom-bitmap"],
        ["ideal", "ddr3-1600", "sdr-133"],
        ["minilm-ffn0"],
        [0.9],
    )
    if quick:
        designs, memories, cases = ["xorloom", "csr", "bitmask"], ["ideal"], ["gaussian-64k"]
    if full:
        memories = ["ideal", *(name for name in MEMORIES if name != "spi-50")]
        cases, sparsities = ["minilm-ffn", "alexnet-fc"], [0.7, 0.9, 0.95]
    designs, memories = design or designs, memory or memories
    cases, sparsities = case or cases, sparsity or sparsities
    check_names(designs, memories, cases)
    runs = len(designs) * len(memories) * len(cases) * len(sparsities)
    with progress_bar("bench", runs) as step:
        build_designs(designs, sparsities, bus_bits)
        rows = list(
            bus_rows(
                designs,
                memories,
                cases,
                sparsities,
                bus_bits=bus_bits,
                clock_mhz=clock,
                progress=step,
            )
        )
    exact = all(row["bit_exact"] for row in rows)
    if plot is not None and exact:
        plot_roofline(rows, plot)
    if as_json:
        print_json(rows)
    else:
        keys = ["design", "memory", "case", "sparsity", "cycles", "bus_utilisation", "of_memory"]
        keys += ["weights_per_cycle", "mweights_per_s", "bits_per_weight"]
        cells = [
            [*(row.get(key, "-") for key in keys), (row["stall_cycles"] or {}).get("blocked", "-")]
            for row in rows
        ]
        print_table(f"{bus_bits} bits at {clock:g} MHz", [*keys, "blocked"], cells)
    if not exact:
        wrong = next(row for row in rows if not row["bit_exact"])
        typer.echo(f"xorloom: {wrong['design']}, {wrong['case']}: {wrong['mismatch']}", err=True)
        raise typer.Exit(1)
