# SPDX-License-Identifier: Apache-2.0
"""Store of a sweep's results: one JSON object per line, so that a sweep can be interrupted."""

import json
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.base.host import write_whole

__all__ = ["Store"]

_FORMAT = "xorloom-explore-1"
_log = logging.getLogger(__name__)


class Store:
    """Store of results by key: a JSON-lines file that is only appended to.

    A line is written whole and forced to the disk before the sweep goes on; a last line without
    its end, left by a crash, is dropped. ``errors`` are of this run only: what failed is not in
    ``results`` and is tried again.

    Parameters
    ----------
    path : Path
        Made if it is missing.
    data : dict
        What all results in it have in common: weights and version.

    Raises
    ------
    ConfigError
        If the file was made of other data or is in use.
    FormatError
        If it is no such file or a line in it is damaged.
    """

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self._path = path
        self.results: dict[str, dict[str, Any]] = {}
        self.errors: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(f"{path} is in use by another sweep") from None
        try:
            self._load({"format": _FORMAT} | data)
        except BaseException:
            self._lock.release()
            raise
        self._file = path.open("ab")

    def _load(self, header: dict[str, Any]) -> None:
        raw = self._path.read_bytes() if self._path.exists() else b""
        whole, _, rest = raw.rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        first = self._line(lines[0], 1) if lines else header
        if first.get("format") != _FORMAT:
            raise FormatError(f"{self._path}: no store of a sweep (give another -o)")
        for key, value in header.items():
            if first.get(key) != value:
                raise ConfigError(
                    f"{self._path} was made with {key} {first.get(key)}, not {value}: give another "
                    "-o, or delete it"
                )
        for number, line in enumerate(lines[1:], 2):
            record = self._line(line, number)
            if "key" not in record:
                raise FormatError(f"{self._path}, line {number}: no key")
            if "error" not in record:
                self.results[record["key"]] = record
        if rest:
            _log.warning(f"{self._path}: dropped a last line that was cut off")
        if rest or not lines:
            text = whole + b"\n" if lines else json.dumps(header).encode() + b"\n"
            write_whole(self._path, text)

    def _line(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise FormatError(
                f"{self._path}, line {number}: damaged (delete the line, or give another -o)"
            )
        return record

    def add(self, record: dict[str, Any]) -> None:
        """Append one result; ``key`` tells what it is the result of."""
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        if "error" in record:
            self.errors.append(record["error"])
        else:
            self.results[record["key"]] = record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._lock.release()
