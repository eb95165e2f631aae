# SPDX-License-Identifier: Apache-2.0
"""Host machine: its cores, and files that are written whole or not at all.

A file is written under a name of its own in the target's folder, forced to the disk, and only then
renamed. So a reader sees the old file or the new one, a failure leaves the old one, and of two
writers the last one wins.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

__all__ = [
    "replaced",
    "replaced_paths",
    "spool_beside",
    "threads_default",
    "write_all",
    "write_whole",
]


def threads_default() -> int:
    """Threads to use: the cores this process may run on."""
    return len(os.sched_getaffinity(0))


@contextmanager
def replaced_paths(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Names to write files under, which take the place of ``paths`` if the block ends well.

    The first rename comes after the last file is on the disk, so that all files appear or none;
    they appear in the order of ``paths``. For writers that want a name; see also :func:`replaced`.

    Raises
    ------
    OSError
        If a file cannot be written; nothing is left behind.
    """
    partials = tuple(
        path.with_name(f".xorloom-{os.getpid()}-{secrets.token_hex(6)}.partial") for path in paths
    )
    try:
        yield partials
        for path, partial in zip(paths, partials, strict=True):
            if path.is_dir():
                raise IsADirectoryError(f"cannot write {path}: it is a folder")
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        for path, partial in zip(paths, partials, strict=True):
            partial.replace(path)
    finally:
        for partial in partials:
            # Already renamed, never begun, or in a folder that is none.
            if partial.exists():
                partial.unlink()


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Open file, to be written, that takes the place of ``path`` if the block ends well.

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind.
    """
    with replaced_paths(path) as (partial,):
        with _clear(path):
            file = partial.open("xb")
        with file:
            yield file


@contextmanager
def spool_beside(path: Path) -> Iterator[IO[bytes]]:
    """Open file without a name in the folder of ``path``, for data that memory must not hold.

    It is gone when the block ends, and also if the process is killed.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    with ExitStack() as stack:
        with _clear(path):
            file = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
        yield file


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all; text as UTF-8.

    Raises
    ------
    OSError
        If it cannot be written; an old file stays.
    """
    write_all({path: data})


def write_all(files: Mapping[Path, bytes | str]) -> None:
    """Write several files, all or none, as in :func:`write_whole`; the last appears last."""
    with replaced_paths(*files) as partials:
        for partial, (path, data) in zip(partials, files.items(), strict=True):
            with _clear(path):
                file = partial.open("xb")
            with file:
                file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def _clear(path: Path) -> Iterator[None]:
    """Name the file that the user asked for in an error, not one that he never heard of."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {path}: {os.strerror(error.errno or 0)} (is {path.parent} a folder that "
            "you may write to?)",
        ) from None
