# SPDX-License-Identifier: Apache-2.0
"""Core of the low-rank index: binary factors in, masks out."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.index_config import LowrankConfig

__all__ = ["IndexLowrank"]


class IndexLowrank(wiring.Component):
    """Low-rank core: one chunk in, the mask of one slice out, by a Boolean matrix product.

    Mask bit ``l`` of a slice is the OR over r of A[l, r] AND B[r]. A is the factor of the lanes,
    the same for a tile row; B is the factor of the slice. A chunk brings B and a share of A of the
    next tile row. Latency :py:`self.latency` cycles, one mask per cycle, full back-pressure.

    The shares move through one shift register over all of A, so only the first tile row needs
    multiplexers: its preamble chunks hold several shares each and take one cycle per share.
    Twin: ``sw.golden.index.lowrank.index_lowrank``. Source: Lee et al., arXiv 1905.05686.

    Parameters
    ----------
    config : LowrankConfig

    Members
    -------
    i : In(stream.Signature(config.chunk_bits))
        Chunks: those of the preamble, then one per slice.
    o : Out(stream.Signature(config.n_out))
        Masks, in order.
    clear : In(1)
        Between two streams: the next chunk belongs to a preamble. No chunk enters in this cycle.
    """

    def __init__(self, config: LowrankConfig) -> None:
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(config.chunk_bits)),
                "o": Out(stream.Signature(config.n_out)),
                "clear": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of the chunk of a slice until its mask is offered."""
        return 2

    @property
    def chunk_bits(self) -> int:
        """Bits of a chunk."""
        return self._config.chunk_bits

    def elaborate(self, _platform: object) -> Module:
        """Build the decoder."""
        m = Module()
        config = self._config
        # Each enable of thousands of flip-flops is one LUT behind registers. `stuck`: `held` and
        # `mask` are both full. A changes when the slice in `held` ends its tile row and moves on:
        # `ends_free` if no mask is before it, `ends_full` if there is one. The control has copies
        # of its own (`empty`, `room`, inverted), so that it does not wait for the long nets.
        stuck = Signal()
        ends_free = Signal()
        ends_full = Signal()
        room = Signal(init=1)
        empty = Signal(init=1)
        moves = Signal()
        shifts = Signal()
        taken = Signal()
        loaded = Signal()  # the preamble is over
        held_valid = Signal()
        mask_valid = Signal()
        held = Signal(config.beat_bits, reset_less=True)
        mask = Signal(config.n_out, reset_less=True)
        coming = Signal(config.lane_bits, reset_less=True)  # A of the next tile row
        factors = Signal(config.lane_bits, reset_less=True)
        last_share, share = self._preamble(m, self.i.valid & ~loaded, loaded)
        m.d.comb += [
            moves.eq(empty | self.o.ready),
            shifts.eq(self.i.valid & (~stuck | self.o.ready)),
            taken.eq(self.i.valid & loaded & (room | self.o.ready)),
            self.i.ready.eq((room | self.o.ready) & (loaded | last_share) & ~self.clear),
            self.o.valid.eq(mask_valid),
            self.o.payload.eq(mask),
        ]
        with m.If(shifts):  # in the preamble `held` means nothing
            m.d.sync += [
                coming.eq(Cat(coming, share)[config.share_bits :]),
                held.eq(self.i.payload[: config.beat_bits]),
            ]
        with m.If(~mask_valid | self.o.ready):
            m.d.sync += mask.eq(self._product(factors, held))
        with m.If(ends_free | (ends_full & self.o.ready)):
            m.d.sync += factors.eq(coming)
        held_next = Signal()
        mask_next = Signal()
        ends_next = Signal()
        place = Signal(range(config.tile_slices), init=config.tile_slices - 1)
        ends_stay = Mux(moves, ~loaded, ends_free | ends_full)  # preamble: A loads always
        m.d.comb += [
            ends_next.eq(Mux(taken, place == 0, ends_stay)),
            held_next.eq(taken | (held_valid & ~moves)),
            mask_next.eq(held_valid | ~moves),
        ]
        with m.If(self.clear):
            m.d.sync += [held_valid.eq(0), mask_valid.eq(0), empty.eq(1), stuck.eq(0), room.eq(1)]
            m.d.sync += [ends_free.eq(0), ends_full.eq(0), place.eq(place.init)]
        with m.Else():
            m.d.sync += [
                held_valid.eq(held_next),
                mask_valid.eq(mask_next),
                empty.eq(~mask_next),
                stuck.eq(held_next & mask_next),
                room.eq(~(held_next & mask_next)),
                ends_free.eq(ends_next & ~mask_next),
                ends_full.eq(ends_next & mask_next),
            ]
            with m.If(taken):
                m.d.sync += place.eq(Mux(place == 0, place.init, place - 1))
        return m

    def _preamble(self, m: Module, offered: Value, loaded: Signal) -> tuple[Value, Value]:
        """Count the preamble; return the share of A, and whether it is the last of its chunk."""
        config = self._config
        width, shares = config.share_bits, config.shares_per_chunk
        top = config.chunk_bits
        chunks = Signal(range(config.preamble_chunks), init=config.preamble_chunks - 1)
        place = Signal(range(shares), init=shares - 1)  # shares after this one; 0 for slices
        last = place == 0
        share = self.i.payload[top - width :]
        for k in range(1, shares):
            share = Mux(place == k, self.i.payload[top - (k + 1) * width : top - k * width], share)
        with m.If(offered):
            m.d.sync += place.eq(place - 1)
            with m.If(last):
                m.d.sync += [
                    place.eq(Mux(chunks == 0, 0, shares - 1)),
                    chunks.eq(chunks - 1),
                    loaded.eq(chunks == 0),
                ]
        with m.If(self.clear):
            m.d.sync += [chunks.eq(chunks.init), place.eq(place.init), loaded.eq(0)]
        return last, share

    def _product(self, factors: Signal, held: Signal) -> Value:
        """Return the Boolean product of A and B."""
        rank, lanes = self._config.rank, self._config.tile_lanes
        return Cat(
            (factors[j * rank : (j + 1) * rank] & held.word_select(j // lanes, rank)).any()
            for j in range(self._config.n_out)
        )
