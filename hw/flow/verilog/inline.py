# SPDX-License-Identifier: Apache-2.0
"""Nets without a name are put where they are read, as long as the value stays the same.

Yosys writes one assignment per operator. An expression may stand in the place of a net only if it
has the net's width there: Verilog extends operands to the width of what is around them.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from .expressions import Expression, names_in, width_of
from .modules import Clocked, Module

__all__ = ["ANONYMOUS", "inline"]

ANONYMOUS = re.compile(r"_\d+_")
"""Names that Yosys makes."""
_MOST_LEAVES = 24
"""Largest expression that takes the place of a net with one reader."""
_MOST_AT_PORT = 3
"""The same at a port of an instance."""
_SELF_DETERMINED = frozenset(["&", "|", "^", "~&", "~|", "~^", "!"])
_COMPARES = frozenset(["==", "!=", "===", "!==", "<", "<=", ">", ">="])
_LOGIC = frozenset(["&&", "||"])
_SHIFTS = frozenset(["<<", ">>", "<<<", ">>>"])


def _has_sign(expression: Expression, signed: frozenset[str]) -> bool:
    """Return whether an expression is, or might be, a signed one."""
    if expression.kind == "binary" and expression.text in _COMPARES:
        return False
    if expression.kind == "signed" or (expression.kind == "name" and expression.text in signed):
        return True
    return any(_has_sign(part, signed) for part in expression.parts)


def _extends(expression: Expression) -> bool:
    """Return whether zeros are added to an expression in a wider place, and nothing else."""
    kind, text, parts = expression.kind, expression.text, expression.parts
    if kind == "unary":
        return text in _SELF_DETERMINED
    if kind == "binary":
        if text in _COMPARES or text in _LOGIC:
            return True
        if text == ">>":
            return _extends(parts[0])
        return text in "&|^" and all(map(_extends, parts))
    return all(map(_extends, parts[1:])) if kind == "choice" else kind != "signed"


class _Inliner:
    """Inlining of one module."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.widths = module.widths()
        self.signed = frozenset(name for name, net in module.nets.items() if net.signed)
        self.readers = Counter[str]()
        whole, parts = Counter[str](), set[str]()
        for value in module.values():
            for name, all_bits in names_in(value):
                (whole.update if all_bits else parts.update)([name])
        for assignment in module.assigned:
            if assignment.target.kind != "name":
                parts.update(name for name, _ in names_in(assignment.target))
        self.readers = whole
        drivers = Counter(a.target.text for a in module.assigned if a.target.kind == "name")
        self.drivers = {
            a.target.text: a.value
            for a in module.assigned
            if a.target.kind == "name"
            and drivers[a.target.text] == 1
            and ANONYMOUS.fullmatch(a.target.text)
            and a.target.text not in parts
            and a.target.text not in self.signed
        }
        self.ready: dict[str, Expression | None] = {}

    def substitute(self, name: str) -> Expression | None:
        """Return what may stand in the place of a net; ``None``: it must stay."""
        if name not in self.drivers:
            return None
        if name not in self.ready:
            self.ready[name] = None  # a loop, which there is not, would end here
            value = self.put(self.drivers[name], self.widths[name])
            if self.fine(value, name):
                self.ready[name] = value
        return self.ready[name]

    def fine(self, value: Expression, name: str) -> bool:
        """Return whether a value is short enough for its readers, and as wide as its net."""
        if width_of(value, self.widths) != self.widths[name] or _has_sign(value, self.signed):
            return False
        count, leaves = self.readers[name], value.leaves
        if count > 1:
            constant = value.kind == "binary" and value.parts[1].kind == "number"
            short = leaves == 1 or (leaves == 2 and (constant or count <= 3))
            return short and value.kind != "index"
        return leaves <= _MOST_LEAVES

    def put(self, value: Expression, context: int = 0) -> Expression:
        """Return a value with nets substituted; ``context``: bits that it is extended to."""
        kind, text, parts = value.kind, value.text, value.parts
        if kind == "name":
            found = self.substitute(text)
            if found is None or (context > self.widths[text] and not _extends(found)):
                return value
            return found
        context = max(context, width_of(value, self.widths))
        if kind in ("join", "signed") or (kind == "unary" and text in _SELF_DETERMINED):
            inside = [0] * len(parts)
        elif kind == "index":
            return replace(value, parts=(parts[0], self.put(parts[1])))
        elif kind == "binary" and text in _COMPARES:
            inside = [max(width_of(part, self.widths) for part in parts)] * 2
        elif kind == "binary" and text in _SHIFTS:
            inside = [context, 0]
        elif kind == "binary" and text in _LOGIC:
            inside = [0, 0]
        elif kind == "choice":
            inside = [0, context, context]
        elif kind in ("select", "number"):
            return value
        else:
            inside = [context] * len(parts)
        put = tuple(self.put(p, c) for p, c in zip(parts, inside, strict=True))
        return Expression(kind, text, put)

    def run(self) -> None:
        """Change the module."""
        for assignment in self.module.assigned:
            width = width_of(assignment.target, self.widths)
            assignment.value = self.put(assignment.value, width)
        for process in self.module.clocked:
            self.process(process)
        for unit in self.module.units:
            for port, pin in unit.pins.items():
                found = self.put(pin)
                if found.leaves <= _MOST_AT_PORT and found.kind != "choice":
                    unit.pins[port] = found
        read = {name for value in self._values() for name, _ in names_in(value)}
        self.module.assigned = [
            a
            for a in self.module.assigned
            if a.target.text not in self.drivers or a.target.text in read
        ]
        for name in self.drivers:
            if name not in read:
                del self.module.nets[name]

    def process(self, process: Clocked) -> None:
        """Change a clocked process."""
        if process.condition is not None:
            process.condition = self.put(process.condition)
        target = process.target
        if target.kind == "index":
            process.target = replace(target, parts=(target.parts[0], self.put(target.parts[1])))
        process.value = self.put(process.value, width_of(target, self.widths))

    def _values(self) -> Iterator[Expression]:
        """Yield all that is read, of the nets without a name only those that are."""
        drivers = {
            a.target.text: a.value for a in self.module.assigned if a.target.text in self.drivers
        }
        seen = set[str]()
        driving = {id(value) for value in drivers.values()}
        waiting = [value for value in self.module.values() if id(value) not in driving]
        while waiting:
            value = waiting.pop()
            yield value
            for name, _ in names_in(value):
                if name in drivers and name not in seen:
                    seen.add(name)
                    waiting.append(drivers[name])


def inline(module: Module) -> None:
    """Put nets without a name where they are read; those that no one reads any more go."""
    _Inliner(module).run()
