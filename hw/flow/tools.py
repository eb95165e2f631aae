# SPDX-License-Identifier: Apache-2.0
"""External tools, each in a process of its own; a failure names the log and what it says."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from xorloom.sw.base.cache import cache_folder
from xorloom.sw.base.errors import ToolError

__all__ = ["run_python", "yosys"]


def _meaning(lines: Sequence[str]) -> str:
    """Return the most telling line of a log: the last error, or else the last line.

    What follows an error may name signals: tools print in two streams, whose order is not sure.
    """
    told = [line.strip() for line in lines if line.strip()]
    if said := [line for line in told if line.startswith("ERROR: ")]:
        return said[-1]
    errors = [line for line in told if "error" in line.lower() and not line.endswith("0 errors")]
    # The last line of nextpnr is a count of errors, which says nothing.
    errors = [line for line in errors if not line.split(",")[-1].strip().endswith(" error")]
    return (errors or told or ["(no output)"])[-1]


def run_python(code: str, log: Path, what: str) -> None:
    """Run Python code that calls a tool, in the folder of its log.

    A sandboxed tool sees only the files of that folder, by their relative names.

    Parameters
    ----------
    code : str
    log : Path
        Where to write what the tool prints. If it fails, a copy stays in the temporary folder.
    what : str
        Name of the tool in messages.

    Raises
    ------
    ToolError
        If the tool does not end with exit code 0.
    """
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=log.parent,
            # YoWASP's own choice cannot do without a home folder.
            env={"YOWASP_CACHE_DIR": str(cache_folder() / "yowasp"), **os.environ},
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        text = log.read_text(errors="replace")
        handle, kept = tempfile.mkstemp(prefix=f"xorloom-{log.stem}-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as copy:
            copy.write(text)
        how = f"failed with exit code {done.returncode}"
        hint = ""
        if done.returncode < 0:  # a damaged program in the cache dies like this
            how = f"was killed by signal {-done.returncode}"
            hint = "; if it happens again, try xorloom cache --clear"
        meaning = _meaning(text.splitlines())
        raise ToolError(f"{what} {how}: {meaning} (log: {kept}{hint})")


def yosys(passes: Sequence[str], log: Path) -> None:
    """Run Yosys passes.

    Raises
    ------
    ToolError
        If a pass fails; names the log.
    """
    code = "\n".join(
        [
            "from pyosys import libyosys",
            "design = libyosys.Design()",
            f"for line in {list(passes)!r}:",
            "    design.run_pass(line)",
        ]
    )
    run_python(code, log, "yosys")
