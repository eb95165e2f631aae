# SPDX-License-Identifier: Apache-2.0
"""Transmitter of a serial line."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.base.errors import ConfigError

__all__ = ["UartTx"]

_CHARACTER_BITS = 10
"""Start bit, eight data bits, stop bit."""


class UartTx(wiring.Component):
    """UART transmitter: 8 data bits, no parity, 1 stop bit; 10 bits per byte.

    Parameters
    ----------
    divisor : int, 2 or more
        Cycles per bit.

    Members
    -------
    i : In(stream.Signature(8))
        Bytes; the next one is accepted after the stop bit.
    o : Out(1, init=1)
        The line.

    Raises
    ------
    ConfigError
        If the clock is too slow for the line.
    """

    def __init__(self, divisor: int) -> None:
        if divisor < 2:
            raise ConfigError(f"a bit must last 2 cycles or more, not {divisor} (lower the baud)")
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "o": Out(1, init=1)})

    def elaborate(self, _platform: object) -> Module:
        """Build the shift register and its clock."""
        m = Module()
        bits = Signal(_CHARACTER_BITS, init=(1 << _CHARACTER_BITS) - 1)
        left = Signal(range(_CHARACTER_BITS + 1))
        timer = Signal(range(self._divisor))
        m.d.comb += [self.o.eq(bits[0]), self.i.ready.eq(~left.any())]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                bits.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))),
                left.eq(_CHARACTER_BITS),
                timer.eq(self._divisor - 1),
            ]
        with m.Elif(timer.any()):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left.any()):
            m.d.sync += [
                bits.eq(Cat(bits[1:], Const(1, 1))),
                left.eq(left - 1),
                timer.eq(self._divisor - 1),
            ]
        return m
