# SPDX-License-Identifier: Apache-2.0
"""Names in docstrings are names of real things: Sphinx roles, dotted names, twins of RTL units."""

import ast
import importlib
import re
from functools import cache

import pytest

from tests.helpers.imports import SOURCES, module_name, python_files

FILES = {module_name(path): path for folder in SOURCES for path in python_files(folder)}
ROLE = re.compile(r":(?:func|class|mod|data|meth|attr):`~?([^`]+)`")
DOTTED = re.compile(r"``((?:xorloom\.)?(?:sw|hw|sim)\.(?!.*\bNAME\b)[\w.]+)``")
TWIN = re.compile(r"\bTwins?:\s+``([^`]+)``")


@cache
def tree(module):
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def body_names(body):
    """Map what a module or class defines to its node."""
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                found |= {n.id: node for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def defines(body, path):
    """Tell whether a body defines ``a.b``; what a class inherits or sets counts as ``b``."""
    node = body_names(body).get(path[0])
    if node is None or len(path) == 1:
        return node is not None
    if not isinstance(node, ast.ClassDef):
        return False
    own = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    return defines(node.body, path[1:]) or path[1] in own or bool(node.bases)


def resolves(name):
    """Tell whether a full name is that of a module or of something in one."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        module = ".".join(parts[:n])
        if module in FILES:
            return n == len(parts) or defines(tree(module).body, parts[n:])
    if parts[0] == "xorloom":
        return False
    module, _, attribute = name.rpartition(".")
    return bool(module) and hasattr(importlib.import_module(module), attribute)


def resolves_in(module, text_at, name):
    """Tell whether a name means something in a docstring that stands in a module's classes."""
    if name.startswith("xorloom."):
        return resolves(name)
    path = name.split(".")
    return any(defines(body, path) for body in (tree(module).body, *text_at))


def docstrings(module):
    """Yield the texts of a module that stand by themselves, with the class bodies around them."""

    def walk(body, around):
        for node in body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                if isinstance(node.value.value, str):
                    yield node.value.value, around
            elif isinstance(node, ast.ClassDef):
                yield from walk(node.body, (*around, node.body))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(node.body, around)

    yield from walk(tree(module).body, ())


def full(name):
    return name if name.startswith(("xorloom.", "zlib.")) else f"xorloom.{name}"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("xorloom.sw.golden.bus", True),
        ("xorloom.sw.golden.bus.BitQueue.fill", True),
        ("xorloom.sw.golden.bus.BitQueue.empty", False),
        ("xorloom.sw.golden.bus.nothing", False),
        ("xorloom.sw.golden.nothing", False),
        ("xorloom.sw.spec.config.BUS_BITS", True),
        ("zlib.crc32", True),
        ("zlib.crc33", False),
    ],
)
def test_resolves_knows_modules_and_what_is_in_them(name, found):
    assert resolves(name) is found


@pytest.mark.parametrize("module", sorted(FILES))
def test_names_in_docstrings_resolve(module):
    lost = []
    for text, around in docstrings(module):
        lost += [n for n in ROLE.findall(text) if not resolves_in(module, around, n)]
        lost += [n for n in DOTTED.findall(text) if not resolves(full(n))]
        lost += [n for n in TWIN.findall(text) if not resolves(full(n))]
        lost += ["Twin without a name"] * (
            len(re.findall(r"\bTwins?:", text)) - len(TWIN.findall(text))
        )
    assert lost == []


def test_enough_names_are_looked_at():
    texts = [text for module in FILES for text, _ in docstrings(module)]
    assert sum(len(ROLE.findall(text)) for text in texts) > 100
    assert sum(len(TWIN.findall(text)) for text in texts) > 15


def test_every_golden_function_of_a_unit_says_which_unit():
    for module in FILES:
        if module.startswith("xorloom.sw.golden."):
            text = ast.get_docstring(tree(module)) or ""
            assert text.startswith("GOLDEN MODEL of "), module
