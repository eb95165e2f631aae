# SPDX-License-Identifier: Apache-2.0
"""What runs on a worker: a task that was sent, if it came from the same xorloom."""

import os
import signal
import zlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xorloom.sw.base.errors import ToolError

from .sending import unpacked

__all__ = ["build", "dask_setup", "work"]


@lru_cache(maxsize=1)
def build() -> str:
    """Return the version of xorloom with a checksum of its encoder's sources."""
    root, crc = Path(__file__).parents[1], 0
    for path in sorted(root.rglob("*.py")):
        crc = zlib.crc32(path.relative_to(root).as_posix().encode() + path.read_bytes(), crc)
    return f"{version('xorloom')}, sources {crc:08x}"


def work(data: bytes, wanted: str) -> Any:
    """Do a task that :func:`xorloom.sw.remote.sending.packed` made of; its errors come out.

    Parameters
    ----------
    data : bytes
    wanted : str
        The :func:`build` of who sent it: only the same code makes the same bytes.

    Raises
    ------
    ToolError
        If xorloom is another one here.
    """
    if build() != wanted:
        raise ToolError(
            f"a worker on {os.uname().nodename} has xorloom {build()}, this is {wanted}: install "
            "the same on all machines"
        )
    task, given = unpacked(data)
    return task(*given)


def dask_setup(_worker: Any) -> None:
    """Leave Ctrl-C to the process that started this worker, and then ends it; called by Dask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
