# SPDX-License-Identifier: Apache-2.0
"""Store of the accuracy laboratory: outcomes on disk, a line each, as soon as they are there."""

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock
from xorloom.sw.base.cache import digest
from xorloom.sw.base.errors import FormatError
from xorloom.sw.base.host import write_whole

__all__ = ["Store", "merged", "read_results"]

_SAME = ("network", "data", "method", "budget", "epochs", "seeds")
_log = logging.getLogger(__name__)


class Store:
    """Outcomes of jobs by key, in a file that grows by a line for each.

    A line that is damaged, as one is that was cut off, is left out: its job is done again.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the outcomes by key; of two with one key the last."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        found, damaged = {}, 0
        for line in lines:
            try:
                entry = json.loads(line)
                if entry["check"] != _check(entry["key"], entry["outcome"]):
                    raise ValueError("another checksum")
                found[entry["key"]] = entry["outcome"]
            except (ValueError, KeyError, TypeError, RecursionError):
                damaged += bool(line.strip())
        if damaged:
            _log.warning(f"xorloom: {self._path}: {damaged} damaged lines left out: measured again")
        return found

    def add(self, key: str, outcome: dict[str, Any]) -> None:
        """Append an outcome; it is on the disk when this returns."""
        line = {"key": key, "outcome": outcome, "check": _check(key, outcome)}
        text = json.dumps(line, allow_nan=False).encode() + b"\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_suffix(".lock")), self._path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a writer was killed in the middle of a line
                    text = b"\n" + text
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def _check(key: str, outcome: dict[str, Any]) -> str:
    return digest(key, json.dumps(outcome, sort_keys=True))


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of results; none if there is no file.

    Raises
    ------
    FormatError
        If it is no JSON list of rows.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise FormatError(f"{path}: no JSON: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FormatError(f"{path}: must be a list of rows (give -o another file)")
    return rows


def merged(path: Path, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write rows into a file of results; those that it has of the same run are replaced.

    Returns
    -------
    list of dict
        All rows of the file, sorted.

    Raises
    ------
    FormatError
        If the file is there, but no JSON list of rows.
    """
    found = {_same(row): row for row in [*read_results(path), *rows]}
    order = sorted(found, key=lambda key: [(isinstance(x, str), x) for x in key])
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(found[key]) for key in order)
    write_whole(path, f"[\n{lines}\n]\n")
    return [found[key] for key in order]


def _same(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name, "") for name in _SAME)
