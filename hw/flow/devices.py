# SPDX-License-Identifier: Apache-2.0
"""Devices: how Yosys maps to a family, what its cells count as, what a part has."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CELLS", "DEVICES", "Cells", "Device", "Resources"]


@dataclass(frozen=True)
class Resources:
    """LUTs, flip-flops and block RAMs: what a design takes, or what a part has.

    ``lut`` counts LUTs of logic, ``lut_ram`` those that are distributed memory.
    """

    lut: int
    ff: int
    ram: int
    lut_ram: int = 0

    @property
    def lut_total(self) -> int:
        """LUTs of logic and of distributed memory."""
        return self.lut + self.lut_ram


@dataclass(frozen=True)
class Cells:
    """How Yosys maps to a family, and what the cells that it leaves count as.

    Parameters
    ----------
    recipe : str
        Yosys' command without ``-top`` and without options about pads. Wide-function multiplexers
        are off (``-nowidelut``) where that can be said: XOR trees grow 2.5-fold with them.
    lut : mapping of str to int
        LUTs of logic by cell. ECP5: a carry cell is two.
    ff, ram : tuple of str
        Flip-flops and block RAMs: how the names of these cells begin.
    lut_ram : mapping of str to int
        LUTs of distributed memory by cell; empty if the family has none, or they are not known.
    lut_name : str
        What its LUTs are called.
    """

    recipe: str
    lut: Mapping[str, int]
    ff: tuple[str, ...]
    ram: tuple[str, ...] = ()
    lut_ram: Mapping[str, int] = field(default_factory=dict)
    lut_name: str = "LUT4"

    def use(self, cells: Mapping[str, int]) -> Resources:
        """Return what the cells of a netlist, counted by type, take."""
        return Resources(
            lut=sum(n * cells.get(cell, 0) for cell, n in self.lut.items()),
            ff=sum(n for cell, n in cells.items() if cell.startswith(self.ff)),
            ram=sum(n for cell, n in cells.items() if self.ram and cell.startswith(self.ram)),
            lut_ram=sum(n * cells.get(cell, 0) for cell, n in self.lut_ram.items()),
        )

    def lut_ram_cells(self, cells: Mapping[str, int]) -> int | None:
        """Return how many cells of a netlist are distributed memory; ``None``: not known."""
        return sum(cells.get(cell, 0) for cell in self.lut_ram) if self.lut_ram else None


def _xilinx(family: str) -> Cells:
    return Cells(
        f"synth_xilinx -family {family} -flatten -nowidelut",
        lut={f"LUT{n}": 1 for n in range(1, 7)},
        ff=("FDRE", "FDSE", "FDCE", "FDPE"),
        ram=("RAMB",),
        # Ref: AMD UG474, 7 series CLB, table 2-3; UG574, UltraScale CLB, table 2-2
        lut_ram={
            **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32M": 4, "RAM64M": 4},
            **{"RAM32M16": 8, "RAM64M8": 8},
        },
        lut_name="LUT6",
    )


def _gowin(family: str) -> Cells:
    return Cells(
        f"synth_gowin -family {family} -nowidelut",
        lut={"ALU": 1} | {f"LUT{n}": 1 for n in range(1, 5)},
        ff=("DFF",),
        ram=("SP", "DP", "SDP", "pROM"),
        lut_ram={"RAM16SDP4": 4},
    )


def _ice40(recipe: str) -> Cells:
    return Cells(recipe, lut={"SB_LUT4": 1}, ff=("SB_DFF",), ram=("SB_RAM40",))


CELLS = {
    "ecp5": Cells(
        "synth_ecp5 -nowidelut",
        lut={"LUT4": 1, "CCU2C": 2},
        ff=("TRELLIS_FF",),
        ram=("DP16KD", "PDPW16KD"),
        lut_ram={"TRELLIS_DPR16X4": 6},
    ),
    "ice40": _ice40("synth_ice40"),
    "ice40up": _ice40("synth_ice40 -device u"),
    "nexus": Cells(
        "synth_nexus -noccu2 -nowidelut",
        lut={"LUT4": 1},
        ff=("FD1P3",),
        ram=("DP16K", "PDP16K", "PDPSC16K", "SP16K"),
    ),
    "gowin": _gowin("gw1n"),
    "gowin2a": _gowin("gw2a"),
    "xilinx7": _xilinx("xc7"),
    "xilinxu": _xilinx("xcup"),
    "intel": Cells(
        "synth_intel_alm -family cyclonev",
        lut={f"MISTRAL_ALUT{n}": 1 for n in ("2", "3", "4", "5", "6", "_ARITH")},
        ff=("MISTRAL_FF",),
        ram=("MISTRAL_M10K",),
        lut_name="ALUT",
    ),
}
"""By family, and by the variants of a family that Yosys tells apart."""


@dataclass(frozen=True)
class Device:
    """A part: the cells of its family, and how many LUTs, flip-flops and block RAMs it has."""

    cells: Cells
    has: Resources

    def excess(self, use: Resources) -> list[tuple[str, int, int]]:
        """Return what a design needs too much of: name, what it needs, what the part has."""
        names = (self.cells.lut_name, "flip-flops", "block RAMs")
        needs = (use.lut_total, use.ff, use.ram)
        limits = (self.has.lut, self.has.ff, self.has.ram)
        return [row for row in zip(names, needs, limits, strict=True) if row[1] > row[2]]


DEVICES = {
    # Ref: Lattice FPGA-DS-02012, ECP5 family data sheet, table 1.1
    "ecp5-85": Device(CELLS["ecp5"], Resources(83640, 83640, 208)),
    "ice40-hx8k": Device(CELLS["ice40"], Resources(7680, 7680, 32)),
    # Ref: Lattice FPGA-DS-02008, iCE40 UltraPlus family data sheet, table 1.1
    "ice40-up5k": Device(CELLS["ice40up"], Resources(5280, 5280, 30)),
    "lifcl-40": Device(CELLS["nexus"], Resources(32256, 32256, 84)),
    "gw2ar-18": Device(CELLS["gowin2a"], Resources(20736, 15552, 46)),
    # Ref: Gowin DS117, GW1NR series data sheet, table 1-1
    "gw1nr-9": Device(CELLS["gowin"], Resources(8640, 6480, 26)),
    # Ref: AMD DS180, 7 series overview, table 4; block RAMs of 36 Kbit
    "xc7a35t": Device(CELLS["xilinx7"], Resources(20800, 41600, 50)),
    # Block RAMs of 18 Kbit, two to a block of 36.
    "xc7a100t": Device(CELLS["xilinx7"], Resources(63400, 126800, 270)),
    "zu5ev": Device(CELLS["xilinxu"], Resources(117120, 234240, 288)),
    "5cea6": Device(CELLS["intel"], Resources(83820, 167640, 553)),
}
"""Parts that a target or a board is made of."""
