# SPDX-License-Identifier: Apache-2.0
"""Payload layouts of the streams between units, and the words for what they carry."""

from amaranth.lib import data
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import BlockConfig, DecoderConfig, ValueConfig
from xorloom.sw.spec.direct import DirectConfig

__all__ = [
    "beat_layout",
    "chunk_layout",
    "descriptor_layout",
    "flip_layout",
    "group_layout",
    "label_layout",
    "lane_layout",
    "level_bits",
    "mask_layout",
    "packet_layout",
    "patch_grid",
    "patch_layout",
    "slice_layout",
    "weight_layout",
    "word_layout",
]


def patch_layout(n_out: int, patches_per_cycle: int) -> data.StructLayout:
    """Patches of one cycle as bit positions.

    The bit at ``positions[k]`` is flipped if ``enable[k]``; ``last`` closes the slice.
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
    """Return rows and columns of the near-square grid of a slice; columns are a power of two."""
    position_bits = max(1, (n_out - 1).bit_length())
    columns = 1 << (position_bits // 2)
    return -(-n_out // columns), columns


def flip_layout(n_out: int, patches_per_cycle: int) -> data.StructLayout:
    """Patches of one cycle as one-hot rows and columns; all rows are 0 where there is no patch."""
    rows, columns = patch_grid(n_out)
    return data.StructLayout(
        {
            "rows": data.ArrayLayout(rows, patches_per_cycle),
            "columns": data.ArrayLayout(columns, patches_per_cycle),
            "last": 1,
        }
    )


def lane_layout() -> data.StructLayout:
    """Sideband of a lane: ``live``, it holds a slice; ``final``, its group ends the stream."""
    return data.StructLayout({"live": 1, "final": 1})


def beat_layout(config: BlockConfig) -> data.StructLayout:
    """One beat of the block parser: what it hands to all lanes in one cycle.

    ``seeds`` is non-zero only in the first cycle of a group; ``last`` marks the last cycle of the
    group. ``live[j]`` says that lane ``j`` holds a slice; ``final`` marks the last group of the
    stream.
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
    """One decoded group: ``lanes`` slices; ``live`` says which exist, ``final`` ends the stream."""
    return data.StructLayout(
        {
            "slices": data.ArrayLayout(config.n_out, config.lanes),
            "live": config.lanes,
            "final": 1,
        }
    )


def slice_layout(config: ValueConfig, *, levels: bool = False) -> data.StructLayout:
    """One slice of a codec of slices.

    ``valid_bits`` code bits are valid, from bit 0 on: all ``n_out``, or fewer in the last slice of
    a stream, which is marked ``last``. With ``levels``, ``bits`` has the level of each weight, 8
    bits, in place of its code.
    """
    return data.StructLayout(
        {
            "bits": level_bits(config) if levels else config.n_out,
            "valid_bits": config.n_out.bit_length(),
            "last": 1,
        }
    )


def level_bits(config: DecoderConfig) -> int:
    """Return the bits of a slice of levels.

    Raises
    ------
    ConfigError
        If the codec has no levels.
    """
    if not isinstance(config, DirectConfig):
        raise ConfigError(f"only the direct value codec has levels, not {config.codec}")
    return 8 * config.lanes


def chunk_layout(config: DirectConfig) -> data.StructLayout:
    """One step of the direct codec: seed bits, and the tail of their slice.

    ``valid_bits`` counts only with ``last``.
    """
    return data.StructLayout(
        {"bits": config.n_in, "valid_bits": config.n_out.bit_length(), "last": 1}
    )


def mask_layout(n_out: int) -> data.StructLayout:
    """One beat of an index decoder: a mask; ``last`` marks the last beat of a stream.

    Bits of the last mask that lie beyond the count of the stream are undefined.
    """
    return data.StructLayout({"mask": n_out, "last": 1})


def weight_layout(config: ValueConfig, planes: int, *, levels: bool = False) -> data.StructLayout:
    """One beat of weights: plane ``b`` of lane ``l`` is bit ``l * planes + b`` of ``codes``.

    ``valid_bits`` code bits are valid, as in :func:`slice_layout`, where ``levels`` is told, and
    so are the mask bits of their lanes. ``bad`` says that the stream was given up: such a beat
    holds no valid bits and closes the packet.
    """
    return data.StructLayout(
        {
            "codes": level_bits(config) if levels else config.n_out,
            "mask": config.n_out // planes,
            "valid_bits": config.n_out.bit_length(),
            "last": 1,
            "bad": 1,
        }
    )


def word_layout(bus_bits: int) -> data.StructLayout:
    """A bus word read from memory.

    ``last`` marks the last word of one request; ``error`` is the response of the bus: 0 is OKAY,
    2 is SLVERR, 3 is DECERR.
    """
    return data.StructLayout({"data": bus_bits, "last": 1, "error": 2})


def packet_layout(bus_bits: int) -> data.StructLayout:
    """A bus word of a packet: one string of a memory stream between two marks.

    A packet opens with a word that has ``mark`` set and holds the count of the stream where a
    header holds it: from bit 32 on, or from bit 0 on a 32-bit bus. The words of the string follow,
    and another word with ``mark`` set closes the packet; its data are undefined.
    """
    return data.StructLayout({"data": bus_bits, "mark": 1})


def label_layout(bus_bits: int, codec_bits: int) -> data.StructLayout:
    """A word of a packet and where it goes: ``value``, ``index`` or, if it is a mark, both.

    ``closes`` says that it is a closing mark.
    """
    return data.StructLayout(
        {"data": bus_bits, "value": 1, "index": 1, "closes": 1, "codec": codec_bits}
    )


def descriptor_layout(address_bits: int) -> data.StructLayout:
    """A read request, in bytes; ``length`` is a whole number of bus words."""
    return data.StructLayout({"address": address_bits, "length": 32})
