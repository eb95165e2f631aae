# SPDX-License-Identifier: Apache-2.0
"""Compiler of the kernels: Numba, and what to do where it cannot keep what it compiled."""

import logging
from collections.abc import Callable
from multiprocessing import parent_process
from typing import Any

import numba

__all__ = ["njit"]

_log = logging.getLogger(__name__)
_told = False


def _tell() -> None:
    """Warn once, and not again in every worker."""
    global _told
    if not _told and parent_process() is None:
        _log.warning(
            "xorloom: neither its own folder nor the home folder can be written: kernels are "
            "compiled again in every run (set NUMBA_CACHE_DIR to a folder that can be written)"
        )
    _told = True


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile as ``numba.njit`` does; without the cache on disk where there is no place for it.

    Parameters
    ----------
    cache : bool
        Keep machine code beside the source, else in the user's cache folder.
    **options
        Of ``numba.njit``.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=cache, **options)(function)
        except RuntimeError as error:
            if not cache or "no locator available" not in str(error):
                raise
        _tell()
        return numba.njit(**options)(function)

    return compiled
