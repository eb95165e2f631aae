# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.helpers.imports import SOURCES, python_files
from tests.helpers.paths import ROOT

DATA = {
    "hw/ip/driver/c": {".c", ".h"},
    "sim/generate/templates": {".j2"},
    "sim/report/templates": {".css", ".j2", ".js"},
    "sim/simulate/verilator": {".cpp"},
}
IGNORED = (".*", "build", "dist", "*.egg-info", "__pycache__", "_ns")


def run(*arguments, cwd):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel from a copy of the tree: the working tree stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "tree", ignore=shutil.ignore_patterns(*IGNORED))
    build = ("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), ".")
    run(*build, cwd=folder / "tree")
    (made,) = folder.glob("xorloom-*.whl")
    return made


def test_wheel_holds_every_module_and_data_file_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    expected = {f"xorloom/{p}/py.typed" for p in SOURCES} | {"xorloom/sw/FORMAT.md"}
    for folder in SOURCES:
        kept = [path.relative_to(ROOT) for path in python_files(folder)]
        assert len(kept) > 20
        expected |= {f"xorloom/{path.as_posix()}" for path in kept}
    for folder, kinds in DATA.items():
        found = [path for path in (ROOT / folder).iterdir() if path.suffix in kinds]
        assert found, folder
        expected |= {f"xorloom/{folder}/{path.name}" for path in found}
    assert names == expected
    assert licences


def test_wheel_is_pure_python(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")


def test_installed_wheel_imports_from_its_own_files(wheel, tmp_path):
    target = tmp_path / "installed"
    run("-m", "pip", "install", "--no-deps", "--target", str(target), str(wheel), cwd=tmp_path)
    # -S skips .pth files, so that the editable install cannot answer in the wheel's place.
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; "
        "import xorloom.sw.value.block.stream, xorloom.sim.cli.main; "
        "print(xorloom.sw.value.block.stream.__file__); print(xorloom.sim.cli.main.__file__)"
    )
    site = sysconfig.get_path("purelib")
    found = run("-I", "-S", "-c", code, str(target), site, cwd=tmp_path).split()
    installed = target / "xorloom"
    expected = [installed / "sw/value/block/stream.py", installed / "sim/cli/main.py"]
    assert [Path(line) for line in found] == expected
    assert (target / "xorloom" / "sw" / "FORMAT.md").read_bytes() == (
        ROOT / "sw" / "FORMAT.md"
    ).read_bytes()


def test_licence_is_there():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
