# SPDX-License-Identifier: Apache-2.0
"""Modules as Yosys writes them, read into tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .expressions import Expression, parse

__all__ = ["Assignment", "Clocked", "Module", "Net", "Unit", "read_modules"]

_NAME = r"(\\\S+(?= )|[A-Za-z_][\w$]*)"
_DECLARED = re.compile(
    rf"(input|output|wire|reg)( signed)?(?: \[(\d+):0\])? {_NAME} ?(?: ?\[(\d+):0\])?(?: = (\S+))?;"
)
_HEAD = re.compile(rf"module {_NAME} ?\((.*)\);")
_UNIT = re.compile(rf"{_NAME} +{_NAME} +\($")
_CELL = re.compile(rf"{_NAME} #\($")
_CELL_NAME = re.compile(rf"\) {_NAME} +\($")
_PIN = re.compile(rf"\.{_NAME} ?\((.*)\),?")
_ENUM = re.compile(r"\(\* enum_(?:base_type|value_([01]+)) = \"(.*)\" \*\)")


@dataclass
class Net:
    """A port, wire, register or memory.

    Parameters
    ----------
    name : str
    width : int
        Bits; of a memory those of a word.
    way : str
        ``input`` or ``output``; empty inside.
    register : bool
        Assigned in a process.
    signed : bool
    init : str
        Value at power-up; empty without one.
    depth : int
        Words of a memory; 0 for anything else.
    states : dict of str to str
        Names of its values, by their bits, with the enumeration's name at the key "".
    attributes : dict of str to str
        Of a port: what tells tools which interface it is of.
    """

    name: str
    width: int
    way: str = ""
    register: bool = False
    signed: bool = False
    init: str = ""
    depth: int = 0
    states: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class Assignment:
    """``assign target = value``."""

    target: Expression
    value: Expression


@dataclass
class Clocked:
    """``always @(posedge clock) if (condition) target <= value``; the condition may miss."""

    clock: str
    target: Expression
    value: Expression
    condition: Expression | None = None


@dataclass
class Unit:
    """An instance: its module, its name, what is at its ports.

    One of a vendor's cell has parameters and attributes, as texts.
    """

    module: str
    name: str
    pins: dict[str, Expression]
    parameters: dict[str, str]
    attributes: list[str]


@dataclass
class Module:
    """A module; ``ports`` are names in order, ``contents`` the words of memories."""

    name: str
    ports: list[str]
    nets: dict[str, Net] = field(default_factory=dict)
    assigned: list[Assignment] = field(default_factory=list)
    clocked: list[Clocked] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    contents: dict[str, list[str]] = field(default_factory=dict)

    def widths(self) -> dict[str, int]:
        """Return bits by name; ``NAME[]`` is a word of a memory."""
        found = {name: net.width for name, net in self.nets.items() if not net.depth}
        return found | {f"{name}[]": net.width for name, net in self.nets.items() if net.depth}

    def values(self) -> Iterator[Expression]:
        """Yield every expression that is read."""
        for assignment in self.assigned:
            yield assignment.value
        for process in self.clocked:
            yield process.value
            if process.condition is not None:
                yield process.condition
            if process.target.kind == "index":
                yield process.target.parts[1]
        for unit in self.units:
            yield from unit.pins.values()


def _plain(name: str) -> str:
    return name.removeprefix("\\")


class _Reader:
    """Reads lines; every statement of Yosys begins on a line of its own."""

    def __init__(self, text: str) -> None:
        self.lines = [line.strip() for line in text.splitlines()]
        self.at = 0
        self.states: dict[str, str] = {}
        self.attributes: list[str] = []

    def next(self) -> str:
        line = self.lines[self.at]
        self.at += 1
        return line

    def module(self, head: str) -> Module:
        while not head.endswith(");"):  # long lists of ports have several lines
            head += self.next()
        match = _HEAD.fullmatch(head)
        assert match is not None, head
        ports = [_plain(name.strip()) for name in match[2].split(",") if name.strip()]
        module = Module(_plain(match[1]), ports)
        while (line := self.next()) != "endmodule":
            self.statement(module, line)
        return module

    def statement(self, module: Module, line: str) -> None:
        if line.startswith("(*"):
            if enum := _ENUM.fullmatch(line):
                self.states[enum[1] or ""] = enum[2]
            else:
                self.attributes.append(line)
        elif line.startswith("assign "):
            target, _, value = line[7:].removesuffix(";").partition(" = ")
            module.assigned.append(Assignment(parse(target), parse(value)))
        elif line.startswith("always "):
            self.process(module, line)
        elif line.startswith("initial "):
            self.initial(module)
        elif declared := _DECLARED.fullmatch(line):
            self.declare(module, declared)
        elif unit := _UNIT.fullmatch(line):
            self.unit(module, unit[1], unit[2], {})
        elif cell := _CELL.fullmatch(line):
            parameters, line = self.pins()
            name = _CELL_NAME.fullmatch(line)
            assert name is not None, line
            self.unit(module, cell[1], name[1], parameters)
        else:
            assert not line or line.startswith("//"), f"not understood: {line!r}"

    def pins(self) -> tuple[dict[str, str], str]:
        """Return what stands in parentheses, and the line that ends it."""
        pins = {}
        while not (line := self.next()).startswith(")"):
            match = _PIN.fullmatch(line)
            assert match is not None, line
            pins[_plain(match[1])] = match[2]
        return pins, line

    def unit(self, module: Module, kind: str, name: str, parameters: dict[str, str]) -> None:
        pins = {port: parse(text) for port, text in self.pins()[0].items()}
        unit = Unit(_plain(kind), _plain(name), pins, parameters, self.attributes)
        module.units.append(unit)
        self.attributes = []

    def declare(self, module: Module, match: re.Match[str]) -> None:
        kind, signed, high, name, last, init = match.groups()
        net = module.nets.setdefault(_plain(name), Net(_plain(name), int(high or 0) + 1))
        if kind in ("input", "output"):
            net.way = kind
        net.register |= kind == "reg"
        net.signed |= bool(signed)
        net.init = init or net.init
        net.depth = int(last) + 1 if last else 0
        # Attributes stand before the first declaration of a port or net.
        net.states |= self.states
        self.states, self.attributes = {}, []

    def process(self, module: Module, line: str) -> None:
        match = re.fullmatch(r"always @\(posedge (\S+)\)( begin)?", line)
        assert match is not None, line
        clock, depth = match[1], 1 if match[2] else 0
        condition: Expression | None = None
        while True:
            line = self.next()
            if guard := re.match(r"if \((.*?)\)( begin)?(?= |$)", line):
                assert condition is None, line
                condition = parse(guard[1])
                depth += bool(guard[2])
                line = line[guard.end() :].strip()
            if line == "end":
                depth -= 1
            elif line:
                target, arrow, value = line.removesuffix(";").partition(" <= ")
                assert arrow, line
                module.clocked.append(Clocked(clock, parse(target), parse(value), condition))
            if depth == 0 and line:
                return

    def initial(self, module: Module) -> None:
        while (line := self.next()) != "end":
            match = re.fullmatch(rf"{_NAME} ?\[\d+\] = (\S+);", line)
            assert match is not None, line
            module.contents.setdefault(_plain(match[1]), []).append(match[2])


def read_modules(text: str) -> list[Module]:
    """Read what Yosys wrote, module by module."""
    reader, found = _Reader(text), []
    while reader.at < len(reader.lines):
        line = reader.next()
        if line.startswith("module "):
            found.append(reader.module(line))
    return found
