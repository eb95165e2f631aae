# SPDX-License-Identifier: Apache-2.0
"""Decoded tensors back into the file that they came from."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.folders import copied, new_folder
from xorloom.sw.base.host import replaced
from xorloom.sw.base.outputs import check_outputs
from xorloom.sw.tensors.safetensors_file import header_bytes, read_header, write_tensors
from xorloom.sw.tensors.shards import is_index

from .folder import files_beside, open_folder, open_index
from .model import Checkpoint
from .npz import open_npz
from .onnx_file import write_onnx
from .pairs import MASK_OF, ORIGINAL
from .replacing import check_known, fitting
from .safetensors_model import open_safetensors

__all__ = ["into_model"]

Arrays = Mapping[str, np.ndarray]


def into_model(source: Path, out: Path, arrays: Arrays) -> None:
    """Write a model with some of its tensors replaced; all else is as it was.

    Parameters
    ----------
    source : Path
        An ``.onnx``, ``.npz`` or ``.safetensors`` file, or a folder of the last, or its index.
    out : Path
        Of the same ending, another file than ``source``; or a folder that is not there yet.
    arrays : mapping of name to array
        By the names that :func:`xorloom.sw.tensors.checkpoint.opening.open_model` gives, in the
        tensors' own dtypes and shapes. Each is asked for once, when it is written. Of a pruned
        pair it is the weight; its mask stays.

    Raises
    ------
    ConfigError
        If the file is of another kind, or has no such tensor.
    FormatError
        If it is damaged.
    OSError
        If a file cannot be written; nothing is left behind.
    """
    if source.is_dir() or is_index(source):
        _write_folder(source, out, arrays)
        return
    writers: dict[str, Callable[[Path, Path, Arrays], None]] = {
        ".onnx": write_onnx,
        ".npz": _write_npz,
        ".safetensors": _write_safetensors,
    }
    ending = source.suffix.lower()
    if ending not in writers:
        raise ConfigError(f"{source}: weights go back into {', '.join(writers)} only")
    if out.suffix.lower() != ending:
        raise ConfigError(f"{out}: must end in {ending} like {source.name}")
    if not source.is_file():
        raise ConfigError(f"{source}: no such file")
    check_outputs([out], [source])
    writers[ending](source, out, arrays)


def _homes(source: Path, model: Checkpoint, arrays: Arrays) -> dict[str, str]:
    """Return the name in ``arrays`` for every tensor of the file that is replaced."""
    homes = {}
    for name in arrays:
        home = name
        if name not in model and name + MASK_OF in model:
            home = name + ORIGINAL
        check_known(home, model, source)
        homes[home] = name
    return homes


def _new(model: Checkpoint, home: str, array: np.ndarray) -> np.ndarray:
    old = model[home]
    return fitting(array, old.dtype, old.shape, old.label)


def _write_safetensors(source: Path, out: Path, arrays: Arrays) -> None:
    model = open_safetensors(source)
    _write_part(source, out, model, _homes(source, model, arrays), arrays)


def _write_folder(source: Path, out: Path, arrays: Arrays) -> None:
    """Write all files of a folder, the weights of its safetensors files among them."""
    opened = open_index if is_index(source) else open_folder
    model = opened(source, _open_part)
    folder = source if source.is_dir() else source.parent
    homes = _homes(source, model, arrays)
    with new_folder(out) as made:
        for name in files_beside(folder)[0]:
            copied(folder / name, made / name)
        for file in model.files:
            if is_index(file):
                copied(file, made / file.name)
                continue
            here = {home: name for home, name in homes.items() if model[home].source == str(file)}
            _write_part(file, made / file.name, model, here, arrays)


def _open_part(path: Path) -> Checkpoint:
    if path.suffix.lower() != ".safetensors":
        raise ConfigError(f"{path}: of folders, weights go back into safetensors files only")
    model = open_safetensors(path)
    return replace(model, files=(path,))


def _write_part(
    source: Path, out: Path, model: Checkpoint, homes: Mapping[str, str], arrays: Arrays
) -> None:
    """Write a safetensors file, some of whose tensors have another name in ``arrays``."""
    entries, metadata, _, _ = read_header(source)
    sizes = {
        name: (e["dtype"], tuple(e["shape"]), e["data_offsets"][1] - e["data_offsets"][0])
        for name, e in entries.items()
    }

    def buffers() -> Iterator[bytes]:
        for name in entries:
            if name in homes:
                yield _new(model, name, arrays[homes[name]]).tobytes()
            else:
                yield from model[name].pieces()

    write_tensors(out, header_bytes(sizes, metadata), buffers())


def _write_npz(source: Path, out: Path, arrays: Arrays) -> None:
    model = open_npz(source)
    homes = _homes(source, model, arrays)
    with (
        zipfile.ZipFile(source) as archive,
        replaced(out) as file,
        zipfile.ZipFile(file, "w") as written,
    ):
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name not in homes or name == info.filename:
                written.writestr(info, archive.read(info))
                continue
            array = _new(model, name, arrays[homes[name]])
            with written.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
