# SPDX-License-Identifier: Apache-2.0
"""Queue of descriptors, which checks them first."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from xorloom.hw.lib.payloads import descriptor_layout

from .csr import Cause

__all__ = ["DescriptorQueue"]


class DescriptorQueue(wiring.Component):
    """Descriptor queue: checks a descriptor, then queues or refuses it.

    Latency three cycles from ``start`` to ``o``, one descriptor in every three cycles.

    Parameters
    ----------
    bus_bytes : int
        A length must be a multiple of it.
    address_bits : int
    align_bytes : int
        An address must be a multiple of it.
    depth : int
        Descriptors that the queue holds.

    Members
    -------
    descriptor : In(descriptor_layout(address_bits))
        Must be stable from the cycle before ``start`` to the second cycle after it.
    beyond : In(1)
        The address has bits beyond ``address_bits``. Stable like the descriptor.
    start : In(1)
        Queue the descriptor, or refuse it two cycles later.
    flush : In(1)
        Drop all descriptors, and a start of the two cycles before; withdraw the one on offer.
    refused : Out(1)
        The descriptor was refused.
    cause : Out(Cause)
        Why, with ``refused``.
    busy : Out(1)
        A descriptor is queued, or found right in this cycle.
    space : Out(range(depth + 1))
        How many more can be queued.
    o : Out(stream.Signature(descriptor_layout(address_bits)))
        Descriptors, in order.
    """

    def __init__(self, *, bus_bytes: int, address_bits: int, align_bytes: int, depth: int) -> None:
        self._bus_bytes, self._align_bytes, self._depth = bus_bytes, align_bytes, depth
        layout = descriptor_layout(address_bits)
        super().__init__(
            {
                "descriptor": In(layout),
                "beyond": In(1),
                "start": In(1),
                "flush": In(1),
                "refused": Out(1),
                "cause": Out(Cause),
                "busy": Out(1),
                "space": Out(range(depth + 1)),
                "o": Out(stream.Signature(layout)),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the checks and the memory."""
        m = Module()
        depth = self._depth
        shape = self.descriptor.shape()
        m.submodules.entries = entries = memory.Memory(shape=shape, depth=depth, init=[])
        load = entries.read_port(domain="comb")
        store = entries.write_port()
        tail = Signal(range(depth))
        head = Signal(range(depth))
        space = Signal(range(depth + 1), init=depth)
        waits = Signal()
        full = Signal()
        bad = Signal()
        checks = Signal()
        starts = Signal()
        puts = Signal()
        takes = Signal()
        length, address = self.descriptor.length, self.descriptor.address
        word_bits = exact_log2(self._bus_bytes)
        odd = length[:word_bits].any()
        # The end of the descriptor in whole bus words, and whether there is a part of one behind
        # it. The end may be that of the memory.
        top = len(address) - word_bits
        end = Signal(1 + max(top, 32 - word_bits), reset_less=True)
        part = Signal(reset_less=True)
        m.d.sync += [
            end.eq(address[word_bits:] + length[word_bits:]),
            part.eq(address[:word_bits].any()),
        ]
        # Sums of a few bits each, then what they come to: no long chain in one cycle.
        some_length = _any_by_bytes(m, length, "some_length")
        some_end = _any_by_bytes(m, end[:top], "some_end")
        over = Signal(reset_less=True)
        at_top = Signal(reset_less=True)
        misplaced = Signal(reset_less=True)
        m.d.sync += [
            over.eq(end[top + 1 :].any()),
            at_top.eq(end[top]),
            misplaced.eq(odd | address[: exact_log2(self._align_bytes)].any() | self.beyond),
        ]
        m.d.comb += [
            puts.eq(starts & ~bad & ~full),
            takes.eq(self.o.valid & self.o.ready),
            self.refused.eq(starts & ~puts),
            self.cause.eq(Mux(bad, Cause.DESCRIPTOR, Cause.BUSY)),
            self.busy.eq(puts | waits),
            self.space.eq(space),
            store.addr.eq(tail),
            store.data.eq(self.descriptor),
            store.en.eq(puts),
            load.addr.eq(head),
            self.o.valid.eq(waits),
            self.o.payload.eq(load.data),
        ]
        m.d.sync += [
            bad.eq(~some_length.any() | misplaced | over | (at_top & (some_end.any() | part))),
            checks.eq(self.start & ~self.flush),
            starts.eq(checks & ~self.flush),
            full.eq(~takes & (full | (puts & (space == 1)))),
            tail.eq(tail + puts),
            head.eq(head + takes),
            space.eq(space + takes - puts),
            waits.eq(puts | (waits & ~(takes & (space == depth - 1)))),
        ]
        with m.If(self.flush):
            m.d.sync += [tail.eq(0), head.eq(0), space.eq(depth), full.eq(0), waits.eq(0)]
        return m


def _any_by_bytes(m: Module, bits: Value, name: str) -> Signal:
    """Return a register: whether any bit is set, for every eight bits."""
    groups = [bits[at : at + 8] for at in range(0, len(bits), 8)]
    some = Signal(len(groups), name=name, reset_less=True)
    m.d.sync += some.eq(Cat(group.any() for group in groups))
    return some
