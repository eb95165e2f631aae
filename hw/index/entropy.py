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


def _counts_before(m: Module, bits: list[Value], most: int) -> list[Value]:
    """Return how many ones precede each bit and, last, how many there are; at most ``most``."""
    result: list[Value] = []
    base: Value = Const(0, 1)
    for at in range(0, len(bits), 4):
        part = bits[at : at + 4]
        sums = []
        for n in range(len(part) + 1):
            ones = _chosen(part[:n], [k.bit_count() for k in range(1 << n)]) if n else Const(0, 1)
            if at:
                low = len(base)
                table = [
                    min(most, (k & ((1 << low) - 1)) + (k >> low))
                    for k in range(1 << low + len(ones))
                ]
                ones = _chosen([base, ones], table)
            else:
                ones = _chosen([ones], [min(most, k) for k in range(1 << len(ones))])
            count = Signal(range(most + 1), name=f"before_{at + n}")
            m.d.comb += count.eq(ones)
            sums.append(count)
        result += sums[:-1]
        base = sums[-1]
    return [*result, base]


class IndexEntropy(wiring.Component):
    """Entropy core: a lossless decoder of masks with ``lanes / 2`` decoded chunks per cycle.

    Two lanes share one decoder: while one takes units, the other steps. (An odd number of lanes
    has one decoder each, which steps every other cycle.) So a mask takes ``2 * config.steps``
    cycles, and more only if memory delivers too few units, or if more lanes want a unit in one
    cycle than can be handed out (:py:`self.feeds`). Stalls do not change the order of the units.
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
        return 4

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
        units = [box.o[k * UNIT_BITS : (k + 1) * UNIT_BITS] for k in range(feeds)]
        m.submodules.table = table = EntropyTable(config)
        lanes = [EntropyLane(config, turns=self._turns) for _ in range(self._decoders)]
        for k, lane in enumerate(lanes):
            m.submodules[f"lane_{k}"] = lane

        level = Signal(range(4 * max(per_word, feeds) + 1))
        enter = Signal()
        running = Signal()
        armed = Signal()
        filling = Signal()
        start = Signal()
        step = Signal()
        turn = Signal()
        move = Signal()
        fed = Signal(range(feeds + 1))
        m.d.comb += [
            box.i.payload.eq(self.i.payload),
            box.i.valid.eq(self.i.valid & ~self.clear),
            self.i.ready.eq(box.i.ready & ~self.clear),
            enter.eq(box.i.valid & box.i.ready),
            box.flush.eq(self.clear),
            box.take.eq(Mux(running, fed, table.take)),
            box.go.eq(1),
            table.unit.eq(units[0]),
            table.unit_valid.eq(level != 0),
            table.clear.eq(self.clear),
        ]
        m.d.sync += level.eq(
            Mux(self.clear, 0, level - box.take + Mux(enter, per_word, 0)),
        )

        # Lanes are fed in order: lane k gets the n-th unit if n lanes before it are hungry.
        hungry = [running & lane.hungry for lane in lanes]
        before = _counts_before(m, hungry, feeds)
        held = [~Cat(level == n for n in range(k + 1)).any() for k in range(feeds)]
        enough = Array([*held, Value.cast(0)])
        feed = [want & enough[n] for want, n in zip(hungry, before, strict=False)]
        m.d.comb += fed.eq(Mux(Array([Value.cast(1), *held])[before[-1]], before[-1], level))
        satisfied = ~Cat(want & ~given for want, given in zip(hungry, feed, strict=True)).any()
        free = ~armed if self._turns == 1 else ~armed | step
        m.d.comb += [
            start.eq(table.done & ~running),
            move.eq(~self.o.valid | self.o.ready),
            step.eq(armed & move),
            turn.eq(running & satisfied & free),
        ]
        stepping = filling if self._turns == 1 else ~filling
        for k, (lane, given) in enumerate(zip(lanes, feed, strict=True)):
            m.d.comb += [
                lane.start.eq(start),
                lane.several.eq(table.several),
                lane.listed.eq(table.listed),
                lane.need.eq(table.need),
                lane.filling.eq(filling),
                lane.stepping.eq(stepping),
                lane.feed.eq(given),
                lane.unit.eq(Array(units)[before[k]]),
                lane.fetch.eq(turn),
                lane.step.eq(step),
                lane.move.eq(move),
                lane.state_write.eq(table.state_write),
                lane.state_at.eq(table.state_at),
                lane.state.eq(table.state),
                lane.value_write.eq(table.value_write),
                lane.value_at.eq(table.value_at),
                lane.value_new.eq(table.value),
            ]

        # Values on their way to the mask. The first step of a lane only reads its first state.
        skip = Signal(range(self._turns + 1))
        way = Signal(3)
        part = Signal(range(max(2, config.n_out // (8 * self._decoders))))
        last = part == config.n_out // (8 * self._decoders) - 1
        beat = Signal(config.n_out, reset_less=True)
        complete = Signal()
        m.d.comb += [self.o.payload.eq(beat), self.o.valid.eq(complete)]
        with m.If(self.clear):
            m.d.sync += [
                *(signal.eq(0) for signal in (running, armed, filling, way, part, complete)),
            ]
        with m.Else():
            with m.If(start):
                m.d.sync += [running.eq(1), skip.eq(Mux(table.several, self._turns, 0))]
            with m.If(turn):
                m.d.sync += armed.eq(1)
                if self._turns == 2:
                    m.d.sync += filling.eq(~filling)
            with m.Elif(step):
                m.d.sync += armed.eq(0)
            with m.If(move):
                m.d.sync += [way.eq(Cat(step & (skip == 0), way[:-1])), complete.eq(way[-1] & last)]
                with m.If(step & (skip != 0)):
                    m.d.sync += skip.eq(skip - 1)
                with m.If(way[-1]):
                    m.d.sync += part.eq(Mux(last, 0, part + 1))
        with m.If(move & way[-1]):
            new = Cat(lane.value ^ table.invert.replicate(8) for lane in lanes)
            m.d.sync += beat.eq(Cat(beat, new)[len(new) :])
        return m
