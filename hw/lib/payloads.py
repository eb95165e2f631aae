# SPDX-License-Identifier: Apache-2.0
"""Payload layouts of the streams between units."""

from amaranth.lib import data
from xorloom.sw.spec.config import BlockConfig, WindowConfig

__all__ = [
    "beat_layout",
    "descriptor_layout",
    "flip_layout",
    "group_layout",
    "lane_layout",
    "mask_layout",
    "packet_layout",
    "patch_grid",
    "patch_layout",
    "slice_layout",
    "weight_layout",
    "word_layout",
]


def patch_layout(n_out: int, patches_per_cycle: int) -> data.StructLayout:
    """Patches of one cycle, as positions.

    ``positions[k]`` is flipped if ``enable[k]``; ``last`` closes the slice.
    """
    position_bits = max(1, (n_out - 1).bit_length())
    return data.StructLayout(
        {
            "positions": data.ArrayLayout(position_bits, patches_per_cycle),
            "enable": patches_per_cycle,
            "last": 1,
        }
    )


def patch_grid(n_out: int) -> tuple[int, int]:
    """Rows and columns of the grid that a slice is seen as; columns are a power of two."""
    position_bits = max(1, (n_out - 1).bit_length())
    columns = 1 << (position_bits // 2)
    return -(-n_out // columns), columns


def flip_layout(n_out: int, patches_per_cycle: int) -> data.StructLayout:
    """Patches of one cycle as one-hot signals; a row is zero where there is no patch."""
    rows, columns = patch_grid(n_out)
    return data.StructLayout(
        {
            "rows": data.ArrayLayout(rows, patches_per_cycle),
            "columns": data.ArrayLayout(columns, patches_per_cycle),
            "last": 1,
        }
    )


def lane_layout() -> data.StructLayout:
    """Sideband of a lane: whether it holds a slice, and whether the stream ends with its group."""
    return data.StructLayout({"live": 1, "final": 1})


def beat_layout(config: BlockConfig) -> data.StructLayout:
    """What the parser hands to all lanes in one cycle.

    ``seeds`` are zero but in a group's first cycle. ``live[j]`` says that lane ``j`` holds a slice;
    ``final`` marks the last group of the stream.
    """
    position = data.ArrayLayout(config.position_bits, config.patches_per_cycle)
    return data.StructLayout(
        {
            "seeds": data.ArrayLayout(config.n_in, config.lanes),
            "positions": data.ArrayLayout(position, config.lanes),
            "enable": data.ArrayLayout(config.patches_per_cycle, config.lanes),
            "live": config.lanes,
            "last": 1,
            "final": 1,
        }
    )


def group_layout(config: BlockConfig) -> data.StructLayout:
    """One decoded group: ``lanes`` slices, which of them are live, and the stream's end."""
    return data.StructLayout(
        {
            "slices": data.ArrayLayout(config.n_out, config.lanes),
            "live": config.lanes,
            "final": 1,
        }
    )


def slice_layout(config: WindowConfig) -> data.StructLayout:
    """One slice of the window codec.

    ``valid_bits`` of its bits count, from bit 0 on: ``n_out``, fewer in the stream's last slice,
    which has ``last``.
    """
    return data.StructLayout(
        {"bits": config.n_out, "valid_bits": config.n_out.bit_length(), "last": 1}
    )


def mask_layout(n_out: int) -> data.StructLayout:
    """One beat of an index decoder; the stream's last beat has ``last``.

    What stands beyond the stream's count in the last mask has no meaning.
    """
    return data.StructLayout({"mask": n_out, "last": 1})


def weight_layout(config: WindowConfig, planes: int) -> data.StructLayout:
    """One slice of weights: plane ``b`` of lane ``l`` is bit ``l * planes + b`` of ``codes``.

    ``valid_bits`` of the codes count, as in :func:`slice_layout`, and the lanes they belong to. If
    ``bad``, the stream was given up: no bits count, and it is the last.
    """
    return data.StructLayout(
        {
            "codes": config.n_out,
            "mask": config.n_out // planes,
            "valid_bits": config.n_out.bit_length(),
            "last": 1,
            "bad": 1,
        }
    )


def word_layout(bus_bits: int) -> data.StructLayout:
    """A bus word out of memory.

    ``last`` closes what was asked for in one go; ``error`` is the bus's response, 0 if it is well
    (2 SLVERR, 3 DECERR).
    """
    return data.StructLayout({"data": bus_bits, "last": 1, "error": 2})


def packet_layout(bus_bits: int) -> data.StructLayout:
    """A bus word of a packet, that is, of one string of a memory stream.

    A packet opens with a ``mark`` that has the stream's count where a header's word has it, from
    bit 32 on (0 with 32 bits); the string's words follow, and another ``mark`` closes it.
    """
    return data.StructLayout({"data": bus_bits, "mark": 1})


def descriptor_layout(address_bits: int) -> data.StructLayout:
    """Where to read and how much, in bytes; ``length`` is whole bus words."""
    return data.StructLayout({"address": address_bits, "length": 32})
