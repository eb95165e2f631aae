# SPDX-License-Identifier: Apache-2.0
"""Host machine: its cores, and files that are written whole or not at all.

A file is written under a name of its own in the target's folder, forced to the disk, and only then
renamed. So a reader sees the old file or the new one, a failure leaves the old one, and of two
writers the last one wins. The name cannot be guessed and is opened only if it is new, so that
nobody can lay a link under it. A lock is held on it, which the system frees if its writer is
killed: the next writer in that folder removes what has none.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedRandom, BufferedWriter, FileIO
from pathlib import Path
from typing import IO, Any

from .outputs import target_of
from .partial import lock, named, new_name, sweep

__all__ = [
    "replaced",
    "replaced_all",
    "spool_beside",
    "threads_default",
    "write_all",
    "write_whole",
]


def threads_default() -> int:
    """Threads to use: the cores this process may run on."""
    return len(os.sched_getaffinity(0))


@contextmanager
def replaced_all(*paths: Path) -> Iterator[tuple[IO[bytes], ...]]:
    """Open files, to be written, that take the place of ``paths`` if the block ends well.

    The first rename comes after the last file is on the disk, and a rename that fails takes back
    those before it, so that all files appear or none; they appear in the order of ``paths``. A
    link is followed. A file keeps the mode, and if it may the owner, of the one that it replaces.

    Raises
    ------
    OSError
        If a file cannot be written; names it as it was given, and nothing is left behind.
    """
    with ExitStack() as stack:
        partials = [stack.enter_context(_partial(path)) for path in paths]
        yield tuple(partial.file for partial in partials)
        for partial in partials:
            with named(partial.path):
                partial.file.flush()
                os.fsync(partial.file.fileno())
        _publish(partials)


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, to be written, that takes the place of ``path``, as in :func:`replaced_all`."""
    with replaced_all(path) as (file,):
        yield file


@contextmanager
def spool_beside(path: Path) -> Iterator[IO[bytes]]:
    """Open a file without a name in the folder of ``path``, for data that memory must not hold.

    It is gone when the block ends, and also if the process is killed.

    Raises
    ------
    OSError
        If the folder cannot be written to, or is full; names ``path``.
    """
    target = target_of(path)
    with ExitStack() as stack:
        with named(path):
            unnamed = stack.enter_context(tempfile.TemporaryFile(dir=target.parent, buffering=0))
            raw = _Named(os.dup(unnamed.fileno()), "r+b", path)
        yield stack.enter_context(BufferedRandom(raw))


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all; text as UTF-8.

    Raises
    ------
    OSError
        If it cannot be written; an old file stays.
    """
    write_all({path: data})


def write_all(files: Mapping[Path, bytes | str]) -> None:
    """Write several files, all or none, as in :func:`replaced_all`; the last appears last."""
    with replaced_all(*files) as opened:
        for file, data in zip(opened, files.values(), strict=True):
            file.write(data.encode() if isinstance(data, str) else data)


class _Named(FileIO):
    """File whose errors name the file that the user asked for, not one he never heard of."""

    def __init__(self, handle: int, mode: str, path: Path) -> None:
        super().__init__(handle, mode)
        self._path = path

    def write(self, data: Any) -> int:
        with named(self._path):
            return super().write(data)


@dataclass(frozen=True)
class _Partial:
    """File that is being written: as what the user knows it, where it is to be, where it is."""

    path: Path
    target: Path
    name: Path
    file: IO[bytes]


@contextmanager
def _partial(path: Path) -> Iterator[_Partial]:
    """Make a file beside the target; it goes unless it is renamed."""
    target = target_of(path)
    sweep(target.parent)
    with named(path):
        name, handle = _create(target.parent)
    try:
        with BufferedWriter(_Named(handle, "wb", path)) as file:
            with suppress(FileNotFoundError):
                _take_after(file.fileno(), target.stat())
            yield _Partial(path, target, name, file)
    finally:
        name.unlink(missing_ok=True)


def _create(folder: Path) -> tuple[Path, int]:
    """Create and lock a file that was not there; return its name and handle."""
    while True:
        name = new_name(folder)
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        lock(handle)
        if os.fstat(handle).st_nlink:
            return name, handle
        os.close(handle)  # swept away between the two calls


def _take_after(handle: int, old: os.stat_result) -> None:
    """Give a new file the owner and the mode of an old one."""
    with suppress(PermissionError):  # only root may give a file away
        if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(handle, old.st_uid, old.st_gid)
    os.fchmod(handle, stat.S_IMODE(old.st_mode) & 0o777)


def _publish(partials: Sequence[_Partial]) -> None:
    """Rename files to their places, all or none."""
    with ExitStack() as stack:
        old = [stack.enter_context(_kept(partial)) for partial in partials[:-1]]
        done: list[tuple[Path, Path | None]] = []
        try:
            for partial, kept in zip(partials, [*old, None], strict=True):
                with named(partial.path):
                    partial.name.replace(partial.target)
                done.append((partial.target, kept))
        except BaseException:
            for target, kept in reversed(done):
                if kept is None:
                    target.unlink(missing_ok=True)
                else:
                    kept.replace(target)
            raise


@contextmanager
def _kept(partial: _Partial) -> Iterator[Path | None]:
    """Keep an old file under a second name until all new ones are in their places."""
    with named(partial.path):
        name, handle = _second_name(partial.target)
    try:
        yield name
    finally:
        if name is not None:
            name.unlink(missing_ok=True)
            os.close(handle)


def _second_name(target: Path) -> tuple[Path | None, int]:
    """Return another name of a file, if it is there, or of a copy; and the handle of its lock."""
    while True:
        try:
            handle = os.open(target, os.O_WRONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None, -1
        # Before it has the name that a sweep looks for. Who else has a lock on it keeps sweeps off.
        lock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        name = new_name(target.parent)
        with suppress(FileNotFoundError):  # another writer has replaced it meanwhile
            try:
                os.link(target, name)
            except FileNotFoundError:
                raise
            except OSError:  # a file system without hard links
                os.close(handle)
                return _copy(target)
            if name.stat().st_ino == os.fstat(handle).st_ino:
                return name, handle
            name.unlink(missing_ok=True)
        os.close(handle)


def _copy(target: Path) -> tuple[Path, int]:
    name, handle = _create(target.parent)
    shutil.copyfile(target, name)
    shutil.copystat(target, name)
    return name, handle
