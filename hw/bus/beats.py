# SPDX-License-Identifier: Apache-2.0
"""Output beats in hardware: codes and mask of a slice as ``tdata``, and which bytes are kept."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Value, ValueLike
from xorloom.sw.spec.layout import GROUP, BeatLayout, byte_units

__all__ = ["beat_data", "kept_bytes", "kept_groups"]


def kept_bytes(live: Sequence[ValueLike], unit_bits: int) -> Value:
    """Return ``tkeep`` of a beat of units; see :func:`xorloom.sw.spec.layout.byte_units`.

    Parameters
    ----------
    live : sequence of one-bit values
        Whether each unit holds weights: from the first on, and the first always.
    unit_bits : int
    """
    return Cat(live[unit] for unit in byte_units(unit_bits, len(live)))


def kept_groups(layout: BeatLayout, valid_bits: Value) -> Value:
    """Return ``tkeep`` of a packed beat: its groups with a weight, the first one always.

    Parameters
    ----------
    layout : BeatLayout
    valid_bits : Value
        How many code bits of the slice are valid, ``layout.planes`` for each weight.
    """
    firsts = [group * GROUP * layout.planes for group in range(1, layout.groups)]
    return kept_bytes([Const(1), *(valid_bits > first for first in firsts)], layout.group_bits)


def beat_data(layout: BeatLayout, codes: Value, mask: Value) -> Value:
    """Return ``tdata`` of a beat. Twin: ``sw.golden.output.beat_data``.

    Parameters
    ----------
    layout : BeatLayout
    codes : Value, ``layout.code_bits`` bits
        Codes or levels of the slice.
    mask : Value, ``layout.lanes`` bits
    """
    if not layout.packed:
        return Cat(codes, mask)
    parts: list[Value] = []
    for lane in range(0, layout.lanes, GROUP):
        weights = min(GROUP, layout.lanes - lane)
        absent = GROUP - weights
        parts += [
            codes[lane * layout.width : (lane + weights) * layout.width],
            Const(0, absent * layout.width),
            mask[lane : lane + weights],
            Const(0, absent),
        ]
    return Cat(parts)
