# SPDX-License-Identifier: Apache-2.0
"""Join of slices and masks; it ends an output packet whatever happens."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.flow_queue import FlowQueue
from xorloom.hw.lib.payloads import mask_layout, slice_layout, weight_layout
from xorloom.hw.lib.ping_pong import PingPong
from xorloom.hw.lib.slice_pipe import PIPELINES, check_pipeline
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import ValueConfig

__all__ = ["WeightJoin"]

_FLIGHTS_BITS = 3


class WeightJoin(wiring.Component):
    """Weight join: offers each slice together with its mask.

    Latency two cycles, one beat per cycle but for a cycle behind the last beat of a stream, full
    back-pressure. The last beat of a stream waits until the stream is verified. Slices and masks
    wait in a queue each, of eight and more beats or, with a small pipeline, of two. No data
    register is enabled by ``o.ready``; ``o.valid`` is a LUT and ``o.payload`` two behind registers.
    Twin: ``sw.golden.weights.weight_decoder`` (its beats).

    =======  =================  =============================  ===================================
    state    accepted           offered                        next
    =======  =================  =============================  ===================================
    run      slices and masks   a slice with its mask; the     with ``kill``: linger if a beat is
                                last of a stream only once     offered and not taken, else close
                                the stream is verified         if the packet is open, else empty
    linger   nothing            the same beat                  when taken: close if the packet is
                                                               still open, else empty
    close    nothing            a beat with ``last`` and       when taken: run
                                ``bad``, without valid bits
    empty    nothing            nothing                        run, after one cycle
    =======  =================  =============================  ===================================

    The packet is open if a beat of it has gone out, and not its last one. The queues are emptied
    on the way from run or linger. In registers: ``blocked`` is not run; ``linger``; ``closing``,
    which is set early and waits for ``linger``; ``special`` is either of the two.

    The units in front are reset in the cycle after ``kill``. What comes from them without an offer
    until then goes with the rest.

    Parameters
    ----------
    value : ValueConfig
    planes : int
        Bits of the code of a weight.
    masked : bool
        Whether codes of pruned weights are set to 0; otherwise they are as the slices have them.
    levels : bool
        Whether the slices have levels, 8 bits for each weight.
    slack : pair of int
        How many slices, and how many masks, may come from the cycle on in which their ``ready`` is
        0; if not 0, ``valid`` alone is a transfer. See
        :class:`xorloom.hw.lib.flow_queue.FlowQueue`.
    pipeline : str
        One of :data:`xorloom.hw.lib.slice_pipe.PIPELINES`.

    Members
    -------
    slices : In(stream.Signature(slice_layout(value, levels=levels)))
        Codes.
    masks : In(stream.Signature(mask_layout(value.n_out // planes)))
        Masks.
    o : Out(stream.Signature(weight_layout(value, planes, levels=levels)))
        Codes and masks.
    opens, verified : In(1)
        A stream begins; a stream has arrived whole.
    may_open : Out(1)
        Fewer than seven streams have begun and not ended, so another one may begin.
    kill : In(1)
        All streams that have begun and not ended are lost.
    ended : Out(1)
        The last beat of a good stream was taken.
    owes : Out(1)
        A stream that has arrived whole has not ended.
    holds : Out(1)
        A slice waits for its mask, or to be taken.
    idle : Out(1)
        All streams that have begun have ended, and nothing is offered.
    """

    def __init__(
        self,
        value: ValueConfig,
        *,
        planes: int,
        masked: bool = True,
        levels: bool = False,
        slack: tuple[int, int] = (0, 0),
        pipeline: str = PIPELINES[0],
    ) -> None:
        self._width, self._masked = 8 if levels else planes, masked
        self._slack, self._small = slack, check_pipeline(pipeline) == "small"
        if self._small and any(slack):
            raise ConfigError(f"a small pipeline has no queues for a slack of {slack}")
        super().__init__(
            {
                "slices": In(stream.Signature(slice_layout(value, levels=levels))),
                "masks": In(stream.Signature(mask_layout(value.n_out // planes))),
                "o": Out(stream.Signature(weight_layout(value, planes, levels=levels))),
                "opens": In(1),
                "verified": In(1),
                "may_open": Out(1),
                "kill": In(1),
                "ended": Out(1),
                "owes": Out(1),
                "holds": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the buffers, the states and the counts of streams."""
        m = Module()
        linger = Signal()
        closing = Signal()
        special = Signal()
        blocked = Signal()
        partial = Signal()  # a beat of the packet has gone out, and not its last one
        flights = Signal(_FLIGHTS_BITS)
        whole = Signal(_FLIGHTS_BITS)
        any_whole = Signal()
        offers = Signal()
        takes = Signal()
        leaves = Signal()
        left = Signal()  # a cycle later: counters are not in a hurry
        last = Signal()
        stays = Signal()
        closes = Signal()
        parted = Signal()
        flush = Signal()
        slices, masks = self._buffers(m, flush, blocked, takes)
        codes = slices.o.p.bits
        if self._masked:
            codes &= Cat(bit.replicate(self._width) for bit in masks.o.p.mask)
        m.d.comb += [
            last.eq(slices.o.p.last),
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
            self.owes.eq(whole.any()),
            self.holds.eq(slices.o.valid),
            self.idle.eq(~flights.any() & ~special),
        ]
        # What is offered next is decided for both values of the consumer's ready, which is late:
        # the beats in front, if none is on offer, and those behind them. The beat behind a last
        # one waits for a cycle.
        first = slices.o.valid & masks.o.valid & (~last | any_whole) & ~blocked
        second = slices.more & masks.more & (~self._next_last(slices) | any_whole) & ~last
        m.d.sync += [
            offers.eq(Mux(takes, second, offers | first)),
            self.ended.eq(leaves | (linger & self.o.ready & last)),
            left.eq(leaves),
            flights.eq(flights + self.opens - left),
            whole.eq(whole + self.verified - left),
            any_whole.eq(whole.any() & ~leaves & ~left),
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
                offers.eq(0),
                left.eq(0),
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

    def _buffers(
        self, m: Module, flush: Signal, blocked: Signal, takes: Signal
    ) -> list[FlowQueue | PingPong]:
        """Add the queues of slices and masks, which move together."""
        buffers: list[FlowQueue | PingPong] = []
        pairs = (("held_slices", self.slices), ("held_masks", self.masks))
        for (name, port), slack in zip(pairs, self._slack, strict=True):
            shape = port.payload.shape()
            # The highest bit is `last`.
            buffer = (
                PingPong(shape) if self._small else FlowQueue(shape, slack=slack, flags=1, pop=True)
            )
            m.submodules[name] = buffer
            m.d.comb += [
                buffer.clear.eq(flush),
                buffer.i.payload.eq(port.payload),
                buffer.i.valid.eq(port.valid if slack else port.valid & ~blocked),
                port.ready.eq(buffer.i.ready & ~blocked),
                buffer.o.ready.eq(takes),
            ]
            buffers.append(buffer)
        return buffers

    def _next_last(self, slices: FlowQueue | PingPong) -> Value:
        """Return whether the slice behind the one in front is the last of its stream."""
        return slices.after.last if self._small else slices.after
