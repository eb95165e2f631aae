# SPDX-License-Identifier: Apache-2.0
"""Output beats: the golden model against bytes made by hand, the rule, and the fast layout."""

from itertools import product

import numpy as np
import pytest
from xorloom.sim.simulate.packets import beat_bytes_of
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.golden.output import beat_data, kept_bytes, kept_groups, weight_output
from xorloom.sw.golden.weights import WeightBeat
from xorloom.sw.spec.layout import BEATS, BeatLayout, byte_units

LAYOUTS = [
    BeatLayout(n_out, planes, levels, form)
    for (n_out, planes), levels, form in product(
        [(64, 1), (128, 2), (192, 3), (63, 3), (60, 3), (512, 3), (5, 1), (40, 8)],
        (False, True),
        BEATS,
    )
]


def kept(layout: BeatLayout, *beats: WeightBeat, levels: tuple[int, ...] = ()) -> bytes:
    """Return the bytes that a DMA engine stores of a packet."""
    stored = b""
    for beat in weight_output(layout, beats, levels):
        data = (beat.data & beat.care).to_bytes(layout.bytes, "little")
        stored += bytes(byte for at, byte in enumerate(data) if beat.keep >> at & 1)
    return stored


def test_packed_beats_of_one_bit_are_codes_and_masks_by_turns() -> None:
    layout = BeatLayout(32, 1)
    beats = (
        WeightBeat(0x44332211, 0xFFEEDDCC, 32, False),
        WeightBeat(0xFFFFFF9A, 0xFFFFFFB7, 9, True),  # the ninth weight is kept, its code 1
    )
    assert kept(layout, *beats) == bytes.fromhex("11cc 22dd 33ee 44ff 9ab7 0101")


def test_packed_beats_of_three_bits_have_three_bytes_of_codes() -> None:
    layout = BeatLayout(48, 3)
    codes = 0
    for lane in range(16):
        codes |= (lane % 8) << 3 * lane
    # Codes 0 to 7: 24 bits, lowest lane lowest, are 0b111_110_101_100_011_010_001_000.
    run = 0b111_110_101_100_011_010_001_000.to_bytes(3, "little")
    assert kept(layout, WeightBeat(codes, 0x5AA5, 48, True)) == run + b"\xa5" + run + b"\x5a"
    assert kept(layout, WeightBeat(codes, 0x5AA5, 9, True)) == bytes([0b10001000, 0, 0, 0b101])


def test_packed_levels_have_a_byte_for_each_weight() -> None:
    layout = BeatLayout(20, 2, levels=True)
    assert layout.bytes == 18
    stored = kept(
        layout, WeightBeat(0b11_10_01_00_11, 0b11011, 10, True), levels=(-128, -1, 3, 127)
    )
    assert stored == bytes([127, 0x80, 0xFF, 3, 127, 0, 0, 0, 0b11011])


def test_planar_beats_are_whole() -> None:
    layout = BeatLayout(24, 2, form="planar")
    beat = WeightBeat(0x654321, 0xABC, 24, False)
    assert kept(layout, beat) == bytes.fromhex("214365 bc0a 00")[:5]
    assert kept(layout, WeightBeat(0xFFFFFF, 0xFFF, 6, True)) == bytes.fromhex("3f0000 0700")


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_kept_bytes_are_contiguous_at_least_one_and_hold_all_that_counts(
    layout: BeatLayout,
) -> None:
    for weights in range(1, layout.lanes + 1):
        valid = layout.n_out if weights == layout.lanes else weights * layout.planes
        (beat,) = weight_output(layout, [WeightBeat(0, 0, valid, True)], [0] * 256)
        kept_count = beat.keep.bit_count()
        assert beat.keep == (1 << kept_count) - 1 > 0
        assert beat.care < 1 << 8 * kept_count, "bits that count in bytes that are not kept"
        assert beat.care.bit_count() == weights * (layout.width + 1)
        if layout.packed and kept_count > layout.width + 1:
            last = (1 << layout.group_bits) - 1 << 8 * kept_count - layout.group_bits
            assert beat.care & last, "a group without a weight is kept"
    assert kept_groups(layout, layout.lanes) == (1 << layout.bytes) - 1
    assert kept_groups(layout, 0) > 0


def test_a_byte_belongs_to_the_unit_of_its_lowest_bit() -> None:
    assert byte_units(16, 3) == (0, 0, 1, 1, 2, 2)
    assert byte_units(41, 2) == (0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1)
    assert byte_units(3, 4) == (0, 2)
    for unit, units in product((1, 3, 8, 12, 41), (1, 2, 5)):
        for live in range(units + 1):
            mask = sum((of < live) << byte for byte, of in enumerate(byte_units(unit, units)))
            assert mask == kept_bytes(unit, live)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_fast_layout_equals_the_golden_model(layout: BeatLayout) -> None:
    rng = np.random.default_rng(1)
    size = 2 * layout.lanes + max(1, layout.lanes // 3)
    mask = rng.random(size) < 0.6
    codes = np.where(mask, rng.integers(0, 1 << layout.width, size), 0)
    rows = []
    for at in range(0, size, layout.lanes):
        part = slice(at, at + layout.lanes)
        bits = sum(int(code) << layout.width * k for k, code in enumerate(codes[part]))
        gate = sum(int(bit) << k for k, bit in enumerate(mask[part]))
        rows.append(beat_data(layout, bits, gate).to_bytes(layout.bytes, "little"))
    assert beat_bytes_of(mask, codes, layout).tobytes() == b"".join(rows)
    assert beat_bytes_of(mask, codes + (~mask), layout).tobytes() == b"".join(rows)


def test_layout_refuses_another_form() -> None:
    with pytest.raises(ConfigError, match="beats must be packed or planar, not 'wide'"):
        BeatLayout(64, 1, form="wide")
