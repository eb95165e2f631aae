# SPDX-License-Identifier: Apache-2.0
"""Clock and reset of a board: the PLL of its family, and a counter after power-on."""

from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Const,
    Instance,
    Module,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .table import Board

__all__ = ["BoardClock"]


class BoardClock(wiring.Component):
    """Board clock: clock and synchronous reset for the whole board.

    The reset lasts until the PLL is locked and the button is released, and ``2**reset_bits`` cycles
    longer, which also debounces the button.

    Parameters
    ----------
    board : Board
        Which PLL, and its settings.
    reset_bits : int
        See above.

    Members
    -------
    clk : In(1)
        Clock of the crystal.
    button : In(1)
        Reset button, active high, asynchronous.
    clock : Out(1)
        The clock.
    reset : Out(1)
        The reset: active high, a register.
    """

    def __init__(self, board: Board, *, reset_bits: int) -> None:
        self._board, self._reset_bits = board, reset_bits
        super().__init__({"clk": In(1), "button": In(1), "clock": Out(1), "reset": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        """Build the PLL and the counter."""
        m = Module()
        m.domains.start = ClockDomain(local=True, reset_less=True)
        locked: Value = Const(1)
        if self._board.pll is None:
            m.d.comb += self.clock.eq(self.clk)
        else:
            locked = Signal(name="locked")
            _PLLS[self._board.family](m, self._board, self.clk, self.clock, locked)
        m.d.comb += ClockSignal("start").eq(self.clock)
        held = Signal(2)  # two stages: button and lock are asynchronous
        count = Signal(self._reset_bits + 1)
        # Thousands of registers use it, so no logic may follow.
        reset = Signal(init=1)
        m.d.start += [
            held[0].eq(self.button | ~locked),
            held[1].eq(held[0]),
            reset.eq(~count[-1]),
        ]
        with m.If(held[1]):
            m.d.start += count.eq(0)
        with m.Elif(~count[-1]):
            m.d.start += count.eq(count + 1)
        m.d.comb += self.reset.eq(reset)
        return m


def _ecp5(m: Module, board: Board, clk: Value, clock: Value, locked: Value) -> None:
    """Add the PLL of ECP5. Its output is the feedback, so the output divider is in the loop.

    Ref: Lattice FPGA-TN-02200, ECP5 sysCLOCK PLL; analog settings as Lattice's tools choose them.
    """
    pll = board.pll
    assert pll is not None
    assert pll.multiply % pll.out_divide == 0
    unused = {f"i_{name}": 0 for name in ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PLLWAKESYNC")}
    unused |= {f"i_{name}": 1 for name in ("PHASEDIR", "PHASESTEP", "PHASELOADREG")}
    m.submodules.pll = Instance(
        "EHXPLLL",
        a_FREQUENCY_PIN_CLKI=str(board.crystal_mhz),
        a_FREQUENCY_PIN_CLKOP=str(board.clock_mhz),
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_FEEDBK_PATH="CLKOP",
        p_CLKI_DIV=pll.divide,
        p_CLKFB_DIV=pll.multiply // pll.out_divide,
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=pll.out_divide,
        p_CLKOP_CPHASE=pll.out_divide - 1,
        p_CLKOP_FPHASE=0,
        i_CLKI=clk,
        i_CLKFB=clock,
        i_ENCLKOP=0,
        o_CLKOP=clock,
        o_LOCK=locked,
        **unused,
    )


def _ice40(m: Module, board: Board, clk: Value, clock: Value, locked: Value) -> None:
    """Add the PLL of iCE40; its filter range for 10 to 16.6 MHz is 1.

    Ref: Lattice FPGA-TN-02052, iCE40 sysCLOCK PLL.
    """
    pll = board.pll
    assert pll is not None
    m.submodules.pll = Instance(
        "SB_PLL40_PAD",
        p_FEEDBACK_PATH="SIMPLE",
        p_DIVR=Const(pll.divide - 1, 4),
        p_DIVF=Const(pll.multiply - 1, 7),
        p_DIVQ=Const(pll.out_divide.bit_length() - 1, 3),
        p_FILTER_RANGE=Const(1, 3),
        i_PACKAGEPIN=clk,
        i_RESETB=1,
        i_BYPASS=0,
        o_PLLOUTGLOBAL=clock,
        o_LOCK=locked,
    )


def _gowin(m: Module, board: Board, clk: Value, clock: Value, locked: Value) -> None:
    """Add the PLL of Gowin devices; the feedback is internal, behind the output divider.

    Ref: Gowin UG286, clock.
    """
    pll = board.pll
    assert pll is not None
    assert pll.multiply % pll.out_divide == 0
    m.submodules.pll = Instance(
        "rPLL",
        p_FCLKIN=str(board.crystal_mhz),
        p_DEVICE="GW1NR-9C",
        p_CLKFB_SEL="internal",
        p_IDIV_SEL=pll.divide - 1,
        p_FBDIV_SEL=pll.multiply // pll.out_divide - 1,
        p_ODIV_SEL=pll.out_divide,
        i_CLKIN=clk,
        i_CLKFB=0,
        i_RESET=0,
        i_RESET_P=0,
        i_FBDSEL=Const(0, 6),
        i_IDSEL=Const(0, 6),
        i_ODSEL=Const(0, 6),
        i_PSDA=Const(0, 4),
        i_DUTYDA=Const(0, 4),
        i_FDLY=Const(0, 4),
        o_CLKOUT=clock,
        o_LOCK=locked,
    )


def _xilinx7(m: Module, board: Board, clk: Value, clock: Value, locked: Value) -> None:
    """Add the MMCM of 7 series devices.

    Ref: AMD UG472, 7 series clocking resources.
    """
    pll = board.pll
    assert pll is not None
    feedback, made = Signal(name="feedback"), Signal(name="made")
    m.submodules.pll = Instance(
        "MMCME2_BASE",
        p_CLKIN1_PERIOD=1000 / board.crystal_mhz,
        p_DIVCLK_DIVIDE=pll.divide,
        p_CLKFBOUT_MULT_F=float(pll.multiply),
        p_CLKOUT0_DIVIDE_F=float(pll.out_divide),
        i_CLKIN1=clk,
        i_CLKFBIN=feedback,
        i_RST=0,
        i_PWRDWN=0,
        o_CLKFBOUT=feedback,
        o_CLKOUT0=made,
        o_LOCKED=locked,
    )
    m.submodules.buffer = Instance("BUFG", i_I=made, o_O=clock)


_PLLS = {"ecp5": _ecp5, "ice40": _ice40, "gowin": _gowin, "xilinx7": _xilinx7}
