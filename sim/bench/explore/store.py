# SPDX-License-Identifier: Apache-2.0
"""Store of a sweep's results: one JSON object per line, so that a sweep can be interrupted."""

import fcntl
import json
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from xorloom.sw.base.cache import digest
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.base.outputs import target_of

__all__ = ["Store"]

_FORMAT = "xorloom-explore-3"
_log = logging.getLogger(__name__)


class Store:
    """Store of results by key: a JSON-lines file that is only appended to, and locked meanwhile.

    A line is written whole and forced to the disk before the sweep goes on; a last line without
    its end, left by a crash, is cut off. A line that does not fit its checksum is left out, so
    that its result is measured again. ``errors`` are of this run only: what failed is not in
    ``results`` and is tried again.

    Parameters
    ----------
    path : Path
        Made if it is missing, and its folder too.
    data : dict
        What all results in it have in common: weights and version.

    Raises
    ------
    ConfigError
        If the file was made of other data or is in use.
    FormatError
        If it is no such file.
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self._path = path
        self.results: dict[str, dict[str, Any]] = {}
        self.errors: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = target_of(path).open("a+b")
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"{path} is in use by another sweep") from None
            self._load({"format": _FORMAT} | data)
        except BaseException:
            self._file.close()
            raise

    def _load(self, header: dict[str, Any]) -> None:
        self._file.seek(0)
        raw = self._file.read()
        whole, _, rest = raw.rpartition(b"\n")
        if not whole:
            if not json.dumps(header).encode().startswith(raw):
                raise FormatError(f"{self._path}: no store of a sweep (give another -o)")
            self._file.truncate(0)
            self._write(header)
            return
        lines = whole.split(b"\n")
        self._check(_record(lines[0]) or {}, header)
        for number, line in enumerate(lines[1:], 2):
            record = _record(line)
            if record is None or record.pop("check", None) != _checksum(record):
                _log.warning(
                    f"{self._path}, line {number}: damaged and left out: its result is made again"
                )
            elif "error" not in record:
                self.results[record["key"]] = record
        if rest:
            _log.warning(f"{self._path}: dropped a last line that was cut off")
            self._file.truncate(len(whole) + 1)

    def _check(self, first: dict[str, Any], header: dict[str, Any]) -> None:
        if first.get("format") != _FORMAT:
            raise FormatError(f"{self._path}: no store of a sweep (give another -o)")
        for key, value in header.items():
            if first.get(key) != value:
                raise ConfigError(
                    f"{self._path} was made with {key} {first.get(key)}, not {value}: give another "
                    "-o, or delete it"
                )

    def _write(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def add(self, record: dict[str, Any]) -> None:
        """Append one result; ``key`` tells what it is the result of."""
        self._write(record | {"check": _checksum(record)})
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


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _checksum(record: dict[str, Any]) -> str:
    return digest(json.dumps(record, sort_keys=True))
