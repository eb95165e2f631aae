# SPDX-License-Identifier: Apache-2.0
"""Compiler of the kernels where machine code can be kept, and where it cannot."""

import importlib
import logging
import os
import subprocess
import sys

import numba
import pytest
from numba.core import caching
from xorloom.sw.bits import jit
from xorloom.sw.bits.jit import kernel_folders, njit

from tests.helpers.imports import python_files


def thrice(x):
    return 3 * x


def test_njit_compiles_and_keeps_as_numba_does():
    kernel = njit(nogil=True, cache=True)(thrice)
    assert kernel(2) == 6
    assert kernel.py_func is thrice
    assert kernel.nopython_signatures
    assert kernel.targetoptions["nogil"]
    assert sum(kernel.stats.cache_hits.values()) + sum(kernel.stats.cache_misses.values()) == 1


def test_njit_does_without_the_cache_where_there_is_no_place(monkeypatch, caplog):
    monkeypatch.setattr(jit._Locators, "_locator_classes", ())
    monkeypatch.setattr(jit, "_told", False)
    with caplog.at_level(logging.WARNING):
        kernels = [njit(nogil=True, cache=True)(thrice) for _ in range(2)]
    assert [kernel(5) for kernel in kernels] == [15, 15]
    assert all(kernel.nopython_signatures for kernel in kernels)
    (record,) = caplog.records
    assert "\n" not in record.message
    assert "(set NUMBA_CACHE_DIR to a folder that can be written)" in record.message
    assert record.message.endswith("kernels are compiled again in every run")


def test_a_kernel_without_entry_is_for_kernels_only():
    inner = njit(entry=False)(thrice)

    @njit()
    def outer(x):
        return inner(x) + 1

    for _ in range(2):  # before it is compiled for anybody, and after
        with pytest.raises(TypeError, match="thrice has no entry from Python: only kernels call"):
            inner(2)
        assert outer(2) == 7
    assert len(inner.signatures) == 1


def test_a_kernel_is_compiled_once_for_a_type_literals_or_not():
    inner = njit(entry=False)(thrice)

    @njit()
    def outer(x):
        return inner(2) + inner(x=5) + inner(x)

    assert outer(1) == 24
    assert [str(kinds[0]) for kinds in inner.signatures] == ["int64"]


def test_a_kernel_is_its_function_where_numba_does_not_compile(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert njit(cache=True)(thrice) is njit(entry=False)(thrice) is thrice


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose kernel calls another module's; ``load()`` imports it anew."""
    folder = tmp_path / "kernels_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "constants.py").write_text("OFFSET = 1\n")
    (folder / "inner.py").write_text(
        "from xorloom.sw.bits.jit import njit\n"
        "@njit(cache=True, entry=False)\ndef scale(x):\n    return 2 * x\n"
    )
    (folder / "outer.py").write_text(
        "from xorloom.sw.bits.jit import njit\nfrom .constants import OFFSET\n"
        "from .inner import scale\n"
        "@njit(cache=True)\ndef f(x):\n    return scale(x) + OFFSET\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def load():
        for name in [name for name in sys.modules if name.startswith(folder.name)]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        return importlib.import_module(f"{folder.name}.outer").f

    yield folder, load
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


def hits(kernel):
    return sum(kernel.stats.cache_hits.values())


def test_machine_code_is_kept_in_a_file_per_signature(package):
    folder, load = package
    kernel = load()
    assert (kernel(1), kernel(1.5), hits(kernel)) == (3, 4.0, 0)
    assert len(list((folder / "__pycache__").glob("outer.f-*.nbc"))) == 2
    again = load()
    assert (again(1), again(1.5), hits(again)) == (3, 4.0, 2)


_FRESH = """
import sys
from kernels_of_a_test.outer import f
found = f(1)
registries = "numba.cpython.listobj" in sys.modules
from numba import njit
@njit
def both(x):
    return sum([f(x), f(x + 1)])
print(found, sum(f.stats.cache_hits.values()), registries, both(1))
"""


def test_machine_code_is_loaded_without_what_compiles_and_called_by_what_is_compiled(package):
    folder, load = package
    assert load()(1) == 3
    path = os.pathsep.join([str(folder.parent), *sys.path])
    run = [sys.executable, "-c", _FRESH]
    found = subprocess.run(run, env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert found.stdout.split() == [b"3", b"1", b"False", b"8"], found.stderr


def _folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.write_bytes(path.read_bytes()[:1000] + bytes(path.stat().st_size - 1000)),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"garbage" * 1000),
        lambda path: path.unlink(),
    ],
)
def test_damaged_machine_code_is_compiled_again(damage, package):
    folder, load = package
    assert load()(20) == 41
    files = list((folder / "__pycache__").glob("*.nbc"))
    assert len(files) == 2
    for path in files:
        damage(path)
    kernel = load()
    assert (kernel(20), hits(kernel)) == (41, 0)
    kernel = load()
    assert (kernel(20), hits(kernel)) == (41, 1)


def test_machine_code_of_another_kernel_is_not_taken(package):
    folder, load = package
    assert load()(20) == 41
    (inner,) = (folder / "__pycache__").glob("inner.scale-*.nbc")
    (outer,) = (folder / "__pycache__").glob("outer.f-*.nbc")
    outer.write_bytes(inner.read_bytes())
    assert load()(20) == 41


def test_machine_code_that_cannot_be_kept_is_told_once(package, monkeypatch, caplog):
    monkeypatch.setattr(jit, "_told", False)
    folder, load = package
    load()(20)
    for path in (folder / "__pycache__").glob("*.nbc"):
        _folder(path)
    kernel = load()
    assert (kernel(20), hits(kernel)) == (41, 0)
    (record,) = caplog.records
    assert ".nbc: it is a folder" in record.message
    assert "(xorloom cache --clear clears the cache)" in record.message


@pytest.mark.parametrize(
    ("module", "before", "after", "result"),
    [("inner", "2 * x", "3 * x", 61), ("constants", "1", "5", 45)],
)
def test_a_change_in_what_a_kernel_uses_compiles_it_again(module, before, after, result, package):
    folder, load = package
    assert load()(20) == 41
    file = folder / f"{module}.py"
    file.write_text(file.read_text().replace(before, after) + "# longer\n")
    assert load()(20) == result


def test_without_a_home_folder_nothing_is_kept_in_one_of_that_name(tmp_path, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jit._Locators, "_locator_classes", (jit._HomeLocator,))
    assert njit(cache=True)(thrice)(2) == 6
    assert list(tmp_path.iterdir()) == []


def test_kernel_folders_are_those_that_numba_may_use(tmp_path, monkeypatch):
    package = tmp_path / "package"
    source = package / "inner" / "kernels.py"
    (source.parent / "__pycache__").mkdir(parents=True)
    chosen, home = tmp_path / "chosen", tmp_path / "home"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(chosen))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    place = caching.UserProvidedCacheLocator.get_suitable_cache_subpath(str(source))
    own = {package: [source.parent / "__pycache__"]}
    assert kernel_folders(package) == own | {chosen: [], home / "numba": []}
    for folder in (chosen, home / "numba"):
        (folder / place).mkdir(parents=True)
    below = {root: [root / place] for root in (chosen, home / "numba")}
    assert kernel_folders(package) == own | below


def test_njit_hides_no_other_error(monkeypatch):
    def fails(**options):
        raise RuntimeError("of another kind")

    monkeypatch.setattr(jit.numba, "njit", fails)
    with pytest.raises(RuntimeError, match="of another kind"):
        njit(cache=True)(thrice)


def test_every_kernel_is_compiled_by_it():
    files = {path: path.read_text(encoding="utf-8") for path in python_files("sw")}
    users = [path.name for path, text in files.items() if "\n@njit(" in text]
    assert len(users) > 8
    for path, text in files.items():
        own = path.name == "jit.py"
        assert own or "numba import njit" not in text, path
        assert own or "numba.njit" not in text, path
