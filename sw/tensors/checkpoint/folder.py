# SPDX-License-Identifier: Apache-2.0
"""Folders that hold one checkpoint in parts, as Hugging Face lays them out."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.shards import INDEX_ENDING, check_numbers, check_parts, is_index, read_index

from .model import Checkpoint, ModelTensor, listed

__all__ = ["files_beside", "open_folder", "open_index"]

Opener = Callable[[Path], Checkpoint]
_KINDS = (".safetensors", ".bin")
"""Endings of parts; the first that a folder has is taken."""
_NO_PARTS = ("training_args", "optimizer", "scheduler", "rng_state", "scaler", "openvino")
"""How files begin that trainers and converters leave beside the weights."""

_OTHER_FORMS = (".pt", ".pth", ".ckpt")
"""Endings of checkpoints that are not taken from a folder."""
_TOLD = (*_KINDS, *(kind + INDEX_ENDING for kind in _KINDS), *_OTHER_FORMS)
_FOREIGN = (
    *(".onnx", ".onnx_data", ".onnx.data", ".gguf", ".ggml", ".h5", ".msgpack", ".tflite", ".ot"),
    *(".keras", ".pb", ".pdparams", ".mlmodel", ".ort", ".npz", ".pkl", ".engine", ".trt"),
)
"""Endings of the same weights in the forms of other frameworks."""
_COPIED_BYTES_MAX = 100_000_000
"""Largest file that is copied: the largest tokenizers that were met have 35 MB."""


def open_folder(path: Path, opener: Opener) -> Checkpoint:
    """Open a folder: by its index, or all its safetensors files, or all its ``.bin`` files.

    Parameters
    ----------
    path : Path
    opener : callable
        Opens one file.

    Raises
    ------
    ConfigError
        If it holds no checkpoint, or more than one.
    FormatError
        If a part is missing or damaged, or a tensor comes twice.
    """
    files = sorted(entry for entry in path.iterdir() if entry.is_file())
    kinds = ([file for file in files if _is_part(file, kind)] for kind in _KINDS)
    parts = next(filter(None, kinds), [])
    if not parts:
        inner = [f.name for f in sorted(path.iterdir()) if f.is_dir() and _holds_parts(f)]
        there = f" (its folders {listed(inner)} do: name one)" if inner else ""
        if files and not inner:
            there = f", but {listed(f.name for f in files)}: name a file"
        raise ConfigError(f"{path}: holds no .safetensors and no .bin file{there}")
    indexes = [f for f in parts if is_index(f)]
    if len(indexes) > 1:
        names = ", ".join(f.name for f in indexes)
        raise ConfigError(f"{path}: holds {names}: name the one that you want")
    if indexes:
        model = open_index(indexes[0], opener)
    else:
        check_numbers(path, [file.name for file in parts])
        model = _joined(path, {file.name: opener(file) for file in parts})
    others = [f.name for f in files if f.suffix.lower() in (*_KINDS, *_OTHER_FORMS)]
    others = [name for name in others if name not in {f.name for f in model.files}]
    note = f"left out, other files of this folder: {listed(others)}"
    return replace(model, path=path, notes=(*model.notes, *([note] if others else [])))


def _is_part(file: Path, kind: str) -> bool:
    """Whether a file is a checkpoint of a kind, or the index of one."""
    name = file.name.lower()
    return name.endswith((kind, kind + INDEX_ENDING)) and not name.startswith(_NO_PARTS)


def _holds_parts(folder: Path) -> bool:
    return any(_is_part(file, kind) for file in folder.iterdir() for kind in _KINDS)


def open_index(path: Path, opener: Opener) -> Checkpoint:
    """Open the checkpoint that an index describes, e.g. ``model.safetensors.index.json``.

    Raises
    ------
    FormatError
        If the index is damaged, or it and its parts do not fit.
    """
    places, metadata = read_index(path)
    # Parts in the order of their names, which count: the index itself is in order of the tensors.
    parts = {part: opener(path.parent / part) for part in sorted(set(places.values()))}
    model = _joined(path, parts, places)
    more = [name for name in (*model, *model.ties) if name not in places]
    notes = [*model.notes]
    if more:
        notes.append(f"tensors that the index does not name are taken as well: {listed(more)}")
    told, held = metadata.get("total_size"), _total_bytes(model)
    if type(told) is int and held is not None and told != held:
        notes.append(
            f"{path.name} tells of {told:,} bytes of tensors, its parts hold {held:,}: is one of "
            "another dtype or version?"
        )
    return replace(model, notes=tuple(notes), files=(path, *model.files))


def _total_bytes(model: Checkpoint) -> int | None:
    """Return the bytes of all tensors, where their files tell."""
    spans = [tensor.span for tensor in model.values()]
    return None if None in spans else sum(span.size for span in spans if span)


def _joined(
    path: Path, parts: Mapping[str, Checkpoint], places: Mapping[str, str] | None = None
) -> Checkpoint:
    """Return one checkpoint of several, which must not share a name."""
    check_parts(path, places, {part: (*model, *model.ties) for part, model in parts.items()})
    tensors: dict[str, ModelTensor] = {}
    ties: dict[str, str] = {}
    metadata: dict[str, str] = {}
    conflicts: list[str] = []
    notes: list[str] = []
    for part, model in parts.items():
        tensors |= model.tensors
        ties |= model.ties
        conflicts += [
            f"{key} of {part}"
            for key, value in model.metadata.items()
            if metadata.setdefault(key, value) != value
        ]
        notes += [f"{part}: {note}" for note in model.notes]
    if conflicts:
        notes.append(f"left out, metadata that differ from the first part's: {listed(conflicts)}")
    files = tuple(file for model in parts.values() for file in model.files)
    return Checkpoint(tensors, path, metadata, ties, tuple(notes), files)


def files_beside(folder: Path) -> tuple[list[Path], list[str]]:
    """Return what a folder holds beside its weights: configuration, tokenizer and the like.

    Files in its own folders count, hidden ones do not.

    Returns
    -------
    (files, left)
        Files that belong to the model, by their place in the folder; and those that are left
        behind, as they are weights in another form, or large.
    """
    files: list[Path] = []
    left: list[str] = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(here, name)
            place = path.relative_to(folder)
            if not path.is_file():
                continue
            if path.parent == folder and path.name.lower().endswith(_TOLD):
                continue  # read, or told of when the folder was opened
            # A folder's own weights are those of a module that is kept apart.
            other = name.lower().endswith((*_OTHER_FORMS, *_FOREIGN)) or name.startswith(_NO_PARTS)
            if other or path.stat().st_size > _COPIED_BYTES_MAX:
                left.append(str(place))
            else:
                files.append(place)
    return files, left
