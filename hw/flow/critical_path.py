# SPDX-License-Identifier: Apache-2.0
"""Critical paths in terms of modules and registers."""

import re
from collections.abc import Sequence

from .place import Segment

__all__ = ["path_text", "unit_name", "wire_share"]

_MAPPED = re.compile(
    r"(\$|_)(TRELLIS_|LUT[1-6]|SB_|DFF|FD1P3|CCU2|ALU|PFUMX|L6MUX|INV|DP16|HARNESS).*$"
)


def unit_name(cell: str) -> str:
    """Return module and register of a cell.

    Example: ``control.take`` for ``unit.control.take_SB_LUT4_O``. Yosys names a mapped cell after
    a net at its ports; that net and the innermost module are kept. Cells of the harness are
    ``pins``.
    """
    if cell.startswith("harness_"):
        return "pins"
    parts = _MAPPED.sub("", cell).replace("$", "_").split(".")
    return ".".join(part for part in parts[-2:] if part)


def wire_share(path: Sequence[Segment]) -> float:
    """Return which share of the delay of a path is spent on wires, 0 to 1."""
    total = sum(segment.delay_ns for segment in path)
    return sum(s.delay_ns for s in path if s.is_wire) / total if total else 0.0


def path_text(path: Sequence[Segment]) -> str:
    """Return a path as ``control.take -> pipe.own_0: 5.2 ns, 62 % wires``, or an empty text."""
    if not path:
        return ""
    total = sum(segment.delay_ns for segment in path)
    ends = f"{unit_name(path[0].source)} -> {unit_name(path[-1].sink)}"
    return f"{ends}: {total:.1f} ns, {wire_share(path):.0%} wires".replace("%", " %")
