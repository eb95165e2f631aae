# SPDX-License-Identifier: Apache-2.0
"""Exported Verilog as gates and registers of one bit: what a reset reaches, what feeds itself."""

import json
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from xorloom.hw.flow.tools import yosys

__all__ = ["Netlist"]

_PORTS = {
    "$_BUF_": "A",
    "$_NOT_": "A",
    "$_AND_": "AB",
    "$_OR_": "AB",
    "$_XOR_": "AB",
    "$_MUX_": "ABS",
}
_RESETS = {"aresetn": 0, "rst": 1}
"""Names of reset ports, and what resets."""
_PASSES = [
    "proc",
    "flatten",
    "memory_collect",
    # What a register holds at power-up is not known here.
    "setattr -unset init",
    "opt_clean",
    # A register that only holds its value gets an enable, which takes it out of its own loop.
    "opt_dff -nosdff -keepdc",
    "techmap",
    "simplemap",
    "dfflegalize -cell $_DFF_P_ x -cell $_DFFE_PP_ x",
    "opt_clean",
]
Bit = int | str
Level = int | None
"""0, 1, or unknown."""


def _gate(kind: str, a: Level, b: Level, s: Level) -> Level:
    """Return what a gate puts out; a multiplexer of two equal inputs puts out these."""
    match kind:
        case "$_BUF_":
            return a
        case "$_NOT_":
            return None if a is None else 1 - a
        case "$_AND_":
            return 0 if a == 0 or b == 0 else 1 if a == b == 1 else None
        case "$_OR_":
            return 1 if a == 1 or b == 1 else 0 if a == b == 0 else None
        case "$_XOR_":
            return None if a is None or b is None else a ^ b
    return _chosen(s, a, b)


def _chosen(select: Level, low: Level, high: Level) -> Level:
    if select is None:
        return low if low == high else None
    return high if select else low


class Netlist:
    """Netlist: the gates and registers of Verilog text. Memories count as known.

    Parameters
    ----------
    text : str
        Exported Verilog.
    top : str
    folder : Path
        For the files of Yosys.
    """

    def __init__(self, text: str, top: str, folder: Path) -> None:
        (folder / "netlist.v").write_text(text)
        passes = ["read_verilog netlist.v", f"hierarchy -top {top}", *_PASSES]
        yosys([*passes, "write_json netlist.json"], folder / "netlist.log")
        module = json.loads((folder / "netlist.json").read_text())["modules"][top]
        self.ports: dict[str, tuple[str, int]] = {
            name: (port["direction"], len(port["bits"])) for name, port in module["ports"].items()
        }
        """Direction and width of every port of the top."""
        self._names: dict[Bit, str] = {}
        self.wires: dict[str, list[Bit]] = {}
        """Bits of every wire that has a name in the text, by path."""
        for name, wire in module["netnames"].items():
            if not wire["hide_name"]:
                self.wires[name] = wire["bits"]
                for k, bit in enumerate(wire["bits"]):
                    self._names.setdefault(bit, f"{name}[{k}]")
        self._gates: dict[Bit, tuple[str, list[Bit]]] = {}
        self._registers: dict[Bit, tuple[Bit, Bit]] = {}
        for cell in module["cells"].values():
            self._add(cell["type"], {port: bits[0] for port, bits in cell["connections"].items()})
        self._resets = {
            module["ports"][name]["bits"][0]: level
            for name, level in _RESETS.items()
            if name in module["ports"]
        }
        assert self._resets, f"{top} has no reset"

    def _add(self, kind: str, at: Mapping[str, Any]) -> None:
        if kind in _PORTS:
            self._gates[at["Y"]] = kind, [at[port] for port in _PORTS[kind]]
        elif kind.startswith("$_DFF"):
            self._registers[at["Q"]] = at["D"], at.get("E", "1")
        else:
            assert kind in ("$mem_v2", "$scopeinfo"), kind

    def known_after_reset(self, clocks: int = 2) -> set[Bit]:
        """Return the registers that a reset of so many clocks makes known, all others being X."""
        sources = {gate: inputs for gate, (_, inputs) in self._gates.items()}
        order = [bit for bit in TopologicalSorter(sources).static_order() if bit in self._gates]
        state: dict[Bit, Level] = dict.fromkeys(self._registers)
        for _ in range(clocks):
            now: dict[Bit, Level] = {"0": 0, "1": 1} | self._resets | state
            for bit in order:
                kind, inputs = self._gates[bit]
                now[bit] = _gate(kind, *(now.get(k) for k in (*inputs, "x", "x")[:3]))
            state = {
                bit: _chosen(now.get(enable), state[bit], now.get(d))
                for bit, (d, enable) in self._registers.items()
            }
        return {bit for bit, level in state.items() if level is not None}

    def unreset_loop(self, known: Iterable[Bit]) -> list[str]:
        """Return registers, none of them in ``known``, that feed each other in a ring, if any do.

        A register that is held by its own enable alone feeds nothing; what feeds the enable does.
        """
        sources = {bit: inputs for bit, (_, inputs) in self._gates.items()}
        free = self._registers.keys() - set(known)
        try:
            TopologicalSorter(sources | {bit: self._registers[bit] for bit in free}).prepare()
        except CycleError as error:
            return sorted({self._names.get(bit, str(bit)) for bit in error.args[1] if bit in free})
        return []

    def names(self, bits: Iterable[Bit]) -> list[str]:
        """Return one Verilog expression, below the top, for each of these bits that has a name.

        Bits of one wire are told in one expression if the wire has no others.
        """
        left, found = set(bits), []
        for name, wire in self.wires.items():
            if left.issuperset(wire):
                found.append(".".join(f"\\{part} " for part in name.split(".")))
                left.difference_update(wire)
        for name, wire in self.wires.items():
            path = ".".join(f"\\{part} " for part in name.split("."))
            found += [f"{path}[{k}]" for k, bit in enumerate(wire) if bit in left]
            left.difference_update(wire)
        return found
