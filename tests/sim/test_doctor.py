# SPDX-License-Identifier: Apache-2.0
"""Set-up check: names Debian packages, runs without any installed package."""

import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from xorloom.sim import doctor

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
Version = namedtuple("Version", "major minor micro")


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A system on which nothing is missing, to take things away from."""
    with monkeypatch.context() as patch:
        patch.setattr(doctor.shutil, "which", lambda tool: f"/usr/bin/{tool}")
        patch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
        patch.setattr(doctor, "shared_libpython", lambda: Path("/usr/lib/libpython.so"))
        yield patch


@pytest.mark.usefixtures("complete")
def test_missing_is_empty_on_a_complete_system() -> None:
    assert doctor.missing() == []


@pytest.mark.parametrize("tool", ["g++", "make", "perl"])
def test_missing_names_the_package_of_a_tool(tool: str, complete: pytest.MonkeyPatch) -> None:
    complete.setattr(doctor.shutil, "which", lambda name: None if name == tool else name)
    assert doctor.missing() == [f"{tool}: apt-get install {tool}"]


def test_missing_names_the_package_of_venv(complete: pytest.MonkeyPatch) -> None:
    complete.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object()
    )
    assert doctor.missing() == [f"the venv module: apt-get install python{VERSION}-venv"]


def test_missing_names_the_package_of_libpython(complete: pytest.MonkeyPatch) -> None:
    complete.setattr(doctor, "shared_libpython", lambda: None)
    (line,) = doctor.missing()
    assert line.startswith(f"a shared libpython for {sys.executable}: ")
    assert f"apt-get install libpython{VERSION} " in line
    assert "--enable-shared" in line


def test_missing_refuses_an_old_python(complete: pytest.MonkeyPatch) -> None:
    with complete.context() as patch:
        patch.setattr(doctor.sys, "version_info", Version(3, 10, 4))
        lines = doctor.missing()
    assert lines == ["Python 3.11 or newer, not 3.10: apt-get install python3.11"]


def test_missing_lists_everything_at_once(complete: pytest.MonkeyPatch) -> None:
    complete.setattr(doctor.shutil, "which", lambda name: None)
    complete.setattr(doctor, "shared_libpython", lambda: None)
    assert len(doctor.missing()) == 4


def test_main_prints_to_stderr_and_exits_with_3(
    complete: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main() == 0
    assert capsys.readouterr().err == ""
    complete.setattr(doctor.shutil, "which", lambda name: None if name == "make" else name)
    assert doctor.main() == 3
    assert capsys.readouterr().err == "xorloom set-up: missing make: apt-get install make\n"


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


def test_doctor_runs_with_the_standard_library_only() -> None:
    command = [sys.executable, "-I", "-S", doctor.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
