# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of torch, walked whole, and never able to run code."""

import argparse
import re
import warnings
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.base.extras import require

from .model import Checkpoint, ModelTensor, listed
from .torch_tensor import Span, read_tensors

__all__ = ["TORCHSCRIPT", "open_torch"]

TORCHSCRIPT = (
    "a TorchScript program: load it with torch.jit.load and save its state_dict() with torch.save"
)
_SAVE = (
    "save the weights alone where the model can be loaded: torch.save(model.state_dict(), FILE), "
    "or safetensors.torch.save_model(model, FILE)"
)

_METADATA = {"format": "pt"}
"""What Transformers wants to read in the safetensors file that the weights come back in."""


def open_torch(path: Path) -> Checkpoint:
    """Open a file of ``torch.save``; tensors are named by their path in it, e.g. ``model.w``.

    Tensors that are the same memory are tied. What is no tensor is told in one note.

    Raises
    ------
    FormatError
        If the file is damaged, holds no tensor, or holds objects of Python.
    ToolError
        If torch is not installed.
    """
    require("torch")
    import torch

    state = _loaded(path, torch)
    found: dict[str, Any] = {}
    others: list[str] = []
    for name, value in _walk(state, "", torch, others, frozenset()):
        name = name or path.stem  # the file is one tensor
        if name in found:
            raise FormatError(f"{path}: two tensors have the path {name!r}: rename a key")
        found[name] = value
    if not found:
        raise FormatError(
            f"{path}: holds no tensor, but {type(state).__name__}"
            + (f" of {listed(others)}" if any(others) else "")
            + f": {_SAVE}"
        )
    tensors, ties, spans = read_tensors(found, torch, str(path))
    notes = tuple(_notes(tensors, others, spans))
    return Checkpoint(tensors, path, _METADATA, ties, notes)


def _loaded(path: Path, torch: Any) -> Any:
    """Return what the file holds."""
    archive = zipfile.is_zipfile(path)
    if archive:
        with zipfile.ZipFile(path) as members:
            names = members.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise ConfigError(f"{path} is {TORCHSCRIPT}")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            # Of torch about its own old formats; the reader of the message can do nothing.
            warnings.simplefilter("ignore")
            # weights_only: a checkpoint must not be able to run code. Many hold the arguments of
            # the program that trained them, a class without code of its own.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch's own texts advise to load pickles: not one is let through
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found:
            raise FormatError(
                f"{path}: holds objects of Python ({found[1]}), which are not loaded, since they "
                f"can run code: {_SAVE}"
            ) from None
        raise FormatError(f"{path}: is no file of torch.save, or damaged: get it again") from None


def _walk(
    value: Any, name: str, torch: Any, others: list[str], above: frozenset[int]
) -> Iterator[tuple[str, Any]]:
    """Yield tensors with their paths; the paths of all else go to ``others``."""
    if isinstance(value, torch.Tensor):
        yield name, value
        return
    entries: list[tuple[Any, Any]] = []
    if id(value) not in above:  # a container can hold itself
        if isinstance(value, dict):
            entries = list(value.items())
        elif isinstance(value, list | tuple):
            entries = list(enumerate(value))
    start, tensors = len(others), 0
    for key, entry in entries:
        path = f"{name}.{key}" if name else str(key)
        for found in _walk(entry, path, torch, others, above | {id(value)}):
            tensors += 1
            yield found
    if not tensors and name:
        others[start:] = [name]


def _notes(
    tensors: dict[str, ModelTensor],
    others: list[str],
    spans: dict[int, list[Span]],
) -> Iterator[str]:
    if others:
        yield f"left out, not tensors: {listed(others)}"
    shared: list[str] = []
    for parts in spans.values():
        for (_, stop, one), (start, _, two) in pairwise(sorted(parts)):
            if start < stop:
                shared += [one, two]
    if shared:
        names = listed(dict.fromkeys(shared))
        yield f"views of the same memory, stored as tensors of their own: {names}"
