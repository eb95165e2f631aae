# SPDX-License-Identifier: Apache-2.0
"""Place and route of four families on a hand-made design, packing, errors that name a log."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from xorloom.hw.flow.harness import wrap
from xorloom.hw.flow.place import FAMILIES, Placement, Use, pack, place
from xorloom.hw.flow.tools import yosys
from xorloom.sw.base.errors import ConfigError, ToolError

TEXT = """
module top(input clk, input [5:0] a, output reg [8:0] y);
  reg [5:0] b;
  always @(posedge clk) begin b <= a; y <= {b[0], b[1], b[2], b} ^ {3'b0, {6{^b}}}; end
endmodule
"""


@dataclass(frozen=True)
class Board:
    """What a family needs to be placed."""

    passes: str
    device: tuple[str, ...]
    pins: str | None
    flops: str
    gowin: str = ""


BOARDS = {
    "ecp5": Board(
        "synth_ecp5",
        ("--25k", "--package", "CABGA256", "--speed", "6", "--lpf-allow-unconstrained"),
        'LOCATE COMP "din" SITE "A2";\nIOBUF PORT "din" IO_TYPE=LVCMOS33;\n',
        "TRELLIS_FF",
    ),
    "ice40": Board(
        "synth_ice40",
        ("--up5k", "--package", "sg48", "--pcf-allow-unconstrained"),
        "set_io din 2\n",
        "ICESTORM_LC",
    ),
    "nexus": Board(
        "synth_nexus -noccu2 -noiopad",
        ("--device", "LIFCL-40-9BG400CES"),
        "ldc_set_location -site {E11} [get_ports din]\n"
        "ldc_set_location -site {F13} [get_ports dout]\n",
        "OXIDE_FF",
    ),
    "gowin": Board(
        "synth_gowin -noiopads -family gw1n",
        ("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
        'IO_LOC "clk" 52;\nIO_LOC "din" 10;\nIO_LOC "dout" 11;\n',
        "DFF",
        "GW1N-9C",
    ),
}


def make_netlist(folder: Path, passes: str) -> Path:
    path = folder / "design.json"
    (folder / "top.v").write_text(TEXT)
    yosys(["read_verilog top.v", f"{passes} -top top -json {path.name}"], folder / "yosys.log")
    return path


def wrapped(folder: Path, family: str) -> Path:
    netlist = json.loads(make_netlist(folder, BOARDS[family].passes).read_text())
    path = folder / "wrapped.json"
    path.write_text(json.dumps(wrap(netlist, "top", family)))
    return path


@pytest.mark.synth
@pytest.mark.parametrize(
    "family",
    [name if name != "nexus" else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
)
def test_place_and_pack_every_family(family: str, tmp_path: Path) -> None:
    board, netlist = BOARDS[family], wrapped(tmp_path, family)
    pins = tmp_path / "pins.txt"
    pins.write_text(board.pins or "")
    routed, log = tmp_path / "made" / "routed", tmp_path / "nextpnr.log"
    placed = place(
        netlist,
        family,
        board.device,
        constraints=pins,
        seed=3,
        freq_mhz=50,
        output=routed,
        log=log,
    )
    assert placed.seed == 3
    assert 30 < placed.slowest_mhz < 2000
    assert "nextpnr" in log.read_text().lower() or "Info" in log.read_text()
    # 6 in the shift register, 6 + 9 of the design, 9 + 3 + 1 of the folding of outputs; Yosys
    # may share two of the design's.
    flops = sum(use.used for name, use in placed.use.items() if name.startswith(board.flops))
    assert 30 <= flops <= 45
    assert placed.path[0].kind in ("clk-to-q", "source")
    assert any(segment.is_wire for segment in placed.path)
    total = sum(segment.delay_ns for segment in placed.path)
    assert total == pytest.approx(1000 / placed.slowest_mhz, rel=0.02, abs=0.1)
    bitstream = pack(routed, family, tmp_path / "made" / "top.bit", device=board.gowin)
    assert bitstream.stat().st_size > 10_000
    assert not list(bitstream.parent.glob("*.partial"))


def test_placement_survives_json() -> None:
    placed = Placement(1, {"clk": 100.0, "io": 50.0}, {"LUT4": Use(1, 2)}, ())
    assert placed.slowest_mhz == 50.0
    assert Placement.from_dict(json.loads(json.dumps(placed.to_dict()))) == placed


@pytest.mark.synth
def test_place_out_of_context_needs_no_pins(tmp_path: Path) -> None:
    netlist = make_netlist(tmp_path, "synth_ecp5")
    device = ("--25k", "--package", "CABGA256", "--speed", "6")
    placed = place(netlist, "ecp5", device, out_of_context=True, freq_mhz=400)
    assert placed.use["TRELLIS_FF"].used == 15
    assert placed.use["TRELLIS_IO"].used == 0
    sources = [segment.source for segment in placed.path]
    assert sources[0].startswith("b_TRELLIS_FF"), "cells keep the names of the design"


@pytest.mark.synth
def test_place_fails_below_its_clock_if_told_to(tmp_path: Path) -> None:
    netlist = make_netlist(tmp_path, "synth_ecp5")
    device = ("--25k", "--package", "CABGA256", "--speed", "6")
    with pytest.raises(ToolError, match=r"nextpnr-ecp5 failed .* \(FAIL at 2000\.00 MHz\)"):
        place(
            netlist,
            "ecp5",
            device,
            out_of_context=True,
            freq_mhz=2000,
            timing_allow_fail=False,
        )


@pytest.mark.synth
def test_place_names_log_and_last_error(tmp_path: Path) -> None:
    netlist = make_netlist(tmp_path, "synth_ice40")
    with pytest.raises(ToolError, match=r"nextpnr-ice40 failed with exit code .*: ERROR") as caught:
        place(netlist, "ice40", ("--up5k", "--package", "no_such"))
    log = re.search(r"\(log: (.*)\)", str(caught.value))
    assert log is not None
    assert "no_such" in Path(log[1]).read_text()
    assert "no_such" in str(caught.value)


def test_place_refuses_what_a_family_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"family must be one of ecp5, .*, not 'max10'"):
        place(tmp_path / "none.json", "max10", ())
    with pytest.raises(ConfigError, match="only ecp5 places out of context, ice40 needs pins"):
        place(tmp_path / "none.json", "ice40", (), out_of_context=True)
    with pytest.raises(ConfigError, match="gowin_pack needs the device, as GW1N-9C"):
        pack(tmp_path / "none.json", "gowin", tmp_path / "out.fs")


@pytest.mark.synth
def test_pack_failure_is_a_tool_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.asc"
    broken.write_text("not a chip\n")
    with pytest.raises(ToolError, match="icepack failed with exit code"):
        pack(broken, "ice40", tmp_path / "out.bit")
    assert not (tmp_path / "out.bit").exists()
