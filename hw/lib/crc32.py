# SPDX-License-Identifier: Apache-2.0
"""CRC-32 of a stream of bus words, one word per cycle."""

import zlib

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Crc32", "crc_columns"]


def crc_columns(bus_bits: int) -> tuple[int, ...]:
    """Return the columns of the CRC matrix: what each bit of a word adds to the CRC register.

    The result has ``bus_bits`` integers of 32 bits. The register before the word is XORed into the
    word's first 32 bits, so it needs no columns of its own. Source: RFC 1952, section 8.
    """
    n_bytes = bus_bits // 8
    zero = zlib.crc32(bytes(n_bytes))
    return tuple(zlib.crc32((1 << k).to_bytes(n_bytes, "little")) ^ zero for k in range(bus_bits))


class Crc32(wiring.Component):
    """CRC-32: that of zlib, of the words of a stream. Latency two cycles, one word per cycle.

    The share of a word is registered before it meets the CRC register, so the wide XOR trees have
    a cycle of their own. Twin: ``zlib.crc32``.

    Parameters
    ----------
    bus_bits : int, at least 32
        Width of a word.

    Members
    -------
    data : In(bus_bits)
        A word, low byte first.
    valid : In(1)
        Include ``data``.
    first : In(1)
        ``data`` is the first word of a stream: start again.
    o : Out(32)
        CRC of all words since ``first``, two cycles after the last of them.
    """

    def __init__(self, bus_bits: int) -> None:
        self._columns = crc_columns(bus_bits)
        super().__init__({"data": In(bus_bits), "valid": In(1), "first": In(1), "o": Out(32)})

    def elaborate(self, _platform: object) -> Module:
        """Build the XOR trees."""
        m = Module()
        register = Signal(32, init=0xFFFFFFFF)
        share = Signal(32, reset_less=True)
        valid = Signal(name="share_valid")
        first = Signal(name="share_first", reset_less=True)
        start = 0
        for column in self._columns[:32]:
            start ^= column
        for row in range(32):
            taps = [k for k, column in enumerate(self._columns) if column >> row & 1]
            own = Cat(register[k] for k in taps if k < 32).xor()
            with m.If(self.valid):
                m.d.sync += share[row].eq(Cat(self.data[k] for k in taps).xor())
            with m.If(valid):
                m.d.sync += register[row].eq(share[row] ^ Mux(first, start >> row & 1, own))
        m.d.sync += [valid.eq(self.valid), first.eq(self.first)]
        m.d.comb += self.o.eq(~register)
        return m
