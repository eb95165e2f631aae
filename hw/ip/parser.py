# SPDX-License-Identifier: Apache-2.0
"""Parser of weight streams: one packet of values and one packet of index from each stream."""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.crc32 import Crc32
from xorloom.hw.lib.payloads import label_layout, packet_layout, word_layout
from xorloom.hw.lib.ping_pong import PingPong
from xorloom.sw.spec.layout import COUNT_OFFSET_BITS

from .csr import Cause
from .fault_drain import FaultDrain
from .header import HeaderChecks, header_words
from .schedule import BlockSchedule, spare_bits

__all__ = ["WeightParser"]

PATIENCE = 3 << 8
"""Cycles without progress after which the order of words is taken to be impossible. No beat of any
decoder takes as long."""


class WeightParser(wiring.Component):
    """Weight parser: checks header and CRC, follows the schedule, routes each word to its packet.

    One word per cycle; streams follow each other without a gap but for their headers. The first
    thing that is wrong raises ``fault``; :mod:`xorloom.hw.ip` tells how the units recover. Twin:
    ``sw.golden.weights.weight_parser``.

    Three stages, each a register or more behind the one before. *Classify*: the state below says
    what the word on offer is; ``i.ready`` is one gate behind two registers, whether the state
    passes words and whether the label buffer is full. *Label*: the word is in a register, with the
    string that it is of; header and CRC are checked there. *Dispatch*: a buffer of two labelled
    words, whose first one goes to the packet of its string. A word waits for that packet alone; a
    mark is for both and waits until both are ready. A word comes out two cycles after it came in.

    =========  ======================  ===========================  ==============================
    state      accepted                labelled                     next
    =========  ======================  ===========================  ==============================
    head[k]    header word k           nothing                      head[k + 1]
    head[-1]   the last header word,   nothing                      opened
               if a stream may open
    opened     nothing                 the opening mark             block if the header holds
                                                                    schedule bits, else schedule
    schedule   a schedule word         nothing                      block
    block      words                   the words, of the string     block, or schedule if its bits
                                       that the schedule bit says   are used up; after the last
                                                                    block ended
    ended      nothing                 nothing                      pends if the last word was also
                                                                    that of its input packet, else
                                                                    head[0]
    pends      nothing                 nothing                      head[0] when verified
    drop       all words               nothing                      head[0]; see the recovery
    (none)     nothing                 nothing                      a fault is on its way, and older
                                                                    streams drain: drop, or head[0]
    =========  ======================  ===========================  ==============================

    Beside these, from ``ended`` on: the CRC of the header follows the words through the CRC unit,
    which says whether it is right (``finish`` counts the cycles); then ``closing``: the closing
    mark is labelled, or the CRC is wrong. The stream is ``verified`` when its mark has gone out.
    Meanwhile the next header may come, but its last word not before ``closing``.

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
        Packets. They need queues behind them: each mark waits until both are ready. The data of a
        mark are undefined but for the count.
    codec : Out(range(len(networks)))
        Which decoder the packet on ``index`` is for, with what is offered there.
    may_open : In(1)
        Another stream may begin.
    opens : Out(1)
        For one cycle: a stream begins; its opening mark has not gone out before.
    opens_codec : Out(range(len(networks)))
        Which decoder that stream is for.
    verified : Out(1)
        For one cycle: all words of a stream have gone out, and its CRC is right.
    halts : Out(1)
        No word is taken until the fault.
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
        Between streams, and no word is offered or inside.
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
                "opens_codec": Out(range(len(networks))),
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
        """Build the states of the first stage; then the others, the checks and the recovery."""
        m = Module()
        bus = self._bus_bits
        words = header_words(bus)
        word: Any = self.i.p
        m.submodules.schedule = blocks = BlockSchedule(bus)
        m.submodules.drain = drain = FaultDrain()
        # One-hot state, as in the table above. All zero: a fault is on its way.
        head = Signal(words, init=1)
        opened, schedule, block = (Signal(name=n) for n in ("opened", "schedule", "block"))
        ended, pends, drop = (Signal(name=n) for n in ("ended", "pends", "drop"))
        passes = Signal(init=1)  # the state takes words
        can_open, cut_off, halted = (Signal(name=n) for n in ("can_open", "cut_off", "halted"))
        boundary = Signal(init=1)  # the last word taken was the last of its input packet
        # `closing` lasts until the closing mark is labelled, `finishing` until it has gone out.
        closing, finishing = (Signal(name=n) for n in ("closing", "finishing"))
        takes, full, feeds = (Signal(name=n) for n in ("takes", "full", "feeds"))
        opens, refills = (Signal(name=n) for n in ("opening", "refills"))
        gives, kind = (Signal(name=n) for n in ("gives", "kind"))  # a word of a block; its string
        block_ends, stream_ends = (Signal(name=n) for n in ("block_ends", "stream_ends"))
        # One signal per header word; checks and CRC look at the words one cycle later.
        comes, came = (Signal(words, name=n) for n in ("comes", "came"))
        past = Signal(bus, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(passes & ~full),
            takes.eq(self.i.valid & passes & ~full),
            comes.eq(Mux(takes, head, 0)),
            opens.eq(comes[-1]),
            refills.eq(takes & schedule),
            gives.eq(takes & block),
            kind.eq(blocks.kind),
            block_ends.eq(takes & blocks.final),
            stream_ends.eq(block_ends & blocks.blocks_final),
            feeds.eq(ended & ~full),
            self.idle.eq(head[0] & ~self.i.valid & ~finishing),
            self.dropping.eq(drop | self.fault),
        ]
        m.d.sync += came.eq(comes)
        with m.If(takes):
            m.d.sync += boundary.eq(word.last)
        m.d.comb += [
            blocks.fresh.eq(word.data[0]),
            blocks.past.eq(past),
            blocks.blocks_come.eq(came[96 // bus]),
            blocks.opened.eq(opened),
            blocks.refills.eq(refills),
            blocks.takes.eq(gives),
            blocks.clear.eq(halted),
        ]
        finish, right = self._check_crc(
            m, past, full, takes & ~drop, head, comes, feeds, stream_ends | ended, drop
        )
        # Whether the state will take words is known a cycle late; what changes it stops them.
        goes_on = Cat(head[:-1], head[-1] & can_open, schedule, block, drop)
        stops = word.last | head[-1] | (blocks.final & blocks.blocks_final)
        if words > 1:
            goes_on = Cat(goes_on, opened & ~full & ~closing)
            stops |= head[-2] & ~can_open
        m.d.sync += [
            passes.eq(goes_on.any() & ~(takes & stops) & ~(drain.halts | cut_off | halted)),
            halted.eq(drain.halts | cut_off),
            # So that the next stream opens in the first cycle of `closing` or later: then its mark
            # is labelled later than the closing one.
            can_open.eq(self.may_open & ~ended & ~finish[:-3].any()),
            cut_off.eq(takes & word.last & ~stream_ends & ~drop),
            opened.eq(opens | (opened & full)),
            ended.eq(stream_ends | (ended & full)),
            closing.eq(finish[-2] | (closing & ~(right & ~full))),
            finishing.eq(stream_ends | (finishing & ~self.verified)),
            pends.eq((feeds & boundary) | (pends & ~self.verified)),
        ]
        with m.If(comes.any()):
            m.d.sync += head.eq(head << 1)
        # The next input packet begins only when this stream is verified.
        with m.If((feeds & ~boundary) | (pends & self.verified)):
            m.d.sync += head[0].eq(1)
        with m.If(opened & ~full):
            m.d.sync += [schedule.eq(not spare_bits(bus)), block.eq(spare_bits(bus) > 0)]
        with m.Elif(refills):
            m.d.sync += [schedule.eq(0), block.eq(1)]
        with m.Elif(block_ends):
            m.d.sync += [
                block.eq(~blocks.blocks_final & ~blocks.bits_final),
                schedule.eq(~blocks.blocks_final & blocks.bits_final),
            ]
        m.submodules.checks = checks = HeaderChecks(bus, self._networks)
        m.d.comb += [
            checks.word.eq(past),
            checks.came.eq(came),
            checks.opens.eq(opens),
            checks.clear.eq(self.fault),
            drain.wrong.header.eq(checks.header_wrong),
            drain.wrong.network.eq(checks.network_wrong),
        ]
        self._dispatch(
            m,
            past,
            full,
            gives & ~kind,
            gives & kind,
            # Still `closing`: the CRC of the last stream is wrong. A mark would close its packets.
            opened & ~closing & ~halted,
            closing & right,
            checks,
        )
        self._find_faults(m, drain, takes, drop, finishing)
        m.d.comb += [drain.wrong.crc.eq(closing & ~right), drain.wrong.truncated.eq(cut_off)]
        with m.If(halted):
            m.d.sync += [state.eq(0) for state in (head, opened, schedule, block, pends)]
        with m.If(drain.cancels):
            m.d.sync += [state.eq(0) for state in (ended, finish, closing, finishing)]
        over = Signal(4)  # how long the source has had to see the fault
        m.d.sync += over.eq(Mux(drop, over << 1 | 1, 0))
        with m.If(self.fault):
            m.d.sync += [state.eq(0) for state in (ended, finish, closing, finishing, cut_off)]
            goes_on = ~boundary if self._packets else 1
            m.d.sync += [drop.eq(goes_on), head[0].eq(~Value.cast(goes_on))]
        ends = takes & word.last if self._packets else over[-1] & self.quiet & ~self.i.valid
        with m.Elif(drop & ends):
            m.d.sync += [drop.eq(0), head.eq(1)]
        return m

    def _check_crc(
        self,
        m: Module,
        past: Signal,
        full: Signal,
        takes: Value,
        head: Signal,
        comes: Signal,
        feeds: Signal,
        tail: Value,
        drop: Signal,
    ) -> tuple[Signal, Signal]:
        """Build the word register and the CRC, whose own field is taken as 0.

        ``tail`` is 1 in the cycle before that of ``feeds``, in which that field follows the words.
        Return the cycles from the last word on, one-hot, and a flag from the last of them on: the
        CRC is right.
        """
        bus = self._bus_bits
        m.submodules.crc = crc = Crc32(bus)
        counts, clears = (Signal(name=n) for n in ("crc_counts", "crc_clears"))
        right, kept = (Signal(name=n) for n in ("right", "was_right"))
        finish = Signal(crc.latency + 1)
        expected = Signal(32, reset_less=True)
        place, at = 128 // bus, 128 % bus
        entry = Signal(bus)
        data = self.i.p.data
        own = data[at:][:32]
        m.d.comb += [
            entry.eq(Cat(data[:at], Mux(head[place], 0, own), data[at + 32 :])),
            crc.data.eq(past),
            crc.valid.eq(counts),
            crc.clear.eq(clears),
            right.eq(Mux(finish[-1], crc.right, kept)),
        ]
        # A register of its own for the wide multiplexer. It lasts longer than `ended`, so that it
        # is not merged with that.
        follows = Signal()
        m.d.sync += follows.eq(tail)
        with m.If(~full):
            m.d.sync += past.eq(Mux(follows, expected, entry))
        with m.If(comes[place]):
            m.d.sync += expected.eq(own)
        with m.If(finish[-1]):
            m.d.sync += kept.eq(crc.right)
        m.d.sync += [
            counts.eq(takes | feeds),
            clears.eq((head[0] & ~takes) | drop),
            finish.eq(finish << 1 | feeds),
        ]
        return finish, right

    def _dispatch(
        self,
        m: Module,
        past: Signal,
        full: Signal,
        to_value: Value,
        to_index: Value,
        opened: Value,
        closes: Value,
        checks: HeaderChecks,
    ) -> None:
        """Build the labels of the word register, and the buffer of labelled words."""
        m.submodules.labels = labels = PingPong(label_layout(self._bus_bits, len(self.codec)))
        label: Any = labels.i.p
        first: Any = labels.o.p
        valid, for_value, for_index = (
            Signal(name=n) for n in ("label_valid", "label_value", "label_index")
        )
        marks_open, marks_end = (Signal(name=n) for n in ("label_opens", "label_closes"))
        codec = Signal.like(self.codec, reset_less=True)
        with m.If(~full):
            m.d.sync += [
                for_value.eq(to_value | opened | closes),
                for_index.eq(to_index | opened | closes),
                marks_open.eq(opened),
                marks_end.eq(closes),
                valid.eq(to_value | to_index | opened | closes),
            ]
        with m.If(marks_open):
            m.d.sync += codec.eq(checks.codec)
        at = COUNT_OFFSET_BITS % self._bus_bits
        own = past[at:][:32]
        count = Mux(for_value & for_index, checks.count, own)
        goes = Signal()
        value_passes = ~first.value | self.value.ready
        index_passes = ~first.index | self.index.ready
        m.d.comb += [
            full.eq(~labels.i.ready),
            labels.clear.eq(self.fault),
            labels.i.valid.eq(valid),
            label.data.eq(Cat(past[:at], count, past[at + 32 :])),
            label.value.eq(for_value),
            label.index.eq(for_index),
            label.closes.eq(marks_end),
            label.codec.eq(Mux(marks_open, checks.codec, codec)),
            self.value.valid.eq(labels.o.valid & first.value & index_passes),
            self.index.valid.eq(labels.o.valid & first.index & value_passes),
            labels.o.ready.eq(value_passes & index_passes),
            goes.eq(labels.o.valid & value_passes & index_passes),
            self.codec.eq(first.codec),
            self.opens_codec.eq(codec),
        ]
        for port in (self.value, self.index):
            m.d.comb += [port.p.data.eq(first.data), port.p.mark.eq(first.value & first.index)]
        m.d.sync += [self.opens.eq(marks_open & ~full), self.verified.eq(goes & first.closes)]
        with m.If(self.fault):
            m.d.sync += [flag.eq(0) for flag in (valid, marks_open, self.opens, self.verified)]

    def _find_faults(
        self, m: Module, drain: FaultDrain, takes: Signal, drop: Signal, finishing: Signal
    ) -> None:
        """Build the other checks, and what a fault waits for."""
        waits = Signal(range(PATIENCE))
        moved, counts, stuck = (Signal(name=n) for n in ("moved", "counts", "stuck"))
        m.d.sync += [
            moved.eq(takes | self.progress | self.verified | drop),
            counts.eq(self.i.valid | finishing | drain.halts),
            waits.eq(Mux(moved | ~counts, 0, waits + 1)),
            stuck.eq(waits == PATIENCE - 1),
        ]
        m.d.comb += [
            drain.wrong.aborted.eq(self.abort),
            drain.wrong.slverr.eq(self.i.valid & (self.i.p.error == 2)),
            drain.wrong.decerr.eq(self.i.valid & (self.i.p.error == 3)),
            drain.wrong.length.eq(self.short),
            drain.wrong.schedule.eq(stuck),
            drain.finishing.eq(finishing),
            drain.owes.eq(self.owes),
            drain.still.eq(self.still),
            drain.dropping.eq(drop),
            self.halts.eq(drain.halts),
            self.fault.eq(drain.fault),
            self.cause.eq(drain.cause),
        ]
