# SPDX-License-Identifier: Apache-2.0
"""Truth tables of Liberty functions."""

import re
from collections.abc import Sequence

from xorloom.sw.base.errors import FormatError

__all__ = ["truth_table"]

_TOKEN = re.compile(r"\s*([A-Za-z_][\w\[\]]*|[01]|[!'&*|+^()])")


class _Parser:
    """Parser by recursive descent; a value is a truth table as an integer.

    Operators from the strongest to the weakest: ``'``, ``!``, ``^``, ``&``, ``|``.
    """

    def __init__(self, text: str, tables: dict[str, int], ones: int) -> None:
        self.tokens = _TOKEN.findall(text)
        self.text, self.tables, self.ones, self.at = text, tables, ones, 0
        if "".join(self.tokens) != "".join(text.split()):
            raise FormatError(f"function {text!r}: unknown character")

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def either(self) -> int:
        value = self.both()
        while self.peek() in ("|", "+"):
            self.take()
            value |= self.both()
        return value

    def both(self) -> int:
        value = self.differ()
        # Two operands side by side are an AND.
        while self.peek() and self.peek() not in "|+)":
            if self.peek() in ("&", "*"):
                self.take()
            value &= self.differ()
        return value

    def differ(self) -> int:
        value = self.one()
        while self.peek() == "^":
            self.take()
            value ^= self.one()
        return value

    def one(self) -> int:
        token = self.take()
        if token == "!":
            return self.ones ^ self.one()
        if token == "(":
            value = self.either()
            if self.take() != ")":
                raise FormatError(f"function {self.text!r}: expected )")
        elif token in ("0", "1"):
            value = self.ones * int(token)
        elif token in self.tables:
            value = self.tables[token]
        else:
            raise FormatError(f"function {self.text!r}: {token or 'end'!r} is no input")
        while self.peek() == "'":
            self.take()
            value ^= self.ones
        return value


def truth_table(function: str, inputs: Sequence[str]) -> int:
    """Return the truth table of a Liberty function.

    Bit n of the result is the value of the function where bit k of n is the value of
    ``inputs[k]``. Example: ``truth_table("!(A & B)", ["A", "B"])`` is ``0b0111``.

    Raises
    ------
    FormatError
        If the text is not a function of these inputs.
    """
    rows = range(1 << len(inputs))
    tables = {name: sum(1 << n for n in rows if n >> k & 1) for k, name in enumerate(inputs)}
    parser = _Parser(function, tables, (1 << len(rows)) - 1)
    value = parser.either()
    if parser.peek():
        raise FormatError(f"function {function!r}: {parser.peek()!r} is one too many")
    return value
