# SPDX-License-Identifier: Apache-2.0
"""Folders in the cache up to a size: those that were not used for longest leave first."""

import fcntl
import os
import secrets
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError

__all__ = ["LIMIT", "Held", "hold", "limit_bytes", "trim"]

LIMIT = "XORLOOM_SIMULATORS_MB"
"""Environment variable with the limit in megabytes (1,000,000 bytes)."""
_DEFAULT_MB = 1000
_LOCK, _USE, _GONE = "lock", "use", ".gone"


@dataclass(frozen=True)
class Held:
    """Folder that no process removes while this object lives; its age is that of its last hold."""

    folder: Path


def limit_bytes() -> int:
    """Return the limit, of the environment or the default.

    Raises
    ------
    ConfigError
        If the environment's is no number from 0 on.
    """
    text = os.environ.get(LIMIT) or str(_DEFAULT_MB)
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"{LIMIT} must be a whole number of megabytes, not {text!r}")
    return int(text) * 1_000_000


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Take the lock under which folders come, are held, and go; nobody keeps it for long."""
    root.mkdir(parents=True, exist_ok=True)
    handle = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # Where a file system has no locks, nothing is free, and nothing goes.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def hold(root: Path, name: str) -> Held:
    """Make the folder ``name`` in ``root`` if it is missing, and hold it."""
    folder = root / name
    with _alone(root):
        folder.mkdir(exist_ok=True)
        handle = os.open(folder / _USE, os.O_RDWR | os.O_CREAT, 0o666)
        held = Held(folder)
        weakref.finalize(held, os.close, handle)
        os.utime(handle)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
    return held


def _free(entry: Path) -> bool:
    """Return whether nobody holds an entry; ask under the lock of the root only."""
    if not entry.is_dir():
        return True
    try:
        handle = os.open(entry / _USE, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _size(entry: Path) -> int:
    files = [entry, *(Path(at, name) for at, _, names in os.walk(entry) for name in names)]
    total = 0
    for path in files:
        with suppress(OSError):  # a build removes its objects just now
            total += path.lstat().st_size
    return total


def _last_use(entry: Path) -> int:
    for path in (entry / _USE, entry):
        with suppress(OSError):
            return path.lstat().st_mtime_ns
    return 0


def trim(root: Path, limit: int) -> None:
    """Remove what was not used for longest from ``root``, until no more than ``limit`` bytes stay.

    What is held stays, however old. Entries are counted without the lock, and leave under other
    names first, so that nobody waits for the removal or finds half an entry.
    """
    entries = [path for path in root.iterdir() if path.name != _LOCK]
    sizes = {path: _size(path) for path in entries}
    total = sum(sizes.values())
    leaving = []
    with _alone(root):
        for entry in sorted(entries, key=_last_use):
            if entry.name.startswith(_GONE):  # of a process that was killed
                leaving.append(entry)
            elif total > limit and entry.exists() and _free(entry):
                gone = entry.with_name(f"{_GONE}-{secrets.token_hex(8)}")
                entry.rename(gone)
                leaving.append(gone)
                total -= sizes[entry]
    for gone in leaving:
        if gone.is_dir():
            shutil.rmtree(gone, ignore_errors=True)  # another process may do the same
        else:
            gone.unlink(missing_ok=True)
