# SPDX-License-Identifier: Apache-2.0
"""Monitor of the parser of weight streams, and free parts in place of those that only compute."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.ip.header import HeaderChecks, header_words
from xorloom.hw.ip.schedule import BlockSchedule, spare_bits
from xorloom.hw.lib.crc32 import Crc32

__all__ = ["FreeChecks", "FreeCrc", "FreeSchedule", "ParserMonitor", "ScheduleMonitor"]

_COUNT_BITS = 3
"""Bits of the number of items that are inside the parser."""


class FreeCrc(Crc32):
    """A CRC that is right or wrong as ``free`` says, in every cycle."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self.free = Signal(name="free_right")

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.d.comb += self.right.eq(self.free)
        return m


class FreeChecks(HeaderChecks):
    """Header checks that find wrong what ``free`` says, in every cycle."""

    def __init__(self, bus_bits: int, networks: dict[int, int]) -> None:
        super().__init__(bus_bits, networks)
        self.free = Signal(name="free_wrong")

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.d.comb += [self.header_wrong.eq(self.free), self.count.eq(0), self.codec.eq(0)]
        return m


class FreeSchedule(BlockSchedule):
    """Blocks of two words or more, otherwise as ``free`` says, in every cycle."""

    def __init__(self, bus_bits: int) -> None:
        super().__init__(bus_bits)
        self.free = Signal(4, name="free_schedule")

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        final = Signal()
        with m.If(self.takes):
            m.d.sync += final.eq(self.free[3] & ~final)
        with m.If(self.clear):
            m.d.sync += final.eq(0)
        m.d.comb += Cat(self.kind, self.bits_final, self.blocks_final).eq(self.free[:3])
        m.d.comb += self.final.eq(final)
        return m


class ParserMonitor(wiring.Component):
    """A source that holds its words, two takers that do as they like, and a parser of its own.

    The monitor follows the words that are taken: header, schedule, blocks. From that it knows what
    must come out: for each stream the opening mark, each word of a block, to the packet of its
    string, and the closing mark. It follows one item, any, from the word that it comes with to the
    packet, and counts those before it. Of its data it compares ``bits``.

    ``bad`` is any bit of ``bads``:

    - ``order``: the item does not come out when those before it have, or not as it came in; or
      something comes out that did not come in.
    - ``split``: a mark goes out to one packet alone; or a word to both.
    - ``fickle``: a word on offer was withdrawn or changed before a fault.
    - ``told``: a mark goes out that belongs neither to ``opens`` nor to ``verified``; or one of
      these comes without its mark or at another time.
    - ``taken``: a word is taken between ``halts``, but for its first cycle, and the fault; or the
      first header after a fault begins within an input packet, with ``packets``.

    ``whole``: a stream went through that had words of both strings, and another one opened.
    """

    BADS = ("order", "split", "fickle", "told", "taken")

    def __init__(
        self,
        dut: Any,
        parts: tuple[FreeSchedule, FreeCrc, FreeChecks],
        bits: Sequence[int],
        *,
        packets: bool,
        deaf: bool = False,
    ) -> None:
        self._dut, self._parts, self._bits = dut, parts, bits
        self._bus_bits = bus_bits = len(dut.i.p.data)
        self._packets, self._deaf = packets, deaf
        self._inputs = ("may_open", "short", "abort", "quiet", "owes", "still")
        ports = (
            "valid",
            "last",
            "value_ready",
            "index_ready",
            "pick",
            "pick_close",
            "right",
            "wrong",
        )
        super().__init__(
            {name: In(1) for name in (*ports, *self._inputs)}
            | {"data": In(bus_bits), "error": In(2), "blocks": In(4)}
            | {name: Out(1) for name in (*self.BADS, "bad", "whole")}
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        schedule, crc, checks = self._parts
        held, holds = Signal.like(Value.cast(dut.i.payload)), Signal()
        m.d.comb += [
            dut.i.valid.eq(self.valid | holds),
            Value.cast(dut.i.payload).eq(Mux(holds, held, Cat(self.data, self.last, self.error))),
            dut.value.ready.eq(self.value_ready | self._deaf),
            dut.index.ready.eq(self.index_ready),
            schedule.free.eq(self.blocks),
            crc.free.eq(self.right),
            checks.free.eq(self.wrong),
            *(getattr(dut, name).eq(getattr(self, name)) for name in self._inputs),
        ]
        m.d.sync += [holds.eq(dut.i.valid & ~dut.i.ready), held.eq(dut.i.payload)]
        ports = (dut.value, dut.index)
        goes = [dut.value.valid & self.value_ready, dut.index.valid & self.index_ready]
        words = Signal(2)
        marks = Signal(2)
        m.d.comb += [
            words.eq(Cat(go & ~port.p.mark for go, port in zip(goes, ports, strict=True))),
            marks.eq(Cat(go & port.p.mark for go, port in zip(goes, ports, strict=True))),
            self.split.eq((marks.any() & ~marks.all()) | words.all() | (marks.any() & words.any())),
        ]
        fickle = []
        for port in ports:
            offer = Value.cast(port.payload)
            before, waits = Signal.like(offer), Signal()
            m.d.sync += [
                waits.eq(port.valid & ~port.ready & ~port.p.mark & ~dut.fault),
                before.eq(offer),
            ]
            fickle.append(waits & (~port.valid | (offer != before)))
        m.d.comb += self.fickle.eq(Cat(fickle).any())
        gives_word, gives_open, gives_close = self._follow(m, schedule)
        self._compare(m, gives_word, gives_open, gives_close, words, marks)
        self._marks(m, gives_open, words, marks)
        m.d.comb += self.bad.eq(Cat(getattr(self, name) for name in self.BADS).any())
        return m

    def _follow(self, m: Module, schedule: FreeSchedule) -> tuple[Signal, Signal, Signal]:
        """Follow the words that are taken; return which items they bring."""
        dut = self._dut
        heads = header_words(self._bus_bits)
        place = Signal(range(heads + 2))  # the word of the header; then schedule, then block
        in_schedule, in_block = heads, heads + 1
        takes, drops = Signal(), Signal()
        word, opening, closing = Signal(), Signal(), Signal()
        m.d.comb += [
            takes.eq(dut.i.valid & dut.i.ready & ~dut.dropping),
            word.eq(takes & (place == in_block)),
            opening.eq(takes & (place == heads - 1)),
            closing.eq(word & schedule.final & schedule.blocks_final),
        ]
        begins = in_schedule if spare_bits(self._bus_bits) == 0 else in_block
        with m.If(takes):
            with m.If(place < heads - 1):
                m.d.sync += place.eq(place + 1)
            with m.Elif(place == heads - 1):
                m.d.sync += place.eq(begins)
            with m.Elif(place == in_schedule):
                m.d.sync += place.eq(in_block)
            with m.Elif(schedule.final):
                m.d.sync += place.eq(
                    Mux(
                        schedule.blocks_final,
                        0,
                        Mux(schedule.bits_final, in_schedule, in_block),
                    )
                )
        with m.If(dut.fault):
            m.d.sync += place.eq(0)
        halted, lost, boundary = Signal(), Signal(), Signal(init=1)
        m.d.sync += halted.eq(dut.halts & ~dut.fault)
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += boundary.eq(dut.i.p.last)
        with m.If(dut.fault):
            m.d.sync += lost.eq(1)
        with m.Elif(takes):
            m.d.sync += lost.eq(0)
        m.d.comb += [
            drops.eq(takes & lost & ~boundary & self._packets),
            self.taken.eq((takes & halted) | drops),
        ]
        return word, opening, closing

    def _compare(
        self,
        m: Module,
        gives_word: Signal,
        gives_open: Signal,
        gives_close: Signal,
        words: Signal,
        marks: Signal,
    ) -> None:
        """Follow one item from where it comes in to where it goes out."""
        dut = self._dut
        count, ahead = Signal(_COUNT_BITS), Signal(_COUNT_BITS)
        pop, follows = Signal(), Signal()
        data, kind, is_word = Signal(len(self._bits)), Signal(), Signal()

        def compared(word: Value) -> Value:
            return Cat(word[bit] for bit in self._bits)

        came = Value.cast(gives_word + gives_open + gives_close)
        outs = Mux(
            kind,
            words[1] & (compared(dut.index.p.data) == data),
            words[0] & (compared(dut.value.p.data) == data),
        )
        m.d.comb += [
            pop.eq(words.any() | marks.any()),
            self.order.eq(
                pop & ((count == 0) | (follows & (ahead == 0) & ~Mux(is_word, outs, marks.all())))
            ),
        ]
        m.d.sync += count.eq(Mux(dut.fault, 0, count + came - pop))
        with m.If(dut.fault):
            m.d.sync += follows.eq(0)
        with m.Elif(follows):
            m.d.sync += [ahead.eq(ahead - pop), follows.eq(~(pop & (ahead == 0)))]
        with m.Elif(self.pick & (gives_word | gives_open)):
            m.d.sync += [
                follows.eq(1),
                # The closing mark comes in together with the last word, behind it.
                is_word.eq(gives_word & ~(gives_close & self.pick_close)),
                ahead.eq(count - pop + (gives_close & self.pick_close)),
                data.eq(compared(dut.i.p.data)),
                kind.eq(self._parts[0].kind),
            ]

    def _marks(self, m: Module, gives_open: Signal, words: Signal, marks: Signal) -> None:
        """Compare the marks with what is told of them."""
        dut = self._dut
        is_open, told, owed, closed = Signal(), Signal(), Signal(), Signal()
        opening, closing = marks.any() & ~is_open, marks.any() & is_open
        m.d.comb += self.told.eq(
            (words.any() & ~is_open)
            | (opening & ~told & ~dut.opens)
            | (dut.opens & (told | ~owed))
            | (dut.verified != closed)
        )
        m.d.sync += [
            told.eq((told | dut.opens) & ~opening & ~dut.fault),
            owed.eq((gives_open | (owed & ~opening)) & ~dut.fault),
            is_open.eq((is_open ^ marks.any()) & ~dut.fault),
            closed.eq(closing & ~dut.fault),
        ]
        # What the proof is about does happen.
        seen, went = Signal(2), Signal()
        m.d.sync += [
            seen.eq(Mux(opening | dut.fault, 0, seen | words)),
            went.eq((went | (dut.verified & seen.all())) & ~dut.fault),
        ]
        m.d.comb += self.whole.eq(went & opening)


class ScheduleMonitor(wiring.Component):
    """``bad``: the schedule does not keep to what :class:`FreeSchedule` may do."""

    def __init__(self, bus_bits: int) -> None:
        self._dut = BlockSchedule(bus_bits)
        ports = ("fresh", "blocks_come", "opened", "refills", "takes", "clear")
        super().__init__({name: In(1) for name in ports} | {"past": In(bus_bits), "bad": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        inside = Signal()
        m.d.comb += [
            getattr(dut, name).eq(getattr(self, name))
            for name in self.signature.members
            if name != "bad"
        ]
        with m.If(self.takes):
            m.d.sync += inside.eq(~dut.final)
        with m.If(self.clear):
            m.d.sync += inside.eq(0)
        m.d.comb += self.bad.eq(dut.final & ~inside)
        return m
