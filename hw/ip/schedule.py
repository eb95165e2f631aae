# SPDX-License-Identifier: Apache-2.0
"""Schedule of a weight stream: which string a block is of, and where it ends."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.layout import WEIGHT_HEADER_BYTES, schedule_block_words

from .header import header_words

__all__ = ["BlockSchedule", "spare_bits"]

_HALF = 16


def spare_bits(bus_bits: int) -> int:
    """Return how many schedule bits the last word of a header holds."""
    return header_words(bus_bits) * bus_bits - 8 * WEIGHT_HEADER_BYTES


class BlockSchedule(wiring.Component):
    """Block schedule: counts the words of a block, the blocks, and the schedule bits.

    A block has two words or more, so what its end decides may be computed a cycle later. All
    outputs are registers. Source: ``FORMAT.md``, sections 6.2 and 6.4.

    Parameters
    ----------
    bus_bits : int
        Width of a bus word.

    Members
    -------
    fresh : In(1)
        The first schedule bit of a schedule word, with ``refills``.
    past : In(bus_bits)
        The word that was taken a cycle ago.
    blocks_come : In(1)
        ``past`` is the word of the header that holds the number of blocks. It comes before
        the first block.
    opened : In(1)
        ``past`` is the last word of the header. No word is taken in this cycle.
    refills : In(1)
        A schedule word is taken.
    takes : In(1)
        A word of a block is taken.
    clear : In(1)
        The stream is over or given up.
    kind : Out(1)
        The string of the block.
    final : Out(1)
        The next word of the block is its last one.
    bits_final : Out(1)
        The schedule bit of the block is the last one that has been read.
    blocks_final : Out(1)
        The block is the last of the stream.
    """

    def __init__(self, bus_bits: int) -> None:
        self._bus_bits = bus_bits
        inputs = ("fresh", "blocks_come", "opened", "refills", "takes", "clear")
        outputs = ("kind", "final", "bits_final", "blocks_final")
        super().__init__(
            {name: In(1) for name in inputs}
            | {"past": In(bus_bits)}
            | {name: Out(1) for name in outputs}
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the counters, and flags that say when they are at their ends."""
        m = Module()
        bus = self._bus_bits
        spare, size = spare_bits(bus), schedule_block_words(bus // 8)
        kind = Signal()
        final = Signal()
        bits_final = Signal()
        ends = Signal()
        refilled = Signal()
        shifts = Signal()
        m.d.comb += [
            ends.eq(self.takes & final),
            self.kind.eq(kind),
            self.final.eq(final),
            self.bits_final.eq(bits_final),
        ]
        m.d.sync += [refilled.eq(self.refills), shifts.eq(ends)]
        # Schedule bits that follow that of the block, and how many; they shift a cycle after a
        # block has ended.
        bits = Signal(bus, reset_less=True)
        bits_left = Signal(range(bus))
        one_left = Signal()
        with m.If(ends):
            m.d.sync += [kind.eq(bits[0]), bits_final.eq(one_left)]
        with m.If(shifts):
            m.d.sync += [
                bits.eq(bits >> 1),
                bits_left.eq(bits_left - 1),
                one_left.eq(bits_left == 2),
            ]
        with m.If(self.refills):
            m.d.sync += [kind.eq(self.fresh), bits_final.eq(0)]
        with m.If(refilled):
            m.d.sync += [bits.eq(self.past[1:]), bits_left.eq(bus - 1), one_left.eq(0)]
        if spare:
            first = self.past[-spare:]
            with m.If(self.opened):
                m.d.sync += [kind.eq(first[0]), bits_final.eq(0)]
                m.d.sync += [bits.eq(first[1:]), bits_left.eq(spare - 1), one_left.eq(0)]
        # Words of the next block of each string, minus two; how many words come before the last
        # one of this block, if its first one was taken.
        sizes = [Signal(range(size), name=f"size_{k}", reset_less=True) for k in range(2)]
        twos = [Signal(name=f"two_{k}", reset_less=True) for k in range(2)]
        left = Signal(range(size))
        begins = Signal(init=1)
        loads = Signal()  # the first word was taken a cycle ago
        m.d.sync += loads.eq(self.takes & begins)
        for k in range(2):
            words = self.past[(160 + 8 * k) % bus :][: size.bit_length()]
            with m.If(self.opened):
                m.d.sync += [
                    sizes[k].eq(Mux(words[1:].any(), words - 2, 0)),
                    twos[k].eq(~words[2:].any() & ~words[:2].all()),
                ]
            with m.Elif(loads & (kind == k)):
                m.d.sync += [sizes[k].eq(size - 2), twos[k].eq(size == 2)]
        with m.If(self.takes):
            m.d.sync += [
                begins.eq(final),
                left.eq(Mux(begins, Mux(kind, sizes[1], sizes[0]), left - 1)),
                final.eq(Mux(begins, Mux(kind, twos[1], twos[0]), left == 1) & ~final),
            ]
        with m.If(self.clear):
            m.d.sync += [begins.eq(1), final.eq(0)]
        # Blocks that follow this one, minus one, in halves, as a long carry chain is slow. The
        # lower half is negative until it has borrowed. Its addend is a register, first the number
        # of blocks, so that no multiplexer follows the adder.
        low = Signal(signed(_HALF + 1), init=-2)
        high = Signal(32 - _HALF)
        addend = Signal(signed(_HALF + 1), init=-1)
        settles = Signal()
        none_high = Signal()
        blocks = self.past[96 % bus :][:32]
        m.d.comb += self.blocks_final.eq(low[-1] & none_high)
        m.d.sync += [settles.eq(self.blocks_come), none_high.eq(high == 0)]
        with m.If(self.blocks_come):
            m.d.sync += [low.eq(-2), addend.eq(blocks[:_HALF]), high.eq(blocks[_HALF:])]
        with m.Elif(settles | shifts):
            m.d.sync += [low.eq(low + addend), addend.eq(-1)]
        with m.Elif(low[-1] & ~none_high):
            m.d.sync += [low[-1].eq(0), high.eq(high - 1)]
        return m
