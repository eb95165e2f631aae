# SPDX-License-Identifier: Apache-2.0
"""Small versions of the boards' designs: same generator, little data, short times."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import save_file
from xorloom.hw.boards.table import board_named
from xorloom.sim.boards.demos import BoardDemo, BoardTimes, board_verilog, compress_for, expected_of
from xorloom.sw.spec.config import WindowConfig

from tests.helpers.weights import clustered_weights

__all__ = ["DIVISOR", "SmallBoard", "small_board", "small_image"]

DIVISOR = 4
SMALL = WindowConfig(n_in=8, n_out=64, window=64, shared=32, bus_bits=32)
TIMES = BoardTimes(baud_divisor=DIVISOR, pause_cycles=100, reset_bits=4)
WEIGHTS = 64 * 64


@dataclass(frozen=True)
class SmallBoard:
    board: object
    text: str
    image: object
    expected: object


@lru_cache
def small_image(name, seed=1, shape=(64, 64)):
    demo = BoardDemo(board_named(name), SMALL, ("w",), crc_steps=4)
    with TemporaryDirectory(prefix="xorloom-") as folder:
        path = Path(folder) / "plain.safetensors"
        save_file({"w": clustered_weights(*shape, seed).astype(np.float32)}, path)
        out = Path(folder) / "out"  # nothing that is read lies in it
        out.mkdir()
        return compress_for(demo, path, out / "small.xl.safetensors")


@lru_cache
def small_board(name, flipped_bit=None):
    """A board whose block RAM, if it has one, holds an image with one bit wrong."""
    board, image = board_named(name), small_image(name)
    expected = expected_of(image)
    stored = image
    if flipped_bit is not None:
        data = bytearray(image.data)
        data[flipped_bit // 8] ^= 1 << flipped_bit % 8
        stored = replace(image, data=bytes(data))
    # Four words a bank: several banks, and all levels that choose between them.
    small = replace(board, bank_words=4) if board.bank_words else board
    text = board_verilog(small, stored, expected, crc_steps=4, times=TIMES)
    return SmallBoard(small, text, image, expected)
