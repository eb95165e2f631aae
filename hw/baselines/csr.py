# SPDX-License-Identifier: Apache-2.0
"""CSR baseline: compressed sparse rows, 16-bit column indices, packed codes."""

from functools import reduce
from operator import and_, or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO

from .common import BaselineDecoder, BaselineReader

__all__ = ["CSR_INDEX_BITS", "CSR_ROW", "BaselineCsr"]

CSR_INDEX_BITS = 16
CSR_ROW = 1 << CSR_INDEX_BITS
"""Weights per row: all that an index can reach, so that row lengths are fewest."""


class BaselineCsr(BaselineDecoder):
    """CSR baseline: row lengths, indices and codes in.

    An index word holds ``bus_bits / 16`` indices. Before every sixteenth of them come code words,
    one per plane; so both are packed without gaps and no shifter is needed. Each place in a word
    has a lane with a queue. A lane takes the indices that belong to the current slice, one per
    cycle. When all lanes have come to its end, the slice leaves, and the lanes begin the next one
    in the same cycle. So a slice takes one cycle, or as many as the indices of the fullest lane.
    The last word of a row is filled up with copies of its last index and code.

    Parameters, members and twin: see :class:`xorloom.hw.baselines.common.BaselineDecoder`.
    """

    def elaborate(self, _platform: object) -> Module:
        """Build the path from words to lanes, then from lanes to slices."""
        m = Module()
        bus, planes = self._bus_bits, self._planes
        lanes = bus // CSR_INDEX_BITS
        place_bits = self._n_out.bit_length() - 1
        m.submodules.reader = reader = BaselineReader(bus_bits=bus, n_out=self._n_out)
        wiring.connect(m, wiring.flipped(self.i), reader.i)

        entry = data.StructLayout(
            {"place": place_bits, "slice": CSR_INDEX_BITS - place_bits, "code": planes}
        )
        # Depth 8: with 2, a tenth of the rate is lost where indices are spread unevenly.
        heads = [SyncFIFO(width=entry.size, depth=8) for _ in range(lanes)]
        queues = [stream.Signature(entry).create(path=(f"queue_{n}",)) for n in range(lanes)]
        for lane, (head, queue) in enumerate(zip(heads, queues, strict=True)):
            m.submodules[f"head_{lane}"] = head
            m.d.comb += [
                queue.valid.eq(head.r_rdy),
                queue.payload.eq(head.r_data),
                head.r_en.eq(queue.ready),
            ]
        row = Signal()
        ended = Signal()
        words = Signal(range(CSR_ROW // lanes + 1))
        turn = Signal(range(CSR_INDEX_BITS))
        need = Signal(planes)  # one-hot: the plane whose code word is next
        fed = Signal()
        indices = Signal()
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

        # Which indices belong to the current slice, and whether it is finished.
        current = Signal(CSR_INDEX_BITS - place_bits)
        following = Signal.like(current)
        settled = Signal()
        over = Signal()
        flows = Signal()
        here = [q.valid & (q.p.slice == current) for q in queues]
        closes = Signal()  # registered: the slice on offer is whole
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
