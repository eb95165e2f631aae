# SPDX-License-Identifier: Apache-2.0
"""Verilog from the cache, found by what makes it: facts, sources and tools, nothing generated."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xorloom.hw
import xorloom.sw
from xorloom.sw.base.cache import cached, digest

__all__ = ["kept", "source_folders"]


def source_folders() -> tuple[Path, ...]:
    """Return the folders whose Python files decide what Verilog a unit has."""
    return tuple(Path(str(package.__file__)).parent for package in (xorloom.hw, xorloom.sw))


def kept(
    make: Callable[[], Any], *facts: object, more: Sequence[Path] = (), use: bool = True
) -> Any:
    """Return a JSON value from the cache, or make and keep it.

    Parameters
    ----------
    make : callable
        Makes the value.
    *facts
        All parameters that it depends on; every one has an exact ``str``.
    more : sequence of Path
        Further folders of Python files that decide it.
    use : bool
        See :func:`xorloom.sw.base.cache.cached`.
    """
    texts = [
        path.read_text(encoding="utf-8")
        for folder in (*source_folders(), *more)
        for path in sorted(folder.rglob("*.py"))
    ]
    tools = [version(tool) for tool in ("xorloom", "amaranth", "pyosys")]
    return cached("verilog", digest(*facts, *tools, *texts), make, use=use)
