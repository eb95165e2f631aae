# SPDX-License-Identifier: Apache-2.0
"""Tasks on their way to another machine: weights stay where they are, if that is a file.

A tensor of a file travels as the file's name and its own, and is read where the task runs; one that
is in memory travels as its bytes.
"""

import io
import os
import pickle
import zlib
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ToolError, XorloomError
from xorloom.sw.tensors.checkpoint import Checkpoint, ModelTensor, open_model
from xorloom.sw.tensors.checkpoint.model import Place, rows_of

from .urls import is_url, staged, url_of_staged

__all__ = ["packed", "print_of", "unpacked"]

_HERE = ("load", "span", "origin")
"""Fields of a tensor that mean something on this machine only."""
_PAGES, _PAGE_BYTES = 64, 1 << 12


def packed(run: str, task: Callable[..., Any], *given: Any) -> bytes:
    """Return a task as bytes.

    Parameters
    ----------
    run : str
        What tells this run from others: a file is opened again in each.
    task : callable
        A function of a module.
    given : objects
        Its arguments.
    """
    file = io.BytesIO()
    _Sender(file, run).dump((task, given))
    return file.getvalue()


def unpacked(data: bytes | memoryview) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return a task and its arguments; their tensors are not read yet."""
    task, given = pickle.loads(data)
    return task, given


class _Sender(pickle.Pickler):
    def __init__(self, file: io.BytesIO, run: str) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._run = run

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, ModelTensor):
            return NotImplemented
        facts = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in _HERE}
        origin = value.origin
        if origin is None:
            return _held, (facts, np.ascontiguousarray(value.load()))
        known = url_of_staged(origin.path) or os.path.abspath(origin.path)  # noqa: PTH100 - links stay
        marks = known, origin.name, origin.place, print_of(Path(value.source)), self._run
        return _reopened, (facts, *marks)


def _held(facts: dict[str, Any], array: np.ndarray) -> ModelTensor:
    return ModelTensor(**facts, load=lambda: array)


def _reopened(
    facts: dict[str, Any], known: str, name: str, place: Place | None, mark: str, run: str
) -> ModelTensor:
    """Return a tensor of a file, which is opened when the weights are asked for."""
    tensor = ModelTensor(**facts, load=lambda: array())

    def array() -> np.ndarray:
        try:
            whole = _opened(known, run)[name]
            found = print_of(Path(whole.source))
            data = whole.load()
        except (XorloomError, OSError) as error:
            raise ToolError(
                f"{tensor.label}: cannot be read on the machine {os.uname().nodename}: {error} "
                "(workers read the model themselves: put it where all machines see it under the "
                "same name, or give a URL that all can open)"
            ) from error
        if found != mark:
            raise ToolError(
                f"{tensor.label}: {whole.source} on the machine {os.uname().nodename} is another "
                "file: give all machines the same one"
            )
        return data if place is None else rows_of(data, place)

    return tensor


@lru_cache(maxsize=2)
def _opened(known: str, run: str) -> Checkpoint:
    return open_model(staged(known) if is_url(known) else Path(known))


def print_of(path: Path) -> str:
    """Return what tells a file from others: its length, and a checksum of pages all over it.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    size = path.stat().st_size
    crc, last = 0, max(0, size - _PAGE_BYTES)
    with path.open("rb") as file:
        for page in range(_PAGES):
            file.seek(last * page // (_PAGES - 1))
            crc = zlib.crc32(file.read(_PAGE_BYTES), crc)
    return f"{size}-{crc:08x}"
