# SPDX-License-Identifier: Apache-2.0
"""Bitstreams of boards: compress, image, Verilog, Yosys, nextpnr, pack, report."""

import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from xorloom.hw.boards.fit import check_fit
from xorloom.hw.boards.table import Board, board_named
from xorloom.hw.flow.place import FAMILIES, Placement, check_family, pack, place
from xorloom.hw.flow.tools import yosys
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.base.host import write_whole
from xorloom.sw.base.progress import Progress, no_progress

from .demos import DEMOS, board_verilog, compress_for, expected_of, top_name

__all__ = ["BUILDABLE", "BoardReport", "build_board", "build_boards", "constraints_of"]

BUILDABLE = tuple(name for name, demo in DEMOS.items() if demo.board.family in FAMILIES)
"""Boards whose bitstreams the Python packages make."""
_SUFFIXES = {"ecp5": ".bit", "ice40": ".bin", "gowin": ".fs"}

_ARGUMENTS = {"ecp5": ("--router=router2",)}
"""Arguments of nextpnr: on wide registers, ECP5's default router takes several times as long."""


@dataclass(frozen=True)
class BoardReport:
    """Report on a bitstream and what is in it.

    ``lut``, ``ff`` and ``bram`` are (used, available) by Yosys' cells; ``seeds`` are Fmax in MHz by
    placement seed, of which the last is in the bitstream.
    """

    board: str
    title: str
    weights: int
    image_bytes: int
    crc: str
    lut: tuple[int, int]
    ff: tuple[int, int]
    bram: tuple[int, int]
    clock_mhz: float
    fmax_mhz: float
    seeds: dict[int, float]
    seconds: float
    bitstream: str
    image: str

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return asdict(self)


def constraints_of(board: Board) -> Path:
    """Return a board's file of pins.

    Raises
    ------
    ConfigError
        If it is not there: it comes with the sources, not with the wheel.
    """
    path = Path(__file__).resolve().parents[2] / "constraints" / board.pins
    if not path.is_file():
        raise ConfigError(f"{path} is missing: bitstreams are built from a checkout of the sources")
    return path


def _place(
    board: Board, netlist: Path, folder: Path, seeds: int, progress: Progress
) -> tuple[Path, dict[int, float]]:
    """Try placement seeds until the clock is reached."""
    found: dict[int, float] = {}
    routed = folder / f"{board.name}.routed"
    for seed in range(1, seeds + 1):
        placement: Placement = place(
            netlist,
            board.family,
            board.nextpnr,
            seed=seed,
            constraints=constraints_of(board),
            freq_mhz=board.clock_mhz,
            output=routed,
            arguments=_ARGUMENTS.get(board.family, ()),
            log=folder / f"nextpnr-{seed}.log",
        )
        found[seed] = round(placement.slowest_mhz, 2)
        verdict = "met" if placement.slowest_mhz >= board.clock_mhz else "missed"
        progress(
            "nextpnr",
            f"seed {seed}: {placement.slowest_mhz:.1f} MHz, {board.clock_mhz:g} MHz {verdict}",
        )
        if verdict == "met":
            return routed, found
    raise CapacityError(
        f"{board.name}: the clock reaches {max(found.values()):.1f} MHz of {board.clock_mhz:g} "
        f"with the best of {seeds} seeds: try more --seeds, or change its PLL in "
        f"hw/boards/table.py (logs: {folder})"
    )


def _buildable(name: str) -> Board:
    """Return a board by name; bitstreams can be made for it."""
    board = board_named(name)
    if name not in BUILDABLE:
        raise ConfigError(
            f"bitstreams are made for {', '.join(BUILDABLE)}; {name} is there as sources only: "
            "use --sources"
        )
    check_family(board.family)
    return board


def build_board(
    name: str,
    model: Path,
    output: Path,
    *,
    seeds: int = 8,
    progress: Progress = no_progress,
) -> BoardReport:
    """Build one board's bitstream into ``output / name``.

    Parameters
    ----------
    name : str
        One of :data:`BUILDABLE`.
    model : Path
        Checkpoint with the tensors of the board's demonstration.
    output : Path
    seeds : int
        Most placement seeds that are tried.
    progress : callable
        Called after every step.

    Raises
    ------
    ConfigError
        If there is no such board, or no bitstreams for it.
    CapacityError
        If the design does not fit, or misses the clock; tells by how much.
    ToolError
        If a tool fails; names the log.
    """
    board = _buildable(name)
    start = time.perf_counter()
    demo, folder, top = DEMOS[name], output / name, top_name(board)
    folder.mkdir(parents=True, exist_ok=True)
    image = compress_for(demo, model, folder / "weights.xl.safetensors")
    expected = expected_of(image)
    progress("image", f"{expected.weights:,} weights in {len(image.data):,} bytes")
    image_file = folder / "weights.bin"
    write_whole(image_file, image.data)
    text = board_verilog(board, image, expected, crc_steps=demo.crc_steps)
    write_whole(folder / f"{top}.v", text)
    progress("Verilog", f"{top}.v")
    # Yosys runs in its log's folder.
    recipe = f"{board.part.cells.recipe} -top {top} -json netlist.json"
    passes = [f"read_verilog {top}.v", recipe, "tee -q -o stat.json stat -json"]
    yosys(passes, folder / "yosys.log")
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    use, has = board.part.cells.use(cells), board.part.has
    area = f"{use.lut_total:,} LUT4, {use.ff:,} flip-flops, {use.ram} block RAMs"
    progress("Yosys", area)
    check_fit(board, use)
    routed, found = _place(board, folder / "netlist.json", folder, seeds, progress)
    bitstream = folder / f"{name}{_SUFFIXES[board.family]}"
    pack(routed, board.family, bitstream, device=board.packer_device)
    report = BoardReport(
        board=name,
        title=board.title,
        weights=expected.weights,
        image_bytes=len(image.data),
        crc=f"{expected.crc:08x}",
        lut=(use.lut_total, has.lut),
        ff=(use.ff, has.ff),
        bram=(use.ram, has.ram),
        clock_mhz=board.clock_mhz,
        fmax_mhz=found[max(found)],
        seeds=found,
        seconds=round(time.perf_counter() - start, 1),
        bitstream=str(bitstream),
        image=str(image_file) if board.flash_bytes else "",
    )
    text = json.dumps(report.to_dict(), indent=2) + "\n"
    write_whole(folder / "report.json", text)
    progress("bitstream", f"{bitstream} after {report.seconds:.0f} s")
    return report


def _told(name: str, model: Path, output: Path, seeds: int, quiet: bool) -> BoardReport:
    """Build in a process of its own; steps go to stderr."""
    import sys

    def progress(stage: str, what: str) -> None:
        if not quiet:
            print(f"{name}: {stage}: {what}", file=sys.stderr, flush=True)

    return build_board(name, model, output, seeds=seeds, progress=progress)


def build_boards(
    names: list[str],
    model: Path,
    output: Path,
    *,
    seeds: int = 8,
    jobs: int = 2,
    quiet: bool = False,
) -> list[BoardReport]:
    """Build several boards side by side; parameters and errors as in :func:`build_board`.

    If one fails, the others are finished before the error is raised.
    """
    for name in names:
        _buildable(name)
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        runs = [pool.submit(_told, name, model, output, seeds, quiet) for name in names]
        return [run.result() for run in runs]
