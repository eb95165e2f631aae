# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the outputs: what a beat of weights looks like on AXI4-Stream."""

from collections.abc import Sequence
from dataclasses import dataclass

from xorloom.sw.spec.layout import GROUP, BeatLayout

from .weights import WeightBeat

__all__ = ["OutputBeat", "beat_data", "kept_bytes", "kept_groups", "leveled", "weight_output"]


@dataclass(frozen=True)
class OutputBeat:
    """Beat of ``m_axis`` of an IP block.

    Parameters
    ----------
    data : int
        ``tdata``.
    care : int
        Its bits that mean something; those of lanes without a weight do not.
    keep : int
        ``tkeep``; all ones if the layout has none.
    user : int
        ``tuser``.
    last : bool
        ``tlast``.
    """

    data: int
    care: int
    keep: int
    user: int
    last: bool


def kept_bytes(unit_bits: int, live: int) -> int:
    """Twin of ``hw.bus.beats.kept_bytes``: ``tkeep`` of a beat whose first units are live."""
    return (1 << -(-live * unit_bits // 8)) - 1


def kept_groups(layout: BeatLayout, weights: int) -> int:
    """Twin of ``hw.bus.beats.kept_groups``: ``tkeep`` of a beat with so many weights.

    A planar beat has no ``tkeep``: all its bytes count as kept.
    """
    if not layout.packed:
        return kept_bytes(8, layout.bytes)
    return kept_bytes(layout.group_bits, max(1, -(-weights // GROUP)))


def beat_data(layout: BeatLayout, codes: int, mask: int) -> int:
    """Twin of ``hw.bus.beats.beat_data``: put codes (or levels) and mask into ``tdata``."""
    width = layout.width
    data = 0
    for lane in range(layout.lanes):
        code = codes >> lane * width & ((1 << width) - 1)
        bit = mask >> lane & 1
        if layout.packed:
            group, place = divmod(lane, GROUP)
            low = group * layout.group_bits
            data |= code << low + place * width | bit << low + 8 * width + place
        else:
            data |= code << lane * width | bit << layout.code_bits + lane
    return data


def leveled(codes: int, planes: int, weights: int, levels: Sequence[int]) -> int:
    """Return the levels of so many codes of ``planes`` bits: 8 bits each, two's complement."""
    found = 0
    for lane in range(weights):
        code = codes >> lane * planes & ((1 << planes) - 1)
        found |= (levels[code] & 255) << 8 * lane
    return found


def weight_output(
    layout: BeatLayout, beats: Sequence[WeightBeat], levels: Sequence[int] = ()
) -> list[OutputBeat]:
    """Twin of ``hw.ip.top``: the output of one weight stream.

    ``levels`` are what its codes mean, if levels are put out.
    """
    found = []
    for beat in beats:
        live = min(layout.lanes, -(-beat.valid_bits // layout.planes))
        codes = beat.codes
        if layout.levels:
            codes = leveled(codes, layout.planes, live, levels)
        found.append(
            OutputBeat(
                data=beat_data(layout, codes, beat.mask),
                care=beat_data(layout, (1 << live * layout.width) - 1, (1 << live) - 1),
                keep=kept_groups(layout, live),
                user=beat.valid_bits,
                last=beat.last,
            )
        )
    return found
