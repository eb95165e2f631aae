# SPDX-License-Identifier: Apache-2.0
"""Verilog from the cache, found by what makes it: facts, sources and tools, nothing generated."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xorloom.sw.base import cache

__all__ = ["kept", "source_folders"]


def source_folders() -> tuple[Path, ...]:
    """Return the folders whose Python files decide what Verilog a unit has."""
    return Path(__file__).parents[1], Path(cache.__file__).parents[1]


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
    return cache.cached("verilog", cache.digest(*facts, *tools, *texts), make, use=use)
