# SPDX-License-Identifier: Apache-2.0
"""Rows of area and clock: numbers, commands, what does not fit, ratios."""

import json
import shlex

import pytest
from xorloom.hw.flow.targets import TARGETS
from xorloom.sim.bench.area import CLAIM, DESIGNS, area_pairs, area_rows, ratio_rows
from xorloom.sw.base.errors import ConfigError

from tests.helpers.cli import xorloom


@pytest.mark.synth
def test_area_row_is_what_its_command_makes():
    (row,) = area_rows([("paper network", "gates")], seeds=0)
    words = shlex.split(row["command"])
    assert words[:2] == ["xorloom", "synth"]
    out, _ = xorloom(*words[1:], "--json")
    (report,) = json.loads(out)["rows"]
    assert {key: report[key] for key in ("target", "lut", "ff", "nand2", "fits")} == {
        key: row[key] for key in ("target", "lut", "ff", "nand2", "fits")
    }
    # 20 seeds to 200 bits: a register each, and the valid bit.
    assert row["ff"] == 201
    assert row["size_per_weight_bit"] == pytest.approx(row["nand2"] / 200)
    assert row["lut_per_weight_bit"] is None


def test_every_design_and_target_of_the_claim_is_known():
    assert {name for _, *pair in CLAIM for name in pair} <= set(DESIGNS)
    assert len(TARGETS) >= 6
    for design in DESIGNS.values():
        assert design.command("ecp5", 5).startswith(f"xorloom synth --unit {design.unit} ")


def test_ratio_rows_divide_sizes_and_count_what_seeds_carry():
    rows = [
        {"design": "window 512, 1 patch", "target": "ecp5", "size_per_weight_bit": 2.0},
        {"design": "window 1024, 1 patch", "target": "ecp5", "size_per_weight_bit": 1.0},
        {"design": "paper decoder, 8 patches", "target": "ecp5", "size_per_weight_bit": 9.0},
        {"design": "paper decoder, 8 patches", "target": "gates", "size_per_weight_bit": 9.0},
    ]
    small, large = ratio_rows(rows)
    assert (small["ratio"], large["ratio"]) == (4.5, 9.0)
    # 32 seed bits per cycle fill 320 of the slice's bits at 90 % sparsity.
    assert small["sustained_ratio"] == pytest.approx(4.5 * 320 / 512)
    assert large["sustained_ratio"] == pytest.approx(9.0 * 320 / 1024)


def test_every_design_has_its_targets_unless_some_are_asked_for():
    pairs = area_pairs()
    assert {name for name, _ in pairs} == set(DESIGNS)
    assert ("paper network", "gates") in pairs
    assert [t for name, t in pairs if name == "low-rank core"] == ["ecp5"]
    assert area_pairs(["low-rank core"], ["ice40"]) == [("low-rank core", "ice40")]


@pytest.mark.parametrize(
    ("design", "small"),
    [("window 512", True), ("trellis core", True), ("IP block", True), ("low-rank core", False)],
)
def test_a_target_without_lut_ram_gets_the_small_pipeline_of_what_has_one(design, small):
    for target in ("ice40up", "gates"):
        command = DESIGNS[design].for_target(target).command(target, 1)
        assert ("--pipeline small" in command) == small
    assert DESIGNS[design].for_target("ecp5") is DESIGNS[design]


def test_what_the_router_cannot_do_in_minutes_is_mapped_only():
    assert DESIGNS["window 512"].seeds("ecp5", 5, 1) == 5
    assert DESIGNS["window 512"].seeds("gowin", 5, 1) == 1
    assert {DESIGNS["window 1024"].seeds(name, 5, 1) for name in TARGETS} == {0}


def test_unknown_designs_and_targets_are_refused():
    with pytest.raises(ConfigError, match=r"design must be one of paper network; .* not 'x'"):
        area_pairs(["x"], ["ecp5"])
    with pytest.raises(ConfigError, match=r"target must be one of ecp5, .*, not 'ecp6'"):
        area_pairs(["paper network"], ["ecp6"])


@pytest.mark.slow
def test_area_rows_of_a_design_that_does_not_fit_have_luts_and_no_fmax():
    (row,) = area_rows([("IP block", "ice40up")])
    assert row["fits"] is False
    assert row["fmax_mhz"] is None
    assert row["lut"] > 5280 or "too many" in row["excess"]
