# SPDX-License-Identifier: Apache-2.0
"""Whether a board's design fits its device, by the cells that Yosys leaves."""

from collections.abc import Mapping

from xorloom.sw.base.errors import CapacityError

from .table import Board

__all__ = ["FAMILY_PASSES", "cell_use", "check_fit", "check_image"]

FAMILY_PASSES = {
    # XOR trees grow with wide-function multiplexers, so they are off where that can be said.
    "ecp5": "synth_ecp5 -nowidelut -top {top} -json {netlist}",
    "ice40": "synth_ice40 -top {top} -json {netlist}",
    "gowin": "synth_gowin -nowidelut -top {top} -json {netlist}",
}
"""Yosys' synthesis of a whole top level, by family."""
_CELLS = {
    "ecp5": {
        "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        "ff": {"TRELLIS_FF": 1},
        "bram": {"DP16KD": 1, "PDPW16KD": 1},
    },
    "ice40": {"lut": {"SB_LUT4": 1}, "ff": {"SB_DFF": 1}, "bram": {"SB_RAM40_4K": 1}},
    "gowin": {
        "lut": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
        "ff": {"DFF": 1},
        "bram": {"SDP": 1, "SP": 1, "DP": 1, "pROM": 1},
    },
}
"""What a cell takes; a name stands for all that begin with it, but for the LUTs."""
_TITLES = {"lut": "LUT4", "ff": "flip-flops", "bram": "block RAMs"}


def cell_use(cells: Mapping[str, int], family: str) -> dict[str, int]:
    """Return how many LUT4, flip-flops and block RAMs the cells of a netlist take."""

    def weight(cell: str, costs: Mapping[str, int]) -> int:
        exact = costs.get(cell)
        if exact is not None:
            return exact
        return next((n for name, n in costs.items() if cell.startswith(name)), 0)

    return {
        what: sum(count * weight(cell, costs) for cell, count in cells.items())
        for what, costs in _CELLS[family].items()
    }


def check_fit(board: Board, use: Mapping[str, int]) -> None:
    """Check a design against its device.

    Raises
    ------
    CapacityError
        If it takes more than there is: of what, and how much.
    """
    over = [
        f"{use[what]} {_TITLES[what]} of {limit} ({use[what] - limit} too many)"
        for what, limit in board.limits.items()
        if use[what] > limit
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
        If it is too long.
    """
    if board.flash_bytes:
        room, where = board.flash_bytes - board.flash_offset, "flash behind the bitstream"
    else:
        blocks = board.limits["bram"]
        room, where = blocks * board.block_bits // 8, f"{blocks} block RAMs"
    if image_bytes > room:
        raise CapacityError(
            f"{board.name}: the image of {image_bytes} bytes is {image_bytes - room} bytes longer "
            f"than the {where} of {room} bytes: store fewer tensors"
        )
