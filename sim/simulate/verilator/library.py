# SPDX-License-Identifier: Apache-2.0
"""Shared library of a verilated IP block with its testbench in C++, built once a content."""

import ctypes
import os
import subprocess
from importlib.resources import as_file, files
from pathlib import Path

from xorloom.sw.base.bounded import Held
from xorloom.sw.base.errors import ToolError

from .builds import (
    kept_program,
    key_of,
    last_line,
    shared_runtime,
)

__all__ = ["feeder_library"]

_FLAGS = {"OPT_FAST": "-O1", "OPT_SLOW": "-O0", "OPT_GLOBAL": "-O1", "VM_PARALLEL_BUILDS": "0"}
_PROGRAM = "feeder.so"


def feeder_library(text: str, top: str, *, keeps: bool) -> tuple[ctypes.CDLL, Held]:
    """Return the library for Verilog text, and what keeps it in the cache.

    Parameters
    ----------
    text, top : str
    keeps : bool
        Whether the block has ``m_axis_tkeep``.

    Raises
    ------
    ToolError
        If Verilator is missing or the build fails; names the log.
    """
    feeder = files(__package__) / "feeder.cpp"

    def make(source: Path, objects: Path, log: Path) -> None:
        objects.mkdir()
        # As a flag it would make precompiled headers of one kind useless for the other.
        define = b"#define HAS_KEEP\n" if keeps else b""
        with (
            as_file(feeder) as harness,
            shared_runtime(objects, text, "feeder", **_FLAGS) as values,
        ):
            (objects / "feeder.cpp").write_bytes(define + harness.read_bytes())
            verilator = "verilator -cc --exe -Wno-fatal --x-initial unique --prefix Vtop -Mdir ."
            command = [*verilator.split(), "--top-module", top, "-o", _PROGRAM]
            command += ["-CFLAGS", "-fPIC", "-LDFLAGS", "-shared"]
            more = os.environ | values
            commands = ([*command, str(source), "feeder.cpp"], ["make", "-f", "Vtop.mk"])
            with log.open("w") as output:
                for step in commands:
                    done = subprocess.run(
                        step,
                        cwd=objects,
                        env=more,
                        stdout=output,
                        stderr=output,
                        check=False,
                    )
                    if done.returncode:
                        output.flush()
                        told = last_line(log)
                        raise ToolError(f"{step[0]} failed: {told} (log: {log})")

    name = f"{top}-feeder-{key_of(text, top, keeps, feeder.read_text('utf-8'), _FLAGS)}"
    held = kept_program(name, top, text, _PROGRAM, make)
    return ctypes.CDLL(str(held.folder / "obj" / _PROGRAM)), held
