# SPDX-License-Identifier: Apache-2.0
"""Source of a model that is compressed: a checkpoint, or a file that is compressed in part."""

from dataclasses import dataclass
from pathlib import Path

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.container import MANIFEST_KEY, Container, read_container
from xorloom.sw.tensors.checkpoint import Checkpoint, open_model
from xorloom.sw.tensors.checkpoint.model import listed

__all__ = ["Source", "open_plain", "open_source"]


@dataclass(frozen=True)
class Source:
    """What there is to compress.

    Parameters
    ----------
    model : Checkpoint
        Tensors that are not compressed yet.
    base : Container, optional
        The file that holds the others.
    """

    model: Checkpoint
    base: Container | None = None

    @property
    def notes(self) -> list[str]:
        """A line for each thing to tell of the source."""
        found = list(self.model.notes)
        if self.base is not None:
            found.append(
                f"{self.base.path}: compressed already, and copied: {listed(self.done, 3)}"
            )
        return found

    @property
    def done(self) -> list[str]:
        """Tensors that are compressed already."""
        base = self.base
        return [] if base is None else [name for name in base.order if base.blocks(name)]


def open_source(path: Path) -> Source:
    """Open a checkpoint, or a compressed file of which more tensors are to be compressed.

    Raises
    ------
    ConfigError, FormatError, ToolError
        If the file is missing, damaged, or of a type that cannot be read.
    """
    found = open_model(path)
    if MANIFEST_KEY not in found.metadata:
        return Source(found)
    base = read_container(path)
    rest = {name: found[name] for name in base.untouched if name not in base.foreign}
    return Source(Checkpoint(rest, path, base.metadata, base.ties, files=found.files), base)


def open_plain(path: Path) -> Checkpoint:
    """Open a checkpoint that is not compressed.

    Raises
    ------
    ConfigError, FormatError, ToolError
        If it is, or the file is missing, damaged, or of a type that cannot be read.
    """
    source = open_source(path)
    if source.base is not None:
        raise ConfigError(f"{path}: compressed already: run xorloom decompress first")
    return source.model
