# SPDX-License-Identifier: Apache-2.0
"""VCD reader for files of Verilator and the FST library: one definition or change per line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from xorloom.sw.base.errors import FormatError

__all__ = ["Header", "Item", "Variable", "cut", "first_rise", "read_header"]

_UNNAMED = re.compile(rb"\$|_\d+_$")
"""Wires that Amaranth and Yosys made up, and ``$rootio``: Verilator's copy of the top's ports."""


@dataclass(frozen=True)
class Variable:
    """Signal of a waveform: full name with dots, and number of bits."""

    name: str
    bits: int

    @property
    def shown(self) -> str:
        """Name as viewers show it, with its range."""
        return f"{self.name}[{self.bits - 1}:0]" if self.bits > 1 else self.name


@dataclass(frozen=True)
class Item:
    """Definition: a scope opens (``scope``), a scope closes (neither), or a variable.

    ``key`` stands for the variable in changes; ``word`` is its name without scopes.
    """

    word: bytes = b""
    key: bytes = b""
    variable: Variable | None = None

    @property
    def scope(self) -> bytes:
        """Name of the scope that opens; empty if none does."""
        return b"" if self.variable else self.word


@dataclass
class Header:
    """Definitions of a VCD: all lines unchanged, and the items that count.

    Items leave out wires that tools made up, and second copies of ports.
    """

    lines: list[bytes] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    timescale: bytes = b"1ps"

    @property
    def variables(self) -> Iterator[Item]:
        """The items that are variables."""
        return (item for item in self.items if item.variable)


def read_header(source: BinaryIO, name: Path) -> Header:
    """Read a VCD's definitions; leave the file at its first change.

    Raises
    ------
    FormatError
        If the definitions have no end.
    """
    header, path, skipped = Header(), list[str](), 0
    awaits_scale = False
    for line in source:
        header.lines.append(line)
        words = line.split() or [b""]
        if awaits_scale or (words[0] == b"$timescale" and len(words) > 2):
            header.timescale = b"".join(word for word in words if not word.startswith(b"$"))
        awaits_scale = words == [b"$timescale"]
        if words[0] == b"$enddefinitions":
            return header
        if words[0] == b"$scope":
            skipped += bool(skipped) or bool(_UNNAMED.match(words[2]))
            if not skipped:
                path.append(words[2].decode())
                header.items.append(Item(words[2]))
        elif words[0] == b"$upscope":
            if not skipped:
                path.pop()
                header.items.append(Item())
            skipped -= bool(skipped)
        elif words[0] == b"$var" and not skipped and not _UNNAMED.match(words[4]):
            full = Variable(".".join([*path, words[4].decode()]), int(words[2]))
            header.items.append(Item(words[4], words[3], full))
    raise FormatError(f"{name}: no VCD waveform, its definitions have no end")


def cut(source: BinaryIO, stop: int | None) -> Iterator[bytes]:
    """Yield the lines of changes before time ``stop``."""
    for line in source:
        if stop is not None and line[:1] == b"#" and int(line[1:]) >= stop:
            return
        yield line


def first_rise(source: BinaryIO, key: bytes) -> int | None:
    """Return when a one-bit variable is first 1."""
    time, rise = 0, b"1" + key + b"\n"
    for line in source:
        if line[:1] == b"#":
            time = int(line[1:])
        elif line == rise:
            return time
    return None
