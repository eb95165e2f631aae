# SPDX-License-Identifier: Apache-2.0
"""Names of states and causes, from the enum attributes of exported Verilog."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["StateNames", "state_names"]

_MODULE = re.compile(r"module \\?(\S+?)\s*\(")
_TYPE = re.compile(r'\(\* enum_base_type = "(.*)" \*\)')
_VALUE = re.compile(r'\(\* enum_value_([01]+) = "(.*)" \*\)')
_SIGNAL = re.compile(r"(?:reg|wire|input|output)\b(?:\s+reg)?(?:\s+\[\d+:\d+\])?\s+\\?([^\s;=]+)")


@dataclass(frozen=True)
class StateNames:
    """An enumeration: its name, and the names of values by their bits, MSB first."""

    name: str
    values: Mapping[str, str]


def state_names(verilog: str) -> dict[str, StateNames]:
    """Return the enumerations of a design by the full names of their signals.

    Amaranth names a module after its instance's path, so that the names are those of a waveform.

    Parameters
    ----------
    verilog : str
        Exported by this package.
    """
    found: dict[str, StateNames] = {}
    module, name, values = "", "", dict[str, str]()
    for line in map(str.strip, verilog.splitlines()):
        if start := _MODULE.match(line):
            module = start[1]
        elif kind := _TYPE.match(line):
            name = kind[1]
        elif value := _VALUE.match(line):
            values[value[1]] = value[2]
        elif not line.startswith("(*"):
            if values and (signal := _SIGNAL.match(line)):
                found[f"{module}.{signal[1]}"] = StateNames(name, values)
            name, values = "", {}
    return found
