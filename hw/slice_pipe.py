# SPDX-License-Identifier: Apache-2.0
"""Enables and valid flags of the window decoder's pipeline."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SlicePipe"]


class SlicePipe(wiring.Component):
    """Which registers move in this cycle. No data passes here.

    A step moves the window and, out of it, a *token* into the parity registers. From there on the
    slices move by themselves, so that no slice waits for a chunk once it has left the window.
    All registers behind the parities move together.

    Parameters
    ----------
    stages : int, 1 or more
        Registers behind the parity registers.

    Members
    -------
    available : In(1)
        There is a chunk for the window.
    token : In(1)
        What the window holds matters.
    emit : In(1)
        It is a slice; only together with ``token``.
    step : Out(1)
        The window and the parity registers load.
    full : Out(1)
        The parity registers hold a token.
    move : Out(1)
        The registers behind them load.
    valid : Out(1)
        The last register holds a slice.
    ready : In(1)
        It is taken.
    """

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__(
            {
                "available": In(1),
                "token": In(1),
                "emit": In(1),
                "step": Out(1),
                "full": Out(1),
                "move": Out(1),
                "valid": Out(1),
                "ready": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the step that moves a slice out of the window to its being offered."""
        return 1 + self._stages

    def elaborate(self, _platform: object) -> Module:
        """Build the flags."""
        m = Module()
        full, slice_ = Signal(), Signal(reset_less=True)
        valid = Signal(self._stages)
        m.d.comb += [
            self.full.eq(full),
            self.valid.eq(valid[-1]),
            self.move.eq(~valid[-1] | self.ready),
            # One LUT4: available, full, valid, ready.
            self.step.eq(self.available & (~full | ~valid[-1] | self.ready)),
        ]
        m.d.sync += full.eq((self.step & self.token) | (full & ~self.step & ~self.move))
        with m.If(self.step):
            m.d.sync += slice_.eq(self.emit)
        with m.If(self.move):
            m.d.sync += valid.eq(valid << 1 | (full & slice_))
        return m
