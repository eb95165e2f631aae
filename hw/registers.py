# SPDX-License-Identifier: Apache-2.0
"""AXI4-Lite registers of the decoder: identity, control, status, descriptors, counters."""

from collections.abc import Iterable
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from xorloom.sw.config import check_bus
from xorloom.sw.errors import ConfigError, check_range

from .axi_lite import AxiLite, axil_members
from .csr import ADDRESS_BITS, COUNTERS, MAP, REGISTERS, Cause, identity
from .signatures import descriptor_layout

__all__ = ["DescriptorQueue", "EventCounters", "Registers", "events_layout"]


def events_layout() -> data.StructLayout:
    """What the decoder tells the counters: one bit each, for every cycle.

    ``word``: bus word accepted; ``starved``: the decoder would take a word and none is there, while
    busy; ``blocked``: a word is offered and not taken, though the output is not stalled;
    ``stalled``: output beat offered and not taken; ``beat``: output beat taken.
    """
    return data.StructLayout(dict.fromkeys(("word", "starved", "blocked", "stalled", "beat"), 1))


class EventCounters(wiring.Component):
    """Counters of 32 bits in a memory with one adder, which visits each in turn.

    What happens between two visits is counted in a few bits. A quarter of the area of as many plain
    counters, and no wide multiplexer to read them.

    Parameters
    ----------
    count : int, 1 to 8

    Members
    -------
    events : In(count)
    clear : In(1)
    index : Out(3)
        The counter that ``value`` is of, all in turn.
    value : Out(32)
        Without what happened in the last four cycles.
    """

    slots = 8

    def __init__(self, *, count: int) -> None:
        self._count = count
        super().__init__({"events": In(count), "clear": In(1), "index": Out(3), "value": Out(32)})

    def elaborate(self, _platform: object) -> Module:
        """Build the memory and what counts between visits."""
        m = Module()
        slots = self.slots
        m.submodules.totals = totals = memory.Memory(shape=32, depth=slots, init=[])
        load, store = totals.read_port(domain="comb"), totals.write_port()
        happened = Signal(self._count)
        at = Signal(slots, init=1)
        turn = [Signal(3, init=-k % slots, name=f"turn_{k}") for k in range(3)]
        added, total = Signal(range(slots + 1)), Signal(32)
        # Counts 8 to 15, a round of visits in which the totals are taken for 0; then 0.
        clearing = Signal(4, init=8)
        recent = [Signal(range(slots + 1), name=f"recent_{k}") for k in range(self._count)]
        m.d.comb += [
            load.addr.eq(turn[0]),
            store.addr.eq(turn[2]),
            store.data.eq(self.value),
            store.en.eq(1),
            self.index.eq(turn[2]),
        ]
        m.d.sync += [
            happened.eq(self.events),
            at.eq(at.rotate_left(1)),
            turn[0].eq(turn[0] + 1),
            turn[1].eq(turn[0]),
            turn[2].eq(turn[1]),
            clearing.eq(Mux(self.clear, 8, clearing + clearing[3])),
            added.eq(reduce(or_, (Mux(at[k], few, 0) for k, few in enumerate(recent)))),
            total.eq(load.data),
            self.value.eq(total + added),
        ]
        with m.If(clearing[3]):
            m.d.sync += total.eq(0)
        for k, few in enumerate(recent):
            m.d.sync += few.eq(Mux(at[k], 0, few) + happened[k])
            with m.If(self.clear):
                m.d.sync += few.eq(0)
        return m


def _check(**sizes: int) -> None:
    """Check sizes; the limits are those of their fields."""
    limits = {"n_out": (1, 65535), "planes": (1, 255), "queue": (2, 8), "address_bits": (12, 64)}
    limits |= {"align_bytes": (1, 4096)} | dict.fromkeys(("kinds", "network"), (0, (1 << 32) - 1))
    for name, value in sizes.items():
        check_range(name, value, *limits[name])
    for name in ("queue", "align_bytes"):
        if sizes[name].bit_count() != 1:
            raise ConfigError(f"{name} must be a power of two, not {sizes[name]}")


class DescriptorQueue(wiring.Component):
    """Checks descriptors and queues them.

    Parameters
    ----------
    bus_bytes, address_bits, align_bytes, depth : int

    Members
    -------
    descriptor : In(descriptor_layout(address_bits))
        Must stand still in the cycle of ``start`` and the next.
    start : In(1)
        Queue it, or refuse it a cycle later.
    flush : In(1)
        Forget all, also a start of the cycle before. Withdraws what is offered.
    refused : Out(1)
    cause : Out(4)
        Why, while ``refused``.
    busy : Out(1)
        A descriptor is queued, or a start not yet decided.
    space : Out(range(depth + 1))
        Descriptors that can be queued.
    o : Out(stream.Signature(descriptor_layout(address_bits)))
    """

    def __init__(self, *, bus_bytes: int, address_bits: int, align_bytes: int, depth: int) -> None:
        self._bus_bytes, self._align_bytes, self._depth = bus_bytes, align_bytes, depth
        layout = descriptor_layout(address_bits)
        super().__init__(
            {
                "descriptor": In(layout),
                "start": In(1),
                "flush": In(1),
                "refused": Out(1),
                "cause": Out(4),
                "busy": Out(1),
                "space": Out(range(depth + 1)),
                "o": Out(stream.Signature(layout)),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build checks and memory."""
        m = Module()
        depth = self._depth
        shape = self.descriptor.shape()
        m.submodules.entries = entries = memory.Memory(shape=shape, depth=depth, init=[])
        load, store = entries.read_port(domain="comb"), entries.write_port()
        tail, head = Signal(range(depth)), Signal(range(depth))
        space, waits = Signal(range(depth + 1), init=depth), Signal()
        bad, starts, puts, takes = Signal(), Signal(), Signal(), Signal()
        length, address = self.descriptor.length, self.descriptor.address
        odd = length[: exact_log2(self._bus_bytes)].any()
        m.d.comb += [
            puts.eq(starts & ~bad & (space != 0)),
            takes.eq(self.o.valid & self.o.ready),
            self.refused.eq(starts & ~puts),
            self.cause.eq(Mux(bad, Cause.DESCRIPTOR, Cause.BUSY)),
            self.busy.eq(starts | waits),
            self.space.eq(space),
            store.addr.eq(tail),
            store.data.eq(self.descriptor),
            store.en.eq(puts),
            load.addr.eq(head),
            self.o.valid.eq(waits),
            self.o.payload.eq(load.data),
        ]
        m.d.sync += [
            bad.eq((length == 0) | odd | address[: exact_log2(self._align_bytes)].any()),
            starts.eq(self.start & ~self.flush),
            tail.eq(tail + puts),
            head.eq(head + takes),
            space.eq(space + takes - puts),
            waits.eq(puts | (waits & ~(takes & (space == depth - 1)))),
        ]
        with m.If(self.flush):
            m.d.sync += [tail.eq(0), head.eq(0), space.eq(depth), waits.eq(0)]
        return m


class Registers(wiring.Component):
    """The registers of :mod:`xorloom.hw.csr`, and a queue of descriptors.

    An abort, and a fault that the decoder reports, empty the queue: a descriptor offered then is
    withdrawn. ``abort`` follows two cycles after the write, when none is offered any more.

    Parameters
    ----------
    bus_bits, n_out, planes : int
    kinds : int
        Bit mask of the index kinds.
    network : int
        Network id of the value codec.
    reader : bool
        With descriptors; else starts are ignored.
    address_bits : int, 12 to 64
    align_bytes : int, a power of two, 1 to 4096
        What an address must be a multiple of.
    queue : int, 2, 4 or 8
        Descriptors in the queue.

    Members
    -------
    s_axil_* : see :func:`xorloom.hw.axi_lite.axil_members`
    descriptor : Out(stream.Signature(descriptor_layout(address_bits)))
        With a reader only.
    abort : Out(1)
        Software asks: one cycle.
    interrupt : Out(1)
    busy : In(1)
        Something is queued or in work behind these registers.
    fault : In(1)
        A stream was given up for ``cause``: one cycle.
    cause : In(4)
        A :class:`xorloom.hw.csr.Cause`.
    done : In(1)
        A memory stream ended well: one cycle.
    events : In(events_layout())

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    def __init__(
        self,
        *,
        bus_bits: int,
        n_out: int,
        planes: int,
        kinds: int,
        network: int,
        reader: bool = False,
        address_bits: int = 32,
        align_bytes: int = 1,
        queue: int = 4,
    ) -> None:
        self._sizes = {"n_out": n_out, "planes": planes, "kinds": kinds, "network": network}
        self._sizes |= {"address_bits": address_bits, "align_bytes": align_bytes, "queue": queue}
        _check(**self._sizes)
        self._sizes |= {"bus_bits": check_bus(bus_bits), "reader": int(bool(reader))}
        members = {
            "abort": Out(1),
            "interrupt": Out(1),
            "busy": In(1),
            "fault": In(1),
            "cause": In(4),
            "done": In(1),
            "events": In(events_layout()),
        }
        if reader:
            members["descriptor"] = Out(stream.Signature(descriptor_layout(address_bits)))
        super().__init__(axil_members(ADDRESS_BITS) | members)

    def elaborate(self, _platform: object) -> Module:
        """Build control and status; descriptors and the read path are built apart."""
        m = Module()
        m.submodules.axil = axil = AxiLite(address_bits=ADDRESS_BITS)
        for name, member in axil_members(ADDRESS_BITS).items():
            port, inner = getattr(self, name), getattr(axil, name)
            m.d.comb += inner.eq(port) if member.flow is In else port.eq(inner)
        writes = _writes(m, axil)

        def written(name: str, field: str) -> Value:
            """1 in the cycle in which a 1 is written to a bit."""
            low = MAP[name][field].low
            return writes[name][low // 8] & axil.write_data[low]

        done, error, idle, cause = Signal(), Signal(), Signal(), Signal(4)
        sticky = {"DONE": done, "ERROR": error, "IDLE": idle}
        enables = {name: Signal(name=f"{name.lower()}_enable") for name in sticky}
        busy, was_busy, aborts = Signal(), Signal(), Signal()
        queued, refused, refusal = Signal(), Signal(), Signal(4)
        problem, clears = Signal(), Signal()
        status: dict[str, Value] = {"BUSY": busy, "CAUSE": cause, **sticky}
        words: dict[str, Value] = {}
        if self._sizes["reader"]:
            queue = self._queue(m, axil, writes, words)
            m.d.comb += [
                queue.start.eq(written("CONTROL", "START")),
                queue.flush.eq(aborts | self.fault),
                queued.eq(queue.busy),
                refused.eq(queue.refused),
                refusal.eq(queue.cause),
            ]
            status["QUEUE_SPACE"] = queue.space
        m.d.comb += [
            busy.eq(self.busy | queued),
            problem.eq(self.fault | refused | (aborts & was_busy)),
            clears.eq(written("STATUS", "ERROR")),
        ]
        m.d.sync += [
            aborts.eq(written("CONTROL", "ABORT")),
            was_busy.eq(busy),
            self.abort.eq(aborts),
            done.eq(self.done | (done & ~written("STATUS", "DONE"))),
            error.eq(problem | (error & ~clears)),
            idle.eq((was_busy & ~busy) | (idle & ~written("STATUS", "IDLE"))),
            self.interrupt.eq(Cat(sticky[name] & enables[name] for name in sticky).any()),
        ]
        first = Mux(self.fault, self.cause, Mux(refused, refusal, Cause.ABORTED))
        with m.If(clears | ~error):
            m.d.sync += cause.eq(Mux(problem, first, Cause.NONE))
        with m.If(writes["IRQ_ENABLE"][0]):
            for name, enable in enables.items():
                m.d.sync += enable.eq(axil.write_data[MAP["IRQ_ENABLE"][name].low])
        words |= {"STATUS": _word("STATUS", status), "IRQ_ENABLE": _word("IRQ_ENABLE", enables)}
        m.submodules.counters = counters = EventCounters(count=len(COUNTERS))
        m.d.comb += [
            # In the order of COUNTERS.
            counters.events.eq(Cat(busy, self.events, self.done)),
            counters.clear.eq(written("CONTROL", "CLEAR_COUNTERS")),
        ]
        self._read_path(m, axil, words, counters)
        return m

    def _queue(
        self, m: Module, axil: AxiLite, writes: dict[str, list[Value]], words: dict[str, Value]
    ) -> DescriptorQueue:
        """Build the descriptor's registers and the queue; add the registers' words."""
        m.submodules.queue = queue = DescriptorQueue(
            bus_bytes=self._sizes["bus_bits"] // 8,
            address_bits=self._sizes["address_bits"],
            align_bytes=self._sizes["align_bytes"],
            depth=self._sizes["queue"],
        )
        wiring.connect(m, queue.o, wiring.flipped(self.descriptor))
        descriptor = Signal.like(queue.descriptor)
        address = Value.cast(descriptor.address)
        m.d.comb += queue.descriptor.eq(descriptor)
        parts = {"ADDRESS_LO": address[:32], "LENGTH": Value.cast(descriptor.length)}
        if len(address) > 32:
            parts["ADDRESS_HI"] = address[32:]
        for name, part in parts.items():
            for byte, write in enumerate(writes[name]):
                with m.If(write):
                    m.d.sync += part[8 * byte :][:8].eq(axil.write_data[8 * byte :])
        words |= parts
        return queue

    def _read_path(
        self, m: Module, axil: AxiLite, words: dict[str, Value], counters: EventCounters
    ) -> None:
        """Build the read multiplexer: one-hot selects in registers, AND, OR.

        The counter asked for comes by in turn. A hole selects nothing, so it reads 0.
        """
        constant = Signal(32)
        asked, counting = Signal(), Signal()
        selects = _selects(m, axil.read_word, words, "reads")
        base = MAP[next(iter(COUNTERS))].offset // 4
        known = [
            Mux(axil.read_word == MAP[name].offset // 4, word, 0)
            for name, word in identity(**self._sizes).items()
        ]
        m.d.sync += [
            asked.eq(axil.read),
            counting.eq(axil.read_word[3:] == base >> 3),
            constant.eq(reduce(or_, known)),
        ]
        parts = [Mux(selects[name], word, 0) for name, word in words.items()]
        m.d.comb += [
            axil.read_data.eq(reduce(or_, parts, constant | Mux(counting, counters.value, 0))),
            axil.answer.eq(asked & (~counting | (counters.index == axil.read_word[:3]))),
        ]


def _selects(m: Module, word: Value, names: Iterable[str], prefix: str) -> dict[str, Signal]:
    """Return registers that tell which of these registers ``word`` named a cycle ago."""
    selects = {name: Signal(name=f"{prefix}_{name.lower()}") for name in names}
    m.d.sync += [select.eq(word == MAP[name].offset // 4) for name, select in selects.items()]
    return selects


def _writes(m: Module, axil: AxiLite) -> dict[str, list[Value]]:
    """Return, for each register that can be written, when each of its bytes is."""
    names = [r.name for r in REGISTERS if any(field.access != "ro" for field in r.fields)]
    selects = _selects(m, axil.write_word, names, "writes")
    return {
        name: [axil.write & select & axil.write_strobe[byte] for byte in range(4)]
        for name, select in selects.items()
    }


def _word(name: str, fields: dict[str, Value]) -> Value:
    """Put fields where the map has them."""
    return reduce(or_, (Value.cast(v) << MAP[name][f].low for f, v in fields.items()))
