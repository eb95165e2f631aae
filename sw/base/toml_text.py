# SPDX-License-Identifier: Apache-2.0
"""TOML files of parameters: read strictly, with errors that name file, key and kind."""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from .errors import ConfigError

__all__ = ["check_kind", "check_known", "parameter_names", "read_toml", "toml_key"]

_KINDS: dict[Any, tuple[str, type | tuple[type, ...]]] = {
    int: ("an integer", int),
    float: ("a number", (int, float)),
    str: ("a string", str),
    Path: ("a string", str),
    dict: ("a table", dict),
    bool: ("true or false", bool),
    Fraction: ("a number, or a ratio as a string", (int, float, str)),
}


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """Return a file's values, and its text.

    Raises
    ------
    ConfigError
        If the file is missing or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error


def toml_key(name: str) -> str:
    """Return the key of a parameter: its name with ``-`` for ``_``."""
    return name.replace("_", "-")


def check_known(where: str, name: str, known: Iterable[str], hint: str) -> None:
    """Check that a key is known.

    Raises
    ------
    ConfigError
        If it is not, with the nearest key, else ``hint``.
    """
    names = list(known)
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {toml_key(close[0])}?" if close else hint
        raise ConfigError(f"{where}: unknown key {toml_key(name)}: {hint}")


def parameter_names(where: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table by names of parameters: keys may have ``-`` or ``_``.

    Raises
    ------
    ConfigError
        If a key is there in both spellings.
    """
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in values:
            raise ConfigError(f"{where}: key {toml_key(name)} is given twice, with - and with _")
        values[name] = value
    return values


def check_kind(where: str, name: str, value: Any, kind: Any) -> None:
    """Check a value's type: one of ``_KINDS``; else it must be a list of strings.

    Raises
    ------
    ConfigError
        If it has another.
    """
    if kind in _KINDS:
        text, wanted = _KINDS[kind]
        fits = isinstance(value, wanted) and isinstance(value, bool) == (kind is bool)
    else:
        text = "a list of strings"
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not fits:
        shown = json.dumps(value, default=str)
        raise ConfigError(f"{where}: {toml_key(name)} must be {text}, not {shown}")
