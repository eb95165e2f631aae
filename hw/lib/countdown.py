# SPDX-License-Identifier: Apache-2.0
"""Counts down in steps that need not divide the count."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Countdown"]


class Countdown(wiring.Component):
    """Tells the last of ``ceil(count / unit)`` steps.

    ``left`` is the count that will remain after the next step, less one: its sign is the answer.
    What is added to it stands in a register, so the adder goes from flip-flop to flip-flop, and
    neither a load nor a change of sign needs a multiplexer.

    Parameters
    ----------
    unit : int

    Members
    -------
    load : In(1)
        Take ``count``; settled three cycles later, no step before that.
    count : In(32)
    step : In(1)
    none : Out(1)
        The count was 0. Settled like ``last``.
    last : Out(1)
        The next step is the last, or there is none.
    """

    def __init__(self, *, unit: int) -> None:
        self._unit = unit
        super().__init__(
            {
                "load": In(1),
                "count": In(32),
                "step": In(1),
                "none": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build adder and registers."""
        m = Module()
        left = Signal(signed(33), init=-1)
        addend = Signal(signed(33), init=-self._unit)
        settle = Signal(2)
        none = Signal()
        m.d.comb += [self.none.eq(none), self.last.eq(left[-1])]
        m.d.sync += settle.eq(settle << 1 | self.load)
        with m.If(self.load):
            m.d.sync += [left.eq(-1), addend.eq(self.count)]
        with m.Elif(settle[0]):
            m.d.sync += addend.eq(-self._unit)
        with m.If(~self.load & (settle.any() | self.step)):
            m.d.sync += left.eq(left + addend)
        with m.If(settle[1]):
            m.d.sync += none.eq(left[-1])
        return m
