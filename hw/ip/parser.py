# SPDX-License-Identifier: Apache-2.0
"""Parser of weight streams: one packet of values and one packet of index from each stream."""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.crc32 import Crc32
from xorloom.hw.lib.payloads import packet_layout, word_layout
from xorloom.sw.spec.layout import (
    COUNT_OFFSET_BITS,
    KIND_WEIGHTS,
    MAGIC,
    VERSION,
    WEIGHT_HEADER_BYTES,
    padded,
    schedule_block_words,
)

from .csr import Cause
from .fault_drain import FaultDrain

__all__ = ["WeightParser"]

PATIENCE = 3 << 8
"""Cycles without progress after which the order of words is taken to be impossible. No beat of any
decoder takes as long."""


class WeightParser(wiring.Component):
    """Weight parser: checks header and CRC, follows the schedule, routes each word to its packet.

    One word per cycle, handed on in the same cycle; streams follow each other without a gap but
    for their headers. The first thing that is wrong raises ``fault``; :mod:`xorloom.hw.ip` tells
    how the units recover. Twin: ``sw.golden.weights.weight_parser``.

    =========  ======================  ===========================  ==============================
    state      accepted                offered                      next
    =========  ======================  ===========================  ==============================
    head[k]    header word k           nothing                      head[k + 1]
    head[-1]   the last header word,   the opening mark, to both    block if that word holds
               if a stream may open    packets in one cycle         schedule bits, else schedule
               and both are ready
    schedule   a schedule word         nothing                      block
    block      words, as the packet    the words, to the packet     block, or schedule if its bits
               of the block is ready   that the schedule bit says   are used up; after the last
                                                                    block pends if the word was
                                                                    the last of its input packet,
                                                                    else head[0]
    pends      nothing                 nothing                      head[0] when verified
    drop       all words               nothing                      head[0]; see the recovery
    (none)     nothing                 nothing                      a fault is on its way, and older
                                                                    streams drain: drop, or head[0]
    =========  ======================  ===========================  ==============================

    Beside these, after the last word of a stream: ``finish``, three cycles until the CRC is
    computed, then ``closing``: the closing marks are offered to both packets in one cycle
    (``verified``), or the CRC is wrong. Meanwhile the next header may come, but not its last word.

    Parameters
    ----------
    bus_bits : int
        Width of a bus word.
    networks : mapping of int to int
        Network ID by kind of index, in the order of ``codec``.
    packets : bool
        Whether input packets tell where to begin again after a fault; otherwise ``quiet`` does.

    Members
    -------
    i : In(stream.Signature(word_layout(bus_bits)))
        Weight streams. ``last`` is valid only in the last word of a stream.
    value, index : Out(stream.Signature(packet_layout(bus_bits)))
        Packets. They need queues behind them: each mark waits until both are ready.
    codec : Out(range(len(networks)))
        Which decoder the packet of index is for.
    may_open : In(1)
        Another stream may begin.
    opens : Out(1)
        A stream begins.
    verified : Out(1)
        All words of a stream have arrived, and its CRC is right.
    halts : Out(1)
        No word is taken until the fault, and what was offered is withdrawn.
    fault : Out(1)
        For one cycle: the stream is lost, reset all that follows.
    cause : Out(Cause)
        Why, with ``fault``.
    short, abort : In(1)
        Reasons for a fault that others find: a packet too short for its count; software.
    owes, still : In(1)
        What a fault waits for; see :class:`xorloom.hw.ip.fault_drain.FaultDrain`.
    progress : In(1)
        The output moves, or waits to be taken.
    quiet : In(1)
        No word from before the fault can come. See :mod:`xorloom.hw.ip`.
    idle : Out(1)
        Between streams, and no word is offered.
    dropping : Out(1)
        After a fault, until the parser begins again. See :mod:`xorloom.hw.ip`.
    """

    def __init__(self, bus_bits: int, networks: Mapping[int, int], *, packets: bool) -> None:
        self._bus_bits, self._networks, self._packets = bus_bits, dict(networks), packets
        packet = stream.Signature(packet_layout(bus_bits))
        super().__init__(
            {
                "i": In(stream.Signature(word_layout(bus_bits))),
                "value": Out(packet),
                "index": Out(packet),
                "codec": Out(range(len(networks))),
                "may_open": In(1),
                "opens": Out(1),
                "verified": Out(1),
                "halts": Out(1),
                "fault": Out(1),
                "cause": Out(Cause),
                "idle": Out(1),
                "dropping": Out(1),
            }
            | dict.fromkeys(("short", "abort", "owes", "still", "progress", "quiet"), In(1))
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the states, the output multiplexers and the checks."""
        m = Module()
        bus = self._bus_bits
        head_words = padded(WEIGHT_HEADER_BYTES, bus // 8) * 8 // bus
        word: Any = self.i.p
        takes, block_takes = (Signal(name=n) for n in ("takes", "block_takes"))
        # One-hot state, as in the table above. All zero: a fault is on its way.
        head = Signal(head_words, init=1)
        schedule, block = (Signal(name=n) for n in ("schedule", "block"))
        drop, pends = (Signal(name=n) for n in ("drop", "pends"))
        # After the last word of a stream: `finish` until the CRC is computed and compared, then
        # `closing`, with the marks.
        finish = Signal(3)
        closing, right = (Signal(name=n) for n in ("closing", "right"))
        boundary = Signal(init=1)  # the last word taken was the last of its input packet
        both, opens, cut_off = (Signal(name=n) for n in ("both", "opens", "cut_off"))
        marks, refills = (Signal(name=n) for n in ("marks", "refills"))
        block_ends, stream_ends = (Signal(name=n) for n in ("block_ends", "stream_ends"))
        # One signal per header word, so that each register depends on its own word alone. Checks
        # and the CRC look at the words one cycle later.
        comes, came = (Signal(head_words, name=n) for n in ("comes", "came"))
        past = Signal(bus, reset_less=True)
        m.d.sync += [came.eq(comes), past.eq(word.data)]
        fields = self._fields(m, word.data, comes, past, came)
        kind, final, sched_final, blocks_final = self._schedule(
            m, word.data, fields, opens, refills, block_takes, block_ends
        )
        finishing = finish.any() | closing
        may_open = Signal(name="can_open")
        m.d.sync += may_open.eq(self.may_open & ~finishing & head.any())
        codec = Signal.like(self.codec)
        # No more than two LUTs to `takes`: it is the ready of the bus.
        passes = Cat(head[:-1], schedule, drop).any()
        fits = block & Mux(kind, self.index.ready, self.value.ready)
        m.d.comb += [
            self.i.ready.eq(takes),
            refills.eq(self.i.valid & schedule),
            comes.eq(Cat(self.i.valid & head[k] for k in range(head_words - 1))),
            comes[-1].eq(opens),
            both.eq(self.value.ready & self.index.ready),
            opens.eq(self.i.valid & head[-1] & may_open & both),
            marks.eq(closing & right),
            block_takes.eq(self.i.valid & fits),
            block_ends.eq(block_takes & final),
            stream_ends.eq(block_ends & blocks_final),
            takes.eq(self.i.valid & (passes | fits | (head[-1] & may_open & both))),
            cut_off.eq(takes & word.last & ~stream_ends & ~drop),
            self.value.valid.eq(
                (self.i.valid & ~kind & block) | opens | (marks & self.index.ready)
            ),
            self.index.valid.eq((self.i.valid & kind & block) | opens | (marks & self.value.ready)),
            self.value.p.data.eq(Mux(block, word.data, fields["count"] << COUNT_OFFSET_BITS % bus)),
            self.value.p.mark.eq(~block),
            self.index.payload.eq(self.value.payload),
            self.codec.eq(Mux(head[-1] & ~closing, fields["codec"], codec)),
            self.opens.eq(opens),
            self.verified.eq(marks & both),
            self.idle.eq(head[0] & ~self.i.valid & ~finishing),
            self.dropping.eq(drop | self.fault),
        ]
        m.d.sync += [
            finish.eq(finish << 1 | stream_ends),
            closing.eq(finish[-1] | (closing & ~self.verified)),
            pends.eq(pends & ~self.verified),
        ]
        with m.If(takes):
            m.d.sync += boundary.eq(word.last)
        with m.If(comes.any()):
            m.d.sync += head.eq(head << 1)
        spare = head_words * bus > 8 * WEIGHT_HEADER_BYTES
        with m.If(opens):
            m.d.sync += [schedule.eq(not spare), block.eq(spare), codec.eq(self.codec)]
        with m.Elif(refills):
            m.d.sync += [schedule.eq(0), block.eq(1)]
        with m.Elif(block_ends):
            m.d.sync += [
                block.eq(~blocks_final & ~sched_final),
                schedule.eq(~blocks_final & sched_final),
                # The next input packet begins only when this stream is verified.
                head[0].eq(blocks_final & ~word.last),
                pends.eq(blocks_final & word.last),
            ]
        with m.If(pends & self.verified):
            m.d.sync += head[0].eq(1)
        self._check_crc(m, past, takes & ~drop, came, fields["crc"], finish, right)
        drain = self._find_faults(m, takes, drop, cut_off, closing, closing & ~right, opens, fields)
        m.d.comb += drain.finishing.eq(finish.any() | closing)
        with m.If(cut_off | drain.halts):
            m.d.sync += [head.eq(0), schedule.eq(0), block.eq(0)]
        with m.If(drain.halts):
            m.d.sync += pends.eq(0)
        with m.If(drain.cancels):
            m.d.sync += [finish.eq(0), closing.eq(0)]
        over = Signal(4)  # how long the source has had to see the fault
        m.d.sync += over.eq(Mux(drop, over << 1 | 1, 0))
        with m.If(self.fault):
            m.d.sync += [s.eq(0) for s in (head, schedule, block, pends, finish, closing)]
            goes_on = ~Mux(takes, word.last, boundary) if self._packets else 1
            m.d.sync += [drop.eq(goes_on), head[0].eq(~Value.cast(goes_on))]
        ends = takes & word.last if self._packets else over[-1] & self.quiet & ~self.i.valid
        with m.Elif(drop & ends):
            m.d.sync += [drop.eq(0), head.eq(1)]
        return m

    def _fields(
        self, m: Module, word: Value, comes: Signal, past: Value, came: Signal
    ) -> dict[str, Any]:
        """Build registers of the fields of the header, and of whether they are valid."""
        bus, last = self._bus_bits, len(comes) - 1

        def part(offset: int, bits: int) -> Value:
            return past[offset % bus :][:bits]

        def keep(name: str, offset: int, value: Value) -> Signal:
            register = Signal(value.shape(), name=name, reset_less=True)
            with m.If(came[offset // bus]):
                m.d.sync += register.eq(value)
            return register

        count = keep("count", 32, part(32, 32))
        if 32 // bus == last:  # used in the same cycle
            count = word[32:64]
        elif 32 // bus == last - 1:
            count = Mux(came[32 // bus], part(32, 32), count)
        kinds = [KIND_WEIGHTS + kind for kind in self._networks]
        most = schedule_block_words(bus // 8) + 1
        magic = int.from_bytes(MAGIC, "little") | VERSION << 16
        firsts = [part(160, 8), part(168, 8)]
        good = [
            keep("magic_good", 0, part(0, 24) == magic),
            keep("count_good", 32, part(32, 32).any()),
            keep("blocks_good", 96, part(97, 31).any()),
            keep("firsts_good", 160, Cat(n.any() & (n <= most) for n in firsts).all()),
            keep("zeros_good", 176, ~part(176, 16).any()),
        ]
        kind_is = [keep(f"kind_{k}", 24, part(24, 8) == k) for k in kinds]
        network_is = [
            keep(f"network_{k}", 64, part(64, 32) == n)
            for k, n in zip(kinds, self._networks.values(), strict=True)
        ]
        pairs = zip(kind_is, network_is, strict=True)
        chosen: list[Value] = list(kind_is)
        if last == 0:
            chosen = [word[24:32] == k for k in kinds]
        elif last == 1:
            chosen = [
                Mux(came[0], part(24, 8) == k, kept) for k, kept in zip(kinds, kind_is, strict=True)
            ]
        codec = Cat(
            Cat(flag for c, flag in enumerate(chosen) if c >> bit & 1).any()
            for bit in range((len(kinds) - 1).bit_length())
        )
        return {
            "count": count,
            "blocks": part(96, 32),
            "blocks_come": came[96 // bus],
            "crc": keep("crc", 128, part(128, 32)),
            "firsts": [word[(160 + 8 * k) % bus :][:5] for k in range(2)],
            "codec": codec,
            "header_good": Cat(good).all() & Cat(kind_is).any(),
            "network_good": Cat(a & b for a, b in pairs).any(),
        }

    def _schedule(
        self,
        m: Module,
        word: Value,
        fields: Mapping[str, Any],
        opens: Value,
        refill: Value,
        step: Value,
        block_ends: Value,
    ) -> tuple[Value, Value, Value, Value]:
        """Return the kind of a block, and whether its word, its schedule bit and it are the last.

        A block has two words or more, so everything but its kind may be computed a cycle later.
        """
        bus = self._bus_bits
        spare = padded(WEIGHT_HEADER_BYTES, bus // 8) * 8 - 8 * WEIGHT_HEADER_BYTES
        kind = Signal()
        # Schedule bits that follow, and how many; they shift a cycle after a block has ended.
        bits = Signal(bus, reset_less=True)
        bits_left = Signal(range(bus))
        shifts, final = (Signal(name=n) for n in ("shifts", "final_word"))
        blocks_left = Signal(32)
        place = Signal(5)
        # Words of the next block of each string, minus two.
        sizes = [Signal(5, name=f"size_{k}", reset_less=True) for k in range(2)]
        sched_final, blocks_final = (Signal(name=n) for n in ("sched_final", "blocks_final"))
        m.d.sync += shifts.eq(block_ends)
        with m.If(block_ends):
            m.d.sync += [kind.eq(bits[0]), sched_final.eq(bits_left == 1)]
        with m.If(shifts):
            m.d.sync += [bits.eq(bits >> 1), bits_left.eq(bits_left - 1)]
        loads = [(refill, bus)] + ([(opens, spare)] if spare else [])
        for load, count in loads:
            fresh = word[-count:]
            with m.If(load):
                m.d.sync += [kind.eq(fresh[0]), bits.eq(fresh[1:]), bits_left.eq(count - 1)]
                m.d.sync += sched_final.eq(0)
        with m.If(opens | block_ends):
            m.d.sync += [place.eq(0), final.eq(0)]
        with m.Elif(step):
            m.d.sync += [place.eq(place + 1), final.eq(place == Mux(kind, sizes[1], sizes[0]))]
        for k, size in enumerate(sizes):
            first = fields["firsts"][k]
            with m.If(opens):
                m.d.sync += size.eq(Mux(first[1:].any(), first - 2, 0))
            with m.Elif(block_ends & (kind == k)):
                m.d.sync += size.eq(schedule_block_words(bus // 8) - 2)
        with m.If(fields["blocks_come"]):
            m.d.sync += blocks_left.eq(fields["blocks"])
        with m.Elif(block_ends):
            m.d.sync += blocks_left.eq(blocks_left - 1)
        m.d.sync += blocks_final.eq(blocks_left == 1)
        return kind, final, sched_final, blocks_final

    def _check_crc(
        self,
        m: Module,
        word: Value,
        takes: Value,
        head: Signal,
        expected: Value,
        finish: Signal,
        right: Signal,
    ) -> None:
        """Build the CRC, with its own field taken as 0; ``right`` is valid with ``closing``."""
        bus = self._bus_bits
        m.submodules.crc = crc = Crc32(bus)
        own = word[128 % bus :][:32]
        data = Cat(word[: 128 % bus], own & ~head[128 // bus].replicate(32), word[128 % bus + 32 :])
        m.d.sync += crc.valid.eq(takes)
        m.d.comb += [crc.data.eq(data), crc.first.eq(head[0])]
        with m.If(finish[-1]):
            m.d.sync += right.eq(crc.o == expected)

    def _find_faults(
        self,
        m: Module,
        takes: Signal,
        drop: Signal,
        cut_off: Signal,
        closing: Signal,
        crc_wrong: Value,
        opens: Signal,
        fields: Mapping[str, Any],
    ) -> FaultDrain:
        """Build the checks, and what a fault waits for."""
        m.submodules.drain = drain = FaultDrain()
        judge = Signal(2)
        waits = Signal(range(PATIENCE + 1))
        moves = takes | self.progress | self.verified | drop
        counts = self.i.valid | closing | drain.halts
        m.d.sync += judge.eq(judge << 1 | opens)
        m.d.sync += waits.eq(Mux(moves | ~counts, 0, waits + 1))
        m.d.comb += [
            drain.wrong.aborted.eq(self.abort),
            drain.wrong.slverr.eq(self.i.valid & (self.i.p.error == 2)),
            drain.wrong.decerr.eq(self.i.valid & (self.i.p.error == 3)),
            drain.wrong.header.eq(judge[1] & ~fields["header_good"]),
            drain.wrong.network.eq(judge[1] & ~fields["network_good"]),
            drain.wrong.crc.eq(crc_wrong),
            drain.wrong.truncated.eq(cut_off),
            drain.wrong.length.eq(self.short),
            drain.wrong.schedule.eq(waits == PATIENCE),
            drain.owes.eq(self.owes),
            drain.still.eq(self.still),
            drain.dropping.eq(drop),
            self.halts.eq(drain.halts),
            self.fault.eq(drain.fault),
            self.cause.eq(drain.cause),
        ]
        return drain
