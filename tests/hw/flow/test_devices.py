# SPDX-License-Identifier: Apache-2.0
"""What the cells of a netlist take of a device."""

import pytest
from xorloom.hw.flow.devices import CELLS, DEVICES, Resources


@pytest.mark.parametrize(
    ("family", "cells", "use"),
    [
        (
            "ecp5",
            {"LUT4": 10, "CCU2C": 3, "TRELLIS_FF": 7, "DP16KD": 2, "TRELLIS_DPR16X4": 2},
            Resources(lut=16, lut_ram=12, ff=7, ram=2),
        ),
        ("ecp5", {"DP16KD": 1, "PDPW16KD": 2, "PFUMX": 5}, Resources(lut=0, ff=0, ram=3)),
        (
            "ice40",
            {"SB_LUT4": 5, "SB_DFFESR": 2, "SB_DFF": 1, "SB_RAM40_4K": 1, "SB_CARRY": 9},
            Resources(lut=5, ff=3, ram=1),
        ),
        (
            "gowin",
            {"LUT1": 1, "LUT4": 2, "ALU": 3, "MUX2_LUT5": 9, "DFFRE": 4, "RAM16SDP4": 1},
            Resources(lut=6, lut_ram=4, ff=4, ram=0),
        ),
        ("gowin2a", {"SDPX9B": 5, "DPB": 1, "SP": 1, "pROM": 1}, Resources(lut=0, ff=0, ram=8)),
    ],
)
def test_cells_of_all_families_are_counted(family, cells, use):
    assert CELLS[family].use(cells) == use


def test_device_names_what_a_design_needs_too_much_of():
    device = DEVICES["ice40-up5k"]
    assert device.excess(Resources(lut=5280, ff=5280, ram=30)) == []
    use = Resources(lut=5200, lut_ram=100, ff=1, ram=31)
    assert device.excess(use) == [("LUT4", 5300, 5280), ("block RAMs", 31, 30)]
