# SPDX-License-Identifier: Apache-2.0
"""Writer of a line of text with numbers in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Number", "TextLine", "Word"]

_DIGITS = 10
"""Decimal digits of 32 bits."""


@dataclass(frozen=True)
class Number:
    """A 32-bit field: eight hexadecimal digits, or decimal without leading zeros."""

    name: str
    hexadecimal: bool = False


@dataclass(frozen=True)
class Word:
    """A field that selects one of several texts."""

    name: str
    texts: tuple[str, ...]


class TextLine(wiring.Component):
    """Text line: after ``start`` offers the characters of a line, one after the other.

    A character takes two to five cycles, and a decimal number 33 cycles before its first digit; a
    serial line is slower. The fields must be stable until ``busy`` falls.

    Parameters
    ----------
    parts : sequence of str, Number or Word
        The line. At most one ``Word``.

    Members
    -------
    start : In(1)
        Write a line.
    busy : Out(1)
        1 from the cycle after ``start`` until the last character is taken.
    o : Out(stream.Signature(8))
        Characters in ASCII.
    NAME : In
        One port per field: a number of 32 bits, or the index of a text.
    """

    def __init__(self, parts: Sequence[str | Number | Word]) -> None:
        self._parts = tuple(parts)
        fields = {
            part.name: In(32) if isinstance(part, Number) else In(range(len(part.texts)))
            for part in parts
            if not isinstance(part, str)
        }
        super().__init__({"start": In(1), "busy": Out(1), "o": Out(stream.Signature(8))} | fields)

    def elaborate(self, _platform: object) -> Module:
        """Build the program of the line and the machine that runs it."""
        m = Module()
        # The output is a register, because tables and digits take most of a cycle.
        byte = Signal(8)
        offers = Signal()
        full = Signal()
        held = Signal(8, reset_less=True)
        m.d.comb += [self.o.payload.eq(held), self.o.valid.eq(full)]
        m.d.sync += full.eq(Mux(full, ~self.o.ready, offers))
        with m.If(~full):
            m.d.sync += held.eq(byte)
        numbers = [part for part in self._parts if isinstance(part, Number)]
        words = [part for part in self._parts if isinstance(part, Word)]
        # Codes over 127 are fields.
        program: list[int] = []
        for part in self._parts:
            if isinstance(part, str):
                program += part.encode("ascii")
            else:
                program.append(128 + (numbers.index(part) if part in numbers else len(numbers)))
        at = Signal(range(len(program) + 1))
        code = Signal(8, reset_less=True)
        value = Signal(32)
        hexadecimal = Signal()
        number = code[: max(1, (len(numbers) - 1).bit_length())]
        with m.Switch(number):
            for k, field in enumerate(numbers):
                with m.Case(k):
                    m.d.comb += [
                        value.eq(getattr(self, field.name)),
                        hexadecimal.eq(field.hexadecimal),
                    ]
        binary = Signal(32, reset_less=True)
        digits = Signal(4 * _DIGITS, reset_less=True)
        count = Signal(range(33))
        seen = Signal()
        digit = digits[-4:]
        shows = seen | digit.any() | (count == 1)
        text, text_at = self._word(m, words)
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE") | full)
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += at.eq(0)
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += [code.eq(_table(m, at, program)), at.eq(at + 1)]
                m.d.sync += text_at.eq(0)
                m.next = "SHOW"
                with m.If(at == len(program)):
                    m.next = "IDLE"
            with m.State("SHOW"):
                m.d.comb += [byte.eq(code), offers.eq(~code[7])]
                m.d.sync += [binary.eq(value), seen.eq(hexadecimal)]
                m.d.sync += digits.eq(Mux(hexadecimal, value << 8, 0))
                m.d.sync += count.eq(Mux(hexadecimal, 8, 32))
                with m.If(code[7]):
                    m.next = "CONVERT"
                    with m.If(hexadecimal):
                        m.next = "DIGITS"
                    if words:
                        with m.If(code[:7] == len(numbers)):
                            m.next = "WORD"
                with m.Elif(~full):
                    m.next = "FETCH"
            with m.State("CONVERT"):
                # Double dabble: what would overflow a digit when doubled gets 3 more.
                nibbles = [digits[k : k + 4] for k in range(0, len(digits), 4)]
                adjusted = [Mux(nibble >= 5, nibble + 3, nibble)[:4] for nibble in nibbles]
                m.d.sync += Cat(binary, digits).eq(Cat(Const(0, 1), binary, *adjusted))
                m.d.sync += count.eq(count - 1)
                with m.If(count == 1):
                    m.d.sync += count.eq(_DIGITS)
                    m.next = "DIGITS"
            with m.State("DIGITS"):
                letter = digit + (ord("a") - 10)
                m.d.comb += [
                    byte.eq(Mux(digit >= 10, letter, digit + ord("0"))),
                    offers.eq(shows),
                ]
                with m.If(~full | ~shows):
                    m.d.sync += [digits.eq(digits << 4), count.eq(count - 1), seen.eq(shows)]
                    with m.If(count == 1):
                        m.next = "FETCH"
            if words:
                letters = Signal(8, reset_less=True)
                with m.State("WORD"):
                    m.next = "READ"
                with m.State("READ"):
                    m.d.sync += letters.eq(text)
                    m.next = "LETTER"
                with m.State("LETTER"):
                    m.d.comb += [byte.eq(letters), offers.eq(letters.any())]
                    with m.If(~letters.any()):
                        m.next = "FETCH"
                    with m.Elif(~full):
                        m.d.sync += text_at.eq(text_at + 1)
                        m.next = "WORD"
        return m

    def _word(self, m: Module, words: Sequence[Word]) -> tuple[Value, Signal]:
        """Return the character of the selected text, 0 after its end, and the place to set.

        The character is valid one cycle later: the texts are in block RAM, because as logic they
        would be the slowest path of a board.
        """
        if not words:
            return Const(0, 8), Signal()
        (word,) = words
        longest = 1 << max(map(len, word.texts)).bit_length()
        place = Signal(range(longest))
        table = b"".join(text.encode("ascii").ljust(longest, b"\0") for text in word.texts)
        m.submodules.texts = texts = memory.Memory(
            shape=8, depth=len(table), init=list(table), attrs={"ram_style": "block"}
        )
        port = texts.read_port()
        m.d.comb += [port.addr.eq(Cat(place, getattr(self, word.name))), port.en.eq(1)]
        return port.data, place


def _table(m: Module, at: Value, table: Sequence[int]) -> Value:
    """Return an entry of a table of bytes, as logic."""
    entry = Signal(8, name="program")
    with m.Switch(at):
        for k, byte in enumerate(table):
            if byte:
                with m.Case(k):
                    m.d.comb += entry.eq(byte)
    return entry
