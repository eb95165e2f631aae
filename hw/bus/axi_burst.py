# SPDX-License-Identifier: Apache-2.0
"""Splitter of descriptors into AXI bursts."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import descriptor_layout
from xorloom.sw.base.errors import check_range

__all__ = ["PAGE_BYTES", "AxiBurst", "burst_layout"]

PAGE_BYTES = 4096
"""No burst crosses a multiple of this. Ref: ARM IHI 0022, A3.4.1 Address structure."""


def burst_layout(address_bits: int, turn_bits: int) -> data.StructLayout:
    """One burst: its start address and its number of beats minus one, as in AXI.

    ``turn`` says how far each beat has to be rotated, see :class:`AxiBurst`; ``final`` marks the
    last burst of a descriptor.
    """
    return data.StructLayout({"address": address_bits, "beats": 8, "turn": turn_bits, "final": 1})


class AxiBurst(wiring.Component):
    """Burst splitter: descriptors in, AXI bursts out. None crosses a 4 KiB boundary.

    Memory is divided into blocks of ``max_burst`` words, and a burst ends where its block ends.
    So all bursts but the first and the last are whole blocks, and no comparison is needed: the
    block number counts up, the number of remaining words counts down by one block, and its sign
    marks the last burst. A descriptor takes three cycles plus one per burst.

    Parameters
    ----------
    bus_bits : int, 8 to 1024, a power of two
        Width of a bus word.
    address_bits : int, 12 to 64
        Width of an address.
    max_burst : int, 1 to 256, a power of two
        Most beats of a burst; fewer where 4 KiB hold fewer.
    align_bytes : int, a power of two up to a bus word
        Every address is a multiple of it.

    Members
    -------
    i : In(stream.Signature(descriptor_layout(address_bits)))
        ``length`` is positive and a whole number of bus words. An address inside a word costs one
        more beat.
    o : Out(stream.Signature(burst_layout(address_bits, self.turn_bits)))
        ``address`` is a multiple of a bus word. Rotating a beat left by ``turn * align_bytes``
        bytes brings the first byte of the descriptor to byte 0.
    busy : Out(1)
        A descriptor is in progress.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    def __init__(
        self, *, bus_bits: int, address_bits: int, max_burst: int, align_bytes: int
    ) -> None:
        bus_bytes = bus_bits // 8
        for name, value, low, high in (
            ("bus_bits", bus_bits, 8, 1024),
            ("max_burst", max_burst, 1, 256),
            ("align_bytes", align_bytes, 1, bus_bytes),
        ):
            check_range(name, value, low, high, power=True)
        page_bits = PAGE_BYTES.bit_length() - 1
        check_range("address_bits", address_bits, page_bits, 64)
        self._address_bits = address_bits
        self._align_bits = align_bytes.bit_length() - 1
        self._word_bits = bus_bytes.bit_length() - 1
        self.turn_bits = self._word_bits - self._align_bits
        self.block_bits = min(max_burst, PAGE_BYTES // bus_bytes).bit_length() - 1
        # Words from the start of the block to the end of the descriptor, minus one, minus a block.
        # `init` equals what the upper bits are loaded with; otherwise an FPGA would need a
        # multiplexer behind the adder.
        self.left = Signal(signed(32 - self._word_bits + 2), init=-1 << self.block_bits)
        # The addend of `left`: the words of the descriptor, then -1 if it starts at a whole word,
        # then minus a block for every burst.
        self.addend = Signal.like(self.left, init=0, reset_less=True)
        self.start = Signal(self.block_bits, reset_less=True)
        # The next burst is the first; beats of the descriptor, minus one, if that is the only one.
        self.first = Signal()
        self.whole = Signal(self.block_bits, reset_less=True)
        super().__init__(
            {
                "i": In(stream.Signature(descriptor_layout(address_bits))),
                "o": Out(stream.Signature(burst_layout(address_bits, self.turn_bits))),
                "busy": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the counters."""
        m = Module()
        block_bits, word_bits = self.block_bits, self._word_bits
        left, addend, start = self.left, self.addend, self.start
        block = Signal(self._address_bits - word_bits - block_bits)
        # Counted in halves; the carry between them is known before it is needed.
        low, high = block[: len(block) // 2], block[len(block) // 2 :]
        carry = Signal(reset_less=True)
        turn = Signal(self.turn_bits, reset_less=True)
        idle = Signal(init=1)
        live = Signal()
        settle = Signal(2)
        last = left[-1]
        first, whole = self.first, self.whole
        load = Signal()
        step = Signal()
        address = self.i.p.address
        m.d.comb += [
            self.i.ready.eq(idle),
            self.o.valid.eq(live),
            self.busy.eq(~idle),
            load.eq(idle & self.i.valid),
            step.eq(live & self.o.ready),
            self.o.p.address.eq(Cat(start, block) << word_bits),
            # Only a first burst does not begin where a block does.
            self.o.p.beats.eq(Mux(last, Mux(first, whole, left[:block_bits]), ~start)[:8]),
            self.o.p.turn.eq(turn),
            self.o.p.final.eq(last),
        ]
        m.d.sync += [
            idle.eq((idle & ~load) | (step & last)),
            live.eq(settle[1] | (live & ~(step & last))),
            settle.eq(settle << 1 | load),
            first.eq(settle.any() | (first & ~step)),
        ]
        with m.If(load):
            m.d.sync += [
                # Minus a block: constants in the upper bits are resets of the flip-flops.
                left.eq(Cat(address[word_bits:][:block_bits], Const(-1, len(left) - block_bits))),
                addend.eq(self.i.p.length[word_bits:]),
                block.eq(address[word_bits + block_bits :]),
                carry.eq(address[word_bits + block_bits :][: len(low)].all()),
                start.eq(address[word_bits:][:block_bits]),
                turn.eq(-address[self._align_bits : word_bits]),
            ]
        with m.Elif(settle.any() | step):
            m.d.sync += [
                left.eq(left + addend),
                addend.eq(Mux(settle[0], Mux(turn == 0, -1, 0), -(1 << block_bits))),
            ]
        with m.If(settle[0]):
            m.d.sync += whole.eq(addend[:block_bits] - (turn == 0))
        with m.If(step):
            m.d.sync += [
                low.eq(low + 1),
                high.eq(high + carry),
                carry.eq(low == (1 << len(low)) - 2),
                start.eq(0),
            ]
        return m
