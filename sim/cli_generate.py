# SPDX-License-Identifier: Apache-2.0
"""The command that writes Verilog: generate."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import ConfigOptions, UnitOptions, config_options, unit_options
from .cli_units import unit_verilog

__all__ = ["COMMANDS", "generate"]


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
    for path in unit_verilog(unit, options, unit_options).write(output):
        typer.echo(str(path))


COMMANDS = (generate,)
