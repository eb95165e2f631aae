# SPDX-License-Identifier: Apache-2.0
import json
import re

import pytest
from xorloom.hw.boards.spi_flash import SpiFlash
from xorloom.hw.flow.place import Placement
from xorloom.sim.boards import build as board_build
from xorloom.sim.boards.build import BUILDABLE, build_board, build_boards, constraints_of
from xorloom.sim.boards.demos import BoardDemo
from xorloom.sim.boards.sources import write_sources
from xorloom.sim.datasets import minilm
from xorloom.sw.base.errors import CapacityError, ConfigError

from tests.helpers.boards import SMALL, small_image
from tests.helpers.cli import refuses, xorloom


@pytest.fixture
def stubbed(monkeypatch, tmp_path):
    """Everything but our own steps replaced: image, Yosys' cells, nextpnr's clock, the packer."""
    cells, fmax, packed = {"SB_LUT4": 100, "SB_DFF": 50}, [20.0, 29.9, 30.1, 40.0], []

    def yosys(passes, log):
        assert "read_verilog xorloom_icebreaker.v" in passes
        assert (log.parent / "xorloom_icebreaker.v").is_file()
        stat = {"design": {"num_cells_by_type": cells}}
        (log.parent / "stat.json").write_text(json.dumps(stat))

    def place(netlist, family, device, *, seed, constraints, freq_mhz, output, log, arguments):
        assert (family, device, freq_mhz) == ("ice40", ("--up5k", "--package=sg48"), 30)
        assert constraints.name == "icebreaker.pcf"
        return Placement(seed, {"clock": fmax[seed - 1]}, {}, ())

    def pack(routed, family, bitstream, *, device):
        packed.append((routed.name, family, bitstream.name, device))

    demo = BoardDemo(board_build.board_named("icebreaker"), SMALL, ("w",), crc_steps=4)
    monkeypatch.setitem(board_build.DEMOS, "icebreaker", demo)
    monkeypatch.setattr(board_build, "compress_for", lambda *_: small_image("icebreaker"))
    monkeypatch.setattr(board_build, "board_verilog", lambda *_, **__: "module ...")
    monkeypatch.setattr(board_build, "yosys", yosys)
    monkeypatch.setattr(board_build, "place", place)
    monkeypatch.setattr(board_build, "pack", pack)
    return cells, fmax, packed


def test_build_board_tries_seeds_until_the_clock_is_reached(stubbed, tmp_path):
    told = []
    report = build_board("icebreaker", tmp_path, tmp_path, progress=lambda *step: told.append(step))
    assert report.seeds == {1: 20.0, 2: 29.9, 3: 30.1}
    assert (report.clock_mhz, report.fmax_mhz) == (30, 30.1)
    assert (report.lut, report.ff, report.bram) == ((100, 5280), (50, 5280), (0, 30))
    assert stubbed[2] == [("icebreaker.routed", "ice40", "icebreaker.bin", "")]
    assert ("nextpnr", "seed 2: 29.9 MHz, 30 MHz missed") in told
    assert ("nextpnr", "seed 3: 30.1 MHz, 30 MHz met") in told
    written = json.loads((tmp_path / "icebreaker" / "report.json").read_text())
    assert written["crc"] == report.crc
    assert (tmp_path / "icebreaker" / "weights.bin").read_bytes() == small_image("icebreaker").data


def test_build_board_says_by_how_much_the_clock_is_missed(stubbed, tmp_path):
    text = "icebreaker: the clock reaches 29.9 MHz of 30 with the best of 2 seeds: try more --seeds"
    with pytest.raises(CapacityError, match=re.escape(text)):
        build_board("icebreaker", tmp_path, tmp_path, seeds=2)
    assert not stubbed[2]


def test_build_board_says_by_how_much_a_design_is_too_large(stubbed, tmp_path):
    stubbed[0]["SB_LUT4"] = 6000
    with pytest.raises(CapacityError, match=r"6000 LUT4 of 5280 \(720 too many\)"):
        build_board("icebreaker", tmp_path, tmp_path)


def test_build_board_knows_what_it_can_build(tmp_path):
    assert BUILDABLE == ("ulx3s", "icebreaker", "tang-nano-9k")
    text = "made for ulx3s, icebreaker, tang-nano-9k; arty-a7 is there as sources only"
    with pytest.raises(ConfigError, match=text):
        build_board("arty-a7", tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="board must be one of"):
        build_board("de10", tmp_path, tmp_path)


def test_constraints_come_with_the_sources(monkeypatch, tmp_path):
    monkeypatch.setattr(board_build, "__file__", str(tmp_path / "sim" / "boards" / "build.py"))
    with pytest.raises(ConfigError, match=r"ulx3s.lpf is missing: bitstreams are built from a"):
        constraints_of(board_build.board_named("ulx3s"))


def test_spi_flash_reaches_24_address_bits():
    options = {"words": 3, "bus_bits": 32, "clock_mhz": 24}
    text = "image at 0xfffff8 ends 4 bytes beyond what a 24-bit address reaches: lower the address"
    with pytest.raises(CapacityError, match=text):
        SpiFlash(address=0xFFFFF8, **options)
    with pytest.raises(ConfigError, match="words of the image must be between 1 and"):
        SpiFlash(address=0, **options | {"words": 0})


@pytest.mark.slow
def test_bitstreams_of_all_boards(tmp_path):
    reports = build_boards(list(BUILDABLE), minilm(), tmp_path)
    for report in reports:
        assert report.fmax_mhz >= report.clock_mhz
        assert (tmp_path / report.board).is_dir()
    suffixes = {"ulx3s": "bit", "icebreaker": "bin", "tang-nano-9k": "fs"}
    for name, suffix in suffixes.items():
        assert (tmp_path / name / f"{name}.{suffix}").stat().st_size > 50_000


@pytest.mark.slow
def test_sources_of_the_arty(tmp_path):
    verilog, image = write_sources("arty-a7", minilm(), tmp_path)
    assert "MMCME2_BASE" in verilog.read_text()
    assert image.stat().st_size > 50_000


@pytest.fixture
def no_download(monkeypatch, tmp_path):
    monkeypatch.setattr("xorloom.sim.datasets.minilm", lambda: tmp_path / "none.safetensors")


def test_boards_command_refuses_other_boards(no_download, tmp_path):
    refuses("board must be one of ulx3s, icebreaker", "boards", "--board", "de10", "-o", tmp_path)
    refuses("sources only: use --sources", "boards", "--board", "arty-a7", "-o", tmp_path)


def test_boards_command_prints_reports(no_download, monkeypatch):
    report = board_build.BoardReport(
        "icebreaker",
        "title",
        4096,
        180,
        "204e1f89",
        (10, 5280),
        (5, 5280),
        (1, 30),
        24.0,
        25.0,
        {1: 25.0},
        3.0,
        "icebreaker.bin",
        "weights.bin",
    )
    monkeypatch.setattr(board_build, "build_boards", lambda *_, **__: [report])
    table, _ = xorloom("boards")
    assert "10 of 5,280" in table
    assert "25.0" in table
    as_json, _ = xorloom("boards", "--json")
    assert json.loads(as_json)["rows"][0]["crc"] == "204e1f89"
