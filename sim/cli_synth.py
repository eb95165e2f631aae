# SPDX-License-Identifier: Apache-2.0
"""The command that synthesizes: synth."""

from dataclasses import asdict
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
from .cli_units import unit_verilog
from .config_file import ConfigFile, blame_file

if TYPE_CHECKING:
    from xorloom.hw.synth import SynthReport

__all__ = ["COMMANDS", "SYNTH_COLUMNS", "synth", "synth_rows"]

SYNTH_COLUMNS = ("design", "target", "LUT", "FF", "NAND2 eq.", "Fmax MHz", "min MHz", "seeds")


@config_options()
@unit_options()
def synth(
    context: typer.Context,
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
    config: ConfigFile = None,
    *,
    options: ConfigOptions,
    unit_options: UnitOptions,
    as_json: Json = False,
) -> None:
    """Synthesize the decoder: LUTs, flip-flops, Fmax over placement seeds, NAND2 equivalents."""
    from xorloom.hw.synth import TARGETS, area_by_unit, synthesize

    targets = target or list(TARGETS)
    with blame_file(context):
        verilog = unit_verilog(unit, options, unit_options)
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


COMMANDS = (synth,)
