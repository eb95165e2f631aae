# SPDX-License-Identifier: Apache-2.0
"""The bitmap index: its chunks are the mask."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.index_config import BitmapConfig

__all__ = ["IndexBitmap"]


class IndexBitmap(wiring.Component):
    """A register between gearbox and consumer. Latency one cycle, one beat a cycle.

    Parameters
    ----------
    config : BitmapConfig

    Members
    -------
    i : In(stream.Signature(n_out))
    o : Out(stream.Signature(n_out))
    clear : In(1)
        Without effect: there is no state.
    """

    def __init__(self, config: BitmapConfig) -> None:
        port = stream.Signature(config.n_out)
        super().__init__({"i": In(port), "o": Out(port), "clear": In(1)})

    @property
    def latency(self) -> int:
        """Cycles from a chunk's transfer to its mask's being offered."""
        return 1

    @property
    def chunk_bits(self) -> int:
        """Bits of a chunk: a mask."""
        return len(self.i.payload)

    def elaborate(self, _platform: object) -> Module:
        """Build the register."""
        m = Module()
        valid = Signal()
        mask = Signal.like(self.i.payload, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(~valid | self.o.ready),
            self.o.valid.eq(valid),
            self.o.payload.eq(mask),
        ]
        with m.If(self.i.ready):
            m.d.sync += [valid.eq(self.i.valid), mask.eq(self.i.payload)]
        return m
