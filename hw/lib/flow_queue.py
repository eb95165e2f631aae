# SPDX-License-Identifier: Apache-2.0
"""FIFO behind a pipe that runs free: it tells early that it will be full."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.base.errors import ConfigError

__all__ = ["FlowQueue"]

_PART_BITS = 64
"""Bits of a payload that share pointers: so many that a pointer's fan-out does not limit Fmax."""


class FlowQueue(wiring.Component):
    """Flow queue: a stream FIFO in LUT RAM. Latency one cycle, one item per cycle.

    ``i.ready`` and ``o.valid`` are registers. ``o.payload`` is the memory at a pointer in
    registers, and nothing but pointers is enabled by ``o.ready``. On devices without LUT RAM the
    memory is made of flip-flops.

    With ``slack``, ``i.valid`` alone is a transfer. So a pipe that runs free may stand in front:
    one without enables, which takes steps only while ``i.ready``, and which puts out ``slack``
    items at most in the cycles after ``i.ready`` fell. There is no gap in what leaves if these
    are as many cycles, and ``depth >= 2 * slack + 4``.

    Parameters
    ----------
    shape : Layout or Shape
        Payload.
    depth : int, a power of two
        Items that the memory holds; 16 is what one row of LUT RAM holds.
    slack : int
        Items that may come in after ``i.ready`` fell; with 0, ``i`` is an ordinary stream.
    flags : int
        So many of the highest bits of ``o.payload`` are registers, for what decides on
        ``o.ready``.
    pop : bool
        Whether ``o.ready`` is 1 only while ``o.valid``, and not while ``clear``. It then goes
        straight to the pointers.

    Members
    -------
    i : In(stream.Signature(shape))
        Items in.
    o : Out(stream.Signature(shape))
        The same items, in order.
    comes : Out(1)
        ``o.valid`` of the next cycle.
    flags_next : Out(flags)
        The flags of the next cycle; valid if ``comes``.
    clear : In(1)
        All items are dropped, what comes in and what is taken in this cycle, too. Unlike after a
        reset ``o.payload`` stays as it is until the next item, for who still shows it.

    Raises
    ------
    ConfigError
        If the depth is not a power of two, or leaves no room beside the slack.
    """

    def __init__(
        self,
        shape: data.Layout | Shape,
        *,
        depth: int = 16,
        slack: int = 0,
        flags: int = 0,
        pop: bool = False,
    ) -> None:
        if depth & (depth - 1) or not 0 <= slack <= depth - 2:
            raise ConfigError(
                f"depth must be a power of two and at least slack + 2, not {depth} for a slack of "
                f"{slack}"
            )
        self._shape, self._depth, self._slack = shape, depth, slack
        self._flags, self._pop = flags, pop
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "comes": Out(1),
                "flags_next": Out(flags),
                "clear": In(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the count, and memory and pointers by parts of the payload."""
        m = Module()
        level = Signal(range(self._depth + 1))
        more = Signal()  # two items or more
        ready = Signal(init=1)
        valid = Signal()
        push = Signal()
        take = Signal()
        m.d.comb += [
            push.eq(self.i.valid & ~self.clear & (1 if self._slack else ready)),
            take.eq(self.o.ready & (1 if self._pop else valid & ~self.clear)),
            more.eq(level[1:].any()),
            self.comes.eq(push | ((more | (valid & ~self.o.ready)) & ~self.clear)),
            self.i.ready.eq(ready),
            self.o.valid.eq(valid),
        ]
        m.d.sync += [
            # One item may come in before this is seen, and one with it.
            ready.eq(level <= self._depth - self._slack - 2),
            valid.eq(self.comes),
        ]
        with m.If(self.clear):
            m.d.sync += level.eq(0)
        with m.Elif(push ^ take):
            m.d.sync += level.eq(level + Mux(push, 1, -1))
        item, end = Value.cast(self.i.payload), len(Value.cast(self.i.payload)) - self._flags
        shown = [
            self._part(m, f"{k}", item[at : min(at + _PART_BITS, end)], push, take)
            for k, at in enumerate(range(0, end, _PART_BITS))
        ]
        if self._flags:
            # What is at the pointer follows the flags that are shown.
            follows = self._part(m, "flags", item[end:], push, take, ahead=1)
            flags = Signal(self._flags, reset_less=True)
            m.d.comb += self.flags_next.eq(
                Mux(Mux(take, more, valid), Mux(take, follows, flags), item[end:])
            )
            with m.If(self.comes):
                m.d.sync += flags.eq(self.flags_next)
            shown.append(flags)
        m.d.comb += Value.cast(self.o.payload).eq(Cat(shown))
        return m

    def _part(
        self, m: Module, name: str, part: Value, push: Value, take: Value, *, ahead: int = 0
    ) -> Value:
        """Build memory and pointers of a part; return the item shown, or one ``ahead`` of it."""
        words = memory.Memory(shape=unsigned(len(part)), depth=self._depth, init=[])
        m.submodules[f"part_{name}"] = words
        writes = words.write_port()
        reads = words.read_port(domain="comb")
        write = Signal(range(self._depth), name=f"write_{name}")
        read = Signal(range(self._depth), init=ahead, name=f"read_{name}")
        m.d.comb += [
            writes.addr.eq(write),
            writes.data.eq(part),
            writes.en.eq(push),
            reads.addr.eq(read),
        ]
        with m.If(self.clear):
            m.d.sync += write.eq(read - ahead)
        with m.Elif(push):
            m.d.sync += write.eq(write + 1)
        with m.If(take):
            m.d.sync += read.eq(read + 1)
        return reads.data
