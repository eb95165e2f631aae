# SPDX-License-Identifier: Apache-2.0
"""Harness around a netlist: it has the right cells and removes nothing from the design."""

import json
from pathlib import Path
from typing import Any

import pytest
from xorloom.hw.flow.harness import wrap
from xorloom.hw.flow.tools import yosys
from xorloom.sw.base.errors import ConfigError

TEXT = """
module top(input clk, input [2:0] a, output reg [4:0] y);
  always @(posedge clk) y <= {^a, a[0], a[1], a};
endmodule
"""
CELLS = """
module SB_DFF(input C, input D, output reg Q); always @(posedge C) Q <= D; endmodule
module SB_LUT4(input I0, input I1, input I2, input I3, output O);
  parameter [15:0] LUT_INIT = 0;
  assign O = LUT_INIT[{I3, I2, I1, I0}];
endmodule
"""


def netlist(folder: Path, text: str, passes: str = "synth_ice40 -top top") -> dict[str, Any]:
    (folder / "top.v").write_text(text)
    yosys(["read_verilog top.v", f"{passes} -json top.json"], folder / "yosys.log")
    return dict(json.loads((folder / "top.json").read_text()))


@pytest.mark.synth
def test_wrap_is_the_design_between_registers(tmp_path: Path) -> None:
    design = netlist(tmp_path, TEXT)
    whole = wrap(design, "top", "ice40")
    (tmp_path / "whole.json").write_text(json.dumps(whole))
    # The same in Verilog, by hand: 3 stages, 5 registers, XORs of 4 and 1, XOR of 2.
    (tmp_path / "gold.v").write_text(
        TEXT
        + """
module harness(input clk, input din, output dout);
  reg [2:0] i; wire [4:0] y; reg [4:0] o; reg [1:0] p; reg q;
  top t(.clk(clk), .a(i), .y(y));
  always @(posedge clk) begin
    i <= {i, din}; o <= y; p <= {o[4], ^o[3:0]}; q <= ^p;
  end
  assign dout = q;
endmodule
"""
    )
    (tmp_path / "cells.v").write_text(CELLS)
    passes = [
        "read_json whole.json",
        "read_verilog cells.v",
        "prep -flatten -top harness",
        "rename harness gate",
        "design -stash gate",
        "read_verilog gold.v",
        "prep -flatten -top harness",
        "rename harness gold",
        "design -copy-from gate -as gate gate",
        "miter -equiv -flatten -make_outputs gold gate miter",
        # Seven stages from end to end and no loops: after them, inputs alone decide.
        "sat -verify -prove trigger 0 -seq 10 -prove-skip 9 miter",
    ]
    yosys(passes, tmp_path / "proof.log")
    assert "no model found: SUCCESS!" in (tmp_path / "proof.log").read_text()


@pytest.mark.synth
def test_wrap_keeps_every_cell_of_the_design(tmp_path: Path) -> None:
    design = netlist(tmp_path, TEXT)
    cells = wrap(design, "top", "ice40")["modules"]["harness"]["cells"]
    own = design["modules"]["top"]["cells"]
    assert {name: cells[name] for name in own} == own
    added = [cell["type"] for name, cell in cells.items() if name not in own]
    assert (added.count("SB_DFF"), added.count("SB_LUT4")) == (3 + 5 + 2 + 1, 3)


@pytest.mark.synth
def test_wrap_refuses_two_clocks_and_no_outputs(tmp_path: Path) -> None:
    two = "module top(input clk, input aclk, output reg y); always @(posedge clk) y <= aclk;"
    with pytest.raises(ConfigError, match="a harness has one clock, not clk and aclk"):
        wrap(netlist(tmp_path, f"{two} endmodule"), "top", "ice40")
    constant = "module top(input clk, output y); assign y = 1; endmodule"
    with pytest.raises(ConfigError, match="top has no outputs that change"):
        wrap(netlist(tmp_path, constant), "top", "ice40")
