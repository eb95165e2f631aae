# SPDX-License-Identifier: Apache-2.0
"""What costs minutes, and the guard that lets only tests with the marker for it do so."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from xorloom.sw.base.cache import cache_folder

__all__ = ["Guard", "cost_of"]


def cost_of(command: Any, simulators: Path) -> str | None:
    """Return the marker that a test needs to start a process.

    Parameters
    ----------
    command : str or path or sequence of them
        As for :class:`subprocess.Popen`.
    simulators : Path
        Folder of what was built before: without it, the test would build.
    """
    parts = [command] if isinstance(command, str | os.PathLike) else list(command)
    line = " ".join(map(os.fspath, parts))
    words = line.split()
    tools = {Path(word).name for word in words}
    if "yosys-abc" in tools:
        return "proof"
    builds = "verilator" in tools and "--lint-only" not in words
    if builds or tools & {"make", "iverilog"} or words[0].startswith(str(simulators)):
        return "build"
    maps = "libyosys" in line and any(word in line for word in ("'synth", " synth", "abc "))
    return "synth" if maps or "nextpnr" in line else None


class Guard:
    """Stops a test that builds, synthesizes or proves without the marker of that name.

    It sees the processes that the test starts, not those that these start. What a synthesis
    before has left in the cache is not seen: an empty cache tells.
    """

    def __init__(self) -> None:
        self._allowed: set[str] | None = None
        self._broken: set[str] = set()
        start = subprocess.Popen.__init__
        simulators = cache_folder() / "sim"

        def watched(process: Any, args: Any, *more: Any, **options: Any) -> None:
            if self._allowed is not None:
                cost = cost_of(args, simulators)
                if cost is not None and cost not in self._allowed:
                    self._broken.add(cost)
                    raise AssertionError(f"mark this test with @pytest.mark.{cost}")
            start(process, args, *more, **options)

        subprocess.Popen.__init__ = watched  # type: ignore[method-assign]

    def start(self, item: pytest.Item) -> None:
        """Watch a test from here on, its fixtures included; the slow ones may do all."""
        marks = {mark.name for mark in item.iter_markers()}
        self._allowed = None if "slow" in marks else marks
        self._broken.clear()

    def stop(self) -> None:
        """Fail if the test lacked a marker, whatever became of the error."""
        self._allowed = None
        if self._broken:
            marks = " ".join(f"@pytest.mark.{cost}" for cost in sorted(self._broken))
            pytest.fail(f"the test needs {marks}, so that `make quick` leaves it out")
