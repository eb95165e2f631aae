# SPDX-License-Identifier: Apache-2.0
"""Countdown by a fixed step that need not divide the count."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Countdown"]


class Countdown(wiring.Component):
    """Countdown: marks the last of ``ceil(count / unit)`` steps.

    The register ``left`` holds the count that will remain after the next step, minus one; its sign
    bit is ``last``. The addend is a register too, so the adder runs from flip-flop to flip-flop
    and neither a load nor a change of sign needs a multiplexer.

    ``none`` and ``last`` are valid three cycles after ``load``. Example: ``unit = 4`` and
    ``count = 10`` allow three steps, and ``last`` is 1 before the third.

    Parameters
    ----------
    unit : int
        How much one step counts.

    Members
    -------
    load : In(1)
        Load ``count``. No ``step`` in this cycle or the next two; no other ``load`` in the next.
    count : In(32)
        Sampled in the cycle of ``load``.
    step : In(1)
        Count one step.
    none : Out(1)
        The count was 0.
    last : Out(1)
        The next step is the last one, or there is none. Already in the second cycle after
        ``load``: the count was 0.
    rest : Out(range(unit + 1))
        With ``last``: how much the last step counts, 1 to ``unit``.
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
                "rest": Out(range(unit + 1)),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the adder and its registers."""
        m = Module()
        left = Signal(signed(33), init=-1)
        addend = Signal(signed(33), init=-self._unit)
        settle = Signal(2)
        none = Signal()
        m.d.comb += [
            self.none.eq(none),
            self.last.eq(left[-1]),
            self.rest.eq(left[: len(self.rest)] + (self._unit + 1)),
        ]
        m.d.sync += settle.eq(settle << 1 | self.load)
        # In this order the constants are resets of the flip-flops.
        with m.If(self.load):
            m.d.sync += left.eq(-1)
        with m.Elif(settle.any() | self.step):
            m.d.sync += left.eq(left + addend)
        with m.If(settle[0]):
            m.d.sync += addend.eq(-self._unit)
        with m.Elif(self.load):
            m.d.sync += addend.eq(self.count)
        with m.If(settle[1]):
            m.d.sync += none.eq(left[-1])
        return m
