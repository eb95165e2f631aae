# SPDX-License-Identifier: Apache-2.0
"""Two-entry buffer for wide streams; it cuts the ready path."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PingPong"]


class PingPong(wiring.Component):
    """Ping-pong buffer: two entries that are filled in turn. Latency one cycle, one item per cycle.

    ``i.ready`` and ``o.valid`` are registers, and ``o.payload`` is a multiplexer of two registers.
    No data register is enabled by ``o.ready``; in a
    :class:`xorloom.hw.block.skid_buffer.SkidBuffer` all of them are, which is slow for wide
    payloads.

    Parameters
    ----------
    shape : Layout or Shape
        Payload.
    clears : bool
        Whether ``clear`` is used. If not, the entry to fill next loads in every cycle, whatever
        ``i.valid``: that then enables nothing wide.

    Members
    -------
    i : In(stream.Signature(shape))
        Items in.
    o : Out(stream.Signature(shape))
        The same items, in order.
    clear : In(1)
        Both entries are dropped, and what comes in. Unlike after a reset ``o.payload`` stays as it
        is, for who still shows it.
    more : Out(1)
        There is an item behind the one on offer. A register.
    after : Out(shape)
        That item.
    """

    def __init__(self, shape: data.Layout | Shape, *, clears: bool = True) -> None:
        self._shape, self._clears = shape, clears
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "clear": In(1),
                "more": Out(1),
                "after": Out(shape),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the buffer."""
        m = Module()
        valid = Signal()
        full = Signal()
        take_at = Signal()
        items = [Signal(self._shape, name=f"item_{k}", reset_less=True) for k in range(2)]
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.valid.eq(valid),
            self.o.payload.eq(Mux(take_at, items[1], items[0])),
            self.more.eq(full),
            self.after.eq(Mux(take_at, items[0], items[1])),
        ]
        # Which of the items the next one goes to, if any; registers, for they enable wide ones.
        goes_to = Signal(2, init=1)
        next_valid, next_full, next_take_at = (
            Signal(name=f"next_{n}") for n in ("valid", "full", "take_at")
        )
        m.d.comb += [
            next_valid.eq((self.i.valid | full | (valid & ~self.o.ready)) & ~self.clear),
            next_full.eq(valid & ~self.o.ready & (full | self.i.valid) & ~self.clear),
            next_take_at.eq(take_at ^ (valid & self.o.ready)),
        ]
        m.d.sync += [
            valid.eq(next_valid),
            full.eq(next_full),
            take_at.eq(next_take_at),
            goes_to.eq(Cat(~next_full & ((next_take_at ^ next_valid) == k) for k in range(2))),
        ]
        for k, item in enumerate(items):
            with m.If(self.i.valid & goes_to[k] if self._clears else goes_to[k]):
                m.d.sync += item.eq(self.i.payload)
        return m
