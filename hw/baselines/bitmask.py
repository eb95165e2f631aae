# SPDX-License-Identifier: Apache-2.0
"""Bitmask baseline: one mask bit per weight, then the packed codes of kept weights."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from .common import BaselineDecoder, BaselineReader, added

__all__ = ["BITMASK_LAG", "BaselineBitmask"]

BITMASK_LAG = 3
"""Code words that mask word ``k`` needs follow mask word ``k + 3``: time to count its ones."""


def _prefix(m: Module, counts: list[Value], most: int) -> list[Value]:
    """Return the sums of ``counts[:n]`` for all n, built as a tree; no count exceeds ``most``."""
    if len(counts) == 1:
        return [Const(0, 1), counts[0]]
    half = len(counts) // 2
    left, right = _prefix(m, counts[:half], most), _prefix(m, counts[half:], most)
    bits = (most * len(counts)).bit_length()
    return [*left, *(added(m, left[-1], sum_, bits) for sum_ in right[1:])]


def _below(value: Value, size: int) -> list[Value]:
    """Return ``n < value`` for n from 0 to ``size - 1``."""
    if size == 1:
        return [Const(0, 1)]
    half = size // 2
    low, top = _below(value, half), value[half.bit_length() - 1]
    return [*(bit | top for bit in low), *(bit & top for bit in low)]


class BaselineBitmask(BaselineDecoder):
    """Bitmask baseline: mask words and code words in; one word per cycle at any density.

    A mask word says which of the next ``bus_bits`` weights are kept. A butterfly network spreads
    their codes. The codes of a block lie in a circle that starts at the number of codes before it;
    the settings of a stage follow from that number at the middle of each block, and the queue of
    codes needs no shifter. Codes of each plane have words of their own. If too few codes are left,
    one new word per plane follows, :data:`BITMASK_LAG` mask words later.

    Parameters, members and twin: see :class:`xorloom.hw.baselines.common.BaselineDecoder`. Source:
    NVDLA, "Format", compressed weights (the layout); Hilewitz and Lee, "Fast bit gather, bit
    scatter and bit permutation instructions", 2008 (the network).
    """

    def elaborate(self, _platform: object) -> Module:
        """Build the pipeline."""
        m = Module()
        bus, planes = self._bus_bits, self._planes
        m.submodules.reader = reader = BaselineReader(bus_bits=bus, n_out=self._n_out)
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        stages = range(BITMASK_LAG + 1)
        masks = [Signal(bus, name=f"mask_{k}", reset_less=True) for k in stages]
        holds = Signal(len(stages))
        finals = Signal(len(stages))
        place = Signal(self._n_out // bus, init=1)
        over = Signal()
        whole = Signal()
        last = Signal()
        need = Signal(planes)  # one-hot: the plane whose code word is next
        free = Signal()
        moves = Signal()
        enters = Signal()
        m.d.comb += [
            free.eq(~need.any() & (~whole | self.o.ready)),
            enters.eq(free & reader.o.valid & ~over),
            moves.eq(enters | (free & over)),
            reader.o.ready.eq(need.any() | (free & ~over)),
            reader.step.eq(enters & place[-1]),
            reader.done.eq(whole & self.o.ready & last),
            self.o.valid.eq(whole),
            self.o.p.last.eq(last),
        ]
        with m.If(enters):
            m.d.sync += [
                place.eq(place.rotate_left(1)),
                over.eq(place[-1] & reader.last),
            ]
        with m.If(reader.start):
            m.d.sync += over.eq(0)
        with m.If(moves):
            m.d.sync += [
                holds.eq(Cat(enters, holds)),
                finals.eq(Cat(place[-1] & reader.last & enters, finals)),
                *(after.eq(mask) for mask, after in pairwise(masks)),
                masks[0].eq(reader.o.payload),
            ]

        fours = [Signal(3, name=f"four_{n}", reset_less=True) for n in range(bus // 4)]
        before = [
            Signal(range(4 * n + 1), name=f"before_{n}", reset_less=True)
            for n in range(bus // 4 + 1)
        ]
        left = Signal(range(bus))
        rest = Signal(len(left) + 1)
        total = before[-1]
        m.d.comb += rest.eq(left - total)
        counts = []
        for n in range(bus // 4):
            bits = masks[0][4 * n :][:4]
            low, high = (Cat(a ^ b, a & b) for a, b in (bits[:2], bits[2:]))
            counts.append(added(m, low, high, 3))
        sums = _prefix(m, list(fours), 4)
        with m.If(moves):
            m.d.sync += [
                *(four.eq(count) for four, count in zip(fours, counts, strict=True)),
                *(after.eq(total) for after, total in zip(before, sums, strict=True)),
            ]
        with m.If(reader.start):
            m.d.sync += [left.eq(0), need.eq(0)]
        with m.Elif(moves & holds[2]):
            m.d.sync += [left.eq(rest), need.eq(rest[-1])]
        with m.Elif(reader.o.valid & need.any()):
            m.d.sync += need.eq(need << 1)

        switches = self._switches(m, moves, masks[2], before, left)
        fresh = Signal()
        old = Signal(bus, reset_less=True)
        start = Signal(range(bus))
        m.d.comb += start.eq(-left)
        with m.If(moves):
            used = _below(start, bus)
            some = start.any()
            m.d.sync += [old.eq(Cat(some & ~bit for bit in used)), fresh.eq(0)]
        with m.Elif(reader.o.valid & need[0]):
            m.d.sync += fresh.eq(1)
        spread = []
        for plane in range(planes):
            word = Signal(bus, name=f"word_{plane}", reset_less=True)
            previous = Signal(bus, name=f"previous_{plane}", reset_less=True)
            with m.If(reader.o.valid & need[plane]):
                m.d.sync += [word.eq(reader.o.payload), previous.eq(word)]
            codes = [Mux(old[n] & fresh, previous[n], word[n]) for n in range(bus)]
            spread.append(self._butterfly(m, codes, switches, masks[3], plane))
        chunk = Cat(lane[n] for n in range(bus) for lane in spread)
        codes_out = Signal(self._n_out * planes, reset_less=True)
        mask_out = Signal(self._n_out, reset_less=True)
        filled = Signal(self._n_out // bus, init=1)
        m.d.comb += [self.o.p.codes.eq(codes_out), self.o.p.mask.eq(mask_out)]
        lands = moves & holds[3]
        with m.If(lands):
            m.d.sync += [
                codes_out.eq(Cat(codes_out, chunk)[bus * planes :]),
                mask_out.eq(Cat(mask_out, masks[3])[bus:]),
                filled.eq(filled.rotate_left(1)),
            ]
        m.d.sync += [
            whole.eq((lands & filled[-1]) | (whole & ~self.o.ready)),
            last.eq((lands & filled[-1] & finals[3]) | (last & ~self.o.ready)),
        ]
        return m

    def _switches(
        self, m: Module, moves: Signal, mask: Signal, before: list[Signal], left: Signal
    ) -> list[Value]:
        """Return the registered settings of the switches, by stage, the widest stage first."""
        stages = []
        half = self._bus_bits // 2
        while half:
            bits = half.bit_length()
            settings: list[Value] = []
            for middle in range(half, self._bus_bits, 2 * half):
                # The circle starts at `-left`; places count from there, modulo the block.
                base = before[middle // 4]
                for at in range(middle // 4 * 4, middle):
                    base = added(m, base, mask[at : at + 1], bits)
                edge = Signal(bits, name=f"edge_{half}_{middle}")
                m.d.comb += edge.eq(added(m, base, ~left[:bits], bits, 1))
                top = edge[-1]
                settings += [bit ^ top for bit in _below(edge[:-1], half)] if bits > 1 else [top]
            held = Signal(self._bus_bits // 2, name=f"switches_{half}", reset_less=True)
            with m.If(moves):
                m.d.sync += held.eq(Cat(settings))
            stages.append(held)
            half //= 2
        return stages

    def _butterfly(
        self, m: Module, codes: list[Value], switches: list[Value], mask: Signal, plane: int
    ) -> Signal:
        """Return the codes, spread over the ones of the mask."""
        half = self._bus_bits // 2
        for straight in switches:
            after: list[Value] = []
            for n, first in enumerate(range(0, self._bus_bits, 2 * half)):
                keep = straight[n * half :][:half]
                low, high = codes[first : first + half], codes[first + half : first + 2 * half]
                pairs = list(zip(keep, low, high, strict=True))
                after += [Mux(k, a, b) for k, a, b in pairs] + [Mux(k, b, a) for k, a, b in pairs]
            stage = Signal(self._bus_bits, name=f"stage_{plane}_{half}")
            m.d.comb += stage.eq(Cat(after))
            codes, half = list(stage), half // 2
        out = Signal(self._bus_bits, name=f"spread_{plane}")
        m.d.comb += out.eq(Cat(codes) & mask)
        return out
