# SPDX-License-Identifier: Apache-2.0
"""Modules written as Verilog that a person can review."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from .expressions import Expression, number_text, text_of
from .identifiers import JOINT
from .modules import Clocked, Module, Net, Unit

__all__ = ["GROUPS", "module_text", "port_groups", "port_range", "wrapped"]

GROUPS = {
    "a": "clock; synchronous reset, active low",
    "s_axil": "registers: AXI4-Lite subordinate, see the register map",
    "m_axi": "memory: AXI4 read manager",
    "s_axis": "memory streams in: AXI4-Stream",
    "m_axis": "decoded beats out: AXI4-Stream; tlast closes a memory stream",
    "irq": "interrupt, active high, level",
}
"""Groups of ports of whole units by the first part of their names."""
_COLUMNS = 100
_CLOCKS = ("clk", "rst", "aclk", "aresetn")
_WORDS_PER_LINE = 4


def wrapped(text: str, first: str, rest: str) -> list[str]:
    """Return a text as lines of at most 100 columns, broken at blanks."""
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def port_range(net: Net) -> str:
    """Return sign and range of a net, with a blank behind them."""
    sign = "signed " if net.signed else ""
    return f"{sign}[{net.width - 1}:0] " if net.width > 1 else sign


def _meaning(net: Net, fields: Mapping[str, str]) -> str:
    """Return what a comment says about a net: names of states, or fields."""
    if net.states:
        values = sorted((int(bits, 2), name) for bits, name in net.states.items() if bits)
        return f"{net.states['']}: " + ", ".join(f"{value}={name}" for value, name in values)
    return fields.get(net.name, "")


def port_groups(module: Module) -> Iterator[tuple[str, list[Net]]]:
    """Yield ports by what they belong to, with a title."""
    rest = [module.nets[name] for name in module.ports]
    clocks = [net for net in rest if net.name in _CLOCKS]
    groups: dict[str, list[Net]] = {}
    for net in rest:
        if net not in clocks:
            prefix = net.name.rpartition(JOINT)[0]
            known = net.name if net.name in GROUPS else net.name.rpartition("_")[0]
            groups.setdefault(known if known in GROUPS else prefix, []).append(net)
    if clocks:
        yield "clock and reset", sorted(clocks, key=lambda net: _CLOCKS.index(net.name))
    for prefix in sorted(
        groups, key=lambda p: (p == "", list(GROUPS).index(p) if p in GROUPS else 0)
    ):
        nets = groups[prefix]
        title = GROUPS.get(prefix, f"{prefix}: {_kind(prefix, nets)}" if prefix else "control")
        yield title, nets if prefix in GROUPS else sorted(nets, key=lambda net: net.name)


def _kind(prefix: str, nets: Sequence[Net]) -> str:
    """Return what a group of ports is."""
    ways = {net.name.removeprefix(prefix + JOINT): net.way for net in nets}
    if "valid" in ways or "ready" in ways or "payload" in ways:
        into = ways.get("valid", ways.get("payload")) == "input" or ways.get("ready") == "output"
        return "stream in" if into else "stream out"
    return "signals"


def _note(text: str, indent: str) -> list[str]:
    return wrapped(text, f"{indent}// ", f"{indent}//   ")


def _port_lines(module: Module, fields: Mapping[str, str]) -> Iterator[str]:
    left = len(module.ports)
    for title, nets in port_groups(module):
        yield f"  // {title}"
        for net in nets:
            left -= 1
            kind = "reg " if net.register else "wire"
            init = f" = {number_text(net.init)}" if net.init else ""
            if meaning := _meaning(net, fields):
                yield from _note(f"{net.name}: {meaning}", "  ")
            yield from (f'  (* {name} = "{text}" *)' for name, text in net.attributes.items())
            yield f"  {net.way:6} {kind} {port_range(net)}{net.name}{init}{',' if left else ''}"


def _declarations(module: Module, fields: Mapping[str, str]) -> Iterator[str]:
    inside = [net for net in module.nets.values() if not net.way]
    for kind in ("reg", "wire"):
        for net in inside:
            if net.register == (kind == "reg"):
                depth = f" [{net.depth - 1}:0]" if net.depth else ""
                init = f" = {number_text(net.init)}" if net.init else ""
                line = f"  {kind} {port_range(net)}{net.name}{depth}{init};"
                meaning = _meaning(net, fields)
                short = len(line) + len(meaning) + 5 <= _COLUMNS
                if meaning and short and not net.states:
                    line = f"{line}  // {meaning}"
                elif meaning:
                    yield from _note(f"{net.name}: {meaning}", "  ")
                yield line


def _statement(head: str, value: Expression, indent: str) -> list[str]:
    """Return an assignment; a choice has one alternative per line if it is long."""
    flat = f"{indent}{head} {text_of(value)};"
    if len(flat) <= _COLUMNS and (value.kind != "choice" or value.parts[2].kind != "choice"):
        return [flat]
    inner = f"{indent}  "
    if value.kind != "choice":
        return wrapped(flat.strip(), indent, f"{inner}  ")
    lines = [f"{indent}{head}"]
    while value.kind == "choice":
        condition, one, other = value.parts
        arm = text_of(Expression("choice", "?", (condition, one, Expression("name", ":"))))
        lines += wrapped(arm.removesuffix(": :") + ":", inner, f"{inner}    ")
        value = other
    return [*lines, *wrapped(f"{text_of(value)};", inner, f"{inner}    ")]


def _clocked(process: Clocked) -> list[str]:
    head = f"{text_of(process.target)} <="
    lines = [f"  always @(posedge {process.clock})"]
    indent = "    "
    if process.condition is not None:
        lines.append(f"    if ({text_of(process.condition)})")
        indent = "      "
    return lines + _statement(head, process.value, indent)


def _memories(module: Module) -> Iterator[str]:
    for name, words in module.contents.items():
        yield "  initial begin"
        texts = [f"{name}[{n}] = {number_text(word)};" for n, word in enumerate(words)]
        for at in range(0, len(texts), _WORDS_PER_LINE):
            yield f"    {' '.join(texts[at : at + _WORDS_PER_LINE])}"
        yield "  end"


def _instance(unit: Unit) -> list[str]:
    lines = [f"  {attribute}" for attribute in unit.attributes]
    if unit.parameters:
        texts = [f"    .{name}({value})" for name, value in unit.parameters.items()]
        lines += [f"  {unit.module} #(", *",\n".join(texts).splitlines(), f"  ) {unit.name} ("]
    else:
        lines.append(f"  {unit.module} {unit.name} (")
    for left, (port, pin) in enumerate(sorted(unit.pins.items()), 1 - len(unit.pins)):
        lines += wrapped(f".{port}({text_of(pin)}){',' if left else ''}", "    ", "      ")
    return [*lines, "  );"]


def module_text(module: Module, title: str, fields: Mapping[str, str]) -> str:
    """Return a module as text.

    Parameters
    ----------
    module : Module
        With legal names.
    title : str
        What it is; a comment before it.
    fields : mapping of str to str
        What lies in which bits, by the name of a net.
    """
    lines = wrapped(title, "// ", "// ") if title else []
    lines += [f"module {module.name} (", *_port_lines(module, fields), ");"]
    parts = [list(_declarations(module, fields)), list(_memories(module))]
    for unit in module.units:
        parts.append(_instance(unit))
    parts.append(
        [
            line
            for assignment in module.assigned
            for line in _statement(f"assign {text_of(assignment.target)} =", assignment.value, "  ")
        ]
    )
    parts += [[line for process in module.clocked for line in _clocked(process)]]
    for part in parts:
        if part:
            lines += ["", *part]
    return "\n".join([*lines, "endmodule"]) + "\n"
