# SPDX-License-Identifier: Apache-2.0
"""Designs that are too large for a part, or take nextpnr too long."""

from dataclasses import replace
from pathlib import Path

import pytest
from xorloom.hw.flow import place, synth
from xorloom.hw.flow.devices import CELLS, Device, Resources
from xorloom.hw.flow.synth import synthesize
from xorloom.hw.flow.targets import TARGETS
from xorloom.sw.base.errors import CapacityError, UnroutedError


@pytest.fixture
def smallest(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a target whose part little is too much for: a large design takes Yosys 8 s."""
    part = Device(CELLS["ice40"], Resources(384, 384, 0))
    small = replace(
        TARGETS["ice40"],
        title="iCE40 LP384",
        part=part,
        device=("--lp384", "--package", "qn32"),
    )
    monkeypatch.setitem(TARGETS, "ice40", small)
    return "ice40"


def shift_register(bits: int) -> str:
    return (
        f"module t(input clk, input a, output q); reg [{bits - 1}:0] r; assign q = r[{bits - 1}];\n"
        "always @(posedge clk) r <= {r, a};\nendmodule\n"
    )


@pytest.mark.synth
def test_synthesize_that_does_not_fit_says_by_how_much(smallest: str) -> None:
    text = shift_register(400)
    with pytest.raises(
        CapacityError,
        match=r"iCE40 LP384: needs 400 of 384 flip-flops, 16 too many: take a smaller --n-out",
    ):
        synthesize(text, "t", smallest, seeds=0)
    report = synthesize(text, "t", smallest, seeds=1, must_fit=False)
    assert (report.fits, report.ff, report.fmax_mhz) == (False, 400, None)
    assert report.excess == "needs 400 of 384 flip-flops, 16 too many"


def test_large_numbers_are_told_in_thousands() -> None:
    excess = TARGETS["ice40up"].excess(Resources(0, 6000, 0))
    assert excess == "needs 6,000 of 5,280 flip-flops, 720 too many"
    log = "Info: \t ICESTORM_LC:    6600/   5280   125%\nInfo: \t ICESTORM_RAM: 0/ 30 0%\n"
    assert place._overfull(log) == "needs 6,600 of 5,280 ICESTORM_LC, 1,320 too many"


@pytest.mark.synth
def test_synthesize_that_the_placer_has_no_room_for_says_by_how_much(smallest: str) -> None:
    # Fits by its count alone, not beside a LUT for each carry and the rows of a real chip.
    text = shift_register(383)
    with pytest.raises(CapacityError, match=r"needs 38\d of 384 ICESTORM_LC, \d+ too many"):
        synthesize(text, "t", smallest, seeds=1)


@pytest.mark.synth
def test_place_is_stopped_when_it_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With an empty cache nextpnr is compiled first, which takes several seconds.
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path))
    monkeypatch.delenv("YOWASP_CACHE_DIR", raising=False)
    monkeypatch.setattr(synth, "_MOST_CPU_S", 1)
    wanted = "nextpnr-ice40 has not routed it in 1 s of CPU time"
    with pytest.raises(UnroutedError, match=wanted) as found:
        synthesize(shift_register(8), "t", "ice40", seeds=1)
    assert found.value.late
