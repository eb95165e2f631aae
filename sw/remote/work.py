# SPDX-License-Identifier: Apache-2.0
"""What runs on a worker: a task that was sent, if it came from the same xorloom."""

import ctypes
import os
import signal
import zlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ToolError

from .sending import unpacked

__all__ = ["build", "dask_setup", "work"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MOST_BYTES = 1 << 25
"""What glibc comes to by itself. Ref: mallopt(3), M_MMAP_THRESHOLD, dynamic adjustment."""


@lru_cache(maxsize=1)
def build() -> str:
    """Return the version of xorloom with a checksum of its encoder's sources."""
    root, crc = Path(__file__).parents[1], 0
    for path in sorted(root.rglob("*.py")):
        crc = zlib.crc32(path.relative_to(root).as_posix().encode() + path.read_bytes(), crc)
    return f"{version('xorloom')}, sources {crc:08x}"


def work(data: bytes | np.ndarray, wanted: str) -> Any:
    """Do a task that :func:`xorloom.sw.remote.sending.packed` made of; its errors come out.

    Parameters
    ----------
    data : bytes or uint8 array
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
    _keep_memory()
    task, given = unpacked(data if isinstance(data, bytes) else data.data)
    return task(*given)


@lru_cache(maxsize=1)
def _keep_memory() -> None:
    """Have freed memory kept for the next array, as in any other process.

    Dask has its workers give back all they free: half of the time went into getting it again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # of glibc
        mallopt(_MMAP_THRESHOLD, _MOST_BYTES)
        mallopt(_TRIM_THRESHOLD, 2 * _MOST_BYTES)


def dask_setup(_worker: Any) -> None:
    """Leave Ctrl-C to the process that started this worker, and then ends it; called by Dask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
