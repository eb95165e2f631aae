# SPDX-License-Identifier: Apache-2.0
"""Weight decoder: weight streams in, codes and masks out."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.index.decoder import IndexUnit
from xorloom.hw.lib.packet_queue import PacketQueue
from xorloom.hw.lib.payloads import level_bits, packet_layout, weight_layout, word_layout
from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import schedule_block_words, weights_network_id

from .csr import MAP, Cause
from .event_counters import events_layout
from .join import WeightJoin
from .parser import WeightParser

__all__ = ["WeightDecoder", "queue_words", "value_unit"]

_TURNS = 16
"""Depth of the queue of turns: the seven streams that may be open, and what a queue keeps free."""


def queue_words(bus_bits: int) -> int:
    """Return the depth of the queue in front of each unit, in bus words: four blocks."""
    return max(16, 4 * schedule_block_words(bus_bits // 8))


def value_unit(value: ValueConfig, *, levels: bool = False) -> Any:
    """Build the unit of a value codec: packets in, slices out.

    That of codec ``name`` is class ``NameUnit`` of the module ``decoder`` in its folder; it has
    ports ``i``, ``o`` and ``short``, as :class:`xorloom.hw.window.decoder.WindowUnit`.

    Raises
    ------
    ConfigError
        If the codec has no such unit, or no levels.
    """
    if not value.has_layouts:
        raise ConfigError(
            f"weight streams need the window or direct value codec, not {value.codec}"
        )
    unit = getattr(
        import_module(f"xorloom.hw.{value.codec}.decoder"), f"{value.codec.capitalize()}Unit"
    )
    if not levels:
        return unit(value)
    level_bits(value)
    return unit(value, levels=True)


class WeightDecoder(wiring.Component):
    """Weight decoder: parser, value unit, one index unit per index codec, join.

    At most one slice per cycle, full back-pressure. Latency is that of the value unit and of the
    index unit, whichever is later, behind queues of :func:`queue_words` words.

    Whatever is wrong with a stream: if the output is taken, its packet ends within 1000 cycles
    after the last input word, and the next stream decodes. Streams that have arrived whole before
    it come out whole; those behind it are given up. :mod:`xorloom.hw.ip` tells how. Twin:
    ``sw.golden.weights.weight_decoder``.

    Parameters
    ----------
    value : ValueConfig
        Of a codec whose unit yields slices.
    indexes : sequence of IndexConfig
        One per index codec that streams may have.
    planes : int
        Bits of the code of a weight.
    masked : bool
        Whether codes of pruned weights are set to 0; otherwise they are as the network yields
        them.
    levels : bool
        Whether levels, 8 bits for each weight, are put out instead of codes.
    packets : bool
        See :class:`xorloom.hw.ip.parser.WeightParser`.

    Members
    -------
    i : In(stream.Signature(word_layout(bus_bits)))
        Weight streams; see ``FORMAT.md``.
    o : Out(stream.Signature(weight_layout(value, planes, levels=levels)))
        Codes and masks of one slice per beat.
    fault, cause, abort, quiet, dropping
        See :class:`xorloom.hw.ip.parser.WeightParser`.
    done : Out(1)
        For one cycle: the last beat of a good stream was taken.
    busy : Out(1)
        A stream is being decoded, or a beat is offered.
    events : Out(events_layout())
        What happened in the cycle before.

    Raises
    ------
    ConfigError
        If an index does not go with the values, or a codec comes twice.
    """

    def __init__(
        self,
        value: ValueConfig,
        indexes: Sequence[IndexConfig],
        *,
        planes: int,
        masked: bool = True,
        levels: bool = False,
        packets: bool = True,
    ) -> None:
        told = MAP["CONFIG"]["PLANES"]
        check_range("planes", planes, 1, min(value.n_out, told.mask >> told.low))
        value.check_planes(planes)
        self._unit = value_unit(value, levels=levels)
        lanes = value.n_out // planes
        for index in indexes:
            if index.codec not in INDEX_CODECS:
                known = ", ".join(sorted(INDEX_CODECS))
                raise ConfigError(f"index codec must be one of {known}, not {index.codec}")
            if (index.n_out, index.bus_bits) != (lanes, value.bus_bits):
                raise ConfigError(
                    f"index n_out and bus_bits must be {lanes} and {value.bus_bits} for value "
                    f"n_out {value.n_out} and planes {planes}, not {index.n_out} and "
                    f"{index.bus_bits}"
                )
        self.networks = {index.kind: weights_network_id(value, planes, index) for index in indexes}
        if not indexes or len(self.networks) < len(indexes):
            raise ConfigError("a decoder has one index of each of one or more codecs")
        self._value, self._indexes, self._planes = value, tuple(indexes), planes
        self._masked, self._levels, self._packets = masked, levels, packets
        super().__init__(
            {
                "i": In(stream.Signature(word_layout(value.bus_bits))),
                "o": Out(stream.Signature(weight_layout(value, planes, levels=levels))),
                "fault": Out(1),
                "cause": Out(Cause),
                "abort": In(1),
                "quiet": In(1),
                "done": Out(1),
                "busy": Out(1),
                "dropping": Out(1),
                "events": Out(events_layout()),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Connect the units; those between parser and join are reset after a fault."""
        m = Module()
        value, bus = self._value, self._value.bus_bits
        m.submodules.parser = parser = WeightParser(bus, self.networks, packets=self._packets)
        m.submodules.join = join = WeightJoin(
            value, planes=self._planes, masked=self._masked, levels=self._levels
        )
        kill = Signal()
        resettable = ResetInserter({"sync": kill})
        seeds, unit = PacketQueue(packet_layout(bus), queue_words(bus)), self._unit
        m.submodules.seeds, m.submodules[value.codec] = resettable(seeds), resettable(unit)
        wiring.connect(m, wiring.flipped(self.i), parser.i)
        wiring.connect(m, parser.value, seeds.i)
        wiring.connect(m, seeds.o, unit.i)
        wiring.connect(m, unit.o, join.slices)
        wiring.connect(m, join.o, wiring.flipped(self.o))
        waits = self.o.valid & ~self.o.ready
        # A slice takes fewer cycles through the value unit than this counts up to, and the unit
        # puts out none that comes after `short`.
        still = Signal(5)
        was_short = Signal()
        under_way = unit.o.valid | join.holds | (unit.short & ~was_short)
        m.d.sync += [
            was_short.eq(unit.short),
            still.eq(Mux(under_way, 0, still + ~still[-1])),
        ]
        m.d.comb += [
            kill.eq(parser.fault),
            join.kill.eq(kill),
            join.opens.eq(parser.opens),
            join.verified.eq(parser.verified),
            parser.may_open.eq(join.may_open),
            parser.short.eq(unit.short & ~kill),
            parser.owes.eq(join.owes),
            parser.still.eq(still[-1]),
            parser.abort.eq(self.abort & self.busy),
            parser.quiet.eq(self.quiet),
            parser.progress.eq(self.o.valid),
            self.fault.eq(parser.fault),
            self.cause.eq(parser.cause),
            self.dropping.eq(parser.dropping),
            self.done.eq(join.ended),
            self.busy.eq(~parser.idle | ~join.idle),
        ]
        m.d.sync += [
            self.events.word.eq(self.i.valid & self.i.ready),
            self.events.starved.eq(self.busy & ~self.i.valid & ~waits & ~parser.idle),
            self.events.blocked.eq(self.i.valid & ~self.i.ready & ~waits),
            self.events.stalled.eq(waits),
            self.events.beat.eq(self.o.valid & self.o.ready),
        ]
        self._add_indexes(m, resettable, parser, join)
        return m

    def _add_indexes(
        self, m: Module, resettable: ResetInserter, parser: WeightParser, join: WeightJoin
    ) -> None:
        """Add a queue and a unit per index codec; the join takes masks in order of streams."""
        bus, several = self._value.bus_bits, len(self._indexes) > 1
        masks = join.masks
        turn_is: list[Value] = [Const(1)]
        if several:
            turns = PacketQueue(parser.codec.shape(), _TURNS)
            m.submodules.turns = resettable(turns)
            turn_is = [turns.o.valid & (turns.o.payload == k) for k in range(len(self._indexes))]
            m.d.comb += [
                turns.i.valid.eq(parser.opens),
                turns.i.payload.eq(parser.opens_codec),
                turns.o.ready.eq(masks.valid & masks.ready & masks.p.last),
            ]
        accepts: list[Value] = []
        offers: list[Value] = []
        for k, index in enumerate(self._indexes):
            queue = PacketQueue(packet_layout(bus), queue_words(bus))
            unit = IndexUnit(index, unit=self._value.n_out)
            m.submodules[f"{index.codec}_words"] = resettable(queue)
            m.submodules[index.codec] = resettable(unit)
            wiring.connect(m, queue.o, unit.i)
            mine = parser.codec == k if several else Const(1)
            m.d.comb += [
                queue.i.payload.eq(parser.index.payload),
                queue.i.valid.eq(parser.index.valid & mine),
                unit.o.ready.eq(masks.ready & turn_is[k]),
            ]
            accepts.append(queue.i.ready & mine)
            offers.append(unit.o.valid & turn_is[k])
            with m.If(turn_is[k]):
                m.d.comb += masks.payload.eq(unit.o.payload)
        m.d.comb += [
            parser.index.ready.eq(Cat(accepts).any()),
            masks.valid.eq(Cat(offers).any()),
        ]
