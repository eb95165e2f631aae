# SPDX-License-Identifier: Apache-2.0
"""Boards' top levels: elaborated for their families, and simulated with serial line and flash."""

import re
import zlib

import pytest
from xorloom.hw.flow.tools import yosys
from xorloom.sim.boards.demos import DEMOS, expected_of, top_name
from xorloom.sim.boards.simulate import simulate_board
from xorloom.sw.base.errors import ConfigError, ToolError
from xorloom.sw.golden.weights import weight_decoder
from xorloom.sw.memory.weight_stream import split_weight_streams

from tests.helpers.boards import DIVISOR, SMALL, WEIGHTS, small_board, small_image

LIBRARIES = {
    "ulx3s": "+/lattice/cells_bb_ecp5.v",
    "icebreaker": "+/ice40/cells_sim.v",
    "tang-nano-9k": "+/gowin/cells_sim.v",
    "arty-a7": "+/xilinx/cells_sim.v +/xilinx/cells_xtra.v",
}
LINE = re.compile(
    r"xorloom (OK|FAIL cause=[A-Z]+) crc=([0-9a-f]{8}) weights=(\d+) cycles=(\d+) pass=(\d+)"
)
OK, FAIL = 0b0100, 0b1000


def told(run):
    """Return what the lines say: verdict, CRC, weights, cycles, pass."""
    found = [LINE.fullmatch(line) for line in run.lines]
    assert all(found), run.lines
    return [(m[1], m[2], *(int(m[k]) for k in (3, 4, 5))) for m in found]


def golden_crc(image):
    """CRC-32 of the golden model's beats: codes, above them the mask."""
    (form,) = image.forms
    size = form.value.n_out // 8
    crc = 0
    for data in split_weight_streams(image.data, form.value.bus_bytes):
        for beat in weight_decoder(form, data):
            crc = zlib.crc32(beat.codes.to_bytes(size, "little"), crc)
            crc = zlib.crc32(beat.mask.to_bytes(size, "little"), crc)
    return f"{crc:08x}"


@pytest.mark.long
@pytest.mark.parametrize("name", LIBRARIES)
def test_board_tops_elaborate_with_their_familys_cells(name, tmp_path):
    small = small_board(name)
    top = top_name(small.board)
    (tmp_path / "top.v").write_text(small.text)
    passes = [f"read_verilog -lib {file}" for file in LIBRARIES[name].split()]
    passes += ["read_verilog top.v", f"hierarchy -check -top {top}", "proc", "check -assert"]
    yosys(passes, tmp_path / "yosys.log")
    if name == "icebreaker":  # a parameter that the cell does not have is an error: the check works
        (tmp_path / "top.v").write_text(small.text.replace(".DIVF(", ".NO_SUCH_PARAMETER("))
        with pytest.raises(ToolError, match="NO_SUCH_PARAMETER"):
            yosys(passes, tmp_path / "yosys.log")


@pytest.mark.build
def test_icebreaker_tells_ok_damage_a_mute_flash_and_reset():
    small = small_board("icebreaker")
    damaged = bytearray(small.image.data)
    damaged[100] ^= 4
    other = small_image("icebreaker", seed=2)
    events = [
        {},
        {},
        {"contents": bytes(damaged)},
        {"contents": small.image.data, "answers": False},
        {"contents": other.data.ljust(len(small.image.data), b"\0")[: len(small.image.data)]},
        {"contents": small.image.data},
        {"press_us": 150},
        {},
    ]
    run = simulate_board(
        small.board, small.text, divisor=DIVISOR, flash=small.image.data, events=events
    )
    assert run.failure is None
    crc = golden_crc(small.image)
    lines = told(run)
    cycles = lines[0][3]
    # Two cycles a bit of the flash, and the decoder's latency.
    bits = 8 * len(small.image.data)
    assert 2 * bits < cycles < 2 * bits + 200
    good = ("OK", crc, WEIGHTS, cycles)
    assert [line[:4] for line in lines[:2] + lines[5:]] == [good] * 5
    assert lines[2][0] == "FAIL cause=CRC"
    assert lines[3] == ("FAIL cause=HEADER", "00000000", 0, 0, 4)
    assert lines[4][0] in ("FAIL cause=OUTPUT", "FAIL cause=TRUNCATED", "FAIL cause=HEADER")
    assert [line[4] for line in lines] == [1, 2, 3, 4, 5, 6, 1, 2]
    lights = [light & (OK | FAIL) for light in run.lights]
    assert lights == [OK, OK, FAIL, FAIL, FAIL, OK, OK, OK]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ulx3s", "tang-nano-9k"])
def test_block_ram_boards_tell_ok_after_reset_too(name):
    small = small_board(name)
    run = simulate_board(
        small.board, small.text, divisor=DIVISOR, events=[{}, {}, {"press_us": 13}, {}]
    )
    assert run.failure is None
    lines = told(run)
    assert {line[:3] for line in lines} == {("OK", golden_crc(small.image), WEIGHTS)}
    assert [line[4] for line in lines] == [1, 2, 1, 2]
    words = 8 * len(small.image.data) // SMALL.bus_bits
    assert {line[3] for line in lines} == {lines[0][3]}
    assert max(words, WEIGHTS // SMALL.n_out * 4) <= lines[0][3] < 600
    lights = [~light if small.board.lights_low else light for light in run.lights]
    assert [light & (OK | FAIL) for light in lights] == [OK] * 4


@pytest.mark.slow
def test_block_ram_board_tells_damage_and_goes_on():
    small = small_board("tang-nano-9k", flipped_bit=801)
    run = simulate_board(small.board, small.text, divisor=DIVISOR, events=[{}, {}])
    assert run.failure is None
    lines = told(run)
    assert [line[0] for line in lines] == ["FAIL cause=CRC"] * 2
    assert [line[4] for line in lines] == [1, 2]


def test_simulate_board_knows_families():
    with pytest.raises(ConfigError, match="ecp5, ice40, gowin are simulated, not xilinx7"):
        simulate_board(DEMOS["arty-a7"].board, "", divisor=DIVISOR)


def test_expected_of_wants_whole_slices():
    image = small_image("icebreaker", shape=(64, 65))
    assert expected_of(image).weights == 64 * 65
    odd = small_image("icebreaker", shape=(67, 65))
    with pytest.raises(ConfigError, match="must have a multiple of 64 weights, found 4355 in a"):
        expected_of(odd)
