# SPDX-License-Identifier: Apache-2.0
"""Joins slices and masks; sees to it that an output packet ends whatever happens."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.config import WindowConfig

from .signatures import mask_layout, slice_layout, weight_layout

__all__ = ["WeightJoin"]

_FLIGHTS_BITS = 3


class WeightJoin(wiring.Component):
    """Takes a slice and its mask in the same cycle, into one register. Full back-pressure.

    The last beat of a stream waits until the stream is verified. After ``kill``, what is offered
    stays offered; then, if beats of the stream have gone out, one without bits closes the packet,
    marked ``bad``.

    Parameters
    ----------
    value : WindowConfig
    planes : int
        Bits of a weight's code.
    masked : bool
        Codes of pruned weights are zero; otherwise they are as the slices have them.

    Members
    -------
    slices : In(stream.Signature(slice_layout(value)))
    masks : In(stream.Signature(mask_layout(value.n_out // planes)))
    o : Out(stream.Signature(weight_layout(value, planes)))
    opens, verified : In(1)
        A stream begins, or has come whole.
    may_open : Out(1)
        There may be one more stream at a time.
    kill : In(1)
        All streams that have begun are lost.
    ended : Out(1)
        A stream's last beat is taken, and good.
    idle : Out(1)
        No stream has begun that has not ended; nothing is offered.
    """

    def __init__(self, value: WindowConfig, *, planes: int, masked: bool = True) -> None:
        self._planes, self._masked = planes, masked
        super().__init__(
            {
                "slices": In(stream.Signature(slice_layout(value))),
                "masks": In(stream.Signature(mask_layout(value.n_out // planes))),
                "o": Out(stream.Signature(weight_layout(value, planes))),
                "opens": In(1),
                "verified": In(1),
                "may_open": Out(1),
                "kill": In(1),
                "ended": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the register and the counts of streams."""
        m = Module()
        slices, masks = self.slices, self.masks
        valid, partial, closing = Signal(), Signal(), Signal()
        kept_back = Signal()  # the beat is a stream's last, and that is not known to be whole
        beat: Any = Signal.like(self.o.payload, reset_less=True)
        flights, whole, any_whole = Signal(_FLIGHTS_BITS), Signal(_FLIGHTS_BITS), Signal()
        moves, accepts, takes, leaves = Signal(), Signal(), Signal(), Signal()
        codes = slices.p.bits
        if self._masked:
            codes &= Cat(bit.replicate(self._planes) for bit in masks.p.mask)
        m.d.comb += [
            moves.eq(~valid | (self.o.ready & ~kept_back)),
            # One LUT: both units' pipelines wait for it.
            accepts.eq((~valid | (self.o.ready & ~kept_back)) & ~closing),
            takes.eq(accepts & slices.valid & masks.valid & ~self.kill),
            slices.ready.eq(accepts & masks.valid),
            masks.ready.eq(accepts & slices.valid),
            leaves.eq(kept_back & any_whole),
            self.o.valid.eq(valid & ~kept_back),
            self.o.payload.eq(beat),
            self.may_open.eq(~flights.all()),
            self.ended.eq(self.o.valid & self.o.ready & beat.last & ~beat.bad),
            self.idle.eq(~flights.any() & ~valid & ~closing),
        ]
        m.d.sync += [
            flights.eq(flights + self.opens - leaves),
            whole.eq(whole + self.verified - leaves),
            any_whole.eq(whole.any() & ~leaves),
            kept_back.eq((takes & slices.p.last) | (kept_back & ~any_whole)),
        ]
        with m.If(takes):
            m.d.sync += partial.eq(1)
        with m.Elif(leaves):
            m.d.sync += partial.eq(0)
        with m.If(moves):
            m.d.sync += [
                valid.eq(takes | closing),
                closing.eq(0),
                beat.codes.eq(codes),
                beat.mask.eq(masks.p.mask),
                beat.valid_bits.eq(slices.p.valid_bits),
                beat.last.eq(slices.p.last),
                beat.bad.eq(0),
            ]
            with m.If(closing):
                m.d.sync += [beat.valid_bits.eq(0), beat.last.eq(1), beat.bad.eq(1)]
        with m.If(self.kill):
            m.d.sync += [flights.eq(0), whole.eq(0), any_whole.eq(0), kept_back.eq(0)]
            m.d.sync += [partial.eq(0), closing.eq(partial | (closing & ~moves))]
            with m.If(kept_back):  # nobody has seen it
                m.d.sync += valid.eq(0)
        return m
