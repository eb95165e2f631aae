# SPDX-License-Identifier: Apache-2.0
"""Joins slices and masks; sees to it that an output packet ends whatever happens."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import mask_layout, slice_layout, weight_layout
from xorloom.hw.lib.ping_pong import PingPong
from xorloom.sw.spec.config import WindowConfig

__all__ = ["WeightJoin"]

_FLIGHTS_BITS = 3


class WeightJoin(wiring.Component):
    """Offers a slice together with its mask. Latency one cycle, full back-pressure.

    The last beat of a stream waits until the stream is verified. After ``kill``, what is offered
    stays offered; then, if beats of the stream have gone out, one without bits closes the packet,
    marked ``bad``. Data registers wait for no ``ready``; ``o.payload`` is two LUTs behind them.

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
        """Build the buffers and the counts of streams."""
        m = Module()
        # After a fault: the beat on offer stays, then the closing beat comes. Either: special. Till
        # then, and while the buffers are emptied, nothing goes in.
        linger, closing, special, blocked = (Signal() for _ in range(4))
        partial = Signal()  # beats of the stream have gone out
        flights, whole, any_whole = Signal(_FLIGHTS_BITS), Signal(_FLIGHTS_BITS), Signal()
        offers, takes, leaves, last = Signal(), Signal(), Signal(), Signal()
        stays, closes, parted, flush = Signal(), Signal(), Signal(), Signal()
        slices, masks = (PingPong(port.payload.shape()) for port in (self.slices, self.masks))
        pairs = (("held_slices", slices, self.slices), ("held_masks", masks, self.masks))
        for name, buffer, port in pairs:
            m.submodules[name] = ResetInserter({"sync": flush})(buffer)
            m.d.comb += [
                buffer.i.payload.eq(port.payload),
                buffer.i.valid.eq(port.valid & ~blocked),
                port.ready.eq(buffer.i.ready & ~blocked),
                buffer.o.ready.eq(takes),
            ]
        codes = slices.o.p.bits
        if self._masked:
            codes &= Cat(bit.replicate(self._planes) for bit in masks.o.p.mask)
        m.d.comb += [
            last.eq(slices.o.p.last),
            offers.eq(slices.o.valid & masks.o.valid & (~last | any_whole) & ~blocked),
            takes.eq(offers & self.o.ready),
            leaves.eq(takes & last),
            stays.eq((offers | linger) & ~self.o.ready),
            closes.eq(closing & ~(~linger & self.o.ready)),
            parted.eq(Mux(offers, ~last, partial)),
            self.o.valid.eq(offers | special),
            self.o.p.codes.eq(codes),
            self.o.p.mask.eq(masks.o.p.mask),
            self.o.p.valid_bits.eq(Mux(special & ~linger, 0, slices.o.p.valid_bits)),
            self.o.p.last.eq(last | (special & ~linger)),
            self.o.p.bad.eq(special & ~linger),
            self.may_open.eq(~flights.all()),
            self.idle.eq(~flights.any() & ~special),
        ]
        m.d.sync += [
            self.ended.eq(leaves | (linger & self.o.ready & last)),
            flights.eq(flights + self.opens - leaves),
            whole.eq(whole + self.verified - leaves),
            any_whole.eq(whole.any() & ~leaves),
            linger.eq(linger & ~self.o.ready),
            closing.eq(closes),
            special.eq((linger & ~self.o.ready) | closes),
            blocked.eq(linger | closes),
            flush.eq(linger & self.o.ready),
        ]
        with m.If(takes):
            m.d.sync += partial.eq(~last)
        with m.If(self.kill):
            m.d.sync += [
                flights.eq(0),
                whole.eq(0),
                any_whole.eq(0),
                partial.eq(0),
                linger.eq(stays),
                closing.eq(closes | parted),
                special.eq(stays | closes | parted),
                blocked.eq(1),
                flush.eq(~stays),
            ]
        return m
