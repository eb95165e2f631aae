# SPDX-License-Identifier: Apache-2.0
"""Weight decoder: weight streams in, codes and masks out."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.index.decoder import IndexUnit
from xorloom.hw.lib.flow_queue import FlowQueue, slack_of
from xorloom.hw.lib.packet_queue import PacketQueue
from xorloom.hw.lib.payloads import level_bits, packet_layout, weight_layout, word_layout
from xorloom.hw.lib.slice_pipe import PIPELINES
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


def value_unit(value: ValueConfig, *, levels: bool = False, pipeline: str = PIPELINES[0]) -> Any:
    """Build the unit of a value codec: packets in, slices out.

    That of codec ``name`` is class ``NameUnit`` of the module ``decoder`` in its folder; it has
    ports ``i``, ``o`` and ``short``, and ``slack``, as
    :class:`xorloom.hw.window.decoder.WindowUnit`.

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
        return unit(value, pipeline=pipeline)
    level_bits(value)
    return unit(value, levels=True, pipeline=pipeline)


class _Kills:
    """Resets of the units, from registers of their own, a cycle after the fault.

    Nothing enters a queue in that cycle: no header is complete until two cycles after a fault. The
    registers differ in polarity or reset; otherwise synthesis would merge them.
    """

    def __init__(self, m: Module, fault: Value) -> None:
        self._kills: list[Value] = []
        for k, (inverted, kept) in enumerate(((0, False), (1, False), (0, True), (1, True))):
            register = Signal(init=inverted, reset_less=kept, name=f"kill_{k}")
            m.d.sync += register.eq(fault ^ inverted)
            self._kills.append(register ^ inverted)
        self.now = self._kills[0]

    def resets(self, unit: Any, k: int) -> Any:
        """Return ``unit``, with a reset from register ``k``."""
        return ResetInserter({"sync": self._kills[k]})(unit)


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
    pipeline : str
        One of :data:`xorloom.hw.lib.slice_pipe.PIPELINES`.

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
        pipeline: str = PIPELINES[0],
    ) -> None:
        told = MAP["CONFIG"]["PLANES"]
        check_range("planes", planes, 1, min(value.n_out, told.mask >> told.low))
        value.check_planes(planes)
        self._unit = value_unit(value, levels=levels, pipeline=pipeline)
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
        self._pipeline = pipeline
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
        """Connect the units; those between parser and join are reset a cycle after a fault."""
        m = Module()
        value, bus = self._value, self._value.bus_bits
        m.submodules.parser = parser = WeightParser(bus, self.networks, packets=self._packets)
        masks = [
            IndexUnit(index, unit=value.n_out, pipeline=self._pipeline) for index in self._indexes
        ]
        m.submodules.join = join = WeightJoin(
            value,
            planes=self._planes,
            masked=self._masked,
            levels=self._levels,
            slack=(self._unit.slack, slack_of(masks[0]) if len(masks) == 1 else 0),
            pipeline=self._pipeline,
        )
        kills = _Kills(m, parser.fault)
        seeds, unit = PacketQueue(packet_layout(bus), queue_words(bus)), self._unit
        m.submodules.seeds = kills.resets(seeds, 0)
        m.submodules[value.codec] = kills.resets(unit, 1)
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
        under_way = Signal()
        m.d.sync += [
            was_short.eq(unit.short),
            under_way.eq(unit.o.valid | join.holds | (unit.short & ~was_short)),
            still.eq(Mux(under_way, 0, still + ~still[-1])),
        ]
        m.d.comb += [
            join.kill.eq(parser.fault),
            join.opens.eq(parser.opens),
            join.verified.eq(parser.verified),
            parser.may_open.eq(join.may_open),
            parser.short.eq(unit.short & ~parser.fault & ~kills.now),
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
        self._add_indexes(m, kills, parser, join, masks)
        return m

    def _add_indexes(
        self,
        m: Module,
        kills: "_Kills",
        parser: WeightParser,
        join: WeightJoin,
        units: Sequence[IndexUnit],
    ) -> None:
        """Add a queue and a unit per index codec; the join takes masks in order of streams."""
        bus, several = self._value.bus_bits, len(self._indexes) > 1
        masks = join.masks
        turn_is: list[Value] = [Const(1)]
        if several:
            turns = PacketQueue(parser.codec.shape(), _TURNS)
            m.submodules.turns = kills.resets(turns, 2)
            turn_is = [turns.o.valid & (turns.o.payload == k) for k in range(len(self._indexes))]
            m.d.comb += [
                turns.i.valid.eq(parser.opens),
                turns.i.payload.eq(parser.opens_codec),
                turns.o.ready.eq(masks.valid & masks.ready & masks.p.last),
            ]
        accepts: list[Value] = []
        offers: list[Value] = []
        for k, (index, unit) in enumerate(zip(self._indexes, units, strict=True)):
            queue = PacketQueue(packet_layout(bus), queue_words(bus))
            m.submodules[f"{index.codec}_words"] = kills.resets(queue, 2)
            m.submodules[index.codec] = kills.resets(unit, 3)
            wiring.connect(m, queue.o, unit.i)
            offer = unit.o
            if several and slack_of(unit):
                # It may be on its next packet when its turn is over.
                held = FlowQueue(unit.o.payload.shape(), slack=slack_of(unit))
                m.submodules[f"{index.codec}_masks"] = kills.resets(held, 3)
                wiring.connect(m, unit.o, held.i)
                offer = held.o
            mine = parser.codec == k if several else Const(1)
            m.d.comb += [
                queue.i.payload.eq(parser.index.payload),
                queue.i.valid.eq(parser.index.valid & mine),
                offer.ready.eq(masks.ready & turn_is[k]),
            ]
            accepts.append(queue.i.ready & mine)
            offers.append(offer.valid & turn_is[k])
            with m.If(turn_is[k]):
                m.d.comb += masks.payload.eq(offer.payload)
        m.d.comb += [
            parser.index.ready.eq(Cat(accepts).any()),
            masks.valid.eq(Cat(offers).any()),
        ]
