# SPDX-License-Identifier: Apache-2.0
"""Encoded tensors and blocks beside the output, until all are there, for ``--resume``.

Each is a compressed file of one tensor, in a folder that goes when the output is whole. It is used
again only if it is intact and was made of the same weights, in the same way.
"""

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.cache import digest
from xorloom.sw.base.errors import ConfigError, XorloomError
from xorloom.sw.model.container import StoredTensor, read_container, write_container
from xorloom.sw.spec.weight_format import Decoder

from .unit import Unit

__all__ = ["UnitStore", "unit_key"]

_KEY = "xorloom.unit"
_SUFFIX = ".resume"


def unit_key(unit: Unit, decoder: Decoder) -> str | None:
    """Return a digest of all that a unit's bytes follow from; ``None`` if not all can be told.

    That is so where the user brings choices, quantized weights or seeds, which cost little anyway.
    Its weights are read.
    """
    name, tensor, given = unit.name, unit.tensor, unit.given
    if name in given.quantized or given.choice(name) is not None:
        return None
    arrays: list[Any] = [tensor.load(), *(d.get(name) for d in (given.masks, given.codes))]
    arrays.append(given.saliency.get(name))
    if unit.bias is not None:
        arrays.append(unit.bias.load())
    if given.calibration is not None and name in given.calibration:
        moments = given.calibration[name]
        arrays += [moments.second, moments.mean, moments.cross, moments.original_mean]
    crcs = [None if a is None else _crc(np.asarray(a)) for a in arrays]
    facts = (tensor.dtype, tensor.shape, tensor.pruned, unit.plan, decoder, unit.cut, *crcs)
    return digest(version("xorloom"), name, *map(repr, facts))


def _crc(array: np.ndarray) -> tuple[str, tuple[int, ...], int]:
    flat = np.ascontiguousarray(array).reshape(-1)
    return str(array.dtype), array.shape, zlib.crc32(flat.view(np.uint8).data)


@dataclass
class UnitStore:
    """Folder of encoded tensors and blocks.

    Parameters
    ----------
    folder : Path
    found : list of str
        Names of those that were taken out of it.
    """

    folder: Path
    found: list[str] = field(default_factory=list)

    @classmethod
    def beside(cls, output: Path) -> "UnitStore":
        """Open the store of an output, which is made if it is missing.

        Raises
        ------
        ConfigError
            If something else is in its place.
        OSError
            If it cannot be made.
        """
        folder = Path(os.path.realpath(output.parent)) / (output.name + _SUFFIX)
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise ConfigError(
                f"{folder} is in the way of the folder that --resume keeps what is done in: "
                "move it away"
            )
        folder.mkdir(exist_ok=True)
        return cls(folder)

    def take(self, name: str, key: str | None) -> tuple[Any, dict[str, StoredTensor]] | None:
        """Return the facts of a tensor, and what is stored of it, if it is there with this key."""
        path = self._path(name)
        if key is None or not path.is_file():
            return None
        try:
            container = read_container(path)
            facts = json.loads(container.metadata[_KEY])
            if facts.get("key") != key:
                return None
            stored = {}
            for part in container.order:
                tensor = container.stored(part)
                whole = {
                    suffix: (dtype, shape, container.raw(part + suffix))
                    for suffix, (dtype, shape, _) in tensor.parts.items()
                }
                stored[part] = StoredTensor(part, whole, tensor.facts)
            found = facts["facts"], stored
        except (XorloomError, KeyError, ValueError, TypeError):
            return None  # damaged, or of another version: made again
        self.found.append(name)
        return found

    def keep(
        self, name: str, key: str | None, facts: Any, stored: Mapping[str, StoredTensor]
    ) -> None:
        """Put a tensor into the folder, with facts that JSON can hold, whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if key is None:
            return
        text = json.dumps({"key": key, "facts": facts})
        write_container(self._path(name), stored.values(), metadata={_KEY: text})

    def remove(self) -> None:
        """Remove the folder: the output is whole."""
        with suppress(OSError):
            shutil.rmtree(self.folder)

    def _path(self, name: str) -> Path:
        return self.folder / f"{digest(name)}.safetensors"
