# SPDX-License-Identifier: Apache-2.0
"""Command ``synth``: area and Fmax of a decoder or a part of it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from xorloom.sim.cli.console.config_file import ConfigFile, blame_file
from xorloom.sim.cli.console.options import (
    config_options,
    matching,
    refuse_beside_model,
    unit_options,
)
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar, say
from xorloom.sim.generate.options import OF_MODEL, ConfigOptions, UnitOptions
from xorloom.sim.generate.units import UnitSource, unit_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from xorloom.hw.flow.liberty import Library
    from xorloom.hw.flow.synth import SynthReport

__all__ = ["ASIC_COLUMNS", "COMMANDS", "SYNTH_COLUMNS", "asic_rows", "synth", "synth_rows"]

SYNTH_COLUMNS = (
    "design",
    "target",
    "LUT",
    "LUT RAM",
    "FF",
    "placed",
    "NAND2 eq.",
    "Fmax MHz",
    "min MHz",
    "seeds",
    "critical path",
)
ASIC_COLUMNS = (
    "design",
    "library",
    "area",
    "NAND2 eq.",
    "FF",
    "of area in FF",
    "gate delay ns",
    "area then",
)


@config_options()
@unit_options()
def synth(
    context: typer.Context,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="ecp5, ice40 (HX8K), ice40up (UP5K), nexus, gowin (GW2AR-18), gowin9 (GW1NR-9); "
            "cells only: xilinx7, xilinxu, intel, gates; repeat; "
            "default: ecp5, ice40, xilinx7, gates.",
        ),
    ] = None,
    liberty: Annotated[
        list[Path] | None,
        typer.Option("--liberty", help="A standard-cell library (.lib, .lib.gz); repeat."),
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
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Reuse and keep results, by content.")
    ] = True,
    *,
    options: ConfigOptions,
    unit_options: UnitOptions,
    as_json: Json = False,
) -> None:
    """Synthesize the decoder: LUTs, flip-flops, Fmax over placement seeds, NAND2 equivalents.

    LUT counts LUTs of logic, LUT RAM the cells of distributed memory, placed what nextpnr makes of
    both. The critical path is that of the slowest seed, as nextpnr reports it.
    """
    from xorloom.hw.flow.place import check_family
    from xorloom.hw.flow.targets import QUICK, WITHOUT_LUT_RAM, check_target

    names = target or ([] if liberty else list(QUICK))
    placed = [family for family in (check_target(name).family for name in names) if family]
    if seeds and not by_unit:
        for family in placed:
            check_family(family)
    libraries = _libraries(liberty or [])
    with blame_file(context):
        if options.model is not None:
            refuse_beside_model(context, *OF_MODEL, "density")
            options = replace(options, tensor=matching(options.model, options.tensor))
        source = unit_source(unit, options, unit_options, cache=cache)
        fast = source.manifest["config"].get("pipeline") == "fast" and not by_unit
        bare = [check_target(name).title for name in names if name in WITHOUT_LUT_RAM]
        if fast and unit_options.pipeline is None and bare:
            say(f"pipeline small: no LUT RAM in {'; '.join(bare)}; --pipeline or --target choose")
            small = replace(unit_options, pipeline="small")
            source = unit_source(unit, options, small, cache=cache)
    if by_unit:
        _print_units(source, as_json)
        return
    steps = len(names) + len(libraries) + seeds * len(placed)
    with progress_bar("synth", steps) as step:
        reports = _reports(source, names, libraries, seeds, cache, step)
    if as_json:
        print_json(
            {
                "codec": source.manifest["codec"],
                "config": source.manifest["config"],
                "rows": [report.to_dict() for report in reports],
            }
        )
        return
    if names:
        print_table("synthesis", SYNTH_COLUMNS, synth_rows(reports[: len(names)]))
    if libraries:
        print_table("standard cells", ASIC_COLUMNS, asic_rows(reports[len(names) :]))


def _libraries(paths: list[Path]) -> "list[Library]":
    if not paths:
        return []
    from xorloom.hw.flow.liberty import read_library

    return [read_library(path) for path in paths]


def _reports(
    source: UnitSource,
    names: list[str],
    libraries: "list[Library]",
    seeds: int,
    cache: bool,
    step: "Callable[..., None]",
) -> "list[SynthReport]":
    from xorloom.hw.flow.synth import synthesize_all

    designs = [(source.text, source.name, name) for name in names]
    reports = synthesize_all(designs, seeds=seeds, progress=step, cache=cache)
    if libraries:
        from xorloom.hw.flow.liberty import synthesize_asic

        for library in libraries:
            report = synthesize_asic(source.text, source.name, library, progress=step, cache=cache)
            reports.append(report)
    return reports


def _print_units(source: UnitSource, as_json: bool) -> None:
    from xorloom.hw.flow.synth import area_by_unit

    areas = area_by_unit(source.text, source.name)
    if as_json:
        print_json({"design": source.name, "rows": [asdict(area) for area in areas]})
    else:
        rows = [(a.unit, f"{a.lut:,}", f"{a.ff:,}", str(a.lut_ram)) for a in areas]
        print_table(f"units of {source.name}", ("unit", "LUT4", "FF", "16x4 RAM"), rows)


def synth_rows(reports: "list[SynthReport]") -> list[tuple[object, ...]]:
    """Return table rows of synthesis reports."""
    from xorloom.hw.flow.targets import TARGETS

    return [
        (
            report.design,
            TARGETS[report.target].title,
            "-" if report.lut is None else f"{report.lut:,}",
            "-" if report.lut_ram is None else f"{report.lut_ram:,}",
            f"{report.ff:,}",
            "-" if report.placed is None else f"{report.placed:,} {report.placed_cell}",
            "-" if report.nand2 is None else f"{report.nand2:,.0f}",
            "-" if report.fmax_mhz is None else f"{report.fmax_mhz:.1f}",
            "-" if report.fmax_min_mhz is None else f"{report.fmax_min_mhz:.1f}",
            str(report.seeds) if report.seeds else "-",
            report.critical_path or "-",
        )
        for report in reports
    ]


def asic_rows(reports: "list[SynthReport]") -> list[tuple[object, ...]]:
    """Return table rows of reports by Liberty files."""
    return [
        (
            report.design,
            report.target,
            f"{report.area or 0:,.0f}",
            f"{report.nand2 or 0:,.0f}",
            f"{report.ff:,}",
            f"{report.sequential or 0:.0%}",
            "-" if report.delay_ns is None else f"{report.delay_ns:.2f}",
            "-" if report.fast_area is None else f"{report.fast_area:,.0f}",
        )
        for report in reports
    ]


COMMANDS = (synth,)
