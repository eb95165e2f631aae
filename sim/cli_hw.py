# SPDX-License-Identifier: Apache-2.0
"""Commands on hardware: generate, simulate, synth, bandwidth."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_options import (
    ConfigOptions,
    Json,
    UnitOptions,
    config_options,
    print_json,
    print_table,
    progress_bar,
    unit_options,
)
from .cli_simulate import indexed_row, indexed_rows, simulation_rows

if TYPE_CHECKING:
    from xorloom.hw.synth import SynthReport
    from xorloom.hw.verilog import GeneratedVerilog
    from xorloom.sw.index_config import IndexConfig

__all__ = ["COMMANDS", "bandwidth", "generate", "simulate", "synth", "synth_rows"]

SYNTH_COLUMNS = ("design", "target", "LUT", "FF", "NAND2 eq.", "Fmax MHz", "min MHz", "seeds")


INDEXED = ("index", "core", "ip", "stream-ip")
"""Units with an index decoder."""


def _indexes(options: ConfigOptions, unit: UnitOptions) -> "tuple[list[IndexConfig], int]":
    """Return index codecs and planes, those of the model or as given."""
    from xorloom.sw.container import read_container
    from xorloom.sw.index_choice import index_config

    if options.model is not None:
        container = read_container(options.model)
        planes = next((t.planes for t in container.tensors.values()), 1)
        return [container.index], planes
    value, names = options.config(), unit.index or ["trellis"]
    # Beside others the rate is for those that have one; alone, the others refuse it.
    rated = {"trellis", "lowrank"} & set(names) or set(names)
    return [
        index_config(
            name,
            value,
            unit.planes,
            density=unit.density,
            rate=unit.index_bits if name in rated else None,
            classes=unit.index_classes,
        )
        for name in names
    ], unit.planes


def _verilog(name: str, options: ConfigOptions, unit: UnitOptions) -> "GeneratedVerilog":
    """Generate a unit."""
    from xorloom.hw.verilog import IP_UNITS, generate_unit
    from xorloom.sw.errors import ConfigError

    memory = unit.memory()
    if memory and name != "ip":
        given = ", ".join("--" + option.replace("_", "-") for option in memory)
        raise ConfigError(f"{given} goes with --unit ip, which reads memory, not {name}")
    if name not in INDEXED:
        return generate_unit(name, options.config(), stages=options.stages or 1)
    indexes, planes = _indexes(options, unit)
    if name in IP_UNITS:
        return generate_unit(name, options.config(), indexes=indexes, planes=planes, memory=memory)
    if len(indexes) > 1:
        raise ConfigError(f"--unit {name} has one index; --unit ip and stream-ip take several")
    return generate_unit(name, indexes[0])


@config_options()
@unit_options()
def generate(
    options: ConfigOptions,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the Verilog.")],
    unit_options: UnitOptions,
    unit: Annotated[
        str,
        typer.Option(
            help="ip (whole, reads memory), stream-ip (whole, fed by AXI4-Stream), decoder "
            "(slices), or index (masks)."
        ),
    ] = "decoder",
) -> None:
    """Write the decoder's Verilog and a manifest; the same parameters give the same bytes.

    With an IP block go its registers as Markdown, C header and Python constants.
    """
    for path in _verilog(unit, options, unit_options).write(output):
        typer.echo(str(path))


@config_options("model")
def simulate(
    model: Annotated[Path | None, typer.Argument(help="A compressed model.")] = None,
    tensor: Annotated[
        list[str] | None,
        typer.Option("--tensor", "-t", help="Tensors, sent back to back; default: the largest."),
    ] = None,
    unit: Annotated[
        str,
        typer.Option(
            help="decoder (slices) or, of a model, ip (codes with their mask, read out of memory) "
            "or index (masks)."
        ),
    ] = "decoder",
    iid: Annotated[
        float | None, typer.Option(help="Instead of a model: i.i.d. mask of this sparsity.")
    ] = None,
    weights: Annotated[int, typer.Option(help="Weights of the i.i.d. mask.")] = 1_000_000,
    planes: Annotated[int, typer.Option(help="Planes of the i.i.d. codes.")] = 1,
    memory: Annotated[
        str | None,
        typer.Option(help="Let words arrive like this memory, see bandwidth; not of index."),
    ] = None,
    clock: Annotated[float, typer.Option(help="Decoder clock in MHz, for --memory.")] = 100.0,
    source: Annotated[
        str,
        typer.Option(
            help="Input stalls: none, random, bursts, slow, or a pattern of . and x; not of ip."
        ),
    ] = "none",
    sink: Annotated[str, typer.Option(help="Output stalls, likewise.")] = "none",
    simulator: Annotated[str, typer.Option(help="verilator or icarus.")] = "verilator",
    waves: Annotated[
        Path | None, typer.Option(help="Write a waveform: .vcd (Verilator) or .fst (Icarus).")
    ] = None,
    *,
    options: ConfigOptions,
    as_json: Json = False,
) -> None:
    """Simulate the generated Verilog on whole tensors: bit-exact, cycles beside the model."""
    from xorloom.sw.errors import ConfigError

    from .simulate import Case, iid_case, model_case, simulate_case

    if unit in ("ip", "index"):
        with progress_bar("simulate", 1):
            row = indexed_row(
                *(unit, model, tensor or [], memory, clock, source, sink, simulator),
                refused={"--iid": iid, "--waves": waves},
            )
        if as_json:
            print_json(row)
        else:
            print_table("simulation", ("what", "value"), indexed_rows(row))
        if not row["bit_exact"]:
            raise typer.Exit(1)
        return
    if unit != "decoder":
        raise ConfigError(f"unit must be decoder, ip or index, not {unit!r}")
    case: Case
    if model is not None:
        case = model_case(model, tensor or [])
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
            waves=waves,
        )
        step(case.title)
    if as_json:
        print_json(row)
    elif row["bit_exact"]:
        print_table("simulation", ("what", "value"), simulation_rows(row))
    else:
        typer.echo(f"NOT BIT-EXACT: {row['mismatch']}")
    if not row["bit_exact"]:
        raise typer.Exit(1)


@config_options()
@unit_options()
def synth(
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="ecp5, ice40, xilinx7, gates; repeat; default: all."),
    ] = None,
    unit: Annotated[
        str,
        typer.Option(
            help="ip, stream-ip, decoder, index, core (of an index), or a part: value, "
            "control, network (window); parser, lane, network."
        ),
    ] = "decoder",
    seeds: Annotated[int, typer.Option(min=0, help="Placement seeds; 0: no Fmax.")] = 5,
    by_unit: Annotated[
        bool, typer.Option("--by-unit", help="Instead: area of every unit in it, on ECP5.")
    ] = False,
    *,
    options: ConfigOptions,
    unit_options: UnitOptions,
    as_json: Json = False,
) -> None:
    """Synthesize the decoder: LUTs, flip-flops, Fmax over placement seeds, NAND2 equivalents."""
    from xorloom.hw.synth import TARGETS, area_by_unit, synthesize

    targets = target or list(TARGETS)
    verilog = _verilog(unit, options, unit_options)
    if by_unit:
        areas = area_by_unit(verilog.text, verilog.name)
        if as_json:
            print_json({"design": verilog.name, "rows": [asdict(area) for area in areas]})
        else:
            rows = [(a.unit, f"{a.lut:,}", f"{a.ff:,}", str(a.lut_ram)) for a in areas]
            print_table(f"units of {verilog.name}", ("unit", "LUT4", "FF", "16x4 RAM"), rows)
        return
    steps = len(targets) + (seeds if "ecp5" in targets else 0)
    with progress_bar("synth", steps) as step:
        reports = [
            synthesize(verilog.text, verilog.name, name, seeds=seeds, progress=step)
            for name in targets
        ]
    if as_json:
        print_json(
            {
                "codec": verilog.manifest["codec"],
                "config": verilog.manifest["config"],
                "rows": [report.to_dict() for report in reports],
            }
        )
    else:
        print_table("synthesis", SYNTH_COLUMNS, synth_rows(reports))


def synth_rows(reports: "list[SynthReport]") -> list[tuple[object, ...]]:
    """Return table rows of synthesis reports."""
    from xorloom.hw.synth import TARGETS

    return [
        (
            report.design,
            TARGETS[report.target].title,
            "-" if report.lut is None else f"{report.lut:,}",
            f"{report.ff:,}",
            "-" if report.nand2 is None else f"{report.nand2:,.0f}",
            "-" if report.fmax_mhz is None else f"{report.fmax_mhz:.1f}",
            "-" if report.fmax_min_mhz is None else f"{report.fmax_min_mhz:.1f}",
            str(report.seeds) if report.seeds else "-",
        )
        for report in reports
    ]


def bandwidth(
    model: Annotated[Path | None, typer.Argument(help="A compressed model.")] = None,
    bits_per_weight: Annotated[
        float | None, typer.Option(help="Instead of a model: total stored bits a weight.")
    ] = None,
    sparsity: Annotated[float, typer.Option(help="For --bits-per-weight: of the baselines.")] = 0.9,
    planes: Annotated[int, typer.Option(help="For --bits-per-weight: of the baselines.")] = 1,
    clock: Annotated[float, typer.Option(help="Decoder clock in MHz.")] = 100.0,
    bus_bits: Annotated[int, typer.Option(help="Memory word in bits.")] = 64,
    as_json: Json = False,
) -> None:
    """Weights a second on real memories, beside dense, CSR and bitmask storage (a model)."""
    from xorloom.sw.block_codec import PLANES_MAX
    from xorloom.sw.config import check_bus
    from xorloom.sw.container import read_container
    from xorloom.sw.decompress import tensor_bits
    from xorloom.sw.errors import ConfigError, check_range
    from xorloom.sw.prune import check_sparsity

    from .bandwidth import bandwidth_rows, baseline_bits

    if (model is None) == (bits_per_weight is None):
        raise ConfigError("give either a compressed model or --bits-per-weight")
    if model is not None:
        container = read_container(model)
        bits = [tensor_bits(container, name) for name in container.tensors]
        total = sum(bits[1:], start=bits[0])
        stored, bus_bits = total.total / total.weights, container.config.bus_bits
        cases = baseline_bits(total.kept / total.weights, total.planes)
        cases = {k: v + total.scales / total.weights for k, v in cases.items()}
    else:
        stored = float(bits_per_weight or 0)
        sparsity, planes = check_sparsity(sparsity), check_range("planes", planes, 1, PLANES_MAX)
        cases = baseline_bits(1 - sparsity, planes)
    if not (stored > 0 and clock > 0):
        raise ConfigError("bits per weight and clock must be positive")
    check_bus(bus_bits)
    cases["xorloom"] = stored
    rows = bandwidth_rows(clock, bus_bits, cases)
    if as_json:
        print_json(
            {"clock_mhz": clock, "bus_bits": bus_bits, "bits_per_weight": cases, "rows": rows}
        )
        return
    names = list(cases)
    title = f"Mweights/s at {clock:g} MHz x {bus_bits} bits (model)"
    print_table(
        title,
        ("memory", "MB/s peak", "efficiency", "one bank", "MB/s here", *names),
        [
            (
                row["title"],
                f"{row['peak_mbytes_per_s']:,.1f}",
                f"{row['efficiency']:.3f}",
                f"{row['efficiency_one_bank']:.3f}",
                f"{row['bus_mbytes_per_s']:,.1f}",
                *(f"{row['mweights_per_s'][name]:,.0f}" for name in names),
            )
            for row in rows
        ],
    )
    typer.echo("bits a weight: " + ", ".join(f"{k} {v:.3f}" for k, v in cases.items()))


COMMANDS = (generate, simulate, synth, bandwidth)
