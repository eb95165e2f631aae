# SPDX-License-Identifier: Apache-2.0
"""Patches of the window codec: finds their entries in the seed stream, flips the bits."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.config import WindowConfig

__all__ = ["WindowPatch"]

_COLUMN_BITS = 4
_LOW_BITS = 8
_COLUMNS, _ROWS = 1 << _COLUMN_BITS, 1 << (_LOW_BITS - _COLUMN_BITS)
"""A slice is divided into banks of 16 rows by 16 columns: one LUT4 decodes a row or a column, and
one LUT4 per bit flips the bit that bank, row and column select."""


class WindowPatch(wiring.Component):
    """Window patch unit: flips at most one bit per slice.

    A chunk begins with a patch entry if it opens a frame (there the entry follows the rate word)
    or follows a patched slice. Whether a slice is patched is known only one cycle after the chunk
    behind it. So every chunk is decoded as if it began with an entry: to bank, row and column, and
    to a comparison with the place of its own slice; then the entry is used or ignored. Latency one
    cycle from ``bits`` to ``o``. Twin: ``sw.golden.window.window_decoder``.

    Parameters
    ----------
    config : WindowConfig

    Members
    -------
    top, fresh, place, emit
        The chunk of the last step, and what the control tells about it.
    step : In(1)
        The next chunk is shifted in.
    accept : In(1)
        The registers behind the parities load a token.
    move : In(1)
        The registers behind the parities load, a token or nothing.
    bits : In(n_out)
        The outputs of the network: a slice without its patch.
    o : Out(n_out)
        The same slice, patched, after the next ``move``.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        super().__init__(
            {
                "top": In(config.n_in),
                "fresh": In(1),
                "place": In(range(config.frame)),
                "emit": In(1),
                "step": In(1),
                "accept": In(1),
                "move": In(1),
                "bits": In(config.n_out),
                "o": Out(config.n_out),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the unit."""
        m = Module()
        config = self._config
        index_bits = len(self.place)
        banks = -(-config.n_out // (_ROWS * _COLUMNS))
        layout = data.StructLayout(
            {"valid": 1, "index": index_bits, "rows": _ROWS, "columns": _COLUMNS, "banks": banks}
        )
        entry = Signal(layout, reset_less=True)
        patch = Signal(layout, name="waiting_patch", reset_less=True)
        seen = Signal(config.patch_bits)
        index, position = seen[1 : 1 + index_bits], seen[1 + index_bits :]
        fresh = Signal(reset_less=True)
        emit = Signal(reset_less=True)
        place = Signal.like(self.place, reset_less=True)
        # Whether a slice has a patch, by bank; the last bit, "in any bank", is for `opens` alone.
        new_hits = Signal(banks + 1, reset_less=True)
        old_hits = Signal(banks + 1)
        hits = Signal(banks + 1)
        new_hit = Signal()
        opens = Signal()
        in_bank = Cat(position[_LOW_BITS:] == k for k in range(banks))
        m.d.comb += [
            seen.eq(Mux(self.fresh, self.top[config.rate_bits :], self.top)),
            new_hit.eq(self.emit & seen[0] & (index == self.place)),
            old_hits.eq(
                Cat(patch.banks, patch.valid) & (emit & (patch.index == place)).replicate(banks + 1)
            ),
            opens.eq(fresh | hits[-1]),
        ]
        with m.If(self.step):
            m.d.sync += [
                fresh.eq(self.fresh),
                emit.eq(self.emit),
                place.eq(self.place),
                new_hits.eq(Cat(in_bank & new_hit.replicate(banks), new_hit)),
                entry.valid.eq(seen[0]),
                entry.index.eq(index),
                entry.rows.eq(Cat(position[_COLUMN_BITS:_LOW_BITS] == r for r in range(_ROWS))),
                entry.columns.eq(Cat(position[:_COLUMN_BITS] == c for c in range(_COLUMNS))),
                entry.banks.eq(in_bank & seen[0].replicate(banks)),
            ]
        # A used patch need not be cleared: the entry after the patched slice replaces it.
        with m.If(self.accept):
            m.d.sync += hits.eq(Mux(opens, new_hits, old_hits))
            with m.If(opens):
                m.d.sync += patch.eq(entry)
        patched = Signal(config.n_out, reset_less=True)
        flips = Cat(
            hits[bit // (_ROWS * _COLUMNS)]
            & patch.rows[bit // _COLUMNS % _ROWS]
            & patch.columns[bit % _COLUMNS]
            for bit in range(config.n_out)
        )
        m.d.comb += self.o.eq(patched)
        with m.If(self.move):
            m.d.sync += patched.eq(self.bits ^ flips)
        return m
