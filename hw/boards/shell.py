# SPDX-License-Identifier: Apache-2.0
"""Shell of a board: pins, clock and reset around the board top."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.bus.ports import pass_ports

from .clock import BoardClock
from .spi_flash import FLASH_PINS
from .table import Board
from .top import BoardTop

__all__ = ["BoardShell"]

_PINS = {name: f"flash_{name}" for name in FLASH_PINS}


class BoardShell(wiring.Component):
    """Board shell: the top level of a bitstream. Its pins are those of ``constraints/``.

    Parameters
    ----------
    board : Board
    top : BoardTop
        Must have as many lights as the board.
    reset_bits : int
        See :class:`xorloom.hw.boards.clock.BoardClock`.

    Members
    -------
    clk, button : In(1)
        Crystal and reset button.
    led : Out(lights)
        See :data:`xorloom.hw.boards.top.LEDS`.
    uart_tx : Out(1)
        Serial line.
    flash_sclk, flash_cs_n, flash_copi, flash_cipo
        SPI flash, if that holds the image.
    """

    def __init__(self, board: Board, top: BoardTop, *, reset_bits: int) -> None:
        self._board, self._top, self._reset_bits = board, top, reset_bits
        members = top.signature.members
        super().__init__(
            {
                "clk": In(1),
                "button": In(1),
                "led": Out(board.lights),
                "uart_tx": Out(1, init=1),
            }
            | {pin: members[name] for name, pin in _PINS.items() if name in members}
        )

    def elaborate(self, _platform: object) -> Module:
        """Connect the pins; those that are active low are inverted."""
        m = Module()
        board, top = self._board, self._top
        m.domains.sync = ClockDomain(local=True)
        m.submodules.clock = clock = BoardClock(board, reset_bits=self._reset_bits)
        m.submodules.top = top
        m.d.comb += [
            clock.clk.eq(self.clk),
            clock.button.eq(~self.button if board.button_low else self.button),
            ClockSignal().eq(clock.clock),
            ResetSignal().eq(clock.reset),
            self.led.eq(~top.leds if board.lights_low else top.leds),
            self.uart_tx.eq(top.tx),
        ]
        pass_ports(m, self, top, {name: pin for name, pin in _PINS.items() if hasattr(self, pin)})
        return m
