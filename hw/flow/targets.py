# SPDX-License-Identifier: Apache-2.0
"""Synthesis targets: a device or plain gates, Yosys passes, how to place."""

from dataclasses import dataclass
from typing import Any

from xorloom.sw.base.errors import CapacityError, ConfigError

from .devices import DEVICES, Cells, Device, Resources

__all__ = ["NAND2_WEIGHTS", "QUICK", "TARGETS", "WITHOUT_LUT_RAM", "Target", "check_target"]

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
class Target:
    """A synthesis target: a device, or plain gates, and how to synthesize for it.

    Parameters
    ----------
    title : str
    passes : tuple of str
        Yosys' passes, with ``{top}`` and ``{netlist}``.
    cells : Cells
        What Yosys' cells count as.
    part : Device, optional
        What there is to fit into; None for gates.
    family, device, pins, arguments
        For :func:`xorloom.hw.flow.place.place`; ``family`` is None if the target is not placed.
        ``pins`` constrain the harness.
    """

    title: str
    passes: tuple[str, ...]
    cells: Cells
    part: Device | None = None
    family: str | None = None
    device: tuple[str, ...] = ()
    pins: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def harness(self) -> bool:
        """Whether a design is placed inside a harness: not where it goes out of context."""
        return self.family is not None and self.family != "ecp5"

    def excess(self, use: Resources) -> str:
        """Return what does not fit the part, as ``needs 9,120 of 7,680 LUT4, 1,440 too many``."""
        if self.part is None:
            return ""
        return "; ".join(
            f"needs {needs:,} of {limit:,} {name}, {needs - limit:,} too many"
            for name, needs, limit in self.part.excess(use)
        )

    def check_fit(self, use: Resources) -> None:
        """Check that a design fits.

        Raises
        ------
        CapacityError
            If it does not; says by how much.
        """
        excess = self.excess(use)
        if excess:
            raise CapacityError(
                f"{self.title}: {excess}: take a smaller --n-out, or a larger part, as ecp5"
            )


def _placed(title: str, name: str, family: str, device: str, **more: Any) -> Target:
    """Return a target that nextpnr places, with the part's options as one string."""
    options = {"nexus": " -noiopad", "gowin": " -noiopads"}.get(family, "")
    part = DEVICES[name]
    return Target(
        title,
        (f"{part.cells.recipe}{options} -top {{top}} -json {{netlist}}",),
        part.cells,
        part,
        family=family,
        device=tuple(device.split()),
        **more,
    )


def _mapped(title: str, name: str) -> Target:
    """Return a target for which Yosys' cells are all there is."""
    part = DEVICES[name]
    passes = (f"{part.cells.recipe} -noiopad -noclkbuf -top {{top}}",)
    return Target(title, passes, part.cells, part)


_ROUTER2 = ("--router", "router2")
TARGETS = {
    "ecp5": _placed("ECP5-85 -6", "ecp5-85", "ecp5", "--85k --speed 6 --package CABGA756"),
    "ice40": _placed(
        "iCE40 HX8K", "ice40-hx8k", "ice40", "--hx8k --package ct256", arguments=_ROUTER2
    ),
    "ice40up": _placed(
        "iCE40 UP5K", "ice40-up5k", "ice40", "--up5k --package sg48", arguments=_ROUTER2
    ),
    "nexus": _placed(
        "Nexus LIFCL-40",
        "lifcl-40",
        "nexus",
        "--device LIFCL-40-9BG400CES",
        pins="ldc_set_location -site {E11} [get_ports din]\n"
        "ldc_set_location -site {F13} [get_ports dout]\n",
    ),
    "gowin": _placed(
        "Gowin GW2AR-18",
        "gw2ar-18",
        "gowin",
        "--device GW2AR-LV18QN88C8/I7 --vopt family=GW2A-18C",
        pins='IO_LOC "clk" 4;\nIO_LOC "din" 25;\nIO_LOC "dout" 26;\n',
        arguments=_ROUTER2,
    ),
    "gowin9": _placed(
        "Gowin GW1NR-9",
        "gw1nr-9",
        "gowin",
        "--device GW1NR-LV9QN88PC6/I5 --vopt family=GW1N-9C",
        pins='IO_LOC "clk" 52;\nIO_LOC "din" 10;\nIO_LOC "dout" 11;\n',
        arguments=_ROUTER2,
    ),
    "xilinx7": _mapped("AMD XC7A100T", "xc7a100t"),
    "xilinxu": _mapped("AMD ZU5EV (UltraScale+)", "zu5ev"),
    "intel": _mapped("Intel Cyclone V A6", "5cea6"),
    "gates": Target(
        "gates, no library", _GATE_PASSES, Cells("", lut={}, ff=("$_DFF_P_",), lut_name="")
    ),
}
"""Known targets. Placed: ecp5 out of context; ice40, ice40up, nexus, gowin and gowin9 in a
harness. Of the others, the cells that Yosys leaves are all that is reported."""
WITHOUT_LUT_RAM = ("ice40", "ice40up", "intel", "gates")
"""Targets on which a memory of an asynchronous read port becomes flip-flops: there the pipelines
are small unless one is chosen."""
QUICK = ("ecp5", "ice40", "xilinx7", "gates")
"""Targets if none is named: one of each kind."""


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
