# SPDX-License-Identifier: Apache-2.0
"""Expressions of Verilog as trees: read, measured, put into each other, written.

Only what Yosys writes is understood: sized constants, names, constant selects, concatenations,
operators, ``$signed``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = [
    "Expression",
    "names_in",
    "number_text",
    "parse",
    "renamed",
    "text_of",
    "tokens",
    "width_of",
]

_TOKEN = re.compile(
    r"\s*(?:(?P<name>\\\S+|\$?[A-Za-z_][\w$]*)|(?P<number>\d+(?:'s?[bdoh][0-9a-fxzA-F_?]+)?)"
    r"|(?P<sign>>>>|<<<|===|!==|==|!=|<=|>=|&&|\|\||<<|>>|~&|~\||~\^|[-+*/%&|^~!<>?:(){}\[\],]))"
)
_BINARY = {
    operator: level
    for level, row in enumerate(
        (
            "||",
            "&&",
            "|",
            "^ ~^",
            "&",
            "== != === !==",
            "< <= > >=",
            "<< >> <<< >>>",
            "+ -",
            "* / %",
        )
    )
    for operator in row.split()
}
_REDUCTIONS = frozenset(("&", "|", "^", "~&", "~|", "~^", "!"))
_ONE_BIT = frozenset(["||", "&&", "==", "!=", "===", "!==", "<", "<=", ">", ">="])
_SHIFTS = frozenset(("<<", ">>", "<<<", ">>>"))
_CHAINS = frozenset("&|^")
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16}
_LONG_BITS = 64
"""Ones up to so many are written as they are."""


@dataclass(frozen=True)
class Expression:
    """An expression.

    Parameters
    ----------
    kind : str
        ``name``, ``number``, ``select`` (constant, of a name), ``index``, ``join`` (concatenation),
        ``unary``, ``binary``, ``choice`` (``?:``) or ``signed``.
    text : str
        Name, number or operator; of a select what stands in the brackets.
    parts : tuple of Expression
        Operands.
    """

    kind: str
    text: str = ""
    parts: "tuple[Expression, ...]" = ()

    @property
    def leaves(self) -> int:
        """How many names and numbers it has."""
        return (
            sum(part.leaves for part in self.parts) if self.kind != "select" and self.parts else 1
        )


def tokens(text: str) -> list[str]:
    """Return the words of a piece of Verilog; names lose the backslash of an escaped one."""
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None, f"not understood: {text[at : at + 40]!r}"
        found.append(match[0].strip())
        at = match.end()
    return found


class _Reader:
    """Recursive descent over tokens."""

    def __init__(self, words: list[str]) -> None:
        self.words, self.at = words, 0

    def peek(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def take(self, expected: str = "") -> str:
        word = self.peek()
        assert word, "more expected"
        assert expected in ("", word), f"{expected!r} expected, found {word!r}"
        self.at += 1
        return word

    def expression(self) -> Expression:
        condition = self.binary(0)
        if self.peek() != "?":
            return condition
        self.take()
        one = self.expression()
        self.take(":")
        return Expression("choice", "?", (condition, one, self.expression()))

    def binary(self, level: int) -> Expression:
        left = self.unary()
        while _BINARY.get(self.peek(), -1) >= level:
            operator = self.take()
            right = self.binary(_BINARY[operator] + 1)
            left = Expression("binary", operator, (left, right))
        return left

    def unary(self) -> Expression:
        word = self.peek()
        if word in _REDUCTIONS or word in ("~", "-", "+"):
            self.take()
            return Expression("unary", word, (self.unary(),))
        return self.primary()

    def primary(self) -> Expression:
        word = self.take()
        if word == "(":
            inside = self.expression()
            self.take(")")
            return inside
        if word == "{":
            parts = [self.expression()]
            while self.peek() == ",":
                self.take()
                parts.append(self.expression())
            self.take("}")
            return Expression("join", "", tuple(parts))
        if word in ("$signed", "$unsigned"):
            self.take("(")
            inside = self.expression()
            self.take(")")
            return Expression("signed", word, (inside,))
        if word[0].isdigit():
            return Expression("number", word)
        name = Expression("name", word.removeprefix("\\"))
        if self.peek() != "[":
            return name
        self.take()
        high = self.expression()
        if self.peek() == ":":
            self.take()
            found = Expression("select", f"{high.text}:{self.take()}", (name,))
        elif high.kind == "number" and "'" not in high.text:
            found = Expression("select", high.text, (name,))
        else:
            found = Expression("index", "", (name, high))
        self.take("]")
        return found


def parse(text: str) -> Expression:
    """Read an expression."""
    reader = _Reader(tokens(text))
    found = reader.expression()
    assert not reader.peek(), f"not understood: {text!r}"
    return found


def names_in(expression: Expression) -> Iterator[tuple[str, bool]]:
    """Yield every name, and whether all its bits are meant."""
    if expression.kind == "name":
        yield expression.text, True
    elif expression.kind in ("select", "index"):
        yield expression.parts[0].text, False
        for part in expression.parts[1:]:
            yield from names_in(part)
    else:
        for part in expression.parts:
            yield from names_in(part)


def renamed(expression: Expression, names: Mapping[str, str]) -> Expression:
    """Return an expression with other names."""
    kind, text, parts = expression.kind, expression.text, expression.parts
    if kind == "name":
        return Expression(kind, names.get(text, text))
    if not parts:
        return expression
    return Expression(kind, text, tuple(renamed(part, names) for part in parts))


def width_of(expression: Expression, widths: Mapping[str, int]) -> int:
    """Return how many bits an expression has by itself, as the standard says.

    Ref: IEEE 1364-2005, table 5-22. ``widths`` has the bits of names, of a memory those of a word.
    """
    kind, text, parts = expression.kind, expression.text, expression.parts
    if kind == "name":
        return widths[text]
    if kind == "number":
        return int(text.partition("'")[0]) if "'" in text else 32
    if kind == "select":
        high, _, low = text.partition(":")
        return int(high) - int(low) + 1 if low else 1
    if kind == "index":
        return widths.get(f"{parts[0].text}[]", 1)
    if kind == "join":
        return sum(width_of(part, widths) for part in parts)
    if kind == "choice":
        return max(width_of(part, widths) for part in parts[1:])
    if (kind == "unary" and text in _REDUCTIONS) or (kind == "binary" and text in _ONE_BIT):
        return 1
    if kind == "binary" and text in _SHIFTS:
        return width_of(parts[0], widths)
    return max(width_of(part, widths) for part in parts)


def number_text(text: str) -> str:
    """Return a number in hexadecimal without leading zeros; many ones as a replication."""
    match = re.fullmatch(r"(\d+)'([bdoh])([0-9a-f]+)", text)
    if match is None:  # it has no width, or undefined bits
        return text
    width, value = int(match[1]), int(match[3], _BASES[match[2]])
    if width > _LONG_BITS and value == (1 << width) - 1:
        return f"{{{width}{{1'h1}}}}"
    return f"{width}'h{value:x}"


def _joined(parts: tuple[Expression, ...]) -> str:
    """Return a concatenation, with runs of the same part as a replication."""
    runs: list[tuple[Expression, int]] = []
    for part in parts:
        if runs and runs[-1][0] == part:
            runs[-1] = (part, runs[-1][1] + 1)
        else:
            runs.append((part, 1))
    texts = []
    for part, count in runs:
        text = text_of(part)
        many = count > 2 and part.kind != "number"
        texts += [f"{{{count}{{{text}}}}}"] if many else [text] * count
    return texts[0] if len(texts) == 1 and texts[0].startswith("{") else f"{{{', '.join(texts)}}}"


def _operand(part: Expression, operator: str) -> str:
    """Return an operand, in parentheses unless it needs none for a reader either."""
    text = text_of(part)
    chained = part.kind == "binary" and part.text == operator and operator in _CHAINS
    compared = part.kind == "binary" and part.text in _ONE_BIT and operator == "&&"
    simple = part.kind not in ("binary", "choice") or chained or compared
    if part.kind == "unary":
        simple = operator in _BINARY and part.text in ("~", "!")
    return text if simple else f"({text})"


def text_of(expression: Expression) -> str:
    """Return the text of an expression on one line."""
    kind, text, parts = expression.kind, expression.text, expression.parts
    if kind == "name":
        return text
    if kind == "number":
        return number_text(text)
    if kind == "select":
        return f"{parts[0].text}[{text}]"
    if kind == "index":
        return f"{parts[0].text}[{text_of(parts[1])}]"
    if kind == "join":
        return _joined(parts)
    if kind == "signed":
        return f"{text}({text_of(parts[0])})"
    if kind == "unary":
        return text + _operand(parts[0], text)
    if kind == "binary":
        return f"{_operand(parts[0], text)} {text} {_operand(parts[1], text)}"
    condition = _operand(parts[0], "?")
    one = _operand(parts[1], "?")
    other = text_of(parts[2])
    return f"{condition} ? {one} : {other}"
