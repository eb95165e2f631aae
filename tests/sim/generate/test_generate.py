# SPDX-License-Identifier: Apache-2.0
"""The folder that generate writes, seen as its user sees it: run, linted, built, made again."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from xorloom.sim.simulate.verilator.builds import verilator_environment

from tests.helpers.cli import refuses, xorloom

WINDOW = ("--n-in", 16, "--n-out", 64, "--window", 64, "--frame", 16, "--bus-bits", 32)
BLOCK = ("--value", "block", "--n-in", 7, "--n-out", 41, "--lanes", 2, "--bus-bits", 32)
UNITS = {
    "window": WINDOW,
    "block": BLOCK,
    "index": ("--unit", "index", "--index", "bitmap", *WINDOW),
    "stream-ip": ("--unit", "stream-ip", "--planes", 2, "--index", "bitmap", *WINDOW),
    "ip": ("--unit", "ip", "--index", "bitmap", "--index", "entropy", *WINDOW),
}
TOPS = {name: f"xorloom_{name.replace('-', '_')}" for name in UNITS}
pytestmark = pytest.mark.long
NEEDS_ICARUS = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed"
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder for every kind of unit."""
    base = tmp_path_factory.mktemp("generated")
    for name, options in UNITS.items():
        xorloom("generate", "-o", base / name, "--name", TOPS[name], "--clock", 120, *options)
    return {name: base / name for name in UNITS}


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | verilator_environment()
    # Tools of this interpreter's environment, such as fusesoc, also if it was not activated.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        shell=True,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def readme(folder: Path) -> Path:
    (path,) = folder.glob("*_README.md")
    return path


def commands(folder: Path, first: str) -> list[str]:
    """Return lines of shell of the folder's README that begin with a word."""
    text = readme(folder).read_text().replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    return [line for line in blocks.splitlines() if line.startswith(f"{first} ")]


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def change(folder: Path, top: str, line: int, at: int) -> None:
    """Flip the lowest bit of one hex digit of the expected beats."""
    path = folder / f"{top}_beats.hex"
    lines = path.read_text().splitlines()
    digits = list(lines[line])
    digits[at] = f"{int(digits[at], 16) ^ 1:x}"
    lines[line] = "".join(digits)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.build
@NEEDS_ICARUS
@pytest.mark.parametrize("unit", UNITS)
def test_testbench_passes_in_icarus_as_the_readme_tells(
    unit: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders[unit], tmp_path)
    (command,) = commands(folder, "iverilog")
    done = shell(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(
        rf"PASS {TOPS[unit]}: \d+ streams, \d+ beats of \d+ bits equal the golden model's "
        r"in 4 round\(s\)",
        last,
    ), last


@pytest.mark.build
@NEEDS_ICARUS
def test_testbench_tells_the_first_wrong_bit_and_fails(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders["window"], tmp_path)
    top = TOPS["window"]
    change(folder, top, line=8, at=-3)  # bit 8 of the eighth beat; line 0 is a comment
    change(folder, top, line=9, at=-1)
    (command,) = commands(folder, "iverilog")
    done = shell(f"{command} +stalls=3", folder)
    assert done.returncode != 0
    found = re.search(r"FAIL .*", done.stdout)
    assert found is not None
    assert re.fullmatch(
        rf"FAIL {top}: beat 7 bit 8: expected ([01]), got (?!\1)[01] \(round 3\)", found[0]
    ), found[0]
    assert "PASS" not in done.stdout


@pytest.mark.build
@NEEDS_ICARUS
@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("user", r"beat 24 m_axis_tuser: expected 41, got 40"),
        ("last", r"beat 24 m_axis_tlast: expected 0, got 1"),
        ("fewer", r"beat 24 after the last one"),
        ("more", r"no beat for 20000 clocks, 25 of 26 beats came"),
    ],
)
def test_testbench_sees_sideband_and_count(
    what: str, text: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder, top = copied(folders["window"], tmp_path), TOPS["window"]
    bench = folder / f"{top}_tb.v"
    beats = len((folder / f"{top}_beats.hex").read_text().splitlines()) - 1
    assert beats == 25
    if what == "user":
        change(folder, top, line=25, at=1)
    elif what == "last":
        change(folder, top, line=25, at=3)
    else:
        count = {"fewer": 24, "more": 26}[what]
        source = bench.read_text()
        assert "localparam BEATS = 25;" in source
        bench.write_text(source.replace("BEATS = 25;", f"BEATS = {count};"))
    (command,) = commands(folder, "iverilog")
    done = shell(f"{command} +stalls=0", folder)
    assert done.returncode != 0
    assert re.search(f"FAIL {top}: {text} \\(round 0\\)", done.stdout), done.stdout


@pytest.mark.build
@NEEDS_ICARUS
def test_testbench_of_the_ip_sees_a_broken_stream(folders: dict[str, Path], tmp_path: Path) -> None:
    folder, top = copied(folders["ip"], tmp_path), TOPS["ip"]
    path = folder / f"{top}_words.hex"
    lines = path.read_text().splitlines()
    lines[20] = f"{int(lines[20], 16) ^ 1:08x}"
    path.write_text("\n".join(lines) + "\n")
    (command,) = commands(folder, "iverilog")
    done = shell(f"{command} +stalls=0", folder)
    assert done.returncode != 0
    assert f"FAIL {top}: " in done.stdout


@pytest.mark.build
@pytest.mark.parametrize(
    "unit",
    [
        "window",
        *(pytest.param(name, marks=pytest.mark.slow) for name in UNITS if name != "window"),
    ],
)
def test_testbench_passes_in_verilator_as_the_readme_tells(
    unit: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders[unit], tmp_path)
    build, lint = commands(folder, "verilator")[0], f"verilator --lint-only -Wall {TOPS[unit]}.v"
    done = shell(build, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = [line for line in done.stdout.splitlines() if line.startswith(("PASS", "FAIL"))]
    assert len(passed) == 1
    assert passed[0].startswith(f"PASS {TOPS[unit]}: ")
    assert lint in readme(folder).read_text()
    quiet = shell(lint, folder)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    change(folder, TOPS[unit], line=3, at=-1)
    wrong = shell(f"obj_dir/V{TOPS[unit]}_tb +stalls=1", folder)
    assert wrong.returncode != 0
    assert re.search(
        rf"FAIL {TOPS[unit]}: beat 2 bit 0: expected ([01]), got (?!\1)[01] \(round 1\)",
        wrong.stdout + wrong.stderr,
    )


def test_readme_names_every_file_and_no_other(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        listed = re.findall(r"^\| `(.+?)` \|", readme(folder).read_text(), re.MULTILINE)
        found = sorted(path.name for path in folder.iterdir())
        assert sorted([*listed, readme(folder).name]) == found


@pytest.mark.parametrize("unit", UNITS)
def test_instantiation_template_connects_every_port(
    unit: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    top = TOPS[unit]
    text = (folders[unit] / f"{top}_template.v").read_text()
    ports = json.loads((folders[unit] / f"{top}.json").read_text())["ports"]
    assert sorted(re.findall(r"^  \.(\w+)\(", text, re.MULTILINE)) == sorted(ports)
    wires = re.findall(r"^wire (?:\[(\d+):0\] )?(\w+);", text, re.MULTILINE)
    assert {name: int(high or 0) + 1 for high, name in wires} == {
        name: port["bits"] for name, port in ports.items()
    }
    (tmp_path / "user.v").write_text(f"module user;\n{text}\nendmodule\n")
    source = folders[unit] / f"{top}.v"
    waived = "-Wno-UNDRIVEN -Wno-UNUSEDSIGNAL -Wno-DECLFILENAME"
    done = shell(
        f"verilator --lint-only -Wall {waived} --top-module user user.v {source}", tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_constraints_ask_for_the_clock(folders: dict[str, Path]) -> None:
    def text(ending: str) -> str:
        lines = (folders["window"] / f"xorloom_window{ending}").read_text().splitlines()
        (line,) = [line for line in lines if not line.startswith("#")]
        return line

    assert text(".sdc") == "create_clock -name aclk -period 8.333 [get_ports {aclk}]"
    assert text(".xdc") == "create_clock -name aclk -period 8.333 [get_ports aclk]"
    assert text(".lpf") == 'FREQUENCY PORT "aclk" 120 MHZ;'
    assert text(".pcf") == "set_frequency aclk 120"


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")
@pytest.mark.parametrize("unit", ["window", "ip"])
def test_tcl_runs_with_tools_that_only_print(
    unit: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    top, folder = TOPS[unit], folders[unit].resolve()
    for name in ("vivado", "quartus"):
        script = folder / f"{top}_{name}.tcl"
        driver = tmp_path / "run.tcl"
        driver.write_text(
            f"proc unknown {{args}} {{ puts $args }}\nset argv {{}}\nsource {script}\n"
        )
        done = subprocess.run(["tclsh", driver], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        if name == "vivado":
            assert f"read_verilog {folder / top}.v" in done.stdout
            assert (
                f"synth_design -top {top} -part xc7a35tcpg236-1 -mode out_of_context" in done.stdout
            )
        else:
            ports = json.loads((folder / f"{top}.json").read_text())["ports"]
            virtual = re.findall(r"-name VIRTUAL_PIN ON -to (\w+)$", done.stdout, re.MULTILINE)
            assert sorted(virtual) == sorted(set(ports) - {"aclk"})
            assert f"-name SDC_FILE {folder / top}.sdc" in done.stdout


def test_fusesoc_lints_the_core(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["window"], tmp_path)
    done = shell("fusesoc --cores-root . run --target lint xorloom::xorloom_window", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout
    assert (folder / "build").is_dir()


@pytest.mark.build
@NEEDS_ICARUS
@pytest.mark.parametrize("unit", ["window", "ip"])
def test_fusesoc_runs_the_testbench_as_the_readme_tells(
    unit: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders[unit], tmp_path)
    command = commands(folder, "fusesoc")[0].partition("#")[0]
    done = shell(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"PASS {TOPS[unit]}: " in done.stdout


@pytest.mark.slow
def test_fusesoc_runs_the_testbench_in_verilator(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["window"], tmp_path)
    core = "xorloom::xorloom_window"
    done = shell(f"fusesoc --cores-root . run --target sim_verilator {core}", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS xorloom_window: " in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("target", ["synth_vivado", "synth_ice40", "synth_ecp5"])
def test_fusesoc_sets_up_every_synthesis_target(
    target: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders["window"], tmp_path)
    core = "xorloom::xorloom_window"
    done = shell(f"fusesoc --cores-root . run --setup --target {target} {core}", folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "passes", "arguments"),
    [
        (
            "ecp5",
            "synth_ecp5 -nowidelut",
            "--85k --package CABGA756 --out-of-context --lpf {}.lpf --lpf-allow-unconstrained",
        ),
        ("ecp5", "synth_ecp5 -nowidelut", "--85k --package CABGA756 --out-of-context --sdc {}.sdc"),
        ("ice40", "synth_ice40", "--hx8k --package ct256 --pcf {}.pcf --pcf-allow-unconstrained"),
    ],
    ids=["lpf", "sdc", "pcf"],
)
def test_nextpnr_takes_the_constraints(
    tool: str, passes: str, arguments: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    from xorloom.hw.flow.tools import yosys

    folder, top = copied(folders["window"], tmp_path), TOPS["window"]
    yosys([f"read_verilog {top}.v", f"{passes} -top {top} -json n.json"], folder / "yosys.log")
    words = [*arguments.format(top).split(), "--json", "n.json", "--report", "report.json"]
    module = f"yowasp_nextpnr_{tool}"
    code = f"import {module} as n, sys; sys.exit(n.run_nextpnr_{tool}({words!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (clock,) = json.loads((folder / "report.json").read_text())["fmax"].values()
    assert clock["constraint"] == pytest.approx(120, abs=0.1)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.mark.parametrize("unit", ["window", "ip"])
def test_folder_makes_itself_again(unit: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders[unit]
    xorloom("generate", "--config", folder / f"{TOPS[unit]}.toml", "-o", tmp_path / "again")
    assert digests(tmp_path / "again") == digests(folder)


def test_folder_is_the_same_in_any_process(folders: dict[str, Path], tmp_path: Path) -> None:
    for seed in ("0", "1"):
        command = [
            "-m",
            "xorloom.sim.cli",
            "generate",
            "-o",
            tmp_path / seed,
            "--clock",
            "120",
            "--name",
            TOPS["stream-ip"],
        ]
        subprocess.run(
            [sys.executable, *command, *map(str, UNITS["stream-ip"])],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert digests(tmp_path / seed) == digests(folders["stream-ip"])


def test_part_of_a_decoder_has_no_testbench(tmp_path: Path) -> None:
    xorloom("generate", "--unit", "network", "-o", tmp_path, *WINDOW)
    ends = [".json", ".toml", ".v"]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ends


def test_generate_that_fails_touches_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    xorloom("generate", "-o", tmp_path, *BLOCK)
    before = digests(tmp_path)
    written: list[int] = []

    def fill_disk(file: int) -> None:
        written.append(file)
        if len(written) == len(before):  # the last file
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("xorloom.sw.base.host.os.fsync", fill_disk)
    _, err = xorloom("generate", "-o", tmp_path, *BLOCK, "--network-seed", 5, code=1)
    assert "No space left" in err
    assert digests(tmp_path) == before


@pytest.mark.parametrize("clock", [0, 2001])
def test_generate_refuses_a_clock(clock: float, tmp_path: Path) -> None:
    text = f"clock must be between 1 and 2000 MHz, not {clock}"
    refuses(text, "generate", "-o", tmp_path / "no", "--clock", clock)
    assert not (tmp_path / "no").exists()
