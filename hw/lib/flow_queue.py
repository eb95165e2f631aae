# SPDX-License-Identifier: Apache-2.0
"""FIFO behind a pipe that runs free: it tells early that it will be full."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.base.errors import ConfigError

__all__ = ["FlowQueue", "connect_buffered", "slack_of"]

_PART_BITS = 272
"""Bits of a payload that share pointers: so many that a pointer's fan-out does not limit Fmax."""


def slack_of(unit: Any) -> int:
    """Return how many items a unit may put out after its ``o.ready`` fell; 0: it holds them."""
    return getattr(unit, "slack", 0)


def connect_buffered(m: Module, unit: Any, o: Any, *, clears: bool = True) -> None:
    """Connect ``o`` of a unit to a port; put a queue in between if the unit runs free.

    ``clears``: see :class:`FlowQueue`. Which way of writing is faster depends on what is in front.
    """
    if not slack_of(unit):
        wiring.connect(m, unit.o, wiring.flipped(o))
        return
    m.submodules.queue = queue = FlowQueue(o.payload.shape(), slack=unit.slack, clears=clears)
    wiring.connect(m, unit.o, queue.i)
    wiring.connect(m, queue.o, wiring.flipped(o))


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
        So many of the highest bits of ``o.payload`` are registers, and ``after`` shows those of the
        item behind: for what decides on ``o.ready``.
    pop : bool
        Whether ``o.ready`` is 1 only while ``o.valid``, and not with ``clear``. It then goes
        straight to the pointers.
    clears : bool
        Whether ``clear`` is used. If not, the memory is written in every cycle in which it is not
        full, where the next item will stand: ``i.valid`` then enables nothing wide.

    Members
    -------
    i : In(stream.Signature(shape))
        Items in.
    o : Out(stream.Signature(shape))
        The same items, in order.
    clear : In(1)
        All items are dropped, what comes in and what is taken in this cycle, too. Unlike after a
        reset ``o.payload`` stays as it is until the next item, for who still shows it.
    more : Out(1)
        There is an item behind the one on offer. A register.
    after : Out(flags)
        The flags of that item; only with ``flags``.

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
        clears: bool = True,
    ) -> None:
        if depth & (depth - 1) or not 0 <= slack <= depth - 2:
            raise ConfigError(
                f"depth must be a power of two and at least slack + 2, not {depth} for a slack of "
                f"{slack}"
            )
        self._shape, self._depth, self._slack = shape, depth, slack
        self._flags, self._pop, self._clears = flags, pop, clears
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "clear": In(1),
                "more": Out(1),
            }
            | ({"after": Out(flags)} if flags else {})
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the count, and memory and pointers by parts of the payload."""
        m = Module()
        # Thermometer: bit k says that there are more than k items. So flags are registers, and the
        # ready of the consumer passes no adder.
        have = Signal(self._depth)
        push = Signal()
        take = Signal()
        ready = ~have[self._depth - 1 - self._slack]
        m.d.comb += [
            push.eq(self.i.valid & ~self.clear & (1 if self._slack else ready)),
            take.eq(self.o.ready & (1 if self._pop else have[0] & ~self.clear)),
            self.i.ready.eq(ready),
            self.o.valid.eq(have[0]),
            self.more.eq(have[1]),
        ]
        with m.If(self.clear):
            m.d.sync += have.eq(0)
        with m.Elif(push ^ take):
            m.d.sync += have.eq(Mux(push, Cat(1, have), Cat(have[1:], 0)))
        item = Value.cast(self.i.payload)
        end = len(item) - self._flags
        room = None if self._clears else take | ~Mux(push, have[-2], have[-1])
        shown = [
            self._part(m, str(k), item[at : min(at + _PART_BITS, end)], push, take, room)
            for k, at in enumerate(range(0, end, _PART_BITS))
        ]
        if self._flags:
            flags = Signal(self._flags, reset_less=True)
            m.d.comb += self.after.eq(self._part(m, "flags", item[end:], push, take, room, 1))
            with m.If(take & have[1]):
                m.d.sync += flags.eq(self.after)
            with m.Elif(push & (take | ~have[0])):
                m.d.sync += flags.eq(item[end:])
            shown.append(flags)
        m.d.comb += Value.cast(self.o.payload).eq(Cat(shown))
        return m

    def _part(
        self,
        m: Module,
        name: str,
        bits: Value,
        push: Signal,
        take: Signal,
        room_next: Value | None,
        ahead: int = 0,
    ) -> Value:
        """Return some bits of the item on offer, or of one behind it, from a memory of their own.

        The memory has its own pointers, so that their fan-out does not limit Fmax; and its own
        enable: ``room_next``, if the queue is not full in the next cycle, or ``push``.
        """
        m.submodules[f"part_{name}"] = words = memory.Memory(
            shape=unsigned(len(bits)), depth=self._depth, init=[]
        )
        writes = words.write_port()
        reads = words.read_port(domain="comb")
        write = Signal(range(self._depth), name=f"write_{name}")
        read = Signal(range(self._depth), name=f"read_{name}", init=ahead)
        m.d.comb += [
            writes.addr.eq(write),
            writes.data.eq(bits),
            reads.addr.eq(read),
        ]
        if room_next is None:
            m.d.comb += writes.en.eq(push)
        else:
            # The parts differ in their reset; otherwise synthesis would make one enable of them.
            room = Signal(init=1, reset_less=name == "1", name=f"room_{name}")
            m.d.sync += room.eq(room_next)
            m.d.comb += writes.en.eq(room)
        with m.If(self.clear):
            m.d.sync += write.eq(read - ahead)
        with m.Elif(push):
            m.d.sync += write.eq(write + 1)
        with m.If(take):
            m.d.sync += read.eq(read + 1)
        return reads.data
