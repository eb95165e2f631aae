# SPDX-License-Identifier: Apache-2.0
"""Check what xorloom needs from the system, before anything is installed (standard library only).

Run as a script by ``make setup``; prints each missing Debian package and exits with 3.
"""

import importlib.util
import shutil
import sys
import sysconfig
from pathlib import Path

__all__ = ["main", "missing", "shared_libpython"]


def shared_libpython() -> Path | None:
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


def missing() -> list[str]:
    """Return one line for each thing that is not there, with the Debian package that has it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    lines = []
    if sys.version_info < (3, 11):  # noqa: UP036 - runs before pip could refuse
        lines.append(f"Python 3.11 or newer, not {version}: apt-get install python3.11")
    if importlib.util.find_spec("ensurepip") is None:
        lines.append(f"the venv module: apt-get install python{version}-venv")
    if shared_libpython() is None:
        lines.append(
            f"a shared libpython for {sys.executable}: apt-get install libpython{version} "
            "(or, for a Python built from source, configure it with --enable-shared)"
        )
    for tool, package in (("g++", "g++"), ("make", "make"), ("perl", "perl")):
        if shutil.which(tool) is None:
            lines.append(f"{tool}: apt-get install {package}")
    return lines


def main() -> int:
    """Print what is missing; return the exit code."""
    lines = missing()
    for line in lines:
        print(f"xorloom set-up: missing {line}", file=sys.stderr)
    return 3 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
