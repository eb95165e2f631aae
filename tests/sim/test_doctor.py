# SPDX-License-Identifier: Apache-2.0
"""Set-up check: tells all that is missing at once, runs without any installed package."""

import ast
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from xorloom.sim import doctor
from xorloom.sim.doctor import Lack
from xorloom.sw.base.cache import cache_folder

from tests.helpers.paths import ROOT

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
VENV = Path("no-such-folder/.venv")


def version(text: str) -> object:
    return namedtuple("Version", "major minor micro")(*map(int, text.split(".")))


def free(megabytes: int) -> object:
    return lambda path: SimpleNamespace(free=megabytes * 10**6)


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A system on which nothing is missing, to take things away from."""
    with monkeypatch.context() as patch:
        patch.setattr(doctor.shutil, "which", lambda tool: f"/usr/bin/{tool}")
        patch.setattr(doctor.shutil, "disk_usage", free(10_000))
        patch.setattr(doctor, "bundled_pip", lambda: "23.0.1")
        patch.setattr(doctor, "shared_libpython", lambda: Path("/usr/lib/libpython.so"))
        patch.setenv("XORLOOM_CACHE", str(tmp_path / "cache"))
        yield patch


@pytest.mark.usefixtures("complete")
def test_missing_is_empty_on_a_complete_system() -> None:
    assert doctor.missing(VENV) == []


@pytest.mark.parametrize("tool", ["g++", "make", "perl"])
def test_missing_names_the_package_of_a_tool(tool: str, complete: pytest.MonkeyPatch) -> None:
    complete.setattr(doctor.shutil, "which", lambda name: None if name == tool else name)
    assert doctor.missing(VENV) == [Lack(tool, (tool,))]


def test_missing_names_the_package_of_venv(complete: pytest.MonkeyPatch) -> None:
    complete.setattr(doctor, "bundled_pip", lambda: None)
    (lack,) = doctor.missing(VENV)
    assert lack == Lack("the modules venv and ensurepip", (f"python{VERSION}-venv",))


@pytest.mark.parametrize("old", ["9.0.1", "20.3.4", "21.2"])
def test_missing_refuses_an_old_bundled_pip(old: str, complete: pytest.MonkeyPatch) -> None:
    complete.setattr(doctor, "bundled_pip", lambda: old)
    (lack,) = doctor.missing(VENV)
    assert lack == Lack(f"pip 21.3 or newer for venv, not {old}", ("python3-pip-whl",))
    for new in ("21.3", "23.0.1", "100.0"):
        complete.setattr(doctor, "bundled_pip", lambda: new)  # noqa: B023 - called in this round
        assert doctor.missing(VENV) == []


def test_missing_names_the_package_of_libpython(complete: pytest.MonkeyPatch) -> None:
    complete.setattr(doctor, "shared_libpython", lambda: None)
    (lack,) = doctor.missing(VENV)
    assert lack.what.startswith(f"a shared libpython of {sys.executable} ")
    assert "--enable-shared" in lack.what
    assert lack.packages == (f"libpython{VERSION}",)


@pytest.mark.parametrize("old", ["3.6.15", "3.10.4", "2.7.18"])
def test_missing_refuses_an_old_python(old: str, complete: pytest.MonkeyPatch) -> None:
    complete.setattr(doctor, "bundled_pip", lambda: None)
    complete.setattr(doctor, "shared_libpython", lambda: None)
    with complete.context() as patch:
        patch.setattr(doctor.sys, "version_info", version(old))
        (lack,) = doctor.missing(VENV)
    told = old.rpartition(".")[0]
    assert lack.what == f"Python 3.11 or newer, not {told} (then: make PYTHON=python3.11)"
    assert lack.packages == ("python3.11", "python3.11-venv", "libpython3.11")


def test_missing_adds_up_what_one_disk_needs(complete: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need = doctor.VENV_MB["default"] + doctor.CACHE_MB["default"]
    complete.setattr(doctor.shutil, "disk_usage", free(need))
    assert doctor.missing(tmp_path / "venv") == []
    complete.setattr(doctor.shutil, "disk_usage", free(need - 1))
    (lack,) = doctor.missing(tmp_path / "venv")
    names = f"{tmp_path / 'venv'} and {tmp_path / 'cache'}"
    assert lack == Lack(f"disk space for {names}: {need:,} MB, of which {need - 1:,} are free")


def test_missing_takes_off_what_is_there_already(
    complete: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kept").write_bytes(bytes(3_000_000))
    need = doctor.VENV_MB["dev"] + doctor.CACHE_MB["dev"] - 3
    complete.setattr(doctor.shutil, "disk_usage", free(need))
    assert doctor.missing(tmp_path / "venv", "dev") == []
    complete.setattr(doctor.shutil, "disk_usage", free(need - 1))
    assert len(doctor.missing(tmp_path / "venv", "dev")) == 1


def test_every_lock_has_its_size() -> None:
    locks = {path.stem for path in (ROOT / "locks").glob("*.lock")}
    assert set(doctor.VENV_MB) == locks
    assert set(doctor.CACHE_MB) <= locks


def test_cache_is_where_results_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XORLOOM_CACHE", raising=False)
    for name, value in (("HOME", "home"), ("XDG_CACHE_HOME", "xdg"), ("XORLOOM_CACHE", "own")):
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv(name, str(tmp_path / value))
        assert doctor.cache() == cache_folder()


def test_main_tells_everything_at_once_and_exits_with_3(
    complete: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complete.setattr(doctor.sys, "argv", ["doctor.py", str(VENV)])
    assert doctor.main() == 0
    assert capsys.readouterr().err == ""
    complete.setattr(doctor.shutil, "which", lambda name: None)
    complete.setattr(doctor.shutil, "disk_usage", free(1))
    complete.setattr(doctor, "bundled_pip", lambda: None)
    complete.setattr(doctor, "shared_libpython", lambda: None)
    assert doctor.main() == 3
    *lines, last = capsys.readouterr().err.splitlines()
    assert all(line.startswith("xorloom set-up: missing ") for line in lines)
    assert len(lines) in (6, 7)  # one or two file systems
    assert last == (
        f"xorloom set-up: apt-get install python{VERSION}-venv libpython{VERSION} g++ make perl"
    )


def test_shared_libpython_finds_this_interpreters_library() -> None:
    path = doctor.shared_libpython()
    assert path is not None
    assert ".so" in path.name
    assert path.exists()


@pytest.mark.parametrize("name", ["", "libpython3.11.a", "libpython0.0.so.1"])
def test_shared_libpython_is_none_without_a_shared_library(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"INSTSONAME": name, "LIBDIR": "/usr/lib", "LIBPL": "/usr/lib"}
    monkeypatch.setattr(doctor.sysconfig, "get_config_var", values.get)
    assert doctor.shared_libpython() is None


def test_shared_libpython_looks_in_the_multiarch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "arch").mkdir()
    (tmp_path / "arch" / "libpython9.so").touch()
    values = {"LDLIBRARY": "libpython9.so", "LIBDIR": str(tmp_path), "MULTIARCH": "arch"}
    monkeypatch.setattr(doctor.sysconfig, "get_config_var", values.get)
    assert doctor.shared_libpython() == tmp_path / "arch" / "libpython9.so"


def test_bundled_pip_is_the_one_of_venv() -> None:
    found = doctor.bundled_pip()
    assert found is not None
    assert tuple(map(int, found.split(".")[:2])) >= doctor.PIP


def test_bundled_pip_is_none_without_ensurepip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert doctor.bundled_pip() is None


def test_doctor_runs_with_the_standard_library_only() -> None:
    command = [sys.executable, "-I", "-S", doctor.__file__, sys.prefix]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_doctor_can_be_read_by_an_old_python() -> None:
    tree = ast.parse(Path(doctor.__file__).read_text(encoding="utf-8"), feature_version=(3, 6))
    notes = [
        node.annotation for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.arg)
    ]
    notes += [node.returns for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    # What Python 3.6 would evaluate: names only, never "list[str]" or "Path | None".
    assert len(notes) > 10
    assert {type(note) for note in notes} <= {ast.Name, ast.Constant, type(None)}
