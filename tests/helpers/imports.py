# SPDX-License-Identifier: Apache-2.0
"""What the project's modules import, read from their text."""

import ast
from functools import cache
from pathlib import Path

from tests.helpers.paths import ROOT

SOURCES = ("sw", "hw", "sim")


def module_name(path: Path) -> str:
    """Return the full name of the module in a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(("xorloom", *parts) if parts[0] in SOURCES else parts)


def python_files(folder: str) -> list[Path]:
    """Return all Python files below a folder of the project, at any depth.

    An empty answer is an error, so that no rule holds because nothing was looked at.
    """
    found = sorted(
        path
        for path in (ROOT / folder).rglob("*.py")
        if not {"_ns", "__pycache__"} & set(path.parts)
    )
    assert found, f"no Python files in {folder}"
    return found


@cache
def imported(path: Path, text: str | None = None) -> frozenset[str]:
    """Return the full names of all modules that a file imports, at any depth of its code.

    Of ``from package import name`` the name counts as a module if there is such a file. A file is
    read once in a process.
    """
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8") if text is None else text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                names.add(full if _is_module(full) else base)
    return frozenset(names)


def _is_module(name: str) -> bool:
    parts = name.split(".")
    if parts[0] == "xorloom":
        parts = parts[1:]
    path = ROOT.joinpath(*parts)
    return path.with_suffix(".py").is_file() or path.is_dir()
