# SPDX-License-Identifier: Apache-2.0
"""The tables of area and clock in ``docs/results.md`` are those of ``docs/results/area.json``.

``make area`` measures all rows in one run, and writes the tables anew (this file as a module:
``python -m tests.project.test_area_tables``); ``make area AREA="--target ecp5"`` measures some.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xorloom.hw.flow.targets import TARGETS
from xorloom.sim.bench.area import DESIGNS, area_pairs

DOCS = Path(__file__).parents[2] / "docs"
STORED = DOCS / "results" / "area.json"
PAGE = DOCS / "results.md"
COUNTS = ("lut_ram", "ram", "ff", "placed")
Row = dict[str, Any]


def stored_rows() -> dict[tuple[str, str], Row]:
    rows = json.loads(STORED.read_text(encoding="utf-8"))
    return {(row["design"], row["target"]): row for row in rows}


def size(row: Row | None) -> str:
    """Return LUTs (gates: NAND2 equivalents), and in brackets those per bit."""
    if row is None:
        return ""
    total = row["nand2"] if row["lut"] is None else row["lut"]
    return f"{total:,.0f} ({row['size_per_weight_bit']:.2f})"


def clock(row: Row | None) -> str:
    """Return the median Fmax and, of several seeds, the slowest."""
    if row is None:
        return ""
    if not row["fits"]:
        return "too big"
    if row["fmax_mhz"] is None:
        return "not routed" if row["excess"] else "-"
    slowest = f" / {row['fmax_min_mhz']:.0f}" if row["seeds"] > 1 else ""
    return f"{row['fmax_mhz']:.0f}{slowest}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def tables() -> list[list[str]]:
    """Return the lines of each table; those over targets only if all of these were measured."""
    rows = stored_rows()
    measured = {target for _, target in rows}
    everywhere = [name for name, design in DESIGNS.items() if "gates" in design.targets]
    ecp5 = {name: rows[name, "ecp5"] for name in DESIGNS}

    def by_target(first: str, names: list[str], cell: Callable[[Row | None], str]) -> list[str]:
        return table(
            [first, *(TARGETS[name].title for name in names)],
            [[row, *(cell(rows.get((row, name))) for name in names)] for row in everywhere],
        )

    over_targets = [
        ("LUTs (per bit)", ["ecp5", "ice40", "gowin", "xilinx7"], size),
        ("size", ["nexus", "xilinxu", "intel", "gates"], size),
        ("MHz", [name for name, target in TARGETS.items() if target.harness], clock),
    ]
    return [
        *(by_target(*wanted) for wanted in over_targets if measured.issuperset(wanted[1])),
        table(
            ["ECP5-85 -6", "LUT4 (per bit)", "LUT RAM", "block RAM", "FF", "placed", "MHz"],
            [
                [
                    name,
                    size(row),
                    *(f"{row[key]:,}" if row[key] else "-" for key in COUNTS),
                    clock(row),
                ]
                for name, row in ecp5.items()
            ],
        ),
        table(
            ["ECP5-85 -6", "what limits the slowest seed"],
            [[name, row["critical_path"]] for name, row in ecp5.items() if row["critical_path"]],
        ),
    ]


def renewed(page: str) -> str:
    """Return the page with its tables renewed; each is known by its first line."""
    for lines in tables():
        block = re.escape(lines[0]) + r"\n(\|.*\n)*"
        text = "\n".join(lines) + "\n"
        page, found = re.subn(block, lambda _, text=text: text, page)  # type: ignore[misc]
        assert found == 1, f"docs/results.md has no table that begins with {lines[0]}"
    return page


def test_docs_have_the_figures_of_the_stored_run():
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page


def test_stored_run_has_every_design_on_its_targets():
    stored = set(stored_rows())
    targets = {target for _, target in stored}
    assert "ecp5" in targets
    assert stored == {pair for pair in area_pairs() if pair[1] in targets}


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
