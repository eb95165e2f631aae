# SPDX-License-Identifier: Apache-2.0
"""Command ``generate``: a decoder for an FPGA engineer's flow."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from xorloom.sim.cli.console.config_file import ConfigFile, blame_file, config_text
from xorloom.sim.cli.console.options import (
    config_options,
    matching,
    refuse_beside_model,
    unit_options,
)
from xorloom.sim.generate.options import OF_MODEL, ConfigOptions, UnitOptions
from xorloom.sim.generate.units import unit_plan

__all__ = ["COMMANDS", "generate"]


@config_options()
@unit_options()
def generate(
    context: typer.Context,
    options: ConfigOptions,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")],
    unit_options: UnitOptions,
    config: ConfigFile = None,
    clock: Annotated[
        float, typer.Option(help="Clock that the constraints ask for, in MHz.")
    ] = 100.0,
    unit: Annotated[
        str,
        typer.Option(
            help="ip (whole, reads memory), stream-ip (whole, fed by AXI4-Stream), decoder "
            "(slices), or index (masks)."
        ),
    ] = "decoder",
    name: Annotated[
        str | None,
        typer.Option(
            help="First part of the names of all modules, files, macros and C identifiers; two "
            "units of one design must differ in it.",
            show_default="unit and hash of its parameters; xorloom for registers and driver",
        ),
    ] = None,
) -> None:
    """Write a decoder's Verilog and its files; equal parameters give equal bytes.

    The files are a manifest, a testbench with vectors, constraints, a FuseSoC core, Tcl for Vivado
    and Quartus, an instantiation, an IP-XACT component, a VHDL component and, with an IP block, its
    registers as Markdown, SystemRDL, C header and Python constants, and its driver in C.
    NAME_README.md in the folder tells how to use them.
    """
    from xorloom.sim.generate.folder import SOFTWARE, unit_files
    from xorloom.sim.generate.vectors import unit_vectors
    from xorloom.sw.base.errors import ConfigError

    with blame_file(context):
        if not 1 <= clock <= 2000:
            raise ConfigError(f"clock must be between 1 and 2000 MHz, not {clock:g}")
        if options.model is not None:
            refuse_beside_model(context, *OF_MODEL)
            options = replace(options, tensor=matching(options.model, options.tensor))
        plan = unit_plan(unit, options, unit_options)
        verilog = plan.verilog(plan.hashed_name() if name is None else name)
        vectors = unit_vectors(plan, density=unit_options.density)
    text = config_text(verilog.name, plan, options, unit_options, name=name, clock_mhz=clock)
    software = SOFTWARE if name is None else name
    files = unit_files(verilog, vectors, text, clock_mhz=clock, software=software)
    made = replace(verilog, files=files)
    for path in made.write(output, [path for path in (config, options.model) if path]):
        typer.echo(str(path))


COMMANDS = (generate,)
