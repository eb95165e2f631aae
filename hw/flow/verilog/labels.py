# SPDX-License-Identifier: Apache-2.0
"""Names for nets that Yosys left without one, and legal ones for all others."""

import re
from collections import Counter
from collections.abc import Iterator

from .expressions import Expression, names_in, renamed
from .identifiers import JOINT, LATE, VERILOG_WORDS
from .inline import ANONYMOUS
from .modules import Module

__all__ = ["adopt_registers", "label", "legal"]


def legal(name: str) -> str:
    """Return a name that needs no backslash."""
    plain = name.removeprefix(LATE)
    joined = re.sub(r"\[(\d+)\]", r"_\1", plain).replace(".", JOINT).replace("$", "_")
    return f"{joined}_signal" if joined in VERILOG_WORDS else joined


def _rename(module: Module, names: dict[str, str]) -> None:
    """Give nets other names, everywhere in a module."""
    module.ports = [names.get(name, name) for name in module.ports]
    nets = {}
    for name, net in module.nets.items():
        net.name = names.get(name, name)
        nets[net.name] = net
    assert len(nets) == len(module.nets), module.name
    module.nets = nets
    module.contents = {names.get(n, n): words for n, words in module.contents.items()}
    for assignment in module.assigned:
        assignment.target = renamed(assignment.target, names)
        assignment.value = renamed(assignment.value, names)
    for process in module.clocked:
        process.clock = names.get(process.clock, process.clock)
        process.target = renamed(process.target, names)
        process.value = renamed(process.value, names)
        if process.condition is not None:
            process.condition = renamed(process.condition, names)
    for unit in module.units:
        unit.pins = {port: renamed(pin, names) for port, pin in unit.pins.items()}


def adopt_registers(module: Module) -> None:
    """Make a register without a name be the wire that it drives, as of a memory's read port."""
    whole = {
        a.value.text: a
        for a in module.assigned
        if a.value.kind == a.target.kind == "name" and ANONYMOUS.fullmatch(a.value.text)
    }
    for name, assignment in whole.items():
        register, wire = module.nets[name], module.nets[assignment.target.text]
        writers = [p for p in module.clocked if p.target == assignment.value]
        if writers and register.width == wire.width and not wire.register:
            module.assigned.remove(assignment)
            wire.register, wire.init = True, register.init
            del module.nets[name]
            for process in writers:
                process.target = assignment.target
            for other in module.assigned:
                other.value = renamed(other.value, {name: wire.name})


def _roles(module: Module) -> Iterator[tuple[str, str]]:
    """Yield nets without a name, and what would be a name for them, the best one first."""
    for process in module.clocked:
        if process.value.kind == "name" and process.target.kind == "name":
            yield process.value.text, f"{process.target.text}_next"
    for unit in module.units:
        for port, pin in unit.pins.items():
            if pin.kind == "name":
                yield pin.text, f"{unit.name}__{legal(port)}"
    for process in module.clocked:
        if process.target.kind == "index":
            memory = process.target.parts[0].text
            for value, role in ((process.value, "data"), (process.condition, "write")):
                if value is not None and value.kind == "name":
                    yield value.text, f"{memory}_{role}"


def _readers(module: Module) -> dict[str, str]:
    """Return for every net one that is made of it."""
    found: dict[str, str] = {}

    def note(value: Expression, target: Expression) -> None:
        name = next(names_in(target), ("", True))[0]
        for part, _ in names_in(value):
            found.setdefault(part, name)

    for process in module.clocked:
        note(process.value, process.target)
        if process.condition is not None:
            note(process.condition, process.target)
    for assignment in module.assigned:
        note(assignment.value, assignment.target)
    return found


def label(module: Module) -> dict[str, str]:
    """Give every net a legal name, one that tells what it is for if it had none.

    Returns all new names by the old ones.

    ``count_next`` is the next value of ``count``; ``unit__port`` is at a port of an instance;
    ``ready_1`` is a part of what makes ``ready``.
    """
    names = {name: legal(name) for name in module.nets if not ANONYMOUS.fullmatch(name)}
    taken = Counter(names.values())
    taken.update(unit.name for unit in module.units)
    for name, found in names.items():
        if taken[found] > 1 and found != name:
            number = next(n for n in range(2, len(taken) + 3) if f"{found}_{n}" not in taken)
            names[name] = f"{found}_{number}"
            taken[names[name]] += 1

    def give(name: str, wanted: str, first: int = 2) -> None:
        """Give a name, or else the first free one with a number behind it."""
        found, number = wanted, first
        while found in taken:
            found = f"{wanted}_{number}"
            number += 1
        taken[found] += 1
        names[name] = found

    for name, role in _roles(module):
        if name not in names and name in module.nets:
            give(name, role)
    readers = _readers(module)
    for name in module.nets:
        if name in names:
            continue
        # Up to the first reader that has a name.
        reader = readers.get(name, "")
        for _ in range(len(module.nets)):
            if reader in names or not reader:
                break
            reader = readers.get(reader, "")
        if reader:
            give(name, names[reader], first=1)
        else:
            give(name, "unread")
    _rename(module, names)
    return names
