# SPDX-License-Identifier: Apache-2.0
"""Imports point one way, and every room stays small enough to see.

``sw/base`` <- ``sw/spec`` <- ``sw/golden``; base and spec <- the rest of ``sw``; base and spec <-
``hw``; ``sw`` and ``hw`` <- ``sim`` <- ``tests``.
"""

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.helpers.imports import SOURCES, imported, module_name, python_files
from tests.helpers.paths import ROOT

ENTRIES_MAX, LINES_MAX = 13, 400
SW_LIBRARIES = {"numpy", "numba", "llvmlite", "safetensors", "ml_dtypes", "onnx", "torch"}
REMOTE_LIBRARIES = {"dask", "dask_jobqueue", "distributed", "filelock", "fsspec"}
MODULES = {module_name(path): path for folder in SOURCES for path in python_files(folder)}
ROOMS = {
    "xorloom.sw.base": ("xorloom.sw.base",),
    "xorloom.sw.spec": ("xorloom.sw.base", "xorloom.sw.spec"),
    "xorloom.sw.golden": ("xorloom.sw.base", "xorloom.sw.spec", "xorloom.sw.golden"),
    "xorloom.sw.tensors": (
        "xorloom.sw.base",
        "xorloom.sw.spec",
        "xorloom.sw.tensors",
        "xorloom.sw.bits.jit",
    ),
    "xorloom.sw.bits": ("xorloom.sw.base", "xorloom.sw.spec", "xorloom.sw.bits"),
    "xorloom.sw": ("xorloom.sw",),
    "xorloom.hw.flow": ("xorloom.sw.base", "xorloom.sw.spec", "xorloom.hw.flow"),
    "xorloom.hw": ("xorloom.sw.base", "xorloom.sw.spec", "xorloom.hw"),
    "xorloom.sim": ("xorloom",),
}
"""What the modules of a room may import of ours; the longest name that fits a module counts."""


def inside(name, room):
    return name == room or name.startswith(room + ".")


def top(name):
    return name.split(".")[0]


def libraries(name):
    """Return what a module imports that is neither ours nor the standard library's."""
    found = {top(found) for found in imported(MODULES[name])}
    return found - set(sys.stdlib_module_names) - {"xorloom"}


def of(room):
    found = [name for name in sorted(MODULES) if inside(name, room)]
    assert found, f"no modules in {room}"
    return found


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("import numpy.linalg, os", {"numpy.linalg", "os"}),
        (
            "from xorloom.sw.spec import config, taps",
            {"xorloom.sw.spec.config", "xorloom.sw.spec.taps"},
        ),
        ("from xorloom.sw.spec.config import A", {"xorloom.sw.spec.config"}),
        ("from xorloom import hw", {"xorloom.hw"}),
        ("from . import control", {"xorloom.hw.window.control"}),
        ("from . import Nothing", {"xorloom.hw.window"}),
        ("from .control import x", {"xorloom.hw.window.control"}),
        ("from ..lib.crc32 import x", {"xorloom.hw.lib.crc32"}),
        ("from ...sw import spec", {"xorloom.sw.spec"}),
        ("def f():\n    import torch", {"torch"}),
    ],
)
def test_imported_finds_every_kind_of_import(line, names):
    assert imported(ROOT / "hw" / "window" / "x.py", line) == names


def test_every_module_is_looked_at():
    assert len(MODULES) > 200
    assert all(
        len([name for name in MODULES if name.count(".") == depth]) > 3 for depth in (2, 3, 4)
    )
    with pytest.raises(AssertionError, match="no Python files in constraints"):
        python_files("constraints")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_stay_within_what_the_room_may_see(name):
    room = max((room for room in ROOMS if inside(name, room)), key=len)
    ours = {found for found in imported(MODULES[name]) if top(found) == "xorloom"}
    assert {f for f in ours if not any(inside(f, allowed) for allowed in ROOMS[room])} == set()
    assert not {found for found in imported(MODULES[name]) if top(found) == "tests"}


@pytest.mark.parametrize("room", ["xorloom.sw.base", "xorloom.sw.spec", "xorloom.sw.golden"])
def test_base_spec_and_golden_model_need_the_standard_library_only(room):
    assert {name: libraries(name) for name in of(room) if libraries(name)} == {}


def test_sw_uses_array_libraries_only_but_for_other_machines():
    for name in of("xorloom.sw"):
        allowed = SW_LIBRARIES | (REMOTE_LIBRARIES if inside(name, "xorloom.sw.remote") else set())
        assert not libraries(name) - allowed, name


def test_hw_uses_amaranth_only_and_its_tools_none_of_it_but_in_the_exporter():
    tools = {"pyosys", "pylibfst", "yowasp_runtime"}
    for name in of("xorloom.hw"):
        allowed = {"amaranth"}
        if inside(name, "xorloom.hw.flow"):
            exporter = ("xorloom.hw.flow.export", "xorloom.hw.flow.verilog.names")
            allowed = tools | ({"amaranth"} if name in exporter else set())
        assert not libraries(name) - allowed, name


def test_engines_do_not_import_the_command_line():
    for name in of("xorloom.sim"):
        if not inside(name, "xorloom.sim.cli"):
            found = {f for f in imported(MODULES[name]) if inside(f, "xorloom.sim.cli")}
            assert not found | {f for f in libraries(name) if f == "typer"}, name


def packages(depth):
    """Return which packages import which, with names cut to a depth below ``xorloom``."""
    edges = {}
    for name, path in MODULES.items():
        own = name if path.name == "__init__.py" else name.rpartition(".")[0]
        here = ".".join(own.split(".")[: depth + 1])
        for found in imported(path):
            if top(found) != "xorloom" or found not in MODULES:
                continue
            package = found if MODULES[found].name == "__init__.py" else found.rpartition(".")[0]
            there = ".".join(package.split(".")[: depth + 1])
            if there != here:
                edges.setdefault(here, set()).add(there)
    assert edges
    return edges


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_package_imports_have_no_cycle(depth):
    try:
        TopologicalSorter(packages(depth)).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_module_imports_have_no_cycle():
    edges = {name: imported(path) & set(MODULES) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("module", ["xorloom.sw.model.compress", "xorloom.sw.model.verify"])
def test_models_are_compressed_and_verified_without_the_rtl(module):
    code = f"import sys, {module}; print('amaranth' in sys.modules, 'xorloom.hw' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_tests_import_helpers_but_no_other_tests():
    for path in python_files("tests"):
        last = {name.split(".")[-1] for name in imported(path) if top(name) == "tests"}
        assert not {name for name in last if name.startswith("test_")}, path


@pytest.mark.parametrize("folder", SOURCES)
def test_no_folder_holds_too_many_entries(folder):
    folders = {path.parent for path in python_files(folder)}
    for path in sorted(
        folders
        | {
            child
            for f in folders
            for child in f.iterdir()
            if child.is_dir() and child.name != "__pycache__"
        }
    ):
        plain = {"__init__.py", "__pycache__", "py.typed"}
        entries = [entry.name for entry in path.iterdir() if entry.name not in plain]
        assert len(entries) <= ENTRIES_MAX, f"{path} holds {len(entries)}"


@pytest.mark.parametrize("folder", [*SOURCES, "tests"])
def test_no_python_file_is_too_long(folder):
    lines = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in python_files(folder)}
    assert {str(p): n for p, n in lines.items() if n > LINES_MAX} == {}


@pytest.mark.parametrize("folder", SOURCES)
def test_sources_carry_one_licence_line(folder):
    for path in python_files(folder):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n"), path
        assert text.count("SPDX-License-Identifier") == 1, path
