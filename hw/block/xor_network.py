# SPDX-License-Identifier: Apache-2.0
"""XOR-gate network: seed in, slice out."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["XorNetwork"]


class XorNetwork(wiring.Component):
    """XOR-gate network: one seed in, one slice out.

    Computes :py:`bits = M @ seed` over GF(2). Latency :py:`self.latency` cycles, one slice per
    cycle, full back-pressure. Twin: ``sw.golden.network.xor_network``. Source: Kwon et al., CVPR
    2020.

    Parameters
    ----------
    n_in : int
        Seed bits.
    rows : tuple of int, length ``n_out``
        Bit ``c`` of ``rows[r]`` connects seed bit ``c`` to slice bit ``r``.
    user : StructLayout, optional
        Sideband that is delayed with the slice.
    stages : int, 1 or 2
        Registers between input and output. With 2, the distinct parities of every four
        neighbouring seed bits (one LUT4 each) are computed once and registered, and a row is the
        XOR of at most ``n_in / 4`` of them: shorter paths for wide seeds.

    Members
    -------
    i : In(stream.Signature({"seed": n_in, "user": user}))
        Seeds.
    o : Out(stream.Signature({"bits": n_out, "user": user}))
        Slices.
    """

    def __init__(
        self,
        *,
        n_in: int,
        rows: tuple[int, ...],
        user: data.StructLayout | None = None,
        stages: int = 1,
    ) -> None:
        self._n_in, self._rows, self._stages = n_in, rows, stages
        self._user = data.StructLayout({}) if user is None else user
        seed = data.StructLayout({"seed": n_in, "user": self._user})
        bits = data.StructLayout({"bits": len(rows), "user": self._user})
        super().__init__({"i": In(stream.Signature(seed)), "o": Out(stream.Signature(bits))})

    @property
    def latency(self) -> int:
        """Cycles from the transfer of a seed until its slice is offered."""
        return self._stages

    def elaborate(self, _platform: object) -> Module:
        """Build the network."""
        m = Module()
        valid = Signal()
        proceed = Signal()
        m.d.comb += [
            proceed.eq(~valid | self.o.ready),
            self.o.valid.eq(valid),
        ]
        if self._stages == 1:
            seed, user, offered = self.i.p.seed, self.i.p.user, self.i.valid
            m.d.comb += self.i.ready.eq(proceed)
            bits = [
                Cat(seed[c] for c in range(self._n_in) if (row >> c) & 1).xor()
                for row in self._rows
            ]
        else:
            offered = Signal()
            early = Signal()
            user = Signal(self._user, reset_less=True)
            m.d.comb += [early.eq(~offered | proceed), self.i.ready.eq(early)]
            with m.If(early):
                m.d.sync += [offered.eq(self.i.valid), user.eq(self.i.p.user)]
            bits = self._two_level(m, early)
        slices = Signal(len(self._rows), reset_less=True)
        side = Signal(self._user, reset_less=True)
        with m.If(proceed):
            m.d.sync += [valid.eq(offered), slices.eq(Cat(bits)), side.eq(user)]
        m.d.comb += [self.o.p.bits.eq(slices), self.o.p.user.eq(side)]
        return m

    def _two_level(self, m: Module, early: Signal) -> list[Signal]:
        """Register the distinct 4-bit parities; return the rows as XORs of them."""
        seed = self.i.p.seed
        shared: dict[tuple[int, int], Signal] = {}
        for base in range(0, self._n_in, 4):
            for pattern in sorted({(row >> base) & 15 for row in self._rows} - {0}):
                bit = Signal(name=f"parity_{base}_{pattern:x}", reset_less=True)
                taps = Cat(seed[base + c] for c in range(4) if (pattern >> c) & 1)
                with m.If(early):
                    m.d.sync += bit.eq(taps.xor())
                shared[base, pattern] = bit
        return [
            Cat(
                shared[base, (row >> base) & 15]
                for base in range(0, self._n_in, 4)
                if (row >> base) & 15
            ).xor()
            for row in self._rows
        ]
