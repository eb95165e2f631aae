# SPDX-License-Identifier: Apache-2.0
"""Core of the bitmap index: its chunks are the masks."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.index_config import BitmapConfig

__all__ = ["IndexBitmap"]


class IndexBitmap(wiring.Component):
    """Bitmap core: a register between chunks and masks, which are the same bits.

    Latency :py:`self.latency` cycles, one mask per cycle, full back-pressure. Twin:
    ``sw.golden.index.bitmap.bitmap_decoder``.

    Parameters
    ----------
    config : BitmapConfig

    Members
    -------
    i : In(stream.Signature(n_out))
        Chunks.
    o : Out(stream.Signature(n_out))
        Masks.
    clear : In(1)
        As in the other cores; without effect, because there is no state.
    """

    def __init__(self, config: BitmapConfig) -> None:
        port = stream.Signature(config.n_out)
        super().__init__({"i": In(port), "o": Out(port), "clear": In(1)})

    @property
    def latency(self) -> int:
        """Cycles from the transfer of a chunk until its mask is offered."""
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
