# SPDX-License-Identifier: Apache-2.0
"""Names of a design's modules and signals, before it becomes text.

Amaranth tells signals of one name in one module apart by a number behind a ``$``. Here the ports of
a submodule are told apart by its name instead: ``parser__i__valid``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from amaranth.hdl import Fragment, Signal, Value, ValueCastable
from amaranth.hdl._ir import Design, PortDirection
from amaranth.lib import wiring

from .identifiers import JOINT, LATE, VERILOG_WORDS

__all__ = ["NamedDesign", "named_design"]

_UNNAMED = "unnamed"
"""Name of a signal that was given none, because it was not alone in its assignment."""


@dataclass(frozen=True)
class NamedDesign:
    """A design whose names are legal in Verilog, and what its modules are.

    Parameters
    ----------
    design : Design
        For ``rtlil.convert_fragment`` of Amaranth.
    titles : mapping
        First lines of docstrings, by the dotted path of a module.
    ports : sequence of str
        Ports of the top module as its signature has them, and its clocks before them.
    """

    design: Design
    titles: Mapping[str, str]
    ports: Sequence[str]


def _members(fragment: Fragment) -> Iterator[tuple[Signal, str]]:
    """Yield signals and names of the ports that the component of a fragment declares."""
    for origin in fragment.origins or ():
        if isinstance(origin, wiring.Component):
            for path, _, value in origin.signature.flatten(origin):
                signal = value.as_value() if isinstance(value, ValueCastable) else value
                if isinstance(signal, Signal):
                    yield signal, JOINT.join(map(str, path))


def _title(fragment: Fragment) -> str:
    """Return the first line of the docstring of what a fragment was made of, without markup."""
    for origin in fragment.origins or ():
        if type(origin).__module__.startswith("xorloom.") and (text := type(origin).__doc__):
            line = text.strip().splitlines()[0]
            return re.sub(r":\w+:`[\w.]*?(\w+)`|``(.+?)``", r"\1\2", line)
    return ""


def _free(name: str, taken: set[str], kind: str) -> str:
    """Return a name that is not taken and no reserved word, and take it."""
    legal = _UNNAMED if name.startswith("$") else name
    if legal in VERILOG_WORDS or (kind == "unit" and legal in taken):
        legal = f"{legal}_{kind}"
    number, found = 1, legal
    while found in taken:
        number += 1
        found = f"{legal}_{number}"
    taken.add(found)
    return found


def _rename(
    design: Design, fragment: Fragment, path: tuple[str, ...], titles: dict[str, str]
) -> None:
    """Name the signals of a module, then its submodules."""
    info = design.fragments[fragment]
    info.name = path
    titles[".".join(path)] = _title(fragment)
    names = dict[int, str]()
    if fragment is design.fragment:
        names = {id(signal): name for name, signal, _ in design.ports if isinstance(signal, Signal)}
    # Linters complain of a signal that is called as the instance that it is in.
    taken = {*names.values(), path[-1]}
    own = {id(signal): name for signal, name in _members(fragment)}
    inner = dict[int, str]()
    units = []
    for number, (unit, called, _) in enumerate(fragment.subfragments):
        units.append((unit, called or f"unit_{number}"))
        for signal, name in _members(unit):
            inner.setdefault(id(signal), f"{LATE}{units[-1][1]}{JOINT}{name}")
    # First what the module itself declares: the first name of a net becomes that of its port.
    signals = sorted(info.used_signals, key=lambda s: (id(s) not in own, id(s) in inner))
    info.signal_names.clear()
    for signal in signals:
        if id(signal) not in names and signal.name:
            name = own.get(id(signal)) or inner.get(id(signal)) or signal.name
            names[id(signal)] = _free(name, taken, "signal")
        if id(signal) in names:
            info.signal_names[signal] = names[id(signal)]
    for unit, called in units:
        _rename(design, unit, (*path, _free(called, taken, "unit")), titles)


def named_design(component: wiring.Component, name: str) -> NamedDesign:
    """Return the design of a component, whose top module has a name."""
    ports = dict[str, tuple[Value, PortDirection]]()
    for path, member, value in component.signature.flatten(component):
        signal = value.as_value() if isinstance(value, ValueCastable) else value
        way = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
        ports[JOINT.join(map(str, path))] = (signal, way)
    design = Fragment.get(component, None).prepare(ports=ports, hierarchy=(name,))
    titles = dict[str, str]()
    _rename(design, design.fragment, (name,), titles)
    clocks = [called for called, _, _ in design.ports if called not in ports]
    return NamedDesign(design, titles, (*clocks, *ports))
