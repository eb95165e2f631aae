# SPDX-License-Identifier: Apache-2.0
"""Several units in one design and one program: no name of one is a name of another."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from xorloom.hw.flow.tools import yosys
from xorloom.hw.ip.csr import MAGIC, VERSION
from xorloom.sim.generate.options import ConfigOptions, UnitOptions
from xorloom.sim.generate.units import unit_plan
from xorloom.sim.simulate.verilator.builds import verilator_environment

from tests.helpers.cli import refuses, xorloom

SMALL = ("--n-in", 16, "--n-out", 64, "--window", 64, "--frame", 16, "--bus-bits", 32)
UNITS: Mapping[str, tuple[object, ...]] = {
    "bitmap ip": ("--unit", "ip", "--index", "bitmap", *SMALL),
    "entropy ip": ("--unit", "ip", "--index", "entropy", "--planes", 2, *SMALL),
    "named ip": ("--unit", "ip", "--name", "acme", "--index", "none", *SMALL),
    "stream": ("--unit", "stream-ip", "--index", "bitmap", *SMALL),
    "decoder": ("--unit", "decoder", *SMALL),
}
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """All units in one folder, and the names of their top modules."""
    folder = tmp_path_factory.mktemp("design")
    written: list[str] = []
    tops = []
    for options in UNITS.values():
        out, _ = xorloom("generate", "-o", folder, *options)
        files = [Path(line).name for line in out.split()]
        tops.append(Path(files[0]).stem)
        # Register map and driver are the same for all that were not given a name.
        written += [name for name in files if name.startswith(tops[-1])]
    assert len(set(tops)) == len(UNITS)
    assert len(set(written)) == len(written)
    return folder, tops


def run(command: str, folder: Path) -> str:
    environment = os.environ | verilator_environment()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        shell=True,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def chip(folder: Path, tops: list[str], to: Path) -> None:
    """Write a design that has every unit, instantiated by its template."""
    users = [
        f"module use_{top};\n{(folder / f'{top}_template.v').read_text()}\nendmodule\n"
        for top in tops
    ]
    body = "".join(f"  use_{top} {top}_u ();\n" for top in tops)
    to.write_text("".join([*users, f"module chip;\n{body}endmodule\n"]))


def together(folder: Path, tops: list[str], to: Path) -> None:
    """Write all testbenches into one design; it ends when all have passed."""
    benches = []
    for top in tops:
        text = (folder / f"{top}_tb.v").read_text()
        (to / f"{top}_tb.v").write_text(
            text.replace("$finish;", "over = 1'b1;\n    @(negedge over);").replace(
                f"module {top}_tb;", f"module {top}_tb;\n  reg over = 1'b0;"
            )
        )
        benches.append(f"{top}_tb {top} ();")
        for kind in ("words", "beats"):
            shutil.copy(folder / f"{top}_{kind}.hex", to)
    over = " && ".join(f"{top}.over" for top in tops)
    lines = ["module all_tb;", *benches, f"initial begin wait ({over}); $finish; end", "endmodule"]
    (to / "all_tb.v").write_text("`timescale 1ns / 1ps\n" + "\n".join(lines) + "\n")


def passed(out: str, tops: list[str]) -> None:
    assert "FAIL" not in out
    assert sorted(re.findall(r"^PASS (\w+):", out, re.MULTILINE)) == sorted(tops)


@pytest.mark.build
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_all_units_decode_in_one_design_in_icarus(
    design: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, tops = design
    together(folder, tops, tmp_path)
    sources = " ".join(f"{folder / top}.v {top}_tb.v" for top in tops)
    run(f"iverilog -g2012 -s all_tb -o all.vvp all_tb.v {sources}", tmp_path)
    passed(run("vvp -n all.vvp +stalls=0", tmp_path), tops)


@pytest.mark.slow
def test_all_units_decode_in_one_design_in_verilator(
    design: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, tops = design
    together(folder, tops, tmp_path)
    sources = " ".join(f"{folder / top}.v {top}_tb.v" for top in tops)
    run(f"verilator --binary --timing --top-module all_tb all_tb.v {sources}", tmp_path)
    passed(run("obj_dir/Vall_tb +stalls=0", tmp_path), tops)


def test_verilator_and_yosys_elaborate_all_units_in_one_design(
    design: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, tops = design
    chip(folder, tops, tmp_path / "chip.v")
    for top in tops:
        shutil.copy(folder / f"{top}.v", tmp_path)
    waived = "-Wno-UNDRIVEN -Wno-UNUSEDSIGNAL -Wno-DECLFILENAME"
    files = " ".join(f"{top}.v" for top in tops)
    run(f"verilator --lint-only -Wall {waived} --top-module chip chip.v {files}", tmp_path)
    passes = [*(f"read_verilog {top}.v" for top in tops), "read_verilog chip.v"]
    yosys([*passes, "hierarchy -check -top chip"], tmp_path / "yosys.log")


def test_fusesoc_takes_all_units_into_one_design(
    design: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, tops = design
    shutil.copytree(folder, tmp_path / "units")
    chip(folder, tops, tmp_path / "chip.v")
    depend = "".join(f"      - 'xorloom::{top}'\n" for top in tops)
    (tmp_path / "chip.core").write_text(
        "CAPI=2:\nname: user::chip:1\nfilesets:\n  rtl:\n    files: [chip.v]\n"
        f"    file_type: verilogSource\n    depend:\n{depend}"
        "targets:\n  lint:\n    filesets: [rtl]\n    toplevel: chip\n    flow: lint\n"
        "    flow_options: {tool: verilator}\n"
    )
    run("fusesoc --cores-root . run --setup --target lint user::chip", tmp_path)
    (sources,) = (tmp_path / "build").rglob("*.vc")
    assert all(f"{top}.v" in sources.read_text() for top in tops)


def test_a_name_begins_all_names(design: tuple[Path, list[str]], tmp_path: Path) -> None:
    out, _ = xorloom("generate", "-o", tmp_path, *UNITS["named ip"])
    names = [Path(line).name for line in out.split()]
    assert all(name.startswith("acme") for name in names)
    for source in ("acme.v", "acme_tb.v"):
        modules = re.findall(r"^module (\S+?)[\s(;]", (tmp_path / source).read_text(), re.M)
        assert modules
        assert all(re.match(r"acme(__|_tb|$)", name) for name in modules), modules
    assert "name: xorloom::acme:" in (tmp_path / "acme.core").read_text()
    assert 'name = "acme"' in (tmp_path / "acme.toml").read_text()
    headers = "".join((tmp_path / name).read_text() for name in ("acme.h", "acme_registers.h"))
    assert all(
        name.startswith("ACME_") for name in re.findall(r"#(?:define|ifndef) (\w+)", headers)
    )
    code = re.sub(r"/\*.*?\*/", "", headers + (tmp_path / "acme.c").read_text(), flags=re.S)
    assert "xorloom" not in code.lower()
    assert "toplevel: acme\n" in (tmp_path / "acme.core").read_text()
    for name in names:
        if not name.endswith((".json", ".md")):
            text = (tmp_path / name).read_text()
            assert not re.search(r"xorloom_\w", text), name
    folder, _ = design
    assert (folder / "acme.v").read_text() == (tmp_path / "acme.v").read_text()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_drivers_of_two_names_stand_in_one_program(
    design: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, _ = design
    identity = f"0x{VERSION << 16 | MAGIC:x}"
    (tmp_path / "main.c").write_text(
        '#include "acme.h"\n#include "xorloom.h"\n'
        f"static uint32_t get(void *context, uint32_t offset)\n"
        f"{{ (void)context; return offset ? 0 : {identity}; }}\n"
        "int main(void)\n{\n"
        "    acme_device one;\n    xorloom_device two;\n"
        "    acme_bus first = {get, NULL, NULL};\n    xorloom_bus second = {get, NULL, NULL};\n"
        "    return acme_probe(&one, &first) == ACME_OK\n"
        "        && xorloom_probe(&two, &second) == XORLOOM_OK ? 0 : 1;\n}\n"
    )
    sources = f"main.c {folder / 'acme.c'} {folder / 'xorloom.c'}"
    run(f"gcc -std=c99 -Wall -Wextra -Werror -I{folder} {sources} -o both && ./both", tmp_path)


def test_hash_tells_all_parameters_apart() -> None:
    options = ConfigOptions(n_in=16, n_out=64, window=64)
    index = UnitOptions(index=["bitmap"])
    variants = [
        unit_plan("ip", options, index),
        unit_plan("ip", replace(options, network_seed=1), index),
        unit_plan("ip", replace(options, bus_bits=32), index),
        unit_plan("ip", options, replace(index, planes=2)),
        unit_plan("ip", options, replace(index, max_burst=16)),
        unit_plan("ip", options, replace(index, pipeline="small")),
        unit_plan("ip", options, replace(index, index=["none"])),
        unit_plan("ip", options, replace(index, index=["bitmap", "none"])),
        unit_plan("ip", ConfigOptions(value="direct", rate="2"), UnitOptions(index=["none"])),
        unit_plan(
            "ip",
            ConfigOptions(value="direct", rate="2"),
            UnitOptions(index=["none"], levels=True),
        ),
    ]
    names = [plan.hashed_name() for plan in variants]
    assert len(set(names)) == len(names)
    assert variants[0].hashed_name() == names[0]
    assert all(re.fullmatch(r"xorloom_ip_[0-9a-f]{6}", name) for name in names)
    block = ConfigOptions(value="block", n_out=41)
    stages = [unit_plan("decoder", replace(block, stages=n), UnitOptions()) for n in (1, 2)]
    assert stages[0].hashed_name() != stages[1].hashed_name()


def test_manifest_and_parameters_keep_the_name(tmp_path: Path) -> None:
    xorloom("generate", "--unit", "network", "--name", "nn_1", "-o", tmp_path / "a", *SMALL)
    assert json.loads((tmp_path / "a" / "nn_1.json").read_text())["top"] == "nn_1"
    xorloom("generate", "--config", tmp_path / "a" / "nn_1.toml", "-o", tmp_path / "b")
    assert (tmp_path / "b" / "nn_1.v").read_text() == (tmp_path / "a" / "nn_1.v").read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("1st", "name must be a letter, then letters, digits and single underscores between them"),
        ("a__b", "not 'a__b'"),
        ("a_", "not 'a_'"),
        ("a-b", "not 'a-b'"),
        ("a" * 65, "at most 64 in all"),
        ("", "not ''"),
        ("endmodule", "reserved word of Verilog or VHDL, as 'endmodule' is"),
        ("Signal", "reserved word of Verilog or VHDL, as 'Signal' is"),
    ],
)
def test_generate_refuses_a_name(name: str, text: str, tmp_path: Path) -> None:
    refuses(text, "generate", "--unit", "network", "-o", tmp_path / "no", "--name", name, *SMALL)
    assert not (tmp_path / "no").exists()
