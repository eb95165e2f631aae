# SPDX-License-Identifier: Apache-2.0
"""Countdown by a fixed step that need not divide the count."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

__all__ = ["Countdown"]


class Countdown(wiring.Component):
    """Countdown: marks the last of ``ceil(count / unit)`` steps.

    A step is counted one cycle late, because ``step`` often comes late in its cycle: it reaches two
    flip-flops only. The register ``ahead`` holds the count that will remain after two steps behind
    the next one, minus one, but for a step that is not counted yet; ``following`` is the ``last``
    of the step after the next one, but for the same. So the next ``last`` is ``following``, or
    else the sign of ``ahead``. The addend is a register too, so the adder runs from flip-flop to
    flip-flop and neither a load nor a change of sign needs a multiplexer.

    ``none`` and ``last`` are valid three cycles after ``start``. Example: ``unit = 4`` and
    ``count = 10`` allow three steps, and ``last`` is 1 before the third.

    Parameters
    ----------
    unit : int
        How much one step counts.

    Members
    -------
    load : In(1)
        Load ``count``; in every cycle in which this is 1, the last one counts.
    start : In(1)
        Pulses in the last cycle of ``load``. No ``step`` in this cycle or the next two.
    count : In(32)
        Sampled in the cycle of ``load``.
    step : In(1)
        Count one step.
    none : Out(1)
        The count was 0.
    last : Out(1)
        The next step is the last one, or there is none.
    empty : Out(1)
        In the second cycle after ``start``: the count was 0.
    rest : Out(range(unit + 1))
        With ``last``: how much the last step counts, 1 to ``unit``.
    """

    def __init__(self, *, unit: int) -> None:
        self._unit = unit
        super().__init__(
            {
                "load": In(1),
                "start": In(1),
                "count": In(32),
                "step": In(1),
                "none": Out(1),
                "last": Out(1),
                "empty": Out(1),
                "rest": Out(range(unit + 1)),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the adder and its registers."""
        m = Module()
        zeros = (self._unit & -self._unit).bit_length() - 1
        unit = self._unit >> zeros
        ahead = Signal(signed(33 - zeros), init=-1 - unit)
        addend = Signal(signed(33 - zeros), init=-unit, reset_less=True)
        total = Signal(signed(33 - zeros))
        # Bits below the units, and whether they are one more unit: the first carry of the adder.
        low = Signal(zeros, reset_less=True)
        carry = Signal(reset_less=True)
        settle = Signal(2)
        last = Signal(init=1)
        following = Signal(init=1)
        none = Signal()
        pending = Signal()
        few = bits_for(unit)
        rest = ahead[:few] + Mux(pending, 2 * unit, 3 * unit) + ~low.any()
        m.d.comb += [
            total.eq((Cat(carry, ahead) + Cat(Const(1, 1), addend))[1:]),
            self.none.eq(none),
            self.last.eq(last),
            self.empty.eq(ahead[-1] & (ahead[:few] == (-1 - unit) & ((1 << few) - 1))),
            self.rest.eq(Cat(low, rest[:few])),
        ]
        # The last cycle of settling is as the one after a step.
        m.d.sync += [settle.eq(settle << 1 | self.start), pending.eq(self.step | settle[1])]
        # In this order the constants are resets of the flip-flops.
        with m.If(self.load):
            m.d.sync += [ahead.eq(-1 - unit), low.eq(self.count)]
        with m.Elif(settle.any() | pending):
            m.d.sync += ahead.eq(total)
        with m.If(settle[0]):
            m.d.sync += [addend.eq(-unit), carry.eq(0)]
        with m.Elif(self.load):
            m.d.sync += [addend.eq(self.count[zeros:]), carry.eq(self.count[:zeros].any())]
        with m.If(settle[1]):
            m.d.sync += none.eq(self.empty)
        with m.If(self.step | settle[1]):
            m.d.sync += last.eq(Mux(pending | settle[1], ahead[-1], following))
        with m.If(pending):
            m.d.sync += following.eq(ahead[-1])
        return m
