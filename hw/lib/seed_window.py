# SPDX-License-Identifier: Apache-2.0
"""Window over a stream of seed bits: a chunk and the bits before it."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SeedWindow"]


class SeedWindow(wiring.Component):
    """Seed window: a register for the chunk, and one for the ``past`` bits before it.

    All lanes of a beat see their windows in ``o``: that which begins ``u`` bits into the chunk's
    own is ``o[u : u + past + 1]``. Each half of the past has an enable of its own: with one for
    all bits, its fan-out limits Fmax; and so has each part of the chunk.

    Parameters
    ----------
    n_in : int
        Bits of a chunk.
    past : int
        Bits of a window without its newest.
    parts : int
        Parts of the chunk register.

    Members
    -------
    chunk : In(n_in)
        The next chunk, its oldest bit first.
    take : In(parts)
        Load the chunk register, by parts.
    step : In(2)
        Make the chunk in the register part of the past, by halves.
    clear : In(1)
        Make the past zero instead.
    o : Out(past + n_in)
        The past and the chunk.
    """

    def __init__(self, *, n_in: int, past: int, parts: int = 1) -> None:
        self._n_in, self._past, self._parts = n_in, past, parts
        super().__init__(
            {
                "chunk": In(n_in),
                "take": In(parts),
                "step": In(2),
                "clear": In(1),
                "o": Out(past + n_in),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the registers."""
        m = Module()
        n_in, parts = self._n_in, self._parts
        chunk = Signal(n_in, name="newest", reset_less=True)
        seeds = Signal(self._past)
        m.d.comb += self.o.eq(Cat(seeds, chunk))
        for k in range(parts):
            part = slice(k * n_in // parts, (k + 1) * n_in // parts)
            with m.If(self.take[k]):
                m.d.sync += chunk[part].eq(self.chunk[part])
        half = len(seeds) // 2
        for k, part in enumerate((slice(half), slice(half, None))):
            with m.If(self.clear):
                m.d.sync += seeds[part].eq(0)
            with m.Elif(self.step[k]):
                m.d.sync += seeds[part].eq(self.o[n_in:][part])
        return m
