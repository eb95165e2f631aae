# SPDX-License-Identifier: Apache-2.0
"""Harness of three pins around a netlist, to measure the Fmax of designs wider than a package.

Every input bit of the design comes from a stage of a shift register. Every output bit goes into a
register and from there through registered 4-input XORs to one pin. The harness is put around the
*mapped* netlist, so synthesis cannot remove anything from the design. The cells of the design keep
their names, and they alone are counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xorloom.sw.base.errors import ConfigError

__all__ = ["HARNESSES", "wrap"]

CLOCKS = ("aclk", "clk")
"""Names of clock ports."""


@dataclass(frozen=True)
class _Cells:
    """Cells of a family: flip-flop, 4-input LUT, pads, clock source; ports by role."""

    ff: str
    ff_ports: dict[str, str]  # c, d, q: port names; 0 and 1: ports tied to a constant
    ff_parameters: dict[str, str]  # a string that looks like a number ends with a blank
    lut: str
    lut_inputs: tuple[str, str, str, str]
    lut_output: str
    init: str
    pads: tuple[tuple[str, str, str], tuple[str, str, str]] | None = None
    oscillator: bool = False
    ties: tuple[str, ...] = ()  # cells that drive 0 and 1 at port Z, if there are no constants


_LUT_PINS = ("A", "B", "C", "D")
HARNESSES = {
    "ecp5": _Cells(
        ff="TRELLIS_FF",
        ff_ports={"CLK": "c", "DI": "d", "Q": "q", "CE": "1", "LSR": "0"},
        ff_parameters={
            "CEMUX": "1 ",
            "CLKMUX": "CLK",
            "LSRMUX": "LSR",
            "REGSET": "RESET",
            "SRMODE": "ASYNC",
        },
        lut="LUT4",
        lut_inputs=_LUT_PINS,
        lut_output="Z",
        init="INIT",
    ),
    "ice40": _Cells(
        ff="SB_DFF",
        ff_ports={"C": "c", "D": "d", "Q": "q"},
        ff_parameters={},
        lut="SB_LUT4",
        lut_inputs=("I0", "I1", "I2", "I3"),
        lut_output="O",
        init="LUT_INIT",
    ),
    "gowin": _Cells(
        ff="DFF",
        ff_ports={"CLK": "c", "D": "d", "Q": "q"},
        ff_parameters={"INIT": "0"},
        lut="LUT4",
        lut_inputs=("I0", "I1", "I2", "I3"),
        lut_output="F",
        init="INIT",
        pads=(("IBUF", "I", "O"), ("OBUF", "I", "O")),
    ),
    "nexus": _Cells(
        ff="FD1P3IX",
        ff_ports={"CK": "c", "D": "d", "Q": "q", "SP": "1", "CD": "0"},
        ff_parameters={"GSR": "DISABLED"},
        lut="LUT4",
        lut_inputs=_LUT_PINS,
        lut_output="Z",
        init="INIT",
        pads=(("IB", "I", "O"), ("OB", "I", "O")),
        oscillator=True,
        ties=("VLO", "VHI"),
    ),
}
"""Families that have a harness. On Nexus the clock is the internal oscillator, because nextpnr
routes no other."""


class _Builder:
    """A netlist module under construction."""

    def __init__(self, cells: _Cells, bit: int) -> None:
        self.family, self.bit = cells, bit
        self.cells: dict[str, Any] = {}
        self.clock: int = 0
        self.constants: dict[Any, Any] = {}
        for value, kind in enumerate(cells.ties):
            self.constants[str(value)] = self.new()
            self.add(kind, {}, {"Z": self.constants[str(value)]}, "Z")

    def new(self) -> int:
        self.bit += 1
        return self.bit

    def add(self, kind: str, parameters: dict[str, str], pins: dict[str, Any], output: str) -> None:
        """Add a cell; ``pins`` are its ports, all inputs but ``output``."""
        self.cells[f"harness_{kind}_{len(self.cells)}"] = {
            "hide_name": 0,
            "type": kind,
            "parameters": parameters,
            "attributes": {},
            "port_directions": {pin: "output" if pin == output else "input" for pin in pins},
            "connections": {pin: [self.constants.get(bit, bit)] for pin, bit in pins.items()},
        }

    def register(self, data: int, q: int | None = None) -> int:
        """Add a flip-flop; return its output."""
        q = self.new() if q is None else q
        bits = {"c": self.clock, "d": data, "q": q}
        pins = {pin: bits.get(role, role) for pin, role in self.family.ff_ports.items()}
        self.add(self.family.ff, self.family.ff_parameters, pins, "Q")
        return q

    def parity(self, bits: list[int]) -> int:
        """Add a LUT that is the XOR of one to four bits; return its output."""
        used = (1 << len(bits)) - 1
        init = sum(1 << n for n in range(16) if (n & used).bit_count() & 1)
        inputs = [*bits, *bits[:1] * (4 - len(bits))]
        pins = dict(zip(self.family.lut_inputs, inputs, strict=True))
        output = self.new()
        self.add(
            self.family.lut,
            {self.family.init: f"{init:016b}"},
            {**pins, self.family.lut_output: output},
            self.family.lut_output,
        )
        return output

    def pad(self, number: int, bit: int) -> int:
        """Return what is on the other side of an input (0) or output (1) pad."""
        if self.family.pads is None:
            return bit
        kind, i, o = self.family.pads[number]
        other = self.new()
        pins = {i: other, o: bit} if number == 0 else {i: bit, o: other}
        self.add(kind, {}, pins, o)
        return other


def _clock(ports: dict[str, Any]) -> int | None:
    """Return the net of the clock port, if there is one."""
    clocks = [name for name, port in ports.items() if name in CLOCKS and len(port["bits"]) == 1]
    if len(clocks) > 1:
        raise ConfigError(f"a harness has one clock, not {' and '.join(clocks)}")
    return int(ports[clocks[0]]["bits"][0]) if clocks else None


def _bits(module: dict[str, Any]) -> Iterator[int]:
    for cell in module["cells"].values():
        for bits in cell["connections"].values():
            yield from (bit for bit in bits if isinstance(bit, int))
    for port in module["ports"].values():
        yield from (bit for bit in port["bits"] if isinstance(bit, int))


def wrap(netlist: dict[str, Any], top: str, family: str) -> dict[str, Any]:
    """Return a netlist (Yosys JSON) of the harness with the design inside, as one flat module.

    Its ports are ``clk`` (not on Nexus), ``din`` and ``dout``. Paths from the shift register into
    the design, and from the design into the first register, count in Fmax, as with a registered
    neighbour. Paths inside the harness are at most one LUT deep.

    Parameters
    ----------
    netlist : dict
        Yosys JSON of a design that is flat and mapped, without pads; its clock is a port
        named ``clk`` or ``aclk``.
    top : str
    family : str
        One of :data:`HARNESSES`.

    Raises
    ------
    ConfigError
        If the design has two clocks, or no outputs.
    """
    module = netlist["modules"][top]
    built = _Builder(HARNESSES[family], max(_bits(module), default=1))
    ports = module["ports"]
    clock = _clock(ports)
    built.clock = built.new() if clock is None else clock
    outer = {"din": ("input", 0), "dout": ("output", 0)}
    if built.family.oscillator:
        parameters = {"HF_CLK_DIV": "1 ", "HF_OSC_EN": "ENABLED"}
        built.add("OSCA", parameters, {"HFOUTEN": "1", "HFCLKOUT": built.clock}, "HFCLKOUT")
    else:
        outer = {"clk": ("input", built.pad(0, built.clock)), **outer}
    stage = built.new()
    outer["din"] = ("input", built.pad(0, stage))
    for port in ports.values():
        for bit in port["bits"]:
            if port["direction"] == "input" and bit != built.clock:
                stage = built.register(stage, bit)
    driven = [b for p in ports.values() if p["direction"] == "output" for b in p["bits"]]
    level = [built.register(bit) for bit in driven if isinstance(bit, int)]
    if not level:
        raise ConfigError(f"{top} has no outputs that change, so nothing to place")
    while len(level) > 1:
        chunks = [level[n : n + 4] for n in range(0, len(level), 4)]
        level = [built.register(built.parity(chunk)) for chunk in chunks]
    outer["dout"] = ("output", built.pad(1, level[0]))
    whole = {
        "attributes": {"top": f"{1:032b}"},
        "ports": {name: {"direction": way, "bits": [bit]} for name, (way, bit) in outer.items()},
        "cells": {**module["cells"], **built.cells},
        "netnames": module["netnames"],
    }
    return {"creator": netlist.get("creator", ""), "modules": {"harness": whole}}
