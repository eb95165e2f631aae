# SPDX-License-Identifier: Apache-2.0
"""Core of no index: masks of ones."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.index_config import NoneConfig

__all__ = ["IndexNone"]


class IndexNone(wiring.Component):
    """Core of no index: after the first bus word, masks of ones without end.

    Words are swallowed as they come. Latency :py:`self.latency` cycles, one mask per cycle, full
    back-pressure. Twin: ``sw.golden.index.none.none_decoder``.

    Parameters
    ----------
    config : NoneConfig

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Bus words; what they hold has no meaning.
    o : Out(stream.Signature(n_out))
        Masks.
    clear : In(1)
        The next word is the first of a stream.
    """

    def __init__(self, config: NoneConfig) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(config.n_out)),
                "clear": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of the first word until a mask is offered."""
        return 1

    @property
    def chunk_bits(self) -> None:
        """No chunks: the core takes bus words."""
        return None

    def elaborate(self, _platform: object) -> Module:
        """Build the one register."""
        m = Module()
        begun = Signal()
        m.d.comb += [
            self.i.ready.eq(1),
            self.o.valid.eq(begun),
            self.o.payload.eq(-1),
        ]
        m.d.sync += begun.eq((begun | self.i.valid) & ~self.clear)
        return m
