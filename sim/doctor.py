# SPDX-License-Identifier: Apache-2.0
"""Check of what the set-up needs from the system, before anything is installed.

Standard library only, and any Python from 3.6 on, so that an old one is told what it lacks. ``make
setup`` runs it as a script; it prints all that is missing, with one command that installs what
Debian has of it, and exits with 3.
"""

import importlib
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "CACHE_MB",
    "VENV_MB",
    "Lack",
    "bundled_pip",
    "cache",
    "main",
    "missing",
    "shared_libpython",
]

PYTHON = (3, 11)
PIP = (21, 3)
"""The first pip that installs a project without ``setup.py`` in place.
Ref: pip's release notes, 21.3."""
TOOLS = ("g++", "make", "perl")
"""Of the simulator: programs, and Debian packages of the same names."""
VENV_MB = {
    "default": 740,
    "report": 815,
    "plot": 840,
    "boards": 1190,
    "cluster": 840,
    "docs": 860,
    "embeddings": 785,
    "peers": 810,
    "dev": 1760,
}
"""Megabytes of the environment with an extra, as ``du`` told them on Python 3.11."""
CACHE_MB = {"default": 280, "dev": 1600}
"""Megabytes of the cache after ``make demo`` and, with ``dev``, after ``make test``."""


class Lack(NamedTuple):
    """Something that is not there, and the Debian packages that have it, if any do."""

    what: str
    packages: "tuple[str, ...]" = ()


def shared_libpython() -> "Path | None":
    """Return this interpreter's shared library, which cocotb loads into the simulator."""
    name = sysconfig.get_config_var("INSTSONAME") or sysconfig.get_config_var("LDLIBRARY") or ""
    if ".so" not in name:
        return None
    folders = [sysconfig.get_config_var(key) or "" for key in ("LIBDIR", "LIBPL")]
    folders += [f"{folders[0]}/{sysconfig.get_config_var('MULTIARCH') or ''}"]
    for folder in folders:
        if (Path(folder) / name).exists():
            return Path(folder) / name
    return None


def bundled_pip() -> "str | None":
    """Return the version of the pip that ``venv`` puts into an environment."""
    if importlib.util.find_spec("ensurepip") is None:
        return None
    return str(importlib.import_module("ensurepip").version())


def _interpreter() -> "list[Lack]":
    """Return what this Python lacks."""
    version = ".".join(map(str, sys.version_info[:2]))
    if tuple(sys.version_info[:2]) < PYTHON:
        known = ".".join(map(str, PYTHON))
        what = f"Python {known} or newer, not {version} (then: make PYTHON=python{known})"
        return [Lack(what, (f"python{known}", f"python{known}-venv", f"libpython{known}"))]
    found = []
    pip = bundled_pip()
    if pip is None:
        found.append(Lack("the modules venv and ensurepip", (f"python{version}-venv",)))
    elif tuple(map(int, re.findall(r"\d+", pip)[:2])) < PIP:
        wanted = ".".join(map(str, PIP))
        found.append(Lack(f"pip {wanted} or newer for venv, not {pip}", ("python3-pip-whl",)))
    if shared_libpython() is None:
        what = f"a shared libpython of {sys.executable}"
        what += " (if it was built from source: configure it with --enable-shared)"
        found.append(Lack(what, (f"libpython{version}",)))
    return found


def _held_mb(folder: Path) -> int:
    """Return what the files in a folder take."""
    held = 0
    for parent, _, names in os.walk(str(folder)):
        for name in names:
            held += os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118
    return held // 10**6


def cache() -> Path:
    """Return the folder of results (``xorloom.sw.base.cache``, which is not installed yet)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~").expanduser() / ".cache")
    return Path(os.environ.get("XORLOOM_CACHE") or str(Path(base) / "xorloom"))


def _disk(venv: Path, extra: str) -> "list[Lack]":
    """Return the file systems that have too little room for what is not there yet."""
    needs = {}  # type: dict[int, list[tuple[Path, Path, int]]]
    for folder, table in ((venv, VENV_MB), (cache(), CACHE_MB)):
        there = folder.absolute()
        while not there.exists():
            there = there.parent
        need = table.get(extra, table["default"]) - _held_mb(folder)
        needs.setdefault(there.stat().st_dev, []).append((folder, there, need))
    found = []
    for places in needs.values():
        need = sum(max(0, place[2]) for place in places)
        free = shutil.disk_usage(str(places[0][1])).free // 10**6
        if free < need:
            names = " and ".join(str(place[0]) for place in places)
            found.append(Lack(f"disk space for {names}: {need:,} MB, of which {free:,} are free"))
    return found


def missing(venv: Path, extra: str = "default") -> "list[Lack]":
    """Return all that an environment with an extra lacks."""
    found = _interpreter()
    found += [Lack(tool, (tool,)) for tool in TOOLS if shutil.which(tool) is None]
    return found + _disk(venv, extra)


def main() -> int:
    """Print what is missing for ``VENV [EXTRA]``; return the exit code."""
    words = sys.argv[1:]
    lacks = missing(Path(words[0] if words else ".venv"), *words[1:2])
    for lack in lacks:
        print(f"xorloom set-up: missing {lack.what}", file=sys.stderr)
    packages = [package for lack in lacks for package in lack.packages]
    if packages:
        print(f"xorloom set-up: apt-get install {' '.join(packages)}", file=sys.stderr)
    return 3 if lacks else 0


if __name__ == "__main__":
    sys.exit(main())
