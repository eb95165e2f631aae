# SPDX-License-Identifier: Apache-2.0
"""Folders that a model comes out as: its files, and beside them what the source's folder held."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.folders import copied, new_folder
from xorloom.sw.tensors.checkpoint import files_beside
from xorloom.sw.tensors.checkpoint.model import listed
from xorloom.sw.tensors.shards import SHARD_BYTES, is_index, size_of, stem_of

__all__ = ["beside_notes", "folder_bytes", "place_of"]

_ENDING = ".safetensors"
_COMPRESSED = ".xl"
"""Before the ending of compressed files: nobody should take them for plain ones."""
_NAMES = {"pytorch_model": "model"}
"""What Transformers calls safetensors files in the place of others."""


def folder_bytes(
    source: Path | None, out: Path, max_shard_size: str | None, hint: str = ""
) -> int | None:
    """Return the most bytes of a file if a model comes out as a folder, else ``None``.

    A folder comes out as a folder, unless a ``.safetensors`` file is named; anything else if a size
    is given.

    Parameters
    ----------
    source : Path, optional
    out : Path
    max_shard_size : str, optional
        Such as ``5GB``; that by default.
    hint : str
        What else one may do where neither fits.

    Raises
    ------
    ConfigError
        If the output can be neither, or the size is none.
    """
    if out.suffix == _ENDING:
        if max_shard_size is not None:
            raise ConfigError(
                f"a shard size makes a folder, and {out.name!r} is a file: name a folder, or leave "
                "--max-shard-size out"
            )
        return None
    if _folder_of(source) is None and max_shard_size is None:
        raise ConfigError(
            f"output must end in {_ENDING}, not {out.name!r}; {hint}with --max-shard-size it is a "
            "folder"
        )
    return size_of(SHARD_BYTES if max_shard_size is None else max_shard_size)


def beside_notes(source: Path) -> list[str]:
    """Return a line on what is not copied of the source's folder."""
    folder = _folder_of(source)
    left = files_beside(folder)[1] if folder else []
    more = "not copied, as other forms of the weights, or over 100 MB"
    return [f"{folder}: {more}: {listed(left)}"] if left else []


def place_of(
    source: Path | None,
    files: Sequence[Path],
    out: Path,
    shard_bytes: int | None,
    *,
    compressed: bool,
) -> AbstractContextManager[Path]:
    """Return a context of the name under which a model is to be written.

    That is ``out``, or in a folder ``out`` that appears whole or not at all, see
    :func:`xorloom.sw.base.folders.new_folder`, and holds what the source's folder has beside its
    weights.

    Parameters
    ----------
    source : Path, optional
        A file, an index, or a folder; none for arrays in memory.
    files : sequence of Path
        All that are read of it.
    out : Path
    shard_bytes : int, optional
        Of :func:`folder_bytes`: ``out`` is a folder.
    compressed : bool
        Whether the model is written compressed, under another name than plain files have.

    Raises
    ------
    ConfigError
        If the folder is there and not empty.
    OSError
        If something cannot be read or written; nothing is left behind.
    """
    if shard_bytes is None:
        return nullcontext(out)
    stem = _stem(source, files) + (_COMPRESSED if compressed else "")
    return _in_folder(source, out, stem + _ENDING)


@contextmanager
def _in_folder(source: Path | None, out: Path, name: str) -> Iterator[Path]:
    folder = _folder_of(source)
    with new_folder(out) as made:
        if folder is not None:
            for file in files_beside(folder)[0]:
                copied(folder / file, made / file)
        yield made / name


def _folder_of(source: Path | None) -> Path | None:
    if source is None:
        return None
    if source.is_dir():
        return source
    return source.parent if is_index(source) else None


def _stem(source: Path | None, files: Sequence[Path]) -> str:
    """Return what the model's files are called, without what says that they are compressed."""
    if source is None or source.is_dir():
        stems = {stem_of(file.name) for file in files}
        stem = stems.pop() if len(stems) == 1 else "model"
    else:
        stem = stem_of(source.name)
    stem = stem.removesuffix(_COMPRESSED)
    return _NAMES.get(stem, stem)
