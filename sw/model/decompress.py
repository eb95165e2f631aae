# SPDX-License-Identifier: Apache-2.0
"""Whole models back: compressed file to plain weights."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.host import write_whole
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.tensors.checkpoint import into_model
from xorloom.sw.tensors.safetensors_file import write_tensors
from xorloom.sw.tensors.shards import INDEX_ENDING, index_text, shard_names

from .container import Container, plain_entries, plain_header, read_container
from .verify import plain_pieces, plain_weights

__all__ = ["decompress_into", "decompress_model"]


def decompress_model(
    path: Path,
    out: Path,
    progress: Progress = no_progress,
    *,
    keep_rotation: bool = False,
    max_weights: int | None = None,
    shard_bytes: int | None = None,
) -> dict[str, tuple[int, ...]]:
    """Write a plain safetensors file of dequantized weights in their original dtype and order.

    Tensors whose codes the user brought come back as ``NAME`` (codes) and ``NAME.mask``.

    Parameters
    ----------
    path, out : Path
    progress : callable
        Called with ``decode`` and the name of every compressed tensor.
    keep_rotation : bool
        Leave rotated weights rotated; the metadata has their seeds, under
        :data:`xorloom.sw.model.container.facts.ROTATION_KEY`.
    max_weights : int, optional
        See :func:`xorloom.sw.model.container.reader.read_container`.
    shard_bytes : int, optional
        Most bytes of tensors in a file, but for a tensor that has more: then ``out`` may become
        several files and an index, as of
        :func:`xorloom.sw.model.container.writer.write_container`.

    Returns
    -------
    dict
        Shape of every decoded tensor.

    Raises
    ------
    ConfigError, FormatError
        If the file is missing or damaged.
    CapacityError
        If it has more weights than are decoded unasked.
    OSError
        If the output cannot be written; nothing is left behind.
    """
    container = read_container(path, max_weights)
    container.check_weights()

    def buffers(names: Iterable[str]) -> Iterator[bytes | memoryview]:
        for name in names:
            for pieces in plain_pieces(container, name, keep_rotation=keep_rotation):
                yield from pieces
            if container.blocks(name):
                progress("decode", name)

    parts: list[tuple[list[str], bytes]] = []
    places: dict[str, int] = {}
    total = 0
    for names, entries in _parts(container, shard_bytes):
        parts.append((names, plain_header(container, names, keep_rotation=keep_rotation)))
        places |= dict.fromkeys(entries, len(parts) - 1)
        total += sum(size for _, _, size in entries.values())
    files = shard_names(out, len(parts))
    for file, (names, header) in zip(files, parts, strict=True):
        write_tensors(file, header, buffers(names))
    if len(files) > 1:
        found = {name: files[number].name for name, number in places.items()}
        index = out.with_name(out.name + INDEX_ENDING)
        write_whole(index, index_text(found, {"total_size": total}))
    names = [name for name in container.order if container.blocks(name)]
    return {name: container.outputs(name)[""][1] for name in names}


def _parts(
    container: Container, most: int | None
) -> Iterator[tuple[list[str], dict[str, tuple[str, tuple[int, ...], int]]]]:
    """Yield the tensors of each plain file, and what they come back as."""
    names: list[str] = []
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    held = 0
    for name in container.order:
        more = plain_entries(container, name)
        size = sum(size for _, _, size in more.values())
        if names and most is not None and held + size > most:
            yield names, entries
            names, entries, held = [], {}, 0
        names.append(name)
        entries |= more
        held += size
    yield names, entries


@dataclass(frozen=True, eq=False)
class _Decoded(Mapping[str, np.ndarray]):
    """Compressed tensors of a file by name, each decoded when it is asked for."""

    container: Container
    progress: Progress
    keep_rotation: bool

    def __getitem__(self, name: str) -> np.ndarray:
        weights = plain_weights(self.container, name, keep_rotation=self.keep_rotation)
        self.progress("decode", name)
        return weights

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.container.order if self.container.blocks(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def decompress_into(
    path: Path,
    source: Path,
    out: Path,
    progress: Progress = no_progress,
    *,
    keep_rotation: bool = False,
    max_weights: int | None = None,
) -> int:
    """Write the model that was compressed, with decoded weights in place of its own.

    Parameters
    ----------
    path : Path
        The compressed file.
    source : Path
        The model: an ``.onnx``, ``.npz`` or ``.safetensors`` file or a folder, see
        :func:`xorloom.sw.tensors.checkpoint.into.into_model`.
    out : Path
        Of the same ending; or a folder.
    progress : callable
    keep_rotation : bool
        Leave rotated weights rotated.
    max_weights : int, optional
        See :func:`xorloom.sw.model.container.reader.read_container`.

    Returns
    -------
    int
        How many tensors were decoded.

    Raises
    ------
    ConfigError, FormatError
        If a file is missing or damaged, the model has no such tensor, or codes that the user
        brought have no scales to be weights again.
    CapacityError
        If the file has more weights than are decoded unasked.
    OSError
        If the output cannot be written; nothing is left behind.
    """
    container = read_container(path, max_weights)
    container.check_weights()
    for name, info in container.tensors.items():
        if info.quantizer is None:
            raise ConfigError(
                f"{path}: tensor {name!r} holds your own codes, which are no weights: decompress "
                "without --into"
            )
    decoded = _Decoded(container, progress, keep_rotation)
    into_model(source, out, decoded)
    return len(decoded)
