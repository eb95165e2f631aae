# SPDX-License-Identifier: Apache-2.0
"""Names of states and causes, from the comments of exported Verilog."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from xorloom.hw.flow.verilog.identifiers import JOINT

__all__ = ["StateNames", "state_names"]

_MODULE = re.compile(r"module (\w+) \(")
_STATES = re.compile(r"(\w+): (\w+): (\d+=\w+(?:, \d+=\w+)*)")
_SIGNAL = re.compile(r"(?:(?:input|output) +)?(?:reg|wire) +(?:\[(\d+):0\] )?(\w+)")


@dataclass(frozen=True)
class StateNames:
    """An enumeration: its name, and the names of values by their bits, MSB first."""

    name: str
    values: Mapping[str, str]


def state_names(verilog: str) -> dict[str, StateNames]:
    """Return the enumerations of a design by the full names of their signals.

    A module is named after its instance's path, so that the names are those of a waveform.

    Parameters
    ----------
    verilog : str
        Exported by this package.
    """
    found: dict[str, StateNames] = {}
    module, comment = "", ""
    for line in map(str.strip, verilog.splitlines()):
        if line.startswith("//"):
            comment = f"{comment} {line[2:].strip()}".strip()
            continue
        if start := _MODULE.match(line):
            module = start[1].replace(JOINT, ".")
        elif (
            (signal := _SIGNAL.match(line))
            and (states := _STATES.search(comment))
            and states[1] == signal[2]
        ):
            bits = int(signal[1] or 0) + 1
            pairs = (pair.split("=") for pair in states[3].split(", "))
            values = {f"{int(value):0{bits}b}": name for value, name in pairs}
            found[f"{module}.{signal[2]}"] = StateNames(states[2], values)
        comment = ""
    return found
