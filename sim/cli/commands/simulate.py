# SPDX-License-Identifier: Apache-2.0
"""Command ``simulate``: generated Verilog on whole tensors."""

from pathlib import Path
from typing import Annotated, Any

import typer
from xorloom.sim.cli.console.options import (
    MaxWeights,
    config_options,
    matching,
    refuse_beside_model,
)
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar
from xorloom.sim.generate.options import ConfigOptions

__all__ = ["COMMANDS", "indexed_rows", "simulate"]

_INDEXED = ("ip", "stream-ip", "index")
"""Units that are simulated on a compressed model only."""


@config_options("model", "tensor")
def simulate(
    context: typer.Context,
    model: Annotated[Path | None, typer.Argument(help="A compressed model.")] = None,
    tensor: Annotated[
        list[str] | None,
        typer.Option(
            "--tensor", "-t", help="Names or globs; sent back to back; default: the largest."
        ),
    ] = None,
    unit: Annotated[
        str,
        typer.Option(
            help="decoder (slices) or, of a model, ip (codes with their mask, read out of memory), "
            "stream-ip (the same, fed by AXI4-Stream) or index (masks)."
        ),
    ] = "decoder",
    iid: Annotated[
        float | None, typer.Option(help="Instead of a model: i.i.d. mask of this sparsity.")
    ] = None,
    weights: Annotated[int, typer.Option(help="Weights of the i.i.d. mask.")] = 1_000_000,
    planes: Annotated[int, typer.Option(help="Planes of the i.i.d. codes.")] = 1,
    levels: Annotated[
        bool,
        typer.Option(
            "--levels", help="Of the direct codec: put out the int8 level of each weight, no codes."
        ),
    ] = False,
    beats: Annotated[
        str | None,
        typer.Option(
            help="ip, stream-ip: form of output beats, packed or planar.", show_default="packed"
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Let words arrive as from this memory, see bandwidth; not for index."),
    ] = None,
    clock: Annotated[float, typer.Option(help="Decoder clock in MHz, for --memory.")] = 100.0,
    source: Annotated[
        str,
        typer.Option(
            help="Input stalls: none, random, bursts, slow, or a pattern of . and x; not for ip."
        ),
    ] = "none",
    sink: Annotated[str, typer.Option(help="Output stalls, likewise.")] = "none",
    simulator: Annotated[str, typer.Option(help="verilator or icarus.")] = "verilator",
    volume: Annotated[
        bool,
        typer.Option(
            "--volume", help="ip: testbench in C++, same figures; for whole models, without waves."
        ),
    ] = False,
    waves: Annotated[
        Path | None,
        typer.Option(help="Write a waveform, .fst (with names of states) or .vcd, and its view."),
    ] = None,
    waves_cycles: Annotated[
        int | None, typer.Option(help="Clock cycles in the waveform; default: all.")
    ] = None,
    timeline: Annotated[
        bool,
        typer.Option(
            "--timeline", help="With --json: the window decoder's first frame, clock by clock."
        ),
    ] = False,
    max_weights: MaxWeights = None,
    *,
    options: ConfigOptions,
    as_json: Json = False,
) -> None:
    """Simulate generated Verilog on whole tensors: every bit checked, cycles beside the model."""
    from xorloom.sim.simulate.waves.fst import check_waves
    from xorloom.sw.base.errors import ConfigError

    if model is not None:
        refuse_beside_model(context, "iid", "weights", "planes")
        tensor = matching(model, tensor)
    if waves_cycles is not None and waves is None:
        raise ConfigError("--waves-cycles needs --waves")
    if waves is not None:
        check_waves(waves, waves_cycles)
    if unit in _INDEXED:
        with progress_bar("simulate", 1):
            row = _indexed_row(
                unit,
                model,
                tensor or [],
                memory,
                clock,
                source,
                sink,
                refused={"--iid": iid, "--timeline": timeline or None},
                output={"levels": levels or None, "beats": beats, "volume": volume or None},
                how={
                    "simulator": simulator,
                    "waves": waves,
                    "waves_cycles": waves_cycles,
                    "max_weights": max_weights,
                },
            )
        if as_json:
            print_json(row)
        else:
            print_table("simulation", ("what", "value"), indexed_rows(row))
        if not row["bit_exact"]:
            raise typer.Exit(1)
        return
    if unit != "decoder":
        raise ConfigError(f"unit must be decoder, {' or '.join(_INDEXED)}, not {unit!r}")
    for option, given in (("--beats", beats is not None), ("--volume", volume)):
        if given:
            raise ConfigError(f"{option} does not go with --unit {unit}")
    from xorloom.sim.simulate.cases import Case, iid_case, model_case
    from xorloom.sim.simulate.decoder import simulate_case

    case: Case
    if model is not None:
        case = model_case(model, tensor or [], max_weights=max_weights)
    else:
        config = options.config()
        free = options.n_out if config.codec == "block" else options.n_in
        sparsity = 0.91 if iid is None else iid
        case = iid_case(sparsity, weights, planes, config, search=free is None)
    with progress_bar("simulate", 1) as step:
        row = simulate_case(
            case,
            memory_name=memory,
            clock_mhz=clock,
            source=source,
            sink=sink,
            simulator=simulator,
            stages=options.stages or 1,
            levels=levels,
            waves=waves,
            waves_cycles=waves_cycles,
            timeline=timeline,
        )
        step(case.title)
    if as_json:
        print_json(row)
    elif row["bit_exact"]:
        print_table("simulation", ("what", "value"), _simulation_rows(row))
    else:
        typer.echo(f"NOT BIT-EXACT: {row['mismatch']}")
    if not row["bit_exact"]:
        raise typer.Exit(1)


def _indexed_row(
    unit: str,
    model: Path | None,
    tensors: list[str],
    memory: str | None,
    clock: float,
    source: str,
    sink: str,
    refused: dict[str, object],
    output: dict[str, object],
    how: dict[str, Any],
) -> dict[str, Any]:
    """Simulate a decoder with an index on a model.

    ``refused`` are options that the unit does not take, ``output`` those that only IP blocks take,
    ``how`` is passed on to the simulation.

    Raises
    ------
    ConfigError
        If no model is given, or an option that does not go with the unit.
    """
    from xorloom.sim.simulate.index import simulate_model
    from xorloom.sim.simulate.ip import simulate_image
    from xorloom.sw.base.errors import ConfigError

    if unit == "ip" and source != "none":
        raise ConfigError("--source does not go with --unit ip: the memory decides, see --memory")
    if unit == "index":
        refused = refused | {"--memory": memory}
        refused |= {f"--{name}": value for name, value in output.items()}
    for option, value in refused.items():
        if value is not None:
            raise ConfigError(f"{option} does not go with --unit {unit}")
    if model is None:
        raise ConfigError(f"--unit {unit} simulates a compressed model: name one")
    if unit == "index":
        return simulate_model(model, tensors, source=source, sink=sink, **how)
    how = how | {name: value for name, value in output.items() if value is not None}
    return simulate_image(
        model, tensors, unit=unit, memory=memory, clock_mhz=clock, source=source, sink=sink, **how
    )


def indexed_rows(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the table of the simulation of a decoder with an index."""
    if not row["bit_exact"]:
        return [("case", row["case"]), ("NOT BIT-EXACT", row["mismatch"])]
    if row["unit"] != "index":
        checked, words = f"all of {row['weights']:,} weights", row["bus_words"]
    else:
        checked, words = f"{row['bits_checked']:,}", row["words"]
    rows = [
        ("case", row["case"]),
        ("decoder", f"{row['unit']}, {row['index']} index"),
        ("bits checked", f"{checked} in {row['beats']:,} beats, all equal"),
        ("bus words", f"{words:,} of {row['bus_bits']} bits"),
        ("cycles", f"{row['cycles']:,}"),
        ("model", f"{row['model_cycles']:,} cycles (ideal memory)"),
        ("measured / model", f"{row['cycles_to_model']:.3f}"),
        ("weights per cycle", f"{row['weights_per_cycle']:.1f}"),
    ]
    if row["unit"] != "index":
        lost = ", ".join(f"{name} {n:,}" for name, n in row["stall_cycles"].items())
        rows += [
            ("memory", f"{row['memory']}, decoder at {row['clock_mhz']:g} MHz"),
            ("bus utilisation", f"{100 * row['bus_utilisation']:.1f} % payload"),
            ("cycles lost", lost),
        ]
    return rows


def _simulation_rows(row: dict[str, object]) -> list[tuple[str, str]]:
    """Return the table of a simulation's result."""
    return [
        ("case", str(row["case"])),
        ("bits checked", f"{row['bits_checked']:,} in {row['slices']:,} slices, all equal"),
        ("bus words", f"{row['words']:,} of {row['bus_bits']} bits"),
        ("cycles", f"{row['cycles']:,}"),
        (
            "model",
            f"{row['model_cycles']:,} cycles ({row['model_limit']}-limited, {row['memory']})",
        ),
        ("measured / model", f"{row['cycles_to_model']:.3f}"),
        ("bus utilisation", f"{100 * row['bus_utilisation']:.1f} %"),  # type: ignore[operator]
        ("weights per cycle", f"{row['weights_per_cycle']:.1f}"),
        ("decoder made the bus wait", f"{row['input_waits']:,} cycles"),
        ("memory made the decoder wait", f"{row['starved']:,} cycles"),
        ("consumer made the decoder wait", f"{row['output_waits']:,} cycles"),
    ]


COMMANDS = (simulate,)
