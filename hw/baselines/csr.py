# SPDX-License-Identifier: Apache-2.0
"""Baseline: compressed sparse rows, 16-bit column indices and packed codes."""

from functools import reduce
from operator import and_, or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO

from .common import BaselineReader, baseline_members

__all__ = ["CSR_INDEX_BITS", "CSR_ROW", "BaselineCsr"]

CSR_INDEX_BITS = 16
CSR_ROW = 1 << CSR_INDEX_BITS
"""Weights of a row: all that an index can reach, which makes the fewest row lengths."""


class BaselineCsr(wiring.Component):
    """Row lengths, indices and codes in, slices out.

    Index words bring ``bus_bits / 16`` indices; every sixteenth follows code words, one of each
    plane, so both are packed without a gap and no shifter is needed. Each place in a word has a
    lane with a queue of its own: lanes take what belongs to the slice in work, an index a cycle
    each, and none takes more before all have come to its end, when the slice leaves and the lanes
    begin the next in the same clock. A slice takes one cycle or as many as a lane has indices in
    it. What a row's last word has too much repeats its last index and code.

    Twin: ``sim.bench.baselines.streams``.

    Parameters
    ----------
    bus_bits, n_out, planes : int

    Members
    -------
    i : In(stream.Signature(word_layout(bus_bits)))
        Baseline streams, back to back.
    o : Out(stream.Signature(baseline_layout(n_out, planes)))
    """

    def __init__(self, *, bus_bits: int, n_out: int, planes: int) -> None:
        self._bus_bits, self._n_out, self._planes = bus_bits, n_out, planes
        super().__init__(baseline_members(bus_bits, n_out, planes))

    def elaborate(self, _platform: object) -> Module:
        """Build words to lanes, lanes to slices."""
        m = Module()
        bus, planes = self._bus_bits, self._planes
        lanes = bus // CSR_INDEX_BITS
        place_bits = self._n_out.bit_length() - 1
        m.submodules.reader = reader = BaselineReader(bus_bits=bus, n_out=self._n_out)
        wiring.connect(m, wiring.flipped(self.i), reader.i)

        entry = data.StructLayout(
            {"place": place_bits, "slice": CSR_INDEX_BITS - place_bits, "code": planes}
        )
        # Elastic: with two places, a tenth of the rate is lost where counts do not divide evenly.
        heads = [SyncFIFO(width=entry.size, depth=8) for _ in range(lanes)]
        queues = [stream.Signature(entry).create(path=(f"queue_{n}",)) for n in range(lanes)]
        for lane, (head, queue) in enumerate(zip(heads, queues, strict=True)):
            m.submodules[f"head_{lane}"] = head
            m.d.comb += [
                queue.valid.eq(head.r_rdy),
                queue.payload.eq(head.r_data),
                head.r_en.eq(queue.ready),
            ]
        row, ended = Signal(), Signal()
        words = Signal(range(CSR_ROW // lanes + 1))
        turn = Signal(range(CSR_INDEX_BITS))
        need = Signal(planes)  # one-hot: the plane whose code word is next
        fed, indices = Signal(), Signal()
        room = reduce(and_, (head.w_rdy for head in heads))
        m.d.comb += [
            fed.eq(words == 0),
            reader.o.ready.eq(~row | need.any() | (~fed & room)),
            indices.eq(reader.o.valid & row & ~need.any() & ~fed & room),
        ]
        shelf = [Signal(bus, name=f"codes_{b}", reset_less=True) for b in range(planes)]
        for lane, head in enumerate(heads):
            index = reader.o.payload[lane * CSR_INDEX_BITS :][:CSR_INDEX_BITS]
            code = [word.word_select(turn, lanes)[lane] for word in shelf]
            m.d.comb += [head.w_en.eq(indices), head.w_data.eq(Cat(index, *code))]
        for plane, word in enumerate(shelf):
            with m.If(reader.o.valid & need[plane]):
                m.d.sync += word.eq(reader.o.payload)

        # What belongs to the slice in work, and whether it is over.
        current = Signal(CSR_INDEX_BITS - place_bits)
        following = Signal.like(current)
        settled, over, flows = Signal(), Signal(), Signal()
        here = [q.valid & (q.p.slice == current) for q in queues]
        closes = Signal()  # registered: the slice in `beat` is whole
        last = Signal()
        m.d.comb += [
            following.eq(current + 1),
            settled.eq(
                reduce(and_, (q.valid | fed for q in queues)) & ~reduce(or_, here) & ~need.any()
            ),
            over.eq(row & settled & ~ended),
            flows.eq(~closes | self.o.ready),
            reader.step.eq(over & flows),
            reader.done.eq(closes & self.o.ready & last),
        ]
        hits: list[Value] = []
        coded: list[list[Value]] = [[] for _ in range(planes)]
        low_bits = place_bits // 2
        for lane, (queue, now) in enumerate(zip(queues, here, strict=True)):
            takes = Signal(name=f"takes_{lane}")
            after = queue.valid & (queue.p.slice == following)
            place = queue.p.place
            low = Signal(1 << low_bits, name=f"low_{lane}", reset_less=True)
            high = Signal(1 << (place_bits - low_bits), name=f"high_{lane}")
            m.d.comb += [takes.eq(now | (over & after)), queue.ready.eq(takes & flows)]
            chosen = Cat(takes & (place[low_bits:] == n) for n in range(len(high)))
            with m.If(flows):
                m.d.sync += [
                    low.eq(Cat(place[:low_bits] == n for n in range(len(low)))),
                    high.eq(chosen),
                ]
            hits.append(Cat(low & bit.replicate(len(low)) for bit in high))
            for plane in range(planes):
                ones = Signal(len(high), name=f"ones_{lane}_{plane}")
                with m.If(flows):
                    m.d.sync += ones.eq(Mux(queue.p.code[plane], chosen, 0))
                coded[plane].append(Cat(low & bit.replicate(len(low)) for bit in ones))

        mask = Signal(self._n_out)
        codes = [Signal(self._n_out, name=f"beat_codes_{b}") for b in range(planes)]
        m.d.comb += [
            self.o.valid.eq(closes),
            self.o.p.mask.eq(mask),
            self.o.p.codes.eq(Cat(plane[n] for n in range(self._n_out) for plane in codes)),
            self.o.p.last.eq(last),
        ]
        with m.If(flows):
            m.d.sync += [
                closes.eq(over),
                last.eq(over & reader.last),
                mask.eq(Mux(closes, 0, mask) | reduce(or_, hits)),
                *(
                    plane.eq(Mux(closes, 0, plane) | reduce(or_, hit))
                    for plane, hit in zip(codes, coded, strict=True)
                ),
            ]
        count = reader.o.payload[: CSR_INDEX_BITS + 1]
        with m.If(reader.start):
            m.d.sync += [row.eq(0), ended.eq(0), current.eq(0), need.eq(0)]
        with m.Elif(~row & reader.o.valid):
            m.d.sync += [
                row.eq(1),
                words.eq((count + lanes - 1) >> (lanes.bit_length() - 1)),
                need.eq(count.any()),
                turn.eq(0),
            ]
        with m.Else():
            with m.If(over & flows):
                m.d.sync += [
                    current.eq(following),
                    ended.eq(reader.last),
                    row.eq(~current.all()),
                ]
            with m.If(reader.o.valid & need.any()):
                m.d.sync += need.eq(need << 1)
            with m.Elif(indices):
                m.d.sync += [words.eq(words - 1), turn.eq(turn + 1)]
                m.d.sync += need.eq((turn == CSR_INDEX_BITS - 1) & (words != 1))
        return m
