# SPDX-License-Identifier: Apache-2.0
"""What the host machine gives: cores, and files written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["replace_on_success", "threads_default", "write_whole"]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def threads_default() -> int:
    """Threads to use: the cores this process may run on."""
    return len(os.sched_getaffinity(0))


@contextmanager
def replace_on_success(path: Path) -> Iterator[IO[bytes]]:
    """Write a file beside ``path`` and rename it at the end: whole, or not there at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
