# SPDX-License-Identifier: Apache-2.0
"""What costs minutes, and the guard that lets only tests with the marker for it do so."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from xorloom.sw.base.cache import cache_folder

__all__ = ["COSTLY", "Guard", "cost_of"]

COSTLY = ("build", "synth", "proof")
"""Markers of what the quick tier leaves out: simulators, synthesis and placement, proofs."""


def cost_of(event: str, arguments: tuple[Any, ...], cache: str) -> str | None:
    """Return the marker that a test needs for an event of Python's audit hooks.

    Parameters
    ----------
    event, arguments
        As :func:`sys.addaudithook` tells them.
    cache : str
        The session's cache folder: what a test takes from there, another run would have to make.
    """
    if event == "open":
        path = arguments[0]
        if not isinstance(path, str) or not path.startswith(cache):
            return None
        room = path[len(cache) :].lstrip(os.sep).partition(os.sep)[0]
        return {"sim": "build", "synth": "synth"}.get(room)
    if event != "subprocess.Popen":
        return None
    command = arguments[1]
    line = command if isinstance(command, str) else " ".join(map(str, command))
    words = line.split()
    tools = {Path(word).name for word in words}
    if "yosys-abc" in tools:
        return "proof"
    lint = "--lint-only" in words
    if tools & {"make", "iverilog"} or ("verilator" in tools and not lint):
        return "build"
    maps = "libyosys" in line and any(word in line for word in ("'synth", " synth", "abc "))
    return "synth" if maps or "nextpnr" in line else None


class Guard:
    """Stops a test that builds, synthesizes or proves without the marker of that name."""

    def __init__(self) -> None:
        self._allowed: set[str] | None = None
        self._broken: set[str] = set()
        self._cache = str(cache_folder())
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._allowed is None or event not in ("open", "subprocess.Popen"):
            return
        cost = cost_of(event, arguments, self._cache)
        if cost is not None and cost not in self._allowed:
            self._broken.add(cost)
            if event == "subprocess.Popen":
                raise AssertionError(f"mark this test with @pytest.mark.{cost}")

    def start(self, item: pytest.Item) -> None:
        """Watch a test from here on, its fixtures included."""
        marks = {mark.name for mark in item.iter_markers()}
        self._allowed = None if "slow" in marks else marks
        self._broken.clear()

    def stop(self) -> None:
        """Fail if the test lacked a marker."""
        self._allowed = None
        if self._broken:
            marks = " ".join(f"@pytest.mark.{cost}" for cost in sorted(self._broken))
            pytest.fail(f"the test needs {marks}, so that `make quick` leaves it out")
