# SPDX-License-Identifier: Apache-2.0
"""``xorloom generate``, ``simulate``, ``synth`` and ``bandwidth``: output and messages."""

import json
import re
from pathlib import Path

import pytest
from xorloom.sim.bandwidth.presets import MEMORIES

from tests.helpers.cli import BLOCK, SMALL, TOPS, WINDOW, refuses, xorloom


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--iid", "1.5"], "sparsity must be in [0, 1), not 1.5"),
        (["--weights", "0"], "weights must be at least 1, not 0"),
        (["--memory", "ddr9"], "memory must be one of sdr-133"),
        (["--memory", "sdr-133", "--source", "random"], "give either a memory or a source"),
        (["--simulator", "vcs"], "simulator must be one of verilator, icarus, not 'vcs'"),
        (["--stages", "3"], "Invalid value for '--stages'"),
        (["--lanes", "3"], "--lanes belongs to --value block, not window"),
        (["--stages", "2"], "--stages belongs to --value block, not window"),
        (["--value", "block"], "--window belongs to --value window or direct, not block"),
        (["--memory", "sdr-133", "--clock", "0"], "clock"),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, list) else "",
)
def test_simulate_with_a_bad_argument_exits_with_2(options: list[str], text: str) -> None:
    refuses(text, "simulate", "--weights", 500, *WINDOW, *options)


def test_generate_writes_verilog_and_manifest(codec: str, tmp_path: Path) -> None:
    out = xorloom("generate", "-o", tmp_path / "rtl", *SMALL[codec])[0].split()
    top = Path(out[0]).stem
    assert re.fullmatch(rf"{TOPS[codec]}_[0-9a-f]{{6}}", top)
    assert [Path(path).name for path in out[:2]] == [f"{top}.v", f"{top}.json"]
    assert sorted(map(str, (tmp_path / "rtl").iterdir())) == sorted(out)
    assert f"module {top} (\n" in Path(out[0]).read_text()
    manifest = json.loads(Path(out[1]).read_text())
    assert manifest["codec"] == codec
    assert manifest["config"]["n_out"] == {"block": 30, "window": 64}[codec]


def test_generate_takes_parameters_from_a_model(codec: str, model: Path, tmp_path: Path) -> None:
    xorloom("generate", "-o", tmp_path / "a", "--model", model)
    xorloom("generate", "-o", tmp_path / "b", *SMALL[codec])
    (one,), (two,) = ((tmp_path / folder).glob("*.json") for folder in "ab")
    assert one.name == two.name
    assert one.with_suffix(".v").read_text() == two.with_suffix(".v").read_text()


def test_generate_with_a_bad_argument_writes_nothing(tmp_path: Path) -> None:
    for text, options in (
        ("n_in must be between 1 and 64, not 65", ["--value", "block", "--n-in", 65]),
        ("n_in must be a power of two between 8 and 256, not 4", ["--n-in", 4]),
        ("--stages belongs to --value block, not window", ["--stages", 2]),
        ("--shared belongs to --value window, not block", ["--value", "block", "--shared", 8]),
    ):
        refuses(text, "generate", "-o", tmp_path / "rtl", *options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.synth
def test_synth_reports_json_and_refuses_unknown_targets() -> None:
    few = ("--seeds", "1")
    out = xorloom("synth", "--target", "ice40", "--unit", "network", "--json", *few, *BLOCK)[0]
    report = json.loads(out)
    assert report["config"]["n_out"] == 30
    (row,) = report["rows"]
    assert (row["design"], row["target"]) == ("xorloom_network", "ice40")
    assert row["lut"] >= 30
    assert row["fmax_mhz"] > 30
    assert (report["codec"], report["config"]["stages"]) == ("block", 1)
    refuses("target must be one of ecp5", "synth", "--target", "asic", "--unit", "network", *BLOCK)
    text = "unit must be one of decoder, parser, lane, network, not 'control'"
    refuses(text, "synth", "--unit", "control", *BLOCK)


@pytest.mark.synth
def test_synth_of_the_window_codec() -> None:
    few = ("--seeds", "0")
    out = xorloom("synth", "--target", "ice40", "--unit", "network", "--json", *few, *WINDOW)[0]
    report = json.loads(out)
    assert report["codec"] == "window"
    assert report["config"]["window"] == 64
    (row,) = report["rows"]
    assert (row["design"], row["target"]) == ("xorloom_window_network", "ice40")
    assert row["lut"] >= 64
    text = "unit must be one of decoder, value, control, network, not 'lane'"
    refuses(text, "synth", "--unit", "lane", *WINDOW)


def test_synth_tells_what_is_wrong_with_a_liberty_file(tmp_path: Path) -> None:
    one = ("synth", "--unit", "network", *WINDOW)
    refuses("--liberty: no file", *one, "--liberty", tmp_path / "none.lib")
    (tmp_path / "bad.lib").write_text("no library")
    _, found = xorloom(*one, "--liberty", tmp_path / "bad.lib", code=1)
    assert "bad.lib: expected a Liberty file" in found


def test_bandwidth_reports_every_memory(model: Path) -> None:
    report = json.loads(xorloom("bandwidth", "--bits-per-weight", 0.5, "--json")[0])
    assert set(report) == {"command", "clock_mhz", "bus_bits", "bits_per_weight", "rows"}
    assert report["command"] == "xorloom bandwidth --bits-per-weight 0.5"
    assert [row["memory"] for row in report["rows"]] == list(MEMORIES)
    assert report["bits_per_weight"]["xorloom"] == 0.5
    assert report["bits_per_weight"]["bitmask"] == pytest.approx(1.1)
    of_model = json.loads(xorloom("bandwidth", model, "--json")[0])
    assert of_model["bus_bits"] == 32
    inspected = json.loads(xorloom("inspect", model, "--json")[0])["all"]
    assert of_model["bits_per_weight"]["xorloom"] == pytest.approx(
        inspected["bits_per_weight"]["total"]
    )
    table = xorloom("bandwidth", "--bits-per-weight", 0.5)[0]
    assert "DDR4-2400 x64" in table
    assert "bits per weight: " in table


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--bits-per-weight", "0"],
        ["--bits-per-weight", "-1"],
        ["--bits-per-weight", "1", "--clock", "0"],
        ["--bits-per-weight", "1", "--sparsity", "1"],
        ["--bits-per-weight", "1", "--sparsity", "1.5"],
        ["--bits-per-weight", "1", "--planes", "-3"],
        ["--bits-per-weight", "1", "--bus-bits", "0"],
    ],
    ids=" ".join,
)
def test_bandwidth_with_a_bad_argument_exits_with_2(arguments: list[str]) -> None:
    refuses("xorloom: ", "bandwidth", *arguments)
