# SPDX-License-Identifier: Apache-2.0
"""Folders that appear whole or not at all.

A folder is filled under a name of its own and then renamed. Where the folder is there already, and
empty, it may be a mount point, which cannot be replaced: then its files move into it, all or none.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import ConfigError
from .host import replaced
from .outputs import folder_target
from .partial import lock, named, new_name, sweep

__all__ = ["check_new_folder", "copied", "new_folder"]

_CHUNK_BYTES = 1 << 20
_TOLD = 3
"""Entries of a folder that an error names."""


def check_new_folder(path: Path) -> Path:
    """Return the folder that :func:`new_folder` makes or fills for ``path``, if it can.

    What a killed writer left there is removed.

    Raises
    ------
    ConfigError
        If it is there and not empty.
    OSError
        If it cannot be made or written to.
    """
    target = folder_target(path)
    there = target.is_dir()
    sweep(target if there else target.parent)
    found = sorted(entry.name for entry in target.iterdir()) if there else []
    if found:
        more = f" and {len(found) - _TOLD:,} more" if len(found) > _TOLD else ""
        raise ConfigError(
            f"{path}: is a folder that holds {', '.join(found[:_TOLD])}{more}: name another one, "
            "or empty it"
        )
    return target


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder, to be filled, that stands as ``path`` if the block ends well.

    A link is followed. Errors of the block that name the folder, or a file in it, name it as it
    will be.

    Raises
    ------
    ConfigError
        If the folder is there and not empty.
    OSError
        If it cannot be made; nothing is left behind.
    """
    target = check_new_folder(path)
    there = target.is_dir()
    home = target if there else target.parent
    with named(path):
        partial, handle = _create(home)
    try:
        try:
            yield partial
        except Exception as error:
            _rename_in(error, partial, path)
            raise
        with named(path):
            for folder, _, _ in os.walk(partial):
                _sync(Path(folder))
            if there:
                _fill(target, partial)
            else:
                partial.rename(target)
            _sync(home)
    finally:
        os.close(handle)
        shutil.rmtree(partial, ignore_errors=True)


def copied(source: Path, target: Path) -> None:
    """Copy a file; its folder is made if it is missing.

    Raises
    ------
    OSError
        If it cannot be read or written; names the file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as file, replaced(target) as new:
        shutil.copyfileobj(file, new, _CHUNK_BYTES)


def _create(home: Path) -> tuple[Path, int]:
    """Create and lock a folder that was not there; return its name and handle."""
    while True:
        name = new_name(home)
        name.mkdir()
        with suppress(FileNotFoundError):  # swept away before it is locked
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            lock(handle)
            if name.exists():
                return name, handle
            os.close(handle)


def _fill(target: Path, partial: Path) -> None:
    """Move all that is in a folder into another one, all or nothing."""
    moved: list[Path] = []
    try:
        for entry in sorted(partial.iterdir()):
            place = target / entry.name
            if os.path.lexists(place):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            entry.rename(place)
            moved.append(place)
    except BaseException:
        for place in moved:
            place.rename(partial / place.name)
        raise


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some file systems have no such call for folders
            os.fsync(handle)
    finally:
        os.close(handle)


def _rename_in(error: Exception, partial: Path, path: Path) -> None:
    """Put the name that the user knows into an error."""
    old, new = str(partial), str(path)
    if isinstance(error, OSError):
        if isinstance(error.filename, str):
            error.filename = error.filename.replace(old, new)
        if error.strerror:
            error.strerror = error.strerror.replace(old, new)
    error.args = tuple(arg.replace(old, new) if isinstance(arg, str) else arg for arg in error.args)
