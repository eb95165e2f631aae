# SPDX-License-Identifier: Apache-2.0
"""Packets that a decoder must yield for its streams, and how a testbench is told of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.hw.lib.payloads import level_bits
from xorloom.sw.bits.framing import index_overhead
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.codecs import value_levels
from xorloom.sw.golden.output import beat_data, kept_groups, weight_output
from xorloom.sw.golden.weights import weight_decoder
from xorloom.sw.index.plane import decode_index
from xorloom.sw.memory.weight_stream import split_stream, split_weight_streams
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import GROUP, BeatLayout, WeightHeader, last_slice_bits
from xorloom.sw.spec.weight_format import WeightFormat, slice_weights
from xorloom.sw.tensors.orders import beats
from xorloom.sw.value.plane import ValueLayout, decode_value

__all__ = ["Packet", "beat_bytes_of", "ones", "packet_of", "packets_of", "whole_care"]

_GOLDEN_WEIGHTS = 1 << 14
"""Most weights of a stream that is checked against the golden model by default."""


def ones(bits: int) -> int:
    """Return a mask of so many low bits."""
    return (1 << bits) - 1


@dataclass(frozen=True)
class Packet:
    """Expected beats of one stream: an AXI4-Stream packet.

    Parameters
    ----------
    data : bytes
        All beats, each in whole bytes.
    weights : int
    care : int
        Bits that count in the last beat.
    user : int
        ``tuser`` of the last beat.
    keep : int
        ``tkeep`` of the last beat, if the decoder has one.
    """

    data: bytes
    weights: int
    care: int
    user: int = 0
    keep: int = 0

    def write(self, path: Path) -> dict[str, Any]:
        """Put the beats into a file; return what a testbench's job says of the packet."""
        path.write_bytes(self.data)
        return {
            "expected": str(path),
            "care": f"{self.care:x}",
            "user": self.user,
            "keep": f"{self.keep:x}",
            "weights": self.weights,
        }


def whole_care(layout: BeatLayout) -> int:
    """Return the bits of ``tdata`` that count in a beat of a whole slice."""
    return beat_data(layout, ones(layout.code_bits), ones(layout.lanes))


def beat_bytes_of(mask: np.ndarray, codes: np.ndarray, layout: BeatLayout) -> np.ndarray:
    """Return beats as rows of bytes, uint8 (slices, layout.bytes).

    Parameters
    ----------
    mask : (weights,), bool
    codes : (weights,), integers
        Codes, or levels in two's complement; put out as 0 where ``mask`` is not set.
    layout : BeatLayout
    """
    lanes, width = layout.lanes, layout.width
    values, masks = (beats(array, "row", lanes) for array in (np.where(mask, codes, 0), mask))
    size = (layout.groups * GROUP if layout.packed else lanes) - lanes
    values, masks = (np.pad(array, ((0, 0), (0, size))) for array in (values, masks))
    planes = np.stack([values >> plane & 1 for plane in range(width)], axis=-1).astype(np.uint8)
    count = len(values)
    parts = (planes.reshape(count, -1), masks.astype(np.uint8))
    if layout.packed:
        groups = [part.reshape(count, layout.groups, -1) for part in parts]
        bits = np.concatenate(groups, axis=2).reshape(count, -1)
    else:
        spare = layout.code_bits - lanes * width  # code bits of no lane
        bits = np.concatenate([parts[0], np.zeros((count, spare), np.uint8), parts[1]], axis=1)
    return np.packbits(bits, axis=1, bitorder="little")


def packet_of(
    data: bytes, form: WeightFormat, layout: BeatLayout, *, golden: bool | None = None
) -> tuple[Packet, int]:
    """Return the packet that one weight stream yields, and its payload bits.

    Parameters
    ----------
    data : bytes
    form : WeightFormat
    layout : BeatLayout
        Of the output.
    golden : bool, optional
        Whether the golden model makes it, which is slow, instead of the fast software decoder; by
        default that of up to 16 Ki weights.

    Raises
    ------
    FormatError
        If the stream is not for this decoder.
    """
    value, planes = form.value, form.planes
    count = WeightHeader.unpack(data, "stream").count
    weights = slice_weights(count, form)
    strings = split_stream(data, form)
    overhead = (index_overhead(s, value.bus_bytes, "stream") for s in strings)
    payload = 8 * sum(map(len, strings)) - sum(overhead)
    table = value_levels(value, bus_words(strings[0], value.bus_bits)) if layout.levels else None
    if golden if golden is not None else weights <= _GOLDEN_WEIGHTS:
        found = weight_output(layout, weight_decoder(form, data), table or ())
        expected = b"".join(beat.data.to_bytes(layout.bytes, "little") for beat in found)
    else:
        mask = decode_index(strings[1], (weights,), form.index, "row", 0, "index")
        order = ValueLayout("row", -(-weights // layout.lanes))
        codes = decode_value(strings[0], mask, planes, value, order, "values")
        means = codes if table is None else np.array(table)[codes] & 255
        expected = beat_bytes_of(mask, means, layout).tobytes()
    user = last_slice_bits(count, value.n_out)
    live = min(layout.lanes, -(-user // planes))
    care = beat_data(layout, ones(live * layout.width), ones(live))
    return Packet(expected, weights, care, user, kept_groups(layout, live)), payload


def packets_of(
    streams: Sequence[bytes],
    value: ValueConfig,
    indexes: Sequence[IndexConfig],
    layout: BeatLayout,
    *,
    golden: bool | None = None,
) -> tuple[list[Packet], int]:
    """Return the packets that an IP block must yield, and all payload bits.

    Parameters
    ----------
    streams : sequence of bytes
        Each one or several weight streams, back to back.
    value, indexes, layout, golden
        As in :func:`packet_of`; a stream's kind tells which index it has.

    Raises
    ------
    ConfigError
        If the value codec has no levels, and the layout has.
    FormatError
        If a stream is not for this decoder.
    """
    if layout.levels:
        level_bits(value)
    forms = {form.kind: form for form in (WeightFormat(value, layout.planes, i) for i in indexes)}
    packets, payload_bits = [], 0
    for data in streams:
        for part in split_weight_streams(data, value.bus_bytes):
            kind = WeightHeader.unpack(part, "stream").kind
            # A kind that is not built in: the format error names those that are.
            form = forms.get(kind, next(iter(forms.values())))
            packet, bits = packet_of(part, form, layout, golden=golden)
            packets.append(packet)
            payload_bits += bits
    return packets, payload_bits
