# SPDX-License-Identifier: Apache-2.0
"""Patch unit: flips the slice bits that the network does not yield."""

from amaranth.hdl import Cat, Module, ResetSignal, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import flip_layout, patch_grid, patch_layout

__all__ = ["PatchDecoder", "PatchUnit"]


class PatchDecoder(wiring.Component):
    """Patch decoder: patch positions in, one-hot rows and columns out. Combinational.

    A slice is seen as a near-square grid, so one AND per bit finds the bit to flip. Register the
    one-hot signals before the patch unit: a mapper that can see through them spends a second LUT4
    on every slice bit (measured: 441 instead of 200 for 200 bits). Twin:
    ``sw.golden.network.patch_unit``.

    Parameters
    ----------
    n_out, patches_per_cycle : int
        Bits of a slice, and patches per cycle.

    Members
    -------
    i : In(patch_layout(n_out, patches_per_cycle))
        Patches as positions.
    o : Out(flip_layout(n_out, patches_per_cycle))
        The same patches as one-hot rows and columns.
    """

    def __init__(self, *, n_out: int, patches_per_cycle: int) -> None:
        self._n_out, self._patches = n_out, patches_per_cycle
        super().__init__(
            {
                "i": In(patch_layout(n_out, patches_per_cycle)),
                "o": Out(flip_layout(n_out, patches_per_cycle)),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the decoder."""
        m = Module()
        rows, columns = patch_grid(self._n_out)
        low_bits = columns.bit_length() - 1
        for k in range(self._patches):
            low, high = self.i.positions[k][:low_bits], self.i.positions[k][low_bits:]
            m.d.comb += [
                self.o.columns[k].eq(Cat(low == c for c in range(columns))),
                self.o.rows[k].eq(Cat((high == r) & self.i.enable[k] for r in range(rows))),
            ]
        m.d.comb += self.o.last.eq(self.i.last)
        return m


class PatchUnit(wiring.Component):
    """Patch unit: ``patches_per_cycle`` bit flips per cycle.

    XORs the ``bits`` of all beats up to the one with ``last``, and the bits that their one-hot
    signals select, into one slice. A slice with more patches than fit one beat has zero ``bits``
    in its later beats. Latency :py:`self.latency` cycles, one beat per cycle, full back-pressure.
    Twin: ``sw.golden.network.patch_unit``. Source: Kwon et al., CVPR 2020.

    The XOR of the earlier beats of a slice waits in registers that are cleared by their
    synchronous reset. So with one patch per cycle a bit costs exactly one LUT4:
    ``bits ^ waiting ^ (row & column)``.

    Parameters
    ----------
    n_out, patches_per_cycle : int
        Bits of a slice, and patches per cycle.
    user : StructLayout, optional
        Sideband; that of the last beat of a slice leaves with the slice.

    Members
    -------
    i : In(stream.Signature({"bits": n_out, "flip": flip_layout, "user": user}))
        Beats.
    o : Out(stream.Signature({"bits": n_out, "user": user}))
        Slices.
    """

    def __init__(
        self, *, n_out: int, patches_per_cycle: int, user: data.StructLayout | None = None
    ) -> None:
        self._n_out, self._patches = n_out, patches_per_cycle
        user = data.StructLayout({}) if user is None else user
        flip = flip_layout(n_out, patches_per_cycle)
        beat = data.StructLayout({"bits": n_out, "flip": flip, "user": user})
        self._slice = data.StructLayout({"bits": n_out, "user": user})
        super().__init__({"i": In(stream.Signature(beat)), "o": Out(stream.Signature(self._slice))})

    @property
    def latency(self) -> int:
        """Cycles from the transfer of the last beat of a slice until the slice is offered."""
        return 1

    def elaborate(self, _platform: object) -> Module:
        """Build the unit."""
        m = Module()
        flip = self.i.p.flip
        _, columns = patch_grid(self._n_out)
        total = Signal(self._n_out)
        waiting = Signal(self._n_out, reset_less=True)

        def flips(r: int) -> Value:
            return Cat(
                flip.rows[k][r // columns] & flip.columns[k][r % columns]
                for k in range(self._patches)
            ).xor()

        m.d.comb += total.eq(
            Cat(self.i.p.bits[r] ^ waiting[r] ^ flips(r) for r in range(self._n_out))
        )
        valid = Signal()
        proceed = Signal()
        clear = Signal()
        held = Signal(self._slice, reset_less=True)
        m.d.comb += [
            proceed.eq(~valid | self.o.ready),
            self.i.ready.eq(proceed),
            self.o.valid.eq(valid),
            self.o.payload.eq(held),
            # Reset and end of slice in one term, which maps to the synchronous reset of flip-flops.
            clear.eq(ResetSignal() | (proceed & self.i.valid & flip.last)),
        ]
        with m.If(proceed):
            m.d.sync += [
                valid.eq(self.i.valid & flip.last),
                held.bits.eq(total),
                held.user.eq(self.i.p.user),
            ]
        with m.If(clear):
            m.d.sync += waiting.eq(0)
        with m.Elif(proceed & self.i.valid):
            m.d.sync += waiting.eq(total)
        return m
