# SPDX-License-Identifier: Apache-2.0
"""Registers of the decoder on AXI4-Lite: identity, control, status, descriptors, counters."""

from collections.abc import Iterable
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.bus.axi_lite import AxiLite, axil_members
from xorloom.hw.bus.ports import pass_ports
from xorloom.hw.lib.payloads import descriptor_layout
from xorloom.sw.base.errors import check_range
from xorloom.sw.spec.config import check_bus

from .csr import ADDRESS_BITS, COUNTERS, MAP, REGISTERS, Cause, identity
from .descriptor_queue import DescriptorQueue
from .event_counters import EventCounters, events_layout

__all__ = ["Registers"]


def _check(bus_bits: int, **sizes: int) -> None:
    """Check sizes against the widths of their fields in the register map."""
    limits = {"n_out": (1, 65535), "planes": (1, 255), "queue": (2, 8), "address_bits": (12, 64)}
    limits |= {"align_bytes": (1, bus_bits // 8)}
    limits |= dict.fromkeys(("kinds", "network"), (0, (1 << 32) - 1))
    for name, value in sizes.items():
        check_range(name, value, *limits[name], power=name in ("queue", "align_bytes"))


class Registers(wiring.Component):
    """Registers: those of :mod:`xorloom.hw.ip.csr` on AXI4-Lite, and the descriptor queue.

    An abort and a fault empty the queue and withdraw the descriptor on offer. ``abort`` follows
    the write by two cycles, when no descriptor is offered any more. Read data follow
    their address by three cycles, of a counter by up to ten. See :mod:`xorloom.hw.ip` for what
    happens after a fault.

    STATUS never lies: IDLE and BUSY exclude each other, and from the first work on one of BUSY,
    DONE and IDLE is 1 until software clears them. A start that is refused changes none of the
    three.

    Parameters
    ----------
    bus_bits, n_out, planes : int
        Sizes that software can read.
    kinds : int
        Kinds of index that the decoder has, as a bit mask.
    network : int
        Network ID of the value codec.
    levels, planar : bool
        Whether the output has levels, and planar beats.
    reader : bool
        Whether there are descriptors; otherwise starts are ignored.
    address_bits : int, 12 to 64
        Width of an address.
    align_bytes : int, a power of two, 1 to a bus word
        An address must be a multiple of it.
    queue : int, 2, 4 or 8
        Descriptors that the queue holds.

    Members
    -------
    s_axil_*
        The bus; see :func:`xorloom.hw.bus.axi_lite.axil_members`.
    descriptor : Out(stream.Signature(descriptor_layout(address_bits)))
        Only with ``reader``.
    abort : Out(1)
        For one cycle: software wants everything given up.
    interrupt : Out(1)
        An enabled bit of STATUS is 1.
    busy : In(1)
        Decoder or reader is busy.
    fault : In(1)
        For one cycle: a stream was given up.
    cause : In(Cause)
        Why, with ``fault``.
    done : In(1)
        For one cycle: a memory stream ended well.
    events : In(events_layout())
        Events for the counters.

    Attributes
    ----------
    status : Signal
        The word of STATUS. For proofs.

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
        levels: bool = False,
        planar: bool = False,
        reader: bool = False,
        address_bits: int = 32,
        align_bytes: int = 1,
        queue: int = 4,
    ) -> None:
        self._sizes = {"n_out": n_out, "planes": planes, "kinds": kinds, "network": network}
        self._sizes |= {"address_bits": address_bits, "align_bytes": align_bytes, "queue": queue}
        _check(check_bus(bus_bits), **self._sizes)
        self._sizes |= {"bus_bits": bus_bits, "reader": int(bool(reader))}
        self._sizes |= {"levels": int(levels), "planar": int(planar)}
        self.status = Signal(32)
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

    @property
    def reset_words(self) -> dict[str, int]:
        """What registers read after reset; all others read 0."""
        free = self._sizes["queue"] if self._sizes["reader"] else 0
        return identity(**self._sizes) | {"STATUS": MAP["STATUS"].pack(QUEUE_SPACE=free)}

    def elaborate(self, _platform: object) -> Module:
        """Build control and status, then the descriptor registers and the read path."""
        m = Module()
        m.submodules.axil = axil = AxiLite(address_bits=ADDRESS_BITS)
        pass_ports(m, self, axil, {name: name for name in axil_members(ADDRESS_BITS)})
        writes = _writes(m, axil)

        def written(name: str, field: str) -> Value:
            """Return a flag: in this cycle a 1 is written to the field."""
            low = MAP[name][field].low
            return writes[name][low // 8] & axil.write_data[low]

        done = Signal(name="done_flag")
        error = Signal(name="error_flag")
        idle = Signal(name="idle_flag")
        cause = Signal(Cause, name="first_cause")
        sticky = {"DONE": done, "ERROR": error, "IDLE": idle}
        enables = {name: Signal(name=f"{name.lower()}_enable") for name in sticky}
        busy = Signal()
        was_busy = Signal()
        aborts = Signal()
        queued = Signal()
        refused = Signal()
        refusal = Signal(4)
        problem = Signal()
        clears = Signal()
        # BUSY is a clock late, so that it falls in the clock in which IDLE and DONE rise.
        status: dict[str, Value] = {"BUSY": was_busy, "CAUSE": cause, **sticky}
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
            idle.eq(~busy & (was_busy | (idle & ~written("STATUS", "IDLE")))),
            self.interrupt.eq(Cat(sticky[name] & enables[name] for name in sticky).any()),
        ]
        first = Mux(self.fault, self.cause, Mux(refused, refusal, Cause.ABORTED))
        with m.If(clears | ~error):
            m.d.sync += cause.eq(Mux(problem, first, Cause.NONE))
        with m.If(writes["IRQ_ENABLE"][0]):
            for name, enable in enables.items():
                m.d.sync += enable.eq(axil.write_data[MAP["IRQ_ENABLE"][name].low])
        m.d.comb += self.status.eq(_word("STATUS", status))
        words |= {"STATUS": self.status, "IRQ_ENABLE": _word("IRQ_ENABLE", enables)}
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
        """Build the descriptor queue and its registers; add their words to ``words``."""
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
        # What is written beyond the address is not kept, but a start must not cut it off.
        beyond = []
        for name, low in (("ADDRESS_LO", 0), ("ADDRESS_HI", 32)):
            for byte, write in enumerate(writes[name]):
                kept = min(max(len(address) - low - 8 * byte, 0), 8)
                if kept == 8:
                    continue
                flag = Signal(name=f"beyond_{low // 8 + byte}")
                with m.If(write):
                    m.d.sync += flag.eq(axil.write_data[8 * byte + kept : 8 * byte + 8].any())
                beyond.append(flag)
        m.d.comb += queue.beyond.eq(Cat(beyond).any())
        return queue

    def _read_path(
        self, m: Module, axil: AxiLite, words: dict[str, Value], counters: EventCounters
    ) -> None:
        """Build the read multiplexer: registered one-hot selects, AND, OR.

        A read of a counter waits until its turn comes. An unused offset selects nothing and reads
        as 0.
        """
        constant = Signal(32, reset_less=True)
        asked = Signal()
        counting = Signal(reset_less=True)
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
    """Return, by name of register, a flag that ``word`` addressed it one cycle ago."""
    selects = {name: Signal(name=f"{prefix}_{name.lower()}", reset_less=True) for name in names}
    m.d.sync += [select.eq(word == MAP[name].offset // 4) for name, select in selects.items()]
    return selects


def _writes(m: Module, axil: AxiLite) -> dict[str, list[Value]]:
    """Return, by name of each writable register, write flags of its four bytes."""
    names = [r.name for r in REGISTERS if any(field.access != "ro" for field in r.fields)]
    selects = _selects(m, axil.write_word, names, "writes")
    return {
        name: [axil.write & select & axil.write_strobe[byte] for byte in range(4)]
        for name, select in selects.items()
    }


def _word(name: str, fields: dict[str, Value]) -> Value:
    """Return the word of a register from its fields."""
    return reduce(or_, (Value.cast(v) << MAP[name][f].low for f, v in fields.items()))
