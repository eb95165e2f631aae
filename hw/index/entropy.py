# SPDX-License-Identifier: Apache-2.0
"""Core of the entropy index: bus words in, masks out."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.gearbox import Gearbox
from xorloom.sw.spec.index_config import EntropyConfig

from .entropy_lane import EntropyLane
from .entropy_table import UNIT_BITS, EntropyTable

__all__ = ["IndexEntropy"]

_FEEDS_MAX = 8
"""Most units handed out per cycle."""


def _chosen(bits: list[Value], table: list[int]) -> Value:
    """Return the entry of a table of small numbers, as plain logic rather than carry chains."""
    width = max(1, max(table).bit_length())
    select = Cat(bits)
    columns = []
    for bit in range(width):
        column = sum((row >> bit & 1) << n for n, row in enumerate(table))
        columns.append((Const(column, len(table)) >> select)[0])
    return Cat(columns)


def _counts_before(m: Module, bits: list[Value]) -> list[Value]:
    """Return how many ones precede each bit and, last, how many there are."""
    result: list[Value] = []
    base: Value = Const(0, 1)
    for at in range(0, len(bits), 4):
        part = bits[at : at + 4]
        sums = []
        for n in range(len(part) + 1):
            ones = _chosen(part[:n], [k.bit_count() for k in range(1 << n)]) if n else Const(0, 1)
            count = Signal(range(at + n + 1), name=f"before_{at + n}")
            low, wide = len(base), len(base) + len(ones)
            if not at:
                m.d.comb += count.eq(ones)
            elif wide <= 6:
                sums_of = [(k & ((1 << low) - 1)) + (k >> low) for k in range(1 << wide)]
                m.d.comb += count.eq(_chosen([base, ones], sums_of))
            else:
                m.d.comb += count.eq(base + ones)
            sums.append(count)
        result += sums[:-1]
        base = sums[-1]
    return [*result, base]


class IndexEntropy(wiring.Component):
    """Entropy core: a lossless decoder of masks with ``lanes / 2`` decoded chunks per cycle.

    Two lanes share one decoder: while one takes units, the other steps. (An odd number of lanes
    has one decoder each, which steps every other cycle.) So a mask takes ``2 * config.steps``
    cycles, and more only if memory delivers too few units, or if more lanes want a unit in one
    cycle than can be handed out (:py:`self.feeds`); then they are fed in rounds of so many units.
    Which lanes want one, and which one, is counted when they step. Stalls do not change the order.
    Latency :py:`self.latency` cycles, full back-pressure. A stream starts with its table, see
    :class:`xorloom.hw.index.entropy_table.EntropyTable`.

    Twin: ``sw.golden.index.entropy.entropy_decoder``. Source: Duda, arXiv 1311.2540
    (table-driven ANS).

    Parameters
    ----------
    config : EntropyConfig

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Payload words of one stream, without header and CRC.
    o : Out(stream.Signature(n_out))
        Masks. The payload does not say how many there are: after the last one, further masks
        without meaning may be offered, because bits are left over or a step needs none.
    clear : In(1)
        Drop the stream; the next word begins another one. No word is accepted in this cycle.
    """

    def __init__(self, config: EntropyConfig) -> None:
        self._config = config
        self._turns = 1 if config.lanes % 2 else 2
        self._decoders = config.lanes // self._turns
        self.feeds = min(config.bus_bits // UNIT_BITS, self._decoders, _FEEDS_MAX)
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(config.n_out)),
                "clear": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the step of a lane until the mask that its chunk completes is offered."""
        return 5

    @property
    def chunk_bits(self) -> None:
        """No chunks: the core takes bus words."""
        return None

    def elaborate(self, _platform: object) -> Module:
        """Build the decoder."""
        m = Module()
        config, feeds = self._config, self.feeds
        per_word = config.bus_bits // UNIT_BITS
        m.submodules.box = box = Gearbox(
            bus_bits=config.bus_bits,
            unit_bits=UNIT_BITS,
            look_bits=feeds * UNIT_BITS,
            enough_bits=UNIT_BITS,
        )
        # The oldest units in a ring, one to a slot: that at `offset` is the oldest one. (To turn
        # them first, and then to choose one for each lane, would be a longer path.)
        slot_bits = (feeds - 1).bit_length()
        slots = 1 << slot_bits
        ring = []
        for k in range(slots):
            own = box.window[k * UNIT_BITS :]
            turns = (box.offset + (slots - 1 - k)) >> slot_bits
            ring.append(own.word_select(turns, slots * UNIT_BITS)[:UNIT_BITS])
        ring = Array(ring)
        m.submodules.table = table = EntropyTable(config)
        lanes = [EntropyLane(config) for _ in range(self._decoders)]
        for k, lane in enumerate(lanes):
            m.submodules[f"lane_{k}"] = lane

        enter = Signal()
        begun = Signal()
        running = Signal()
        armed = Signal()
        start = Signal()
        step = Signal()
        turn = Signal()
        move = Signal()
        go = Signal()
        m.d.comb += [
            box.i.payload.eq(self.i.payload),
            box.i.valid.eq(self.i.valid & ~self.clear),
            self.i.ready.eq(box.i.ready & ~self.clear),
            enter.eq(box.i.valid & box.i.ready),
            box.flush.eq(self.clear),
            table.unit.eq(ring[box.offset[:slot_bits]]),
            table.unit_valid.eq(box.held[0]),
            table.clear.eq(self.clear),
        ]

        # The lanes at the back are fed in order, `feeds` of them in one round. In every turn the
        # lanes that the next turn will have at the back are counted.
        real = Signal()  # they are lanes
        wants = [Signal(name=f"wants_{k}") for k in range(self._decoders)]
        shape = range(max(2, self._decoders))
        ranks = [Signal(shape, name=f"rank_{k}") for k in range(self._decoders)]
        feed_round = Signal(max(1, len(ranks[0]) - slot_bits))
        owed = [Signal(name=f"owed_{k + 1}") for k in range(self._decoders)]  # k + 1 units or more
        # The round may be served: there will be a word behind the oldest one, whatever is taken;
        # or else, as seen while nothing could be taken, as many units as are owed. (A register,
        # for it enables all lanes.)
        may = Signal()
        there = [box.held[1] | (box.held[0] & (box.offset < per_word - k)) for k in range(feeds)]
        enough = Signal()
        take: Value = Const(1)  # in this round, or by the table
        for k in range(1, feeds):
            take = Mux(owed[k], k + 1, take)
        hungry = [lane.hungry & real for lane in lanes]
        before = _counts_before(m, hungry)
        m.d.comb += [
            enough.eq(Cat(unit | ~asked for unit, asked in zip(there, owed, strict=False)).all()),
            go.eq(owed[0] & may),
            box.take.eq(take),
            box.go.eq(go | table.take),
        ]
        with m.If(turn | begun):
            m.d.sync += [
                Cat(wants).eq(Cat(hungry)),
                *(rank.eq(count) for rank, count in zip(ranks, before, strict=False)),
                *(asked.eq(before[-1] > k) for k, asked in enumerate(owed)),
                feed_round.eq(0),
            ]
        with m.Elif(go):
            m.d.sync += [Cat(owed).eq(Cat(owed) >> feeds), feed_round.eq(feed_round + 1)]
        with m.If(self.clear):
            m.d.sync += [may.eq(0), Cat(owed).eq(0)]
        with m.Else():
            held = [*box.held, Const(0, 1)]
            plenty = held[2] | (held[1] & (self.i.valid | ~box.drops))
            m.d.sync += may.eq((running & enough & ~may) | ((running | begun) & plenty))
        m.d.comb += [
            start.eq(table.done & ~running & ~begun),
            move.eq(~self.o.valid | self.o.ready),
            step.eq(armed & move),
            turn.eq(may & ~Cat(owed[feeds : feeds + 1]).any() & (~armed | move)),
        ]
        for k, lane in enumerate(lanes):
            now = ranks[k][slot_bits:] == feed_round
            m.d.comb += [
                lane.start.eq(start),
                lane.begun.eq(begun),
                lane.several.eq(table.several),
                lane.listed.eq(table.listed),
                lane.flip.eq(table.invert & ~table.listed),
                lane.need.eq(table.need),
                lane.feed.eq(go & wants[k] & now),
                lane.unit.eq(ring[(box.offset + ranks[k])[:slot_bits]]),
                lane.turn.eq(turn),
                lane.move.eq(move),
                lane.state_write.eq(table.state_write),
                lane.state_at.eq(table.state_at),
                lane.state.eq(table.state),
                lane.value_write.eq(table.value_write),
                lane.value_at.eq(table.value_at),
                lane.value_new.eq(table.value),
            ]

        # Values on their way to the mask. The first step of a lane only reads its first state.
        skip = Signal(2)
        way = Signal(4)
        part = Signal(range(max(2, config.n_out // (8 * self._decoders))))
        last = part == config.n_out // (8 * self._decoders) - 1
        beat = Signal(config.n_out, reset_less=True)
        complete = Signal()
        counts = Signal()  # the step yields values
        m.d.comb += [self.o.payload.eq(beat), self.o.valid.eq(complete)]
        if self._turns == 1:
            filling = Signal()  # the lanes are at the back in every other turn
            m.d.comb += [real.eq(begun | filling), counts.eq(step & filling & (skip == 0))]
            with m.If(start):
                m.d.sync += filling.eq(0)
            with m.Elif(turn):
                m.d.sync += filling.eq(~filling)
        else:
            m.d.comb += [real.eq(1), counts.eq(step & (skip == 0))]
        with m.If(self.clear):
            m.d.sync += [signal.eq(0) for signal in (begun, running, armed, way, part, complete)]
        with m.Else():
            m.d.sync += begun.eq(start)
            with m.If(start):
                m.d.sync += skip.eq(Mux(table.several, 2, 0))
            with m.If(begun):
                m.d.sync += running.eq(1)
            with m.If(turn):
                m.d.sync += armed.eq(1)
            with m.Elif(step):
                m.d.sync += armed.eq(0)
            with m.If(move):
                m.d.sync += [way.eq(Cat(counts, way[:-1])), complete.eq(way[-1] & last)]
                with m.If(step & (skip != 0)):
                    m.d.sync += skip.eq(skip - 1)
                with m.If(way[-1]):
                    m.d.sync += part.eq(Mux(last, 0, part + 1))
        with m.If(move & way[-1]):
            new = Cat(lane.value for lane in lanes)
            m.d.sync += beat.eq(Cat(beat, new)[len(new) :])
        return m
