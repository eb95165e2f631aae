# SPDX-License-Identifier: Apache-2.0
"""Checks that a design fits the device of a board, and an image its memory."""

from xorloom.hw.flow.devices import Resources
from xorloom.sw.base.errors import CapacityError

from .table import Board

__all__ = ["check_fit", "check_image"]


def check_fit(board: Board, use: Resources) -> None:
    """Check a design against the device of its board.

    Raises
    ------
    CapacityError
        If it needs more than there is: of what, and how much.
    """
    over = [
        f"{needs} {name} of {limit} ({needs - limit} too many)"
        for name, needs, limit in board.part.excess(use)
    ]
    if over:
        raise CapacityError(
            f"{board.name}: the design takes {', '.join(over)}: lower n_out, or store fewer tensors"
        )


def check_image(board: Board, image_bytes: int) -> None:
    """Check an image against the memory that is to hold it.

    Raises
    ------
    CapacityError
        If it is too large.
    """
    if board.flash_bytes:
        room, where = board.flash_bytes - board.flash_offset, "flash behind the bitstream"
    else:
        blocks = board.part.has.ram
        room, where = blocks * board.block_bits // 8, f"{blocks} block RAMs"
    if image_bytes > room:
        raise CapacityError(
            f"{board.name}: the image of {image_bytes} bytes is {image_bytes - room} bytes longer "
            f"than the {where} of {room} bytes: store fewer tensors"
        )
