# SPDX-License-Identifier: Apache-2.0
"""What is being written and not yet in its place: its name, its lock, and what killed writers left.

:mod:`xorloom.sw.base.host` tells how files are written, :mod:`xorloom.sw.base.folders` folders.
"""

import fcntl
import os
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["lock", "named", "new_name", "sweep"]

_PREFIX, _SUFFIX = ".xorloom-", ".partial"
_HOST = f"{zlib.crc32(os.uname().nodename.encode()):08x}"
_STALE_S = 24 * 3600
"""Age from which a file of another host's that nobody has locked counts as left behind: a network
file system may keep the locks of each host to itself."""


def new_name(folder: Path) -> Path:
    """Return a name in a folder that nobody can guess, for what is being written there."""
    return folder / f"{_PREFIX}{_HOST}-{secrets.token_hex(8)}{_SUFFIX}"


def lock(handle: int, kind: int = fcntl.LOCK_EX) -> None:
    """Lock what is being written, until its handle is closed or its writer dies."""
    # Where a file system has no locks, a sweep gets none either, and removes nothing.
    with suppress(OSError):
        fcntl.flock(handle, kind)


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder: files and folders of ours that nobody locked.

    A process number would say less: another host or container may write here, and numbers come
    again.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                with suppress(OSError):
                    _remove_if_left(Path(entry.path), entry.is_dir(follow_symlinks=False))


def _remove_if_left(name: Path, is_folder: bool) -> None:
    kind = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_RDWR
    handle = os.open(name, kind | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        facts = os.fstat(handle)
        own_host = name.name.startswith(f"{_PREFIX}{_HOST}-")
        # A folder's age says little: its files may take days.
        stale = own_host or (not is_folder and time.time() - facts.st_mtime > _STALE_S)
        if not (is_folder or stat.S_ISREG(facts.st_mode)):
            return
        if facts.st_uid == os.geteuid() and stale:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(name) if is_folder else name.unlink()
    finally:
        os.close(handle)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Name in an error the file that the user asked for."""
    try:
        yield
    except OSError as error:
        text = f"cannot write {path}: {os.strerror(error.errno or 0)}"
        raise OSError(error.errno, text) from None
