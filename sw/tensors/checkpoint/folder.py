# SPDX-License-Identifier: Apache-2.0
"""Folders that hold one checkpoint in parts, as Hugging Face lays them out."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.base.json_text import read_json

from .model import Checkpoint, ModelTensor, listed

__all__ = ["open_folder", "open_index"]

Opener = Callable[[Path], Checkpoint]
_INDEX = ".index.json"
_KINDS = (".safetensors", ".bin")
"""Endings of parts; the first that a folder has is taken."""
_NO_PARTS = ("training_args", "optimizer", "scheduler", "rng_state", "scaler", "openvino")
"""How files begin that trainers and converters leave beside the weights."""


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
    indexes = [f for f in parts if f.name.endswith(_INDEX)]
    if len(indexes) > 1:
        names = ", ".join(f.name for f in indexes)
        raise ConfigError(f"{path}: holds {names}: name the one that you want")
    if indexes:
        model = open_index(indexes[0], opener)
    else:
        model = _joined(path, {file.name: opener(file) for file in parts})
    others = [f.name for f in files if f.suffix.lower() in (*_KINDS, ".pt", ".pth", ".ckpt")]
    others = [name for name in others if name not in {f.name for f in model.files}]
    note = f"left out, other files of this folder: {listed(others)}"
    return replace(model, path=path, notes=(*model.notes, *([note] if others else [])))


def _is_part(file: Path, kind: str) -> bool:
    """Whether a file is a checkpoint of a kind, or the index of one."""
    name = file.name.lower()
    return name.endswith((kind, kind + _INDEX)) and not name.startswith(_NO_PARTS)


def _holds_parts(folder: Path) -> bool:
    return any(_is_part(file, kind) for file in folder.iterdir() for kind in _KINDS)


def open_index(path: Path, opener: Opener) -> Checkpoint:
    """Open the checkpoint that an index describes, e.g. ``model.safetensors.index.json``.

    Raises
    ------
    FormatError
        If the index is damaged, or it and its parts do not fit.
    """
    try:
        where = read_json(path.read_bytes())["weight_map"]
        places = {str(name): str(part) for name, part in where.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: is no index of a checkpoint: {error!r}") from None
    if not places:
        raise FormatError(f"{path}: names no tensor")
    files = {}
    for name, part in places.items():
        if Path(part).name != part:
            raise FormatError(f"{path}: tensor {name!r} is in {part!r}, which is not in the folder")
        files[part] = path.parent / part
        if not files[part].is_file():
            raise FormatError(
                f"{path}: part {part!r} with tensor {name!r} is missing: get that file as well"
            )
    # Parts in the order of their names, which count: the index itself is in order of the tensors.
    parts = {part: opener(files[part]) for part in sorted(files)}
    model = _joined(path, parts)
    for name, part in places.items():
        if name not in parts[part] and name not in parts[part].ties:
            raise FormatError(f"{path}: tensor {name!r} is not in {part!r}, where it should be")
    more = [name for name in (*model, *model.ties) if name not in places]
    notes = [f"tensors that the index does not name are taken as well: {listed(more)}"]
    notes = [*model.notes, *(notes if more else [])]
    return replace(model, notes=tuple(notes), files=(path, *model.files))


def _joined(path: Path, parts: Mapping[str, Checkpoint]) -> Checkpoint:
    """Return one checkpoint of several, which must not share a name."""
    tensors: dict[str, ModelTensor] = {}
    ties: dict[str, str] = {}
    metadata: dict[str, str] = {}
    home: dict[str, str] = {}
    conflicts: list[str] = []
    notes: list[str] = []
    for part, model in parts.items():
        for name in (*model, *model.ties):
            if name in home:
                raise FormatError(
                    f"{path}: tensor {name!r} is in {home[name]!r} and in {part!r}: name the file "
                    "that you want"
                )
            home[name] = part
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
