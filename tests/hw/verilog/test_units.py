# SPDX-License-Identifier: Apache-2.0
"""Exported Verilog: same bytes every time, honest manifest, clean under a linter."""

import hashlib
import json
import os
import re
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from xorloom.hw import units
from xorloom.hw.flow.export import WAIVERS
from xorloom.hw.units import (
    BLOCK_UNITS,
    DIRECT_UNITS,
    WINDOW_UNITS,
    GeneratedVerilog,
    generate_unit,
    kept_unit,
)
from xorloom.sim.simulate.verilator.builds import verilator_environment
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import BitmapConfig
from xorloom.sw.spec.layout import network_id

from tests.helpers.made import made_unit
from tests.helpers.paths import ROOT
from tests.hw.verilog.any_process import printed

pytestmark = pytest.mark.long

SMALL = BlockConfig(n_in=7, n_out=41, lanes=2, patches_per_cycle=2, bus_bits=32, block_groups=2)
WINDOW = WindowConfig(n_in=16, n_out=64, window=64, shared=32, frame=16, bus_bits=32)

DIRECT = DirectConfig(n_in=24, n_out=40, planes=2, window=7, bus_bits=32)


def lint(text: str, name: str, folder: Path) -> set[str]:
    """Return the categories of Verilator's warnings; fails on errors."""
    path = folder / f"{name}.v"
    path.write_text(text)
    command = ["verilator", "--lint-only", "-Wall", "-Wno-fatal", "--top-module", name, str(path)]
    environment = os.environ | verilator_environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^%Warning-(\w+)", done.stderr, re.MULTILINE))


def test_generate_gives_same_bytes_in_any_process() -> None:
    code = (
        "import hashlib; from xorloom.hw.units import generate_unit;"
        "from xorloom.sw.spec.config import BlockConfig, WindowConfig;"
        f"block, window = BlockConfig(**{SMALL.to_dict()!r}), WindowConfig(**{WINDOW.to_dict()!r});"
        "made = [generate_unit('decoder', block, stages=2), generate_unit('decoder', window)];"
        "[print(hashlib.sha256(v.text.encode()).hexdigest(), v.manifest) for v in made]"
    )
    here = [generate_unit("decoder", SMALL, stages=2), generate_unit("decoder", WINDOW)]
    digests = [line.split()[0] for line in printed(code).splitlines()]
    assert digests == [hashlib.sha256(v.text.encode()).hexdigest() for v in here]


def test_generate_manifest_describes_the_text() -> None:
    config = replace(SMALL, network_seed=3)
    verilog = made_unit("decoder", config, stages=2)
    manifest = verilog.manifest
    assert verilog.name == manifest["top"] == "xorloom_block_decoder"
    assert "module xorloom_block_decoder (\n" in verilog.text
    assert manifest["codec"] == "block"
    assert manifest["config"] == config.to_dict() | {"stages": 2}
    assert manifest["network_id"] == f"{network_id(config):08x}"
    assert manifest["sha256"] == hashlib.sha256(verilog.text.encode()).hexdigest()
    assert manifest["tools"] == {name: version(name) for name in ("xorloom", "amaranth", "pyosys")}
    out_bits = 8 * -(-config.lanes * config.n_out // 8)
    assert manifest["ports"] == {
        "aclk": {"direction": "in", "bits": 1},
        "aresetn": {"direction": "in", "bits": 1},
        "s_axis_tdata": {"direction": "in", "bits": 32},
        "s_axis_tvalid": {"direction": "in", "bits": 1},
        "s_axis_tready": {"direction": "out", "bits": 1},
        "s_axis_tlast": {"direction": "in", "bits": 1},
        "m_axis_tdata": {"direction": "out", "bits": out_bits},
        "m_axis_tkeep": {"direction": "out", "bits": out_bits // 8},
        "m_axis_tvalid": {"direction": "out", "bits": 1},
        "m_axis_tready": {"direction": "in", "bits": 1},
        "m_axis_tlast": {"direction": "out", "bits": 1},
    }


def test_generate_window_manifest_describes_the_text() -> None:
    verilog = made_unit("decoder", WINDOW)
    manifest = verilog.manifest
    assert verilog.name == manifest["top"] == "xorloom_window_decoder"
    assert "module xorloom_window_decoder (\n" in verilog.text
    assert manifest["codec"] == "window"
    assert manifest["config"] == WINDOW.to_dict() | {"pipeline": "fast"}
    assert manifest["network_id"] == f"{network_id(WINDOW):08x}"
    assert manifest["sha256"] == hashlib.sha256(verilog.text.encode()).hexdigest()
    assert manifest["ports"] == {
        "aclk": {"direction": "in", "bits": 1},
        "aresetn": {"direction": "in", "bits": 1},
        "s_axis_tdata": {"direction": "in", "bits": 32},
        "s_axis_tvalid": {"direction": "in", "bits": 1},
        "s_axis_tready": {"direction": "out", "bits": 1},
        "s_axis_tlast": {"direction": "in", "bits": 1},
        "m_axis_tdata": {"direction": "out", "bits": 64},
        "m_axis_tuser": {"direction": "out", "bits": 7},
        "m_axis_tvalid": {"direction": "out", "bits": 1},
        "m_axis_tready": {"direction": "in", "bits": 1},
        "m_axis_tlast": {"direction": "out", "bits": 1},
    }


def test_generate_has_no_paths_or_source_attributes() -> None:
    text = made_unit("decoder", SMALL).text
    assert "(* src" not in text
    assert str(ROOT) not in text


def test_generate_network_seed_changes_text_and_id() -> None:
    one, two = (made_unit("decoder", replace(SMALL, network_seed=n)) for n in (0, 1))
    assert one.text != two.text
    assert one.manifest["network_id"] != two.manifest["network_id"]


@pytest.mark.parametrize(
    ("unit", "config"),
    [(unit, SMALL) for unit in BLOCK_UNITS]
    + [(unit, WINDOW) for unit in WINDOW_UNITS]
    + [(unit, DIRECT) for unit in DIRECT_UNITS],
)
def test_generate_unit_makes_every_unit_with_its_ports(unit: str, config: ValueConfig) -> None:
    verilog = made_unit(unit, config)
    header = re.search(
        rf"^module {verilog.name} \(\n(.*?)^\);", verilog.text, re.MULTILINE | re.DOTALL
    )
    assert header is not None
    in_text = set(re.findall(r"^  .*?put .*?(\w+)(?: = \S+)?,?$", header[1], re.MULTILINE))
    assert set(verilog.manifest["ports"]) <= in_text
    assert in_text - set(verilog.manifest["ports"]) <= {"clk", "rst"}
    for port, facts in verilog.manifest["ports"].items():
        span = rf"\[{facts['bits'] - 1}:0\] " if facts["bits"] > 1 else ""
        line = rf"^  {facts['direction']}put +(?:wire|reg) +(?:signed )?{span}{port}\b"
        assert re.search(line, header[1], re.MULTILINE)


def test_generate_unit_refuses_an_unknown_unit() -> None:
    with pytest.raises(
        ConfigError, match="unit must be one of decoder, parser, lane, network, not 'core'"
    ):
        generate_unit("core", SMALL)
    with pytest.raises(ConfigError, match="one of decoder, value, control, network, not 'l"):
        generate_unit("lane", WINDOW)


BLOCKS: dict[str, tuple[BlockConfig, dict[str, int]]] = {
    "small": (SMALL, {}),
    "default_2_stages": (BlockConfig(), {"stages": 2}),
    # Comparisons that extreme parameters make constant, such as n_patch > 1 where n_out is 2.
    "smallest": (BlockConfig(n_in=1, n_out=1, lanes=1, bus_bits=32), {}),
    # A header of one word, and seeds of whole words: counters that have nothing to count.
    "wide_bus": (BlockConfig(n_in=20, n_out=40, lanes=3, bus_bits=128), {}),
    "whole_word_seeds": (BlockConfig(n_in=32, n_out=9, lanes=2, bus_bits=64), {}),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_exported_verilog_lints_without_a_warning(name: str, tmp_path: Path) -> None:
    config, options = BLOCKS[name]
    verilog = made_unit("decoder", config, **options)
    assert lint(verilog.text, verilog.name, tmp_path) == set()


@pytest.mark.parametrize(
    "config",
    [
        WINDOW,
        WindowConfig(),
        replace(WINDOW, n_in=32),
        replace(WINDOW, n_in=64, patches=1),
        replace(WINDOW, n_out=192, bus_bits=512),
    ],
    ids=["small", "default", "n_in_is_bus", "n_in_2_words_patches", "slices_of_192"],
)
def test_exported_window_verilog_lints_without_a_warning(
    config: WindowConfig, tmp_path: Path
) -> None:
    verilog = made_unit("decoder", config)
    assert lint(verilog.text, verilog.name, tmp_path) == set()


def without_waivers(text: str) -> str:
    return re.sub(r"/\* verilator lint_\w+ \w+ \*/\n", "", text)


@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize(
    "config",
    [DIRECT, replace(DIRECT, n_in=32), DirectConfig(n_in=2, n_out=3, planes=1, window=16)],
    ids=["below_the_bus", "bus", "shorter_than_the_past"],
)
def test_exported_direct_verilog_lints_without_a_warning(
    config: DirectConfig, levels: bool, tmp_path: Path
) -> None:
    verilog = made_unit("decoder", config, levels=levels)
    assert verilog.manifest["config"] == config.to_dict() | {"levels": levels}
    assert lint(verilog.text, verilog.name, tmp_path) == set()


@pytest.mark.parametrize(
    ("unit", "config"),
    [("decoder", BlockConfig()), ("decoder", DirectConfig()), ("value", WindowConfig())],
)
def test_pipeline_of_a_unit_that_has_none_is_refused(
    unit: str, config: BlockConfig | DirectConfig | WindowConfig
) -> None:
    with pytest.raises(ConfigError, match=rf"unit {unit} of {config.codec} has no pipeline"):
        generate_unit(unit, config, pipeline="fast")


def test_generate_unit_has_levels_of_the_direct_codec_only() -> None:
    with pytest.raises(ConfigError, match="only the direct value codec has levels, not block"):
        generate_unit("decoder", SMALL, levels=True)


def test_every_lint_waiver_is_needed_and_told(tmp_path: Path) -> None:
    # Degenerate parameters have comparisons that come out the same always.
    found: set[str] = set()
    for name in ("default_2_stages", "smallest", "whole_word_seeds"):
        config, options = BLOCKS[name]
        verilog = made_unit("decoder", config, **options)
        found |= lint(without_waivers(verilog.text), verilog.name, tmp_path)
        for kind, reason in WAIVERS.items():
            assert f"//   {kind}: {reason}\n" in verilog.text
            assert verilog.text.count(f"/* verilator lint_off {kind} */") == 1
            assert verilog.text.count(f"/* verilator lint_on {kind} */") == 1
    assert found == set(WAIVERS)


def test_exported_verilog_has_clocked_processes_only() -> None:
    # Others would leave X at time 0 in event-driven simulators.
    text = made_unit("decoder", SMALL).text
    processes = re.findall(r"^ *(always\b.*)", text, re.MULTILINE)
    assert processes
    assert set(processes) == {"always @(posedge clk)"}
    assert "case" not in text


def test_exported_verilog_keeps_the_names_of_units_and_registers() -> None:
    text = made_unit("decoder", WINDOW).text
    assert "module xorloom_window_decoder__decoder__frames__out (" in text
    assert re.search(r"reg signed \[32:0\] ahead = 33'h1fffffffe;", text)
    assert re.search(r"^  input  wire aclk,", text, re.MULTILINE)


def test_lint_sees_a_latch(tmp_path: Path) -> None:
    text = "module t(input a, input b, output reg q);\nalways @* if (a) q = b;\nendmodule\n"
    assert "LATCH" in lint(text, "t", tmp_path)


def test_generated_verilog_write_makes_text_and_manifest(tmp_path: Path) -> None:
    verilog = made_unit("network", SMALL)
    paths = verilog.write(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["xorloom_network.v", "xorloom_network.json"]
    assert paths[0].read_text() == verilog.text
    assert json.loads(paths[1].read_text()) == verilog.manifest
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)


@pytest.mark.parametrize("failing", [1, 2], ids=["first file", "second file"])
def test_generated_verilog_write_is_whole_or_not_at_all(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = GeneratedVerilog("top", "old text", {"old": 1})
    old.write(tmp_path)
    calls: list[int] = []

    def fill_disk(number: int) -> None:
        calls.append(number)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        GeneratedVerilog("top", "new text", {"new": 2}).write(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "top.v").read_text() == "old text"
    assert json.loads((tmp_path / "top.json").read_text()) == {"old": 1}
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["top.json", "top.v"], "half-written files are left behind"


def test_kept_unit_is_what_would_be_generated_and_is_generated_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path))
    index, config = BitmapConfig(n_out=64, bus_bits=32), WINDOW
    made = kept_unit("stream-ip", config, indexes=[index], beats="planar")
    assert made == generate_unit("stream-ip", config, indexes=[index], beats="planar")
    monkeypatch.setattr(units, "generate_unit", None)
    assert kept_unit("stream-ip", config, indexes=[index], beats="planar") == made
    for other in ({"beats": "packed"}, {"beats": "planar", "planes": 2}):
        with pytest.raises(TypeError):  # is to be generated
            kept_unit("stream-ip", config, indexes=[index], **other)
