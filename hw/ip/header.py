# SPDX-License-Identifier: Apache-2.0
"""Checks of the header of a weight stream."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.layout import (
    KIND_WEIGHTS,
    MAGIC,
    VERSION,
    WEIGHT_HEADER_BYTES,
    padded,
    schedule_block_words,
)

__all__ = ["HeaderChecks", "header_words"]

_BITS = 8
"""Bits of a field that are checked between two registers: two levels of LUT4."""


def header_words(bus_bits: int) -> int:
    """Return the bus words of a header; the last one may hold schedule bits too."""
    return padded(WEIGHT_HEADER_BYTES, bus_bits // 8) * 8 // bus_bits


class HeaderChecks(wiring.Component):
    """Header checks: keep what a header says, and whether that is right.

    ``count`` and ``codec`` are valid two cycles after their last word came, and stay until the next
    header. Source: ``FORMAT.md``, section 6.1.

    Parameters
    ----------
    bus_bits : int
        Width of a bus word.
    networks : mapping of int to int
        Network ID by kind of index, in the order of ``codec``.

    Members
    -------
    word : In(bus_bits)
        A word of the header.
    came : In(header_words(bus_bits))
        Which one it is: one-hot, or 0 for another word.
    count : Out(32)
        Of the header.
    codec : Out(range(len(networks)))
        Which decoder the index is for.
    opens : In(1)
        The last word of a header is taken; ``came`` says so a cycle later.
    clear : In(1)
        The stream was given up.
    header_wrong : Out(1)
        Three cycles after ``opens``, for one: something other than the network is wrong.
    network_wrong : Out(1)
        Likewise: the stream was not made for the network of its kind.
    """

    def __init__(self, bus_bits: int, networks: Mapping[int, int]) -> None:
        self._bus_bits, self._networks = bus_bits, dict(networks)
        super().__init__(
            {
                "word": In(bus_bits),
                "came": In(header_words(bus_bits)),
                "count": Out(32),
                "codec": Out(range(len(networks))),
                "opens": In(1),
                "clear": In(1),
                "header_wrong": Out(1),
                "network_wrong": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build a register for each part of a check, then one for each result."""
        m = Module()
        bus = self._bus_bits

        def part(offset: int, bits: int) -> Value:
            return self.word[offset % bus :][:bits]

        def keep(name: str, offset: int, value: Value) -> Signal:
            register = Signal(value.shape(), name=name, reset_less=True)
            with m.If(self.came[offset // bus]):
                m.d.sync += register.eq(value)
            return register

        def pieces(offset: int, bits: int) -> list[tuple[int, int]]:
            return [
                (at, min(_BITS, offset + bits - at)) for at in range(offset, offset + bits, _BITS)
            ]

        def equal(name: str, offset: int, bits: int, wanted: int) -> Value:
            return Cat(
                keep(f"{name}_{at}", at, part(at, size) == wanted >> at - offset & (1 << size) - 1)
                for at, size in pieces(offset, bits)
            ).all()

        def positive(name: str, offset: int, bits: int) -> Value:
            return Cat(
                keep(f"{name}_{at}", at, part(at, size).any()) for at, size in pieces(offset, bits)
            ).any()

        most = schedule_block_words(bus // 8) + 1
        firsts = [part(offset, 8) for offset in (160, 168)]
        good = [
            equal("magic", 0, 24, int.from_bytes(MAGIC, "little") | VERSION << 16),
            positive("count", 32, 32),
            positive("blocks", 97, 31),
            *(
                keep(f"first_{k}", 160, first.any() & (first <= most))
                for k, first in enumerate(firsts)
            ),
            equal("zeros", 176, 16, 0),
        ]
        kinds = [KIND_WEIGHTS + kind for kind in self._networks]
        kind_is = [keep(f"kind_{k}", 24, part(24, 8) == k) for k in kinds]
        network_is = [
            equal(f"network_{k}", 64, 32, network)
            for k, network in zip(kinds, self._networks.values(), strict=True)
        ]
        pairs = zip(kind_is, network_is, strict=True)
        m.d.comb += [
            self.count.eq(keep("count_kept", 32, part(32, 32))),
            self.codec.eq(
                Cat(
                    Cat(flag for c, flag in enumerate(kind_is) if c >> bit & 1).any()
                    for bit in range((len(kinds) - 1).bit_length())
                )
            ),
        ]
        all_good, network_good = (
            Signal(name=n, reset_less=True) for n in ("all_good", "network_good")
        )
        judge = Signal(3)
        m.d.sync += [
            all_good.eq(Cat(good).all() & Cat(kind_is).any()),
            network_good.eq(Cat(a & b for a, b in pairs).any()),
            judge.eq(Mux(self.clear, 0, judge << 1 | self.opens)),
        ]
        m.d.comb += [
            self.header_wrong.eq(judge[-1] & ~all_good),
            self.network_wrong.eq(judge[-1] & ~network_good),
        ]
        return m
