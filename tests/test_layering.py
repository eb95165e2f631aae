# SPDX-License-Identifier: Apache-2.0
"""Imports point one way: spec <- rest of sw, spec <- hw, sw and hw <- sim <- tests."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPEC = {
    f"xorloom.sw.{name}"
    for name in ("errors", "config", "layout", "taps", "index_config", "trellis_code")
}
SW_LIBRARIES = {"numpy", "numba", "llvmlite", "safetensors", "ml_dtypes", "onnx", "torch"}


def modules(folder):
    return [pytest.param(path, id=f"{folder}.{path.stem}") for path in (ROOT / folder).glob("*.py")]


def imported(path, text=None):
    """Return the full names of all modules that a file imports, at any depth."""
    package = f"xorloom.{path.parent.name}"
    names = set()
    for node in ast.walk(ast.parse(text or path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{parent}.{base}" if base else parent
            # "from xorloom.sw import config" names a module, "from xorloom.sw.config import X" not
            if base.count(".") < 2 and base.split(".")[0] == "xorloom":
                names |= {f"{base}.{alias.name}" for alias in node.names}
            else:
                names.add(base)
    return names


def top(name):
    return name.split(".")[0]


def is_standard(name):
    return top(name) in sys.stdlib_module_names


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("import numpy.linalg, os", {"numpy.linalg", "os"}),
        ("from xorloom.sw import config, stream", {"xorloom.sw.config", "xorloom.sw.stream"}),
        ("from xorloom.sw.config import A", {"xorloom.sw.config"}),
        ("from xorloom import hw", {"xorloom.hw"}),
        ("from . import taps", {"xorloom.hw.taps"}),
        ("from .taps import x", {"xorloom.hw.taps"}),
        ("from ..sw.stream import x", {"xorloom.sw.stream"}),
        ("from ..sw import stream", {"xorloom.sw.stream"}),
        ("def f():\n    import torch", {"torch"}),
    ],
)
def test_imported_finds_every_kind_of_import(line, names):
    assert imported(ROOT / "hw" / "x.py", line) == names


def test_folders_are_there():
    assert all(len(modules(folder)) > 5 for folder in ("sw", "hw", "sim", "tests"))
    assert {f"xorloom.sw.{path.stem}" for path in (ROOT / "sw").glob("*.py")} >= SPEC


@pytest.mark.parametrize("name", sorted(SPEC))
def test_spec_modules_import_the_standard_library_and_each_other(name):
    found = imported(ROOT / "sw" / f"{name.rsplit('.', 1)[1]}.py")
    assert {n for n in found if not is_standard(n)} <= SPEC


@pytest.mark.parametrize("path", modules("sw"))
def test_sw_imports_sw_and_array_libraries_only(path):
    found = {name for name in imported(path) if not is_standard(name)}
    assert {name for name in found if top(name) not in SW_LIBRARIES} <= {
        name for name in found if name.startswith("xorloom.sw.")
    }


@pytest.mark.parametrize("path", modules("hw"))
def test_hw_imports_amaranth_hw_and_the_spec_only(path):
    for name in imported(path):
        allowed = is_standard(name) or top(name) == "amaranth" or name.startswith("xorloom.hw.")
        assert allowed or name in SPEC, name


def test_hw_synth_imports_no_amaranth():
    found = {name for name in imported(ROOT / "hw" / "synth.py") if not is_standard(name)}
    assert {name for name in found if not name.startswith("xorloom.hw.")} <= SPEC


@pytest.mark.parametrize("folder", ["sw", "hw", "sim"])
def test_nobody_imports_tests(folder):
    own = {path.stem for path in (ROOT / "tests").glob("*.py")}
    for path in (ROOT / folder).glob("*.py"):
        found = {part for name in imported(path) for part in name.split(".")}
        assert not found & {"tests", *own}, path


def test_tests_import_helpers_but_no_other_tests():
    for path in (ROOT / "tests").glob("*.py"):
        last = {name.split(".")[-1] for name in imported(path) if not is_standard(name)}
        assert not {name for name in last if name.startswith("test_")}, path


@pytest.mark.parametrize("folder", ["sw", "hw"])
def test_sw_and_hw_import_no_sim(folder):
    for path in (ROOT / folder).glob("*.py"):
        assert not [name for name in imported(path) if name.startswith("xorloom.sim")], path


@pytest.mark.parametrize("folder", ["sw", "hw", "sim"])
def test_sources_carry_one_licence_line(folder):
    for path in (ROOT / folder).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n"), path
        assert text.count("SPDX-License-Identifier") == 1, path
