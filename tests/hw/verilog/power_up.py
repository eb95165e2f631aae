# SPDX-License-Identifier: Apache-2.0
"""Bench in Verilog for four-state simulators: everything is X, then two clocks of reset.

Before the reset the clock runs while all inputs are X. After it, no register that the reset reaches
may be X again, though the data of every input are X whenever they are not valid.
"""

import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path

from xorloom.hw.ip.csr import MAP, REGISTERS

from tests.helpers.netlist import Netlist

__all__ = ["run_from_x"]

_BENCH = """\
`timescale 1ns/1ns
module bench;
  reg aclk = 0, checks = 0, runs = 0, took = 0;
  integer lasts = 0, clock = 0, at = 0, burst_left = 0, seed = 1;
  always #5 aclk = ~aclk;
{signals}
  \\{top}  dut ({ports});
  reg [{bits}-1:0] contents [0:{words}-1];
  initial $readmemh("words.hex", contents);
  reg [{checks}-1:0] seen = 0;
  always @(negedge aclk) if (checks) begin
{known}
  end
{tasks}
  initial begin
    repeat (8) @(negedge aclk);
{quiet}
    aresetn = 0;
    repeat (2) @(negedge aclk);
    aresetn = 1;
    checks = 1;
    repeat (20) @(negedge aclk);
    runs = 1;
{starts}
    while (lasts < {streams}) @(negedge aclk);
    repeat (20) @(negedge aclk);
{reads}
    $display("%0d of {streams} streams came out", lasts);
    $finish;
  end
  always @(negedge aclk) if (runs) m_axis_tready = $random(seed) % 4 != 0;
  always @(posedge aclk) if (checks) begin
    clock = clock + 1;
    if (m_axis_tvalid && m_axis_tready && m_axis_tlast) lasts = lasts + 1;
    if (clock == 100000) begin
      $display("%0d of {streams} streams came out", lasts);
      $finish;
    end
  end
endmodule
"""
_STREAM = """\
  always @(posedge aclk) if (checks) begin
    took = s_axis_tvalid && s_axis_tready;
    if (took) at = at + 1;
  end
  always @(negedge aclk) if (runs) begin
    s_axis_tvalid = at < {words} && (s_axis_tvalid && !took || $random(seed) % 4 != 0);
    s_axis_tdata = s_axis_tvalid ? contents[at] : {bits}'bx;
    s_axis_tlast = s_axis_tvalid ? at == {words} - 1 : 1'bx;
  end
"""
_MEMORY = """\
  always @(posedge aclk) if (checks) begin
    took = m_axi_rvalid && m_axi_rready;
    if (took) begin
      at = at + 1;
      burst_left = burst_left - 1;
    end
    if (m_axi_arvalid && m_axi_arready) begin
      at = m_axi_araddr * 8 / {bits};
      burst_left = m_axi_arlen + 1;
    end
  end
  always @(negedge aclk) if (runs) begin
    m_axi_arready = burst_left == 0;
    m_axi_rvalid = burst_left != 0 && (m_axi_rvalid && !took || $random(seed) % 4 != 0);
    m_axi_rdata = m_axi_rvalid ? contents[at] : {bits}'bx;
    m_axi_rresp = m_axi_rvalid ? 2'b00 : 2'bxx;
    m_axi_rid = m_axi_rvalid ? 1'b0 : 1'bx;
    m_axi_rlast = m_axi_rvalid ? burst_left == 1 : 1'bx;
  end
"""
_REGISTERS = """\
  task put(input [7:0] offset, input [31:0] data);
    begin
      s_axil_awaddr = offset; s_axil_wdata = data; s_axil_wstrb = 15; s_axil_awprot = 0;
      s_axil_awvalid = 1; s_axil_wvalid = 1; s_axil_bready = 1;
      @(negedge aclk);  // both were ready: no other write is under way
      s_axil_awvalid = 0; s_axil_wvalid = 0;
      s_axil_awaddr = 'bx; s_axil_wdata = 'bx; s_axil_wstrb = 'bx; s_axil_awprot = 'bx;
      while (!s_axil_bvalid) @(negedge aclk);
      @(negedge aclk);
    end
  endtask
  task get(input [7:0] offset);
    begin
      s_axil_araddr = offset; s_axil_arprot = 0; s_axil_arvalid = 1; s_axil_rready = 1;
      @(negedge aclk);
      s_axil_arvalid = 0; s_axil_araddr = 'bx; s_axil_arprot = 'bx;
      while (!s_axil_rvalid) @(negedge aclk);
      @(negedge aclk);
    end
  endtask
"""
_PULSE = """\
  task put(input [31:0] from, input [31:0] bytes);
    begin
      address = from; length = bytes; start = 1;
      @(negedge aclk);
      address = 'bx; length = 'bx; start = 0;
    end
  endtask
"""


def _starts(ports: dict[str, tuple[str, int]], streams: Sequence[bytes]) -> list[str]:
    """Return the statements that make the unit read the streams, which lie one behind another."""
    sizes = [len(stream) for stream in streams]
    if "start" in ports:
        places = itertools.accumulate(sizes[:-1], initial=0)
        return [f"put({at}, {size});" for at, size in zip(places, sizes, strict=True)]
    if "m_axi_araddr" not in ports:
        return []
    # Two descriptors, which fit in any queue.
    pairs = [(0, sizes[0]), (sizes[0], sum(sizes[1:]))]
    names = ("ADDRESS_LO", "LENGTH", "CONTROL")
    return [
        f"put({MAP[name].offset}, {value});"
        for at, size in pairs
        for name, value in zip(names, (at, size, 1), strict=True)
    ]


def run_from_x(netlist: Netlist, top: str, streams: Sequence[bytes], folder: Path) -> str:
    """Return what the bench says of a unit that decodes streams after X: ``PASS``, or a fault.

    Parameters
    ----------
    netlist : Netlist
        Of exported Verilog, which lies as ``netlist.v`` in ``folder``; its ports are AXI4-Stream
        and AXI4.
    top : str
    streams : sequence of bytes
        The unit must end as many packets.
    folder : Path
        For the files of Icarus.
    """
    ports = netlist.ports
    inputs = {name: bits for name, (way, bits) in ports.items() if way == "input"}
    outputs = [name for name, (way, _) in ports.items() if way == "output"]
    memory = "m_axi_rdata" in ports
    bits = inputs["m_axi_rdata" if memory else "s_axis_tdata"]
    data, size = b"".join(streams), bits // 8
    words = [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
    (folder / "words.hex").write_text("\n".join(f"{word:x}" for word in words))
    control = _PULSE if "start" in ports else _REGISTERS if "s_axil_wdata" in ports else ""
    registers = netlist.names(netlist.known_after_reset(1))
    assert registers
    known = {f"dut.{path}": "1" for path in registers}
    known |= {name: "1" for name in outputs if name.endswith(("valid", "ready", "irq"))}
    known |= {name: "m_axis_tvalid" for name in outputs if name in ("m_axis_tlast", "m_axis_tuser")}
    known |= {"m_axis_tdata": "m_axis_tvalid && !m_axis_tlast"}
    known |= {"s_axil_rdata": "s_axil_rvalid"} if "s_axil_rdata" in outputs else {}
    quiet = [name for name in inputs if name.endswith(("valid", "ready")) or name == "start"]
    fields = {
        "top": top,
        "bits": bits,
        "words": len(words),
        "checks": len(known),
        "streams": len(streams),
        "ports": ", ".join(f".{name}({name})" for name in ports),
        "signals": [
            f"reg [{bits - 1}:0] {name};" for name, bits in inputs.items() if name != "aclk"
        ]
        + [f"wire [{ports[name][1] - 1}:0] {name};" for name in outputs],
        "known": [
            f"if (!seen[{n}] && {when} && ^{what} === 1'bx) begin seen[{n}] = 1; "
            f'$display("clock %0d: X in {what.replace(chr(92), "")}", clock); end'
            for n, (what, when) in enumerate(known.items())
        ],
        "quiet": [f"{name} = 0;" for name in quiet],
        "starts": _starts(ports, streams),
        "reads": [f"get({r.offset});" for r in REGISTERS] if control is _REGISTERS else [],
    }
    fields = {
        name: "\n".join(f"    {line}" for line in value) if isinstance(value, list) else value
        for name, value in fields.items()
    }
    tasks = control + (_MEMORY if memory else _STREAM).format(**fields)
    (folder / "bench.v").write_text(_BENCH.format(tasks=tasks, **fields))
    build = ["iverilog", "-g2005-sv", "-o", "bench.vvp", "-s", "bench", "bench.v", "netlist.v"]
    subprocess.run(build, cwd=folder, check=True)
    done = subprocess.run(
        ["vvp", "-n", "bench.vvp"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
