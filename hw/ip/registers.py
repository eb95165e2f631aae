# SPDX-License-Identifier: Apache-2.0
"""AXI4-Lite registers of the decoder: identity, control, status, descriptors, counters."""

from collections.abc import Iterable
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.bus.axi_lite import AxiLite, axil_members
from xorloom.hw.bus.ports import pass_ports
from xorloom.hw.lib.payloads import descriptor_layout
from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.spec.config import check_bus

from .csr import ADDRESS_BITS, COUNTERS, MAP, REGISTERS, Cause, identity
from .descriptor_queue import DescriptorQueue
from .event_counters import EventCounters, events_layout

__all__ = ["Registers"]


def _check(**sizes: int) -> None:
    """Check sizes; the limits are those of their fields."""
    limits = {"n_out": (1, 65535), "planes": (1, 255), "queue": (2, 8), "address_bits": (12, 64)}
    limits |= {"align_bytes": (1, 4096)} | dict.fromkeys(("kinds", "network"), (0, (1 << 32) - 1))
    for name, value in sizes.items():
        check_range(name, value, *limits[name])
    for name in ("queue", "align_bytes"):
        if sizes[name].bit_count() != 1:
            raise ConfigError(f"{name} must be a power of two, not {sizes[name]}")


class Registers(wiring.Component):
    """The registers of :mod:`xorloom.hw.ip.csr`, and a queue of descriptors.

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
    s_axil_* : see :func:`xorloom.hw.bus.axi_lite.axil_members`
    descriptor : Out(stream.Signature(descriptor_layout(address_bits)))
        With a reader only.
    abort : Out(1)
        Software asks: one cycle.
    interrupt : Out(1)
    busy : In(1)
        Something is queued or in work behind these registers.
    fault : In(1)
        A stream was given up for ``cause``: one cycle.
    cause : In(Cause)
        Why.
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
            "cause": In(Cause),
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
        pass_ports(m, self, axil, {name: name for name in axil_members(ADDRESS_BITS)})
        writes = _writes(m, axil)

        def written(name: str, field: str) -> Value:
            """1 in the cycle in which a 1 is written to a bit."""
            low = MAP[name][field].low
            return writes[name][low // 8] & axil.write_data[low]

        done, error, idle = Signal(), Signal(), Signal()
        cause = Signal(Cause)
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
