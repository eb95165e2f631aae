# SPDX-License-Identifier: Apache-2.0
"""The table of synthesis targets: Yosys passes, what to count, capacity, how to place."""

from dataclasses import dataclass

from xorloom.sw.base.errors import CapacityError, ConfigError

__all__ = ["NAND2_WEIGHTS", "QUICK", "TARGETS", "Capacity", "Target", "check_target"]

NAND2_WEIGHTS = {
    # Ref: Nangate45 open cell library, typical corner: cell area / area of NAND2_X1
    "$_NOT_": 0.67,
    "$_NAND_": 1.0,
    "$_NOR_": 1.0,
    "$_AND_": 1.33,
    "$_OR_": 1.33,
    "$_AOI3_": 1.33,
    "$_OAI3_": 1.33,
    "$_XOR_": 2.0,
    "$_XNOR_": 2.0,
    "$_MUX_": 2.33,
    "$_DFF_P_": 5.67,
}
_GATE_PASSES = (
    "synth -flatten -top {top}",
    "setattr -unset init",
    "dfflegalize -cell $_DFF_P_ x",
    "abc -g NAND,NOR,XOR,XNOR,AND,OR,MUX,AOI3,OAI3",
    "opt_clean -purge",
)


@dataclass(frozen=True)
class Capacity:
    """What a part has."""

    lut: int
    ff: int
    ram: int


@dataclass(frozen=True)
class Target:
    """A part and how to synthesize for it.

    ``lut``, ``ff`` (prefixes) and ``ram`` say what Yosys' cells count as; ``family``, ``device``,
    ``pins`` and ``arguments`` are for :func:`xorloom.hw.flow.place.place`, with ``family`` ``None``
    if the target is not placed. ``pins`` constrain the harness.
    """

    title: str
    passes: tuple[str, ...]
    lut: dict[str, int]
    ff: tuple[str, ...]
    lut_name: str = "LUT4"
    ram: tuple[str, ...] = ()
    capacity: Capacity | None = None
    family: str | None = None
    device: tuple[str, ...] = ()
    pins: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def harness(self) -> bool:
        """Whether a design is placed inside a harness: not where it goes out of context."""
        return self.family is not None and self.family != "ecp5"

    def excess(self, lut: int, ff: int, ram: int) -> str:
        """Return what does not fit the part, as ``needs 9,120 of 7,680 LUT4, 1,440 too many``."""
        if self.capacity is None:
            return ""
        limits = (self.capacity.lut, self.capacity.ff, self.capacity.ram)
        names = (self.lut_name, "flip-flops", "block RAMs")
        return "; ".join(
            f"needs {used:,} of {limit:,} {name}, {used - limit:,} too many"
            for used, limit, name in zip((lut, ff, ram), limits, names, strict=True)
            if used > limit
        )

    def check_fit(self, lut: int, ff: int, ram: int) -> None:
        """Check that a design fits.

        Raises
        ------
        CapacityError
            If it does not; says by how much.
        """
        excess = self.excess(lut, ff, ram)
        if excess:
            raise CapacityError(
                f"{self.title}: {excess}: take a smaller --n-out, or a larger part, as ecp5"
            )


_LUT4_XILINX = {f"LUT{n}": 1 for n in range(1, 7)}
_FF_XILINX = ("FDRE", "FDSE", "FDCE", "FDPE")
_GOWIN = {"ALU": 1} | {f"LUT{n}": 1 for n in range(1, 5)}
_XILINX = "synth_xilinx -family {} -flatten -nowidelut -noiopad -noclkbuf -top {{top}}"

TARGETS = {
    # XOR trees grow 2.5-fold with wide-function muxes, so they are off (-nowidelut).
    "ecp5": Target(
        "ECP5-85 -6",
        ("synth_ecp5 -nowidelut -top {top} -json {netlist}",),
        {"LUT4": 1, "CCU2C": 2},
        ("TRELLIS_FF",),
        ram=("DP16KD",),
        capacity=Capacity(83640, 83640, 208),
        family="ecp5",
        device=("--85k", "--speed", "6", "--package", "CABGA756"),
    ),
    "ice40": Target(
        "iCE40 HX8K",
        ("synth_ice40 -top {top} -json {netlist}",),
        {"SB_LUT4": 1},
        ("SB_DFF",),
        ram=("SB_RAM40",),
        capacity=Capacity(7680, 7680, 32),
        family="ice40",
        device=("--hx8k", "--package", "ct256"),
        arguments=("--router", "router2"),
    ),
    "ice40up": Target(
        "iCE40 UP5K",
        ("synth_ice40 -device u -top {top} -json {netlist}",),
        {"SB_LUT4": 1},
        ("SB_DFF",),
        ram=("SB_RAM40",),
        capacity=Capacity(5280, 5280, 30),
        family="ice40",
        device=("--up5k", "--package", "sg48"),
        arguments=("--router", "router2"),
    ),
    "nexus": Target(
        "Nexus LIFCL-40",
        ("synth_nexus -noccu2 -nowidelut -noiopad -top {top} -json {netlist}",),
        {"LUT4": 1},
        ("FD1P3",),
        ram=("DP16K", "PDP16K", "PDPSC16K", "SP16K"),
        capacity=Capacity(32256, 32256, 84),
        family="nexus",
        device=("--device", "LIFCL-40-9BG400CES"),
        pins="ldc_set_location -site {E11} [get_ports din]\n"
        "ldc_set_location -site {F13} [get_ports dout]\n",
    ),
    "gowin": Target(
        "Gowin GW2AR-18",
        ("synth_gowin -family gw2a -nowidelut -noiopads -top {top} -json {netlist}",),
        *(_GOWIN, ("DFF",)),
        ram=("SP", "DPB", "SDPB", "pROM"),
        capacity=Capacity(20736, 15552, 46),
        family="gowin",
        device=("--device", "GW2AR-LV18QN88C8/I7", "--vopt", "family=GW2A-18C"),
        pins='IO_LOC "clk" 4;\nIO_LOC "din" 25;\nIO_LOC "dout" 26;\n',
        arguments=("--router", "router2"),
    ),
    "gowin9": Target(
        "Gowin GW1NR-9",
        ("synth_gowin -family gw1n -nowidelut -noiopads -top {top} -json {netlist}",),
        *(_GOWIN, ("DFF",)),
        ram=("SP", "DPB", "SDPB", "pROM"),
        capacity=Capacity(8640, 6480, 26),
        family="gowin",
        device=("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
        pins='IO_LOC "clk" 52;\nIO_LOC "din" 10;\nIO_LOC "dout" 11;\n',
        arguments=("--router", "router2"),
    ),
    "xilinx7": Target(
        "AMD XC7A100T",
        (_XILINX.format("xc7"),),
        *(_LUT4_XILINX, _FF_XILINX, "LUT6"),
        ram=("RAMB",),
        capacity=Capacity(63400, 126800, 270),
    ),
    "xilinxu": Target(
        "AMD ZU5EV (UltraScale+)",
        (_XILINX.format("xcup"),),
        *(_LUT4_XILINX, _FF_XILINX, "LUT6"),
        ram=("RAMB",),
        capacity=Capacity(117120, 234240, 288),
    ),
    "intel": Target(
        "Intel Cyclone V A6",
        ("synth_intel_alm -family cyclonev -noiopad -noclkbuf -top {top}",),
        {f"MISTRAL_ALUT{n}": 1 for n in ("2", "3", "4", "5", "6", "_ARITH")},
        *(("MISTRAL_FF",), "ALUT"),
        ram=("MISTRAL_M10K",),
        capacity=Capacity(83820, 167640, 553),
    ),
    "gates": Target("gates, no library", _GATE_PASSES, {}, ("$_DFF_P_",), lut_name=""),
}
"""Known targets. Placed: ecp5 out of context, ice40, ice40up, nexus, gowin and gowin9 in a
harness; the others are Yosys' cells only."""
QUICK = ("ecp5", "ice40", "xilinx7", "gates")
"""What is made if no target is named: a kind of each."""


def check_target(name: str) -> Target:
    """Return a target.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in TARGETS:
        raise ConfigError(f"target must be one of {', '.join(TARGETS)}, not {name!r}")
    return TARGETS[name]
