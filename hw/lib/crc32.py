# SPDX-License-Identifier: Apache-2.0
"""CRC-32 of a stream of words, one word per cycle, in registered XOR levels."""

import zlib
from itertools import pairwise

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Crc32", "crc_columns"]

_GROUP = 4
"""Bits of a word whose parities, of every subset, are computed first: a LUT4 each. Every row takes
one of them, so a bit drives 8 LUTs, where row by row it would drive 16, and nothing is computed
twice."""
_FAN_IN = 8
"""Inputs of an XOR between two registers: three LUT4 in two levels."""
_FEW = 2
"""Parities of a word that the register takes in at once, in one LUT4 with two bits of its own."""


def crc_columns(bus_bits: int) -> tuple[int, ...]:
    """Return the columns of the CRC matrix: what each bit of a word adds to the CRC register.

    The result has ``bus_bits`` integers of 32 bits. The register before the word is XORed into the
    word's first 32 bits, so it needs no columns of its own. Source: RFC 1952, section 8.
    """
    n_bytes = bus_bits // 8
    zero = zlib.crc32(bytes(n_bytes))
    return tuple(zlib.crc32((1 << k).to_bytes(n_bytes, "little")) ^ zero for k in range(bus_bits))


class Crc32(wiring.Component):
    """CRC-32: that of zlib, of the words of a stream. One word per cycle.

    The share of a word is computed in registered XOR levels before it meets the register, so Fmax
    does not depend on the width of a word. The register is kept in coordinates in which a word
    shifts it by one bit, with feedback from its last one: one LUT4, where the plain matrix would
    need up to 21 inputs. Source: Derby, High-speed CRC computation using state-space
    transformations, Globecom 2001. Twin: ``zlib.crc32``.

    Parameters
    ----------
    bits : int, at least 32, whole bytes
        Width of a word.

    Members
    -------
    data : In(bits)
        A word, low byte first.
    valid : In(1)
        Include ``data``.
    clear : In(1)
        Start again from no words; not together with ``valid``. It takes as long as a word, so it
        may stand right between the last word of one stream and the first word of another.
    right : Out(1)
        :py:`self.latency` cycles after a word, and no longer: the word holds, in its first 32 bits,
        the CRC of those before it, and 0 behind.
    idle : Out(1)
        ``o`` includes everything up to the cycle before.
    o : Out(32)
        CRC of all words since ``clear``: costs 32 more XOR trees, unless nothing reads it.
    """

    def __init__(self, bits: int) -> None:
        self._state = _Companion(crc_columns(bits))
        self._levels = 1
        while _groups(bits // _GROUP, self._levels - 1) > _FEW:
            self._levels += 1
        super().__init__(
            {
                "data": In(bits),
                "valid": In(1),
                "clear": In(1),
                "right": Out(1),
                "idle": Out(1),
                "o": Out(32),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a word to ``right``, and to the ``o`` that includes it."""
        return self._levels + 2

    def elaborate(self, _platform: object) -> Module:
        """Build the XOR trees, the register, and what looks at it."""
        m = Module()
        state = self._state
        # In each level a row is made of fewer registers that hold parities.
        rows: list[Value] = self._subsets(m)
        for level in range(1, self._levels):
            rows = [_parities(m, row, f"level_{level}_{k}") for k, row in enumerate(rows)]
        valid = Signal(self.latency, name="valid_at")
        clear = Signal(self.latency, name="clear_at")
        register = Signal(32, init=state.start)
        equal = Signal(2, reset_less=True)
        halves = Signal(64, reset_less=True)
        m.d.sync += [valid.eq(Cat(self.valid, valid)), clear.eq(Cat(self.clear, clear))]
        with m.If(clear[self._levels - 1]):
            m.d.sync += register.eq(state.start)
        with m.Elif(valid[self._levels - 1]):
            for row, parities in enumerate(rows):
                old = [register[row - 1]] if row else []
                old += [register[-1]] if state.feedback >> row & 1 else []
                m.d.sync += register[row].eq(Cat(*old, parities).xor())
        for half in range(2):
            part = slice(16 * half, 16 * half + 16)
            m.d.sync += equal[half].eq(register[part] == (state.final >> 16 * half & 0xFFFF))
            for row, taps in enumerate(state.outputs):
                bits = Cat(register[k] for k in range(16 * half, 16 * half + 16) if taps >> k & 1)
                m.d.sync += halves[32 * half + row].eq(bits.xor())
        m.d.comb += [
            self.right.eq(equal.all()),
            self.o.eq(~(halves[:32] ^ halves[32:])),
            self.idle.eq(~valid.any() & ~clear.any()),
        ]
        return m

    def _subsets(self, m: Module) -> list[Value]:
        """Build the parities of all subsets of each group of bits; return those of each row."""
        rows: list[list[Value]] = [[] for _ in range(32)]
        for at in range(0, len(self.data), _GROUP):
            bits = self.data[at : at + _GROUP]
            subsets = range(1, 1 << _GROUP)
            parities = Signal(len(subsets), name=f"subsets_{at}", reset_less=True)
            m.d.sync += parities.eq(Cat((bits & subset).xor() for subset in subsets))
            for row, found in enumerate(rows):
                columns = self._state.columns[at : at + _GROUP]
                subset = sum((column >> row & 1) << k for k, column in enumerate(columns))
                found += [parities[subset - 1]] if subset else []
        return [Cat(found) for found in rows]


class _Companion:
    """The recurrence of a CRC in coordinates in which it is a shift register.

    The register before a word is XORed into the word, so a word takes it from R to A R, A being
    the first 32 columns. With b = 1, A b, A^2 b, ... as base, A shifts the coordinates by one. A is
    a power of x in the field GF(2)[x] / P, whose degree is 32 for every width that is not a
    multiple of 65537; so that is a base.

    Attributes
    ----------
    columns : list of int
        What each bit of a word adds, in coordinates.
    feedback : int
        The coordinates of A^32 b: what the last bit of the register adds to the next one.
    outputs : list of int
        For each bit of R the coordinates that make it up.
    start, final : int
        The register before all words; after a word that held the CRC of those before it.
    """

    def __init__(self, columns: tuple[int, ...]) -> None:
        def step(register: int) -> int:
            after = 0
            for k in range(32):
                after ^= columns[k] * (register >> k & 1)
            return after

        base = [1]
        for _ in range(32):
            base.append(step(base[-1]))
        # Gauss: by its highest bit, a sum of base vectors, and which those are.
        reduced: dict[int, tuple[int, int]] = {}

        def coordinates(vector: int, used: int = 0) -> tuple[int, int]:
            while vector and (top := vector.bit_length() - 1) in reduced:
                vector ^= reduced[top][0]
                used ^= reduced[top][1]
            return vector, used

        for k, vector in enumerate(base[:32]):
            rest, used = coordinates(vector, 1 << k)
            reduced[rest.bit_length() - 1] = (rest, used)

        def convert(vector: int) -> int:
            return coordinates(vector)[1]

        ones = (1 << 32) - 1
        self.columns = [convert(column) for column in columns]
        self.feedback = convert(base[32])
        self.outputs = [sum((base[k] >> row & 1) << k for k in range(32)) for row in range(32)]
        self.start, self.final = convert(ones), convert(step(ones))


def _groups(bits: int, levels: int) -> int:
    """Return how many parities are left of so many bits after so many levels."""
    for _ in range(levels):
        bits = -(-bits // _FAN_IN)
    return bits


def _parities(m: Module, bits: Value, name: str) -> Value:
    """Return registers that hold the parities of groups of at most ``_FAN_IN`` bits.

    Groups are of neighbours, so a register takes from one part of the word, over short wires.
    """
    count = -(-len(bits) // _FAN_IN)
    ends = [len(bits) * k // count for k in range(count + 1)]
    level = Signal(count, name=name, reset_less=True)
    m.d.sync += level.eq(Cat(bits[a:b].xor() for a, b in pairwise(ends)))
    return level
