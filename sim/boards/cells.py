# SPDX-License-Identifier: Apache-2.0
"""Behavioural stand-ins for the vendors' cells in a board's top level, for simulation only."""

__all__ = ["CELLS"]

_PLL = """
module {name} #(
{parameters}
) (
{ports}
);
  // The clock comes through as it is; lock comes after some cycles.
  reg [4:0] count = 0;
  always @(posedge {clk}) if (!count[4]) count <= count + 1;
  assign {clock} = {clk};
  assign {lock} = count[4];
endmodule
"""


def _pll(name: str, parameters: str, inputs: str, clk: str, clock: str, lock: str) -> str:
    """Return a PLL that passes its clock on and locks; text parameters are wide enough for ours."""
    lines = [f"  parameter [127:0] {parameter} = 0" for parameter in parameters.split()]
    ports = [f"  input wire [31:0] {port}" for port in inputs.split()]
    ports += [f"  input wire {clk}", f"  output wire {clock}", f"  output wire {lock}"]
    return _PLL.format(
        name=name,
        parameters=",\n".join(lines),
        ports=",\n".join(ports),
        clk=clk,
        clock=clock,
        lock=lock,
    )


CELLS = {
    "ecp5": _pll(
        "EHXPLLL",
        "PLLRST_ENA INTFB_WAKE STDBY_ENABLE DPHASE_SOURCE FEEDBK_PATH CLKI_DIV CLKFB_DIV "
        "CLKOP_ENABLE CLKOP_DIV CLKOP_CPHASE CLKOP_FPHASE",
        "RST STDBY PHASESEL0 PHASESEL1 PHASEDIR PHASESTEP PHASELOADREG PLLWAKESYNC CLKFB ENCLKOP",
        "CLKI",
        "CLKOP",
        "LOCK",
    ),
    "ice40": _pll(
        "SB_PLL40_PAD",
        "FEEDBACK_PATH DIVR DIVF DIVQ FILTER_RANGE",
        "RESETB BYPASS",
        "PACKAGEPIN",
        "PLLOUTGLOBAL",
        "LOCK",
    ),
    "gowin": _pll(
        "rPLL",
        "FCLKIN DEVICE CLKFB_SEL IDIV_SEL FBDIV_SEL ODIV_SEL",
        "CLKFB RESET RESET_P FBDSEL IDSEL ODSEL PSDA DUTYDA FDLY",
        "CLKIN",
        "CLKOUT",
        "LOCK",
    ),
}
"""Verilog of the stand-ins by family."""
