# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, without one."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["at_most_bytes"]


@contextmanager
def at_most_bytes(limit: int) -> Iterator[None]:
    """Let no file of this process grow beyond a limit: writes end early, then fail with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
