# SPDX-License-Identifier: Apache-2.0
"""Simulation of a board's top level: serial line and lights under events."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xorloom.hw.boards.table import Board
from xorloom.sim.simulate.runner import build, run
from xorloom.sw.base.errors import ConfigError

from .cells import CELLS
from .demos import top_name

__all__ = ["BoardRun", "simulate_board"]


@dataclass(frozen=True)
class BoardRun:
    """Lines that were received, lights at the end of each, and ``failure``: a broken rule."""

    lines: tuple[str, ...]
    lights: tuple[int, ...]
    failure: str | None = None


def simulate_board(
    board: Board,
    text: str,
    *,
    divisor: int,
    flash: bytes = b"",
    events: Sequence[Mapping[str, Any]] = ({},),
    simulator: str = "verilator",
) -> BoardRun:
    """Run a board's Verilog; only the vendor's cells are replaced by stand-ins.

    Parameters
    ----------
    board : Board
    text : str
        Of :func:`xorloom.sim.boards.demos.board_verilog`.
    divisor : int
        Cycles per bit of the serial line.
    flash : bytes
        The image, for a board that has it in flash.
    events : sequence of mapping
        What happens before each expected line: ``contents`` (bytes) replaces what is in the flash;
        ``answers`` tells whether the flash answers; ``press_us`` presses the button after so many
        microseconds.
    simulator : str
        ``verilator`` or ``icarus``.

    Raises
    ------
    ConfigError
        If the family has no stand-ins.
    ToolError
        If the simulator is missing or crashes.
    """
    if board.family not in CELLS:
        known = ", ".join(CELLS)
        raise ConfigError(f"boards of families {known} are simulated, not {board.family}")
    built = build(text + CELLS[board.family], top_name(board), simulator=simulator)
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        (folder / "flash").write_bytes(flash)
        listed = []
        for number, event in enumerate(events):
            item = dict(event)
            if "contents" in item:
                path = folder / f"flash-{number}"
                path.write_bytes(item["contents"])
                item["contents"] = str(path)
            listed.append(item)
        job = {
            "button_low": board.button_low,
            "half_period_ps": round(500_000 / board.clock_mhz),
            "divisor": divisor,
            "flash": str(folder / "flash") if board.flash_bytes else "",
            "flash_offset": board.flash_offset,
            "events": listed,
        }
        found = run(built, "xorloom.sim.testbenches.board", "tells_passes", job)
    lines, lights = found.get("lines", ()), found.get("lights", ())
    return BoardRun(tuple(lines), tuple(lights), found.get("failure"))
