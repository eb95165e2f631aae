# SPDX-License-Identifier: Apache-2.0
"""Simulator builds and runs: one build a content, errors that name tool, package or log."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xorloom.sim.simulate import runner
from xorloom.sim.simulate.runner import Build, build, run
from xorloom.sim.simulate.verilator import builds
from xorloom.sw.base.bounded import LIMIT
from xorloom.sw.base.cache import cache_folder
from xorloom.sw.base.errors import ConfigError, ToolError

TEXT = "module t(input a, output q);\nassign q = a;\nendmodule\n"
RESULTS = "<testsuites><testsuite>{}</testsuite></testsuites>"


class FakeRunner:
    """Stands in for cocotb's runner: records builds and writes the results a run would."""

    def __init__(self) -> None:
        self.builds: list[dict[str, Any]] = []
        self.environments: list[dict[str, str]] = []
        self.cases = '<testcase name="one"/>'
        self.files: dict[str, str] = {}
        self.objects: list[str] = []
        self.error: BaseException | None = None
        self.log = ""

    def _step(self, log_file: Path) -> None:
        self.environments.append(dict(os.environ))
        Path(log_file).write_text(self.log)
        if self.error:
            raise self.error

    def build(self, **options: Any) -> None:
        self.builds.append(options)
        options["build_dir"].mkdir()
        for name in self.objects:
            (options["build_dir"] / name).touch()
        self._step(options["log_file"])
        for program in (options["hdl_toplevel"], "sim.vvp"):
            (options["build_dir"] / program).write_text(f"program {len(self.builds)}")

    def test(self, **options: Any) -> None:
        folder = Path(options["test_dir"])
        Path(options["results_xml"]).write_text(RESULTS.format(self.cases))
        for name, text in self.files.items():
            (folder / name).write_text(text)
        self._step(options["log_file"])


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRunner:
    """A fake runner and an empty cache folder."""
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path / "cache"))
    fake = FakeRunner()
    monkeypatch.setattr(runner, "_quiet_runner", lambda simulator: fake)
    monkeypatch.setattr(builds, "_precompile", lambda header, target, *_: target.touch())
    return fake


def test_build_refuses_an_unknown_simulator() -> None:
    with pytest.raises(ConfigError, match="simulator must be one of verilator, icarus, not 'vcs'"):
        build(TEXT, "t", simulator="vcs")


def test_build_without_icarus_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(ToolError, match="Icarus Verilog is missing: apt-get install iverilog"):
        build(TEXT, "t", simulator="icarus")


def test_build_without_verilator_names_the_package(
    fake: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "verilator", None)
    with pytest.raises(ToolError, match=r"^verilator is not installed: make setup "):
        build(TEXT, "t")
    assert not fake.builds


def test_build_is_done_once_a_content(fake: FakeRunner) -> None:
    first = build(TEXT, "t")
    assert build(TEXT, "t") == first
    assert len(fake.builds) == 1
    others = [
        build(TEXT + "// new\n", "t"),
        build(TEXT, "u"),
        build(TEXT, "t", inside=True),
        build(TEXT, "t", waves=True),
    ]
    assert len(fake.builds) == 5
    assert len({b.folder for b in (first, *others)}) == 5
    ports = ["--public-depth" in found["build_args"] for found in fake.builds]
    assert ports == [True, True, True, False, False]
    assert first.folder.parent == cache_folder() / "sim"
    assert (first.folder / "t.v").read_text() == TEXT
    assert fake.builds[-1]["waves"] is True


def damaged(path: Path) -> list[Callable[[], object]]:
    """Ways to damage a file: cut, filled with zeros, replaced, gone, a folder in its place."""

    def folder() -> None:
        path.unlink(missing_ok=True)
        path.mkdir()
        (path / "inside").touch()

    size = path.stat().st_size
    return [
        lambda: path.write_bytes(path.read_bytes()[: size // 2]),
        lambda: path.write_bytes(bytes(size)),
        lambda: path.write_bytes(b"[" * 100_000),
        path.unlink,
        folder,
    ]


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
@pytest.mark.parametrize("way", range(5))
@pytest.mark.parametrize("name", ["built", "program"])
def test_build_that_is_damaged_is_made_again(
    name: str, way: int, simulator: str, fake: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    first = build(TEXT, "t", simulator=simulator)
    program = first.folder / "obj" / ("t" if simulator == "verilator" else "sim.vvp")
    damaged({"built": first.folder / "built", "program": program}[name])[way]()
    for _ in range(2):
        assert build(TEXT, "t", simulator=simulator) == first
        assert program.read_text() == "program 2"


@pytest.mark.parametrize("name", ["runtime.a", "runtime.h", "runtime.h.gch"])
def test_runtime_that_is_damaged_is_made_again(
    name: str, fake: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        builds, "_precompile", lambda header, target, *_: target.write_bytes(bytes(range(99)))
    )
    fake.objects = ["verilated.o"]
    build(TEXT, "t")
    (kept,) = (cache_folder() / "sim").glob(f"runtime-*/{name}")
    whole = kept.read_bytes()
    for number, damage in enumerate(damaged(kept)):
        damage()
        build(TEXT, f"u{number}")
        assert kept.read_bytes() == whole
        build(TEXT, f"v{number}")
        flags = [found["MAKEFLAGS"] for found in fake.environments[-2:]]
        assert ["USER_LDLIBS" in text for text in flags] == [False, True]
        assert ["USER_CPPFLAGS" in text for text in flags] == [False, True]


MAKEFILE = """
%.fast.gch: %
	c++ $(OPT_FAST) $(USER_CPPFLAGS) -x c++-header $< -o $@
check.o: check.cpp
	c++ $(OPT_FAST) $(USER_CPPFLAGS) -H -c check.cpp 2>taken
"""


@pytest.mark.build
@pytest.mark.parametrize(
    ("text", "makefile"),
    [
        ("constexpr int n = 3;", MAKEFILE),
        ("constexpr int n = ;", MAKEFILE),
        ("constexpr int n = 3;", MAKEFILE + "\tfalse\n"),
    ],
    ids=["good", "cannot be made", "cannot be taken"],
)
def test_header_is_precompiled_or_passed_over(text: str, makefile: str, tmp_path: Path) -> None:
    header, objects, uses = tmp_path / "runtime.h", tmp_path / "obj", tmp_path / "uses.cpp"
    target = tmp_path / "runtime.h.gch"
    objects.mkdir()
    (objects / "Vtop.mk").write_text(makefile)
    header.write_text(text)
    builds._precompile(header, target, objects, {"MAKEFLAGS": "OPT_FAST=-O0"})
    good = (text, makefile) == ("constexpr int n = 3;", MAKEFILE)
    assert (target.stat().st_size > 0) == good
    if good:
        assert f"! {target}" in (objects / "taken").read_text()
    header.write_text("constexpr int n = 3;")
    uses.write_text("static_assert(n == 3);")
    made = target.read_bytes()
    target.write_bytes(made[:8] + bytes(16) + made[24:])  # as of another compiler
    subprocess.run(["c++", "-include", header, "-fsyntax-only", uses], check=True)


def test_build_that_failed_is_not_in_the_cache(fake: FakeRunner) -> None:
    fake.error, fake.log = RuntimeError("make"), "compiling\n%Error: t.v:1: no\nmake: stop\n"
    with pytest.raises(ToolError, match=r"verilator build failed: %Error: t.v:1: no \(log: "):
        build(TEXT, "t")
    fake.error = None
    build(TEXT, "t")
    assert len(fake.builds) == 2


def test_build_links_what_the_first_one_compiled_of_verilator(fake: FakeRunner) -> None:
    fake.objects = ["verilated.o", "verilated_vpi.o", "Vtop.o"]
    fake.error = RuntimeError("make")
    with pytest.raises(ToolError):
        build(TEXT, "t")
    fake.error = None
    for top, waves in (("t", False), ("u", False), ("t", True), ("u", True), ("v", False)):
        build(TEXT, top, waves=waves)
    flags = [found["MAKEFLAGS"] for found in fake.environments]
    linked = [re.search(r"VM_GLOBAL_FAST= USER_LDLIBS=(\S+)", text) for text in flags]
    assert [found is not None for found in linked] == [False, False, True, False, True, True]
    paths = [Path(found[1]) for found in linked if found]
    assert paths[0] == paths[2] != paths[1], "with waves they are others"
    members = subprocess.run(["ar", "t", paths[0]], capture_output=True, text=True, check=True)
    assert members.stdout.split() == ["verilated.o", "verilated_vpi.o"]


def test_build_keeps_its_program_and_leaves_the_rest(fake: FakeRunner) -> None:
    fake.objects = ["verilated.o", "Vtop.o", "Vtop.cpp"]
    for simulator_waves in (False, True):
        folder = build(TEXT, "t", waves=simulator_waves).folder
        assert [path.name for path in (folder / "obj").iterdir()] == ["t"]


def test_build_keeps_the_cache_within_its_limit(
    fake: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(TEXT, "t").folder
    monkeypatch.setenv(LIMIT, "0")
    second = build(TEXT, "u")
    assert not first.exists(), "nobody uses it"
    assert (second.folder / "obj" / "u").exists(), "in use"
    assert build(TEXT, "t").folder == first
    assert len(fake.builds) == 3
    monkeypatch.setenv(LIMIT, "-1")
    with pytest.raises(ConfigError, match=f"{LIMIT} must be a whole number of megabytes"):
        build(TEXT, "v")


def test_build_where_make_cannot_tells_what_to_set(
    fake: FakeRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path / "my cache"))
    with pytest.raises(ToolError, match=r"my cache: make cannot build .* \(set XORLOOM_CACHE to"):
        build(TEXT, "t")


@pytest.mark.build
def test_build_of_broken_verilog_names_error_and_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path))
    with pytest.raises(ToolError, match=r"verilator build failed: .*[Ee]rror") as caught:
        build("module t(input a;\nendmodule\n", "t")
    log = re.search(r"\(log: (.*)\)", str(caught.value))
    assert log is not None
    assert "syntax error" in Path(log[1]).read_text()


def test_build_for_icarus_takes_the_text_as_it_is(
    fake: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    built = build(TEXT, "t", simulator="icarus")
    assert (built.folder / "t.v").read_text() == TEXT
    assert fake.builds[0]["build_args"] == []


def test_build_and_run_put_the_environment_back(fake: FakeRunner) -> None:
    before = dict(os.environ)
    built = build(TEXT, "t")
    run(built, "module", "test", {})
    fake.error = RuntimeError("crash")
    with pytest.raises(ToolError):
        run(built, "module", "test", {})
    assert dict(os.environ) == before
    inside = fake.environments[0]
    assert (Path(inside["VERILATOR_ROOT"]) / "bin").is_dir()
    assert inside["PATH"].startswith(str(Path(inside["VERILATOR_ROOT"]) / "bin"))
    assert f"PYTHON3={sys.executable}" in inside["MAKEFLAGS"]


def test_run_returns_what_the_test_reported(fake: FakeRunner) -> None:
    fake.files = {"report.json": '{"cycles": 5}'}
    assert run(build(TEXT, "t"), "module", "test", {}) == {"cycles": 5}


def test_run_returns_why_the_test_failed(fake: FakeRunner) -> None:
    built = build(TEXT, "t")
    fake.cases = '<testcase name="one"><failure error_msg="bit 3"/></testcase>'
    assert run(built, "module", "test", {}) == {"failure": "bit 3"}
    fake.files = {"report.json": '{"failure": "slice 7"}'}
    assert run(built, "module", "test", {})["failure"] == "slice 7", "the test's own words first"
    fake.files = {}
    fake.cases = '<testcase name="one"><error>gone</error></testcase>'
    assert run(built, "module", "test", {}) == {"failure": "gone"}
    fake.cases = ""
    assert run(built, "module", "test", {}) == {"failure": "expected one test to run, found 0"}


def test_run_that_crashes_names_a_log_that_stays(fake: FakeRunner) -> None:
    built = build(TEXT, "t")
    fake.error, fake.log = RuntimeError("signal 11"), "starting\nsegmentation error\n"
    with pytest.raises(ToolError, match="verilator run failed: segmentation error") as caught:
        run(built, "module", "test", {})
    log = re.search(r"\(log: (.*)\)", str(caught.value))
    assert log is not None
    assert Path(log[1]).read_text() == fake.log


def test_run_that_ends_the_process_is_a_tool_error(fake: FakeRunner) -> None:
    # cocotb's runner calls sys.exit when the simulator fails.
    built = build(TEXT, "t")
    fake.error, fake.log = SystemExit(134), "double free error\n"
    with pytest.raises(ToolError, match="verilator run failed: double free error"):
        run(built, "module", "test", {})


def test_run_moves_the_waveform(fake: FakeRunner, tmp_path: Path) -> None:
    built = build(TEXT, "t", waves=True)
    waves = "$scope module t $end\n$var wire 1 ! a $end\n$enddefinitions $end\n#0\n1!\n#20000\n0!\n"
    fake.files = {"dump.vcd": waves}
    run(built, "module", "test", {}, waves_to=tmp_path / "new" / "w.vcd")
    assert (tmp_path / "new" / "w.vcd").read_text() == waves
    run(built, "module", "test", {}, waves_to=tmp_path / "w.vcd", waves_cycles=2)
    assert (tmp_path / "w.vcd").read_text() == waves.partition("#20000")[0], "2 cycles of 10 ns"
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"w.vcd", "w.gtkw", "w.sucl"}
    for name, cycles, text in (
        ("w.lxt", None, r"a waveform's name ends in .fst or .vcd, not 'w.lxt'"),
        ("w.fst", 0, "a waveform has at least 1 cycle, not 0"),
    ):
        with pytest.raises(ConfigError, match=text):
            run(built, "module", "test", {}, waves_to=tmp_path / name, waves_cycles=cycles)
    fake.files = {}
    with pytest.raises(ToolError, match="verilator wrote no waveform"):
        run(built, "module", "test", {}, waves_to=tmp_path / "w.vcd")


def test_run_refuses_an_unknown_simulator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="simulator must be one of"):
        run(Build(tmp_path, "t", "vcs", waves=False), "module", "test", {})


def test_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path / "own" / "cache"))
    assert cache_folder() == tmp_path / "own" / "cache"
    assert cache_folder().is_dir()
    monkeypatch.delenv("XORLOOM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "xorloom"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "xorloom"
