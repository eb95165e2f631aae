# SPDX-License-Identifier: Apache-2.0
"""Boards with a demonstration: device, clock, pins, sizes."""

from dataclasses import dataclass

from xorloom.hw.flow.devices import DEVICES, Device
from xorloom.sw.base.errors import ConfigError

__all__ = ["BOARDS", "Board", "Pll", "board_named"]


@dataclass(frozen=True)
class Pll:
    """Settings of a PLL.

    VCO = crystal * ``multiply`` / ``divide``; clock = VCO / ``out_divide``.
    """

    divide: int
    multiply: int
    out_divide: int


@dataclass(frozen=True)
class Board:
    """A board: its device, clock, pins and memory.

    Parameters
    ----------
    name, title : str
    family : str
        ``ecp5``, ``ice40``, ``gowin``, or ``xilinx7`` (sources only).
    part : Device
        Its cells, and how many there are.
    device : str
        Name of the device in the tools of the family.
    package : str
    speed : str
        Speed grade; empty where the tools do not ask for it.
    crystal_mhz : float
    pll : Pll, optional
        None if the crystal is the clock.
    pins : str
        File in ``constraints/``.
    lights : int
        Number of lights.
    lights_low, button_low : bool
        Whether they are active low.
    flash_bytes : int
        Size of the SPI flash that holds the image; 0 if block RAM holds it.
    flash_offset : int
        Where the image begins in flash; the bitstream lies before it.
    bank_words : int
        Words of a bank of block RAM, see :class:`xorloom.hw.boards.rom.BoardRom`.
    block_bits : int
        Bits of a block RAM at the widths that words use.
    packer_device : str
        Name of the device in gowin_pack.
    pipeline : str
        One of :data:`xorloom.hw.lib.slice_pipe.PIPELINES`: the small one on small devices.
    """

    name: str
    title: str
    family: str
    part: Device
    device: str
    package: str
    speed: str
    crystal_mhz: float
    pll: Pll | None
    pins: str
    lights: int
    lights_low: bool
    button_low: bool
    flash_bytes: int = 0
    flash_offset: int = 0
    bank_words: int = 0
    block_bits: int = 0
    packer_device: str = ""
    pipeline: str = "fast"

    @property
    def nextpnr(self) -> tuple[str, ...]:
        """The part as nextpnr's options."""
        if self.family == "gowin":
            return (f"--device={self.device}", f"--vopt=family={self.packer_device}")
        speed = (f"--speed={self.speed}",) if self.speed else ()
        return (f"--{self.device}", f"--package={self.package}", *speed)

    @property
    def clock_mhz(self) -> float:
        """Clock of the decoder, MHz."""
        if self.pll is None:
            return self.crystal_mhz
        return self.crystal_mhz * self.pll.multiply / self.pll.divide / self.pll.out_divide


_TABLE = (
    Board(
        name="ulx3s",
        title="Radiona ULX3S, ECP5-85F",
        family="ecp5",
        part=DEVICES["ecp5-85"],
        device="85k",
        package="CABGA381",
        speed="6",
        crystal_mhz=25,
        pll=Pll(divide=1, multiply=24, out_divide=6),
        pins="ulx3s.lpf",
        lights=8,
        lights_low=False,
        button_low=False,
        bank_words=2048,
        block_bits=16384,
    ),
    Board(
        name="icebreaker",
        title="1BitSquared iCEBreaker, iCE40UP5K",
        family="ice40",
        part=DEVICES["ice40-up5k"],
        device="up5k",
        package="sg48",
        speed="",
        crystal_mhz=12,
        pll=Pll(divide=1, multiply=80, out_divide=32),
        pins="icebreaker.pcf",
        lights=5,
        lights_low=False,
        button_low=True,
        flash_bytes=16 << 20,
        flash_offset=1 << 20,
        pipeline="small",
    ),
    Board(
        name="tang-nano-9k",
        title="Sipeed Tang Nano 9K, GW1NR-9C",
        family="gowin",
        part=DEVICES["gw1nr-9"],
        device="GW1NR-LV9QN88PC6/I5",
        package="QN88P",
        speed="",
        packer_device="GW1N-9C",
        pipeline="small",
        crystal_mhz=27,
        pll=None,
        pins="tang_nano_9k.cst",
        lights=6,
        lights_low=True,
        button_low=True,
        bank_words=1024,
        block_bits=16384,
    ),
    Board(
        name="arty-a7",
        title="Digilent Arty A7-35T, XC7A35T",
        family="xilinx7",
        part=DEVICES["xc7a35t"],
        device="xc7a35ticsg324-1L",
        package="csg324",
        speed="-1L",
        crystal_mhz=100,
        pll=Pll(divide=1, multiply=10, out_divide=10),
        pins="arty_a7.xdc",
        lights=4,
        lights_low=False,
        button_low=True,
        bank_words=1024,
        block_bits=32768,
    ),
)
BOARDS = {board.name: board for board in _TABLE}
"""By name."""


def board_named(name: str) -> Board:
    """Return a board.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in BOARDS:
        raise ConfigError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    return BOARDS[name]
