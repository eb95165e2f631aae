# SPDX-License-Identifier: Apache-2.0
"""Sources of a board's demonstration, for tools that are not run here, such as Vivado."""

from pathlib import Path

from xorloom.hw.boards.table import board_named
from xorloom.sw.base.host import write_all

from .demos import DEMOS, board_verilog, compress_for, expected_of, top_name

__all__ = ["write_sources"]


def write_sources(name: str, model: Path, output: Path) -> tuple[Path, ...]:
    """Write a board's Verilog and image into ``output / name``; each appears whole or not at all.

    Parameters
    ----------
    name : str
        One of :data:`xorloom.hw.boards.table.BOARDS`.
    model : Path
        Checkpoint with the tensors of the board's demonstration.
    output : Path

    Raises
    ------
    ConfigError
        If there is no such board.
    CapacityError
        If the image is too long for it.
    """
    board = board_named(name)
    demo, folder = DEMOS[name], output / name
    folder.mkdir(parents=True, exist_ok=True)
    image = compress_for(demo, model, folder / "weights.xl.safetensors")
    text = board_verilog(board, image, expected_of(image), crc_steps=demo.crc_steps)
    verilog, weights = folder / f"{top_name(board)}.v", folder / "weights.bin"
    write_all({verilog: text, weights: image.data})
    return verilog, weights
