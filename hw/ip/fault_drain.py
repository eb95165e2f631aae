# SPDX-License-Identifier: Apache-2.0
"""From what is wrong with a stream to its fault, which waits for the streams before it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .csr import Cause

__all__ = ["FaultDrain", "wrong_layout"]

_CAUSES = (
    Cause.ABORTED,
    Cause.LENGTH,
    Cause.CRC,
    Cause.SCHEDULE,
    Cause.SLVERR,
    Cause.DECERR,
    Cause.HEADER,
    Cause.NETWORK,
    Cause.TRUNCATED,
)
"""Causes of a fault; of several at once the first counts, which is about the oldest stream."""
_EARLIER = _CAUSES[:4]
"""Those that may still come while older streams drain: they are about these, or all."""


def wrong_layout() -> data.StructLayout:
    """What is wrong in this cycle: one bit for each cause of a fault."""
    return data.StructLayout({cause.name.lower(): 1 for cause in _CAUSES})


class FaultDrain(wiring.Component):
    """Fault drain: halts the parser when something is wrong; raises the fault when others are out.

    A fault resets the units, so it waits until the streams before the one that it is about have
    left: those that are verified, and one that is complete and waits for its CRC. What is found
    out about these meanwhile takes the place of the cause. A payload too short for its count shows
    only after its stream was verified; then what is on its way to the output leaves. Nothing waits
    for an abort, or for streams that make no progress.

    Members
    -------
    wrong : In(wrong_layout())
        What is wrong. The first bit opens the drain three cycles later.
    finishing : In(1)
        A stream is complete, and its CRC not known or not told yet.
    owes : In(1)
        A verified stream has not ended.
    still : In(1)
        No slice has been on its way to the output for some cycles.
    dropping : In(1)
        A fault has been raised, and its recovery goes on: nothing else matters.
    halts : Out(1)
        The parser must take no more words: two cycles after the first bit of ``wrong``.
    cancels : Out(1)
        With ``halts``: the stream that is finishing is the one that is wrong.
    fault : Out(1)
        For one cycle.
    cause : Out(Cause)
        Valid with ``fault``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "wrong": In(wrong_layout()),
                "finishing": In(1),
                "owes": In(1),
                "still": In(1),
                "dropping": In(1),
                "halts": Out(1),
                "cancels": Out(1),
                "fault": Out(1),
                "cause": Out(Cause),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the registers; first the conditions, then their OR and the cause."""
        m = Module()
        hits = Signal(wrong_layout())
        # The stream that was finishing is not the one that is wrong: with `hits`, with `found`.
        was_finishing = Signal()
        older = Signal()
        found = Signal()
        news = Signal(Cause)
        at_once = Signal()
        is_short = Signal()
        draining = Signal()
        short = Signal()
        raises = Signal()
        flags = {cause: hits[cause.name.lower()] for cause in _CAUSES}
        first = Cat(flags[cause] for cause in _EARLIER).any()
        others = Cat(flag for cause, flag in flags.items() if cause not in _EARLIER).any()
        empty = Mux(short, self.still, ~self.finishing & ~self.owes)
        m.d.comb += [
            raises.eq((draining & empty) | (found & at_once)),
            self.halts.eq(found | draining),
            self.cancels.eq(found & ~older),
        ]
        m.d.sync += [
            hits.eq(Mux(self.fault, 0, self.wrong.as_value())),
            was_finishing.eq(self.finishing & ~self.wrong.crc),
            older.eq(was_finishing),
            found.eq((first | (others & ~self.halts)) & ~self.dropping & ~self.fault & ~raises),
            at_once.eq(flags[Cause.ABORTED] | flags[Cause.SCHEDULE]),
            is_short.eq(flags[Cause.LENGTH]),
            draining.eq(self.halts & ~raises),
            short.eq(self.halts & ((found & is_short) | short)),
            self.fault.eq(raises),
        ]
        for cause in reversed(_CAUSES):
            with m.If(flags[cause]):
                m.d.sync += news.eq(cause)
        with m.If(found):
            m.d.sync += self.cause.eq(news)
        return m
