# SPDX-License-Identifier: Apache-2.0
"""CRC-32 of a stream of bus words, a word a cycle."""

import zlib

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Crc32", "crc_columns"]


def crc_columns(bus_bits: int) -> tuple[int, ...]:
    """Return what each bit of a word adds to the CRC register, (bus_bits,) of 32-bit integers.

    The register's own bits count as the word's first 32. Source: zlib, RFC 1952, section 8.
    """
    n_bytes = bus_bits // 8
    zero = zlib.crc32(bytes(n_bytes))
    return tuple(zlib.crc32((1 << k).to_bytes(n_bytes, "little")) ^ zero for k in range(bus_bits))


class Crc32(wiring.Component):
    """CRC-32 as in zlib. The words' share is registered before it meets the CRC register.

    Parameters
    ----------
    bus_bits : int, at least 32

    Members
    -------
    data : In(bus_bits)
    valid : In(1)
        Take it.
    first : In(1)
        It is a stream's first word.
    o : Out(32)
        CRC of the words up to the last one; two cycles after it.
    """

    def __init__(self, bus_bits: int) -> None:
        self._columns = crc_columns(bus_bits)
        super().__init__({"data": In(bus_bits), "valid": In(1), "first": In(1), "o": Out(32)})

    def elaborate(self, _platform: object) -> Module:
        """Build the XOR trees."""
        m = Module()
        register, share = Signal(32, init=0xFFFFFFFF), Signal(32, reset_less=True)
        valid, first = Signal(), Signal(reset_less=True)
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
