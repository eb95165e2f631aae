# SPDX-License-Identifier: Apache-2.0
"""Models in several files: names of the parts and their index, as Hugging Face writes them."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.base.json_text import read_json

__all__ = [
    "INDEX_ENDING",
    "SHARD_BYTES",
    "check_numbers",
    "check_parts",
    "index_text",
    "is_index",
    "read_index",
    "shard_names",
    "size_of",
    "stem_of",
]

INDEX_ENDING = ".index.json"
"""Behind the ending of the parts: ``model.safetensors.index.json``."""
SHARD_BYTES = "5GB"
"""Most bytes of tensors in a file of a folder, if nobody says otherwise."""
_SHARDS_MAX = 99_999
"""Parts that have numbers of five digits, in whose order the names sort."""
_UNITS = {
    unit: base**power
    for power, letter in enumerate(("", "K", "M", "G", "T"))
    for unit, base in ((f"{letter}B", 1000), (f"{letter}IB" if letter else "", 1024))
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})")


def size_of(text: str) -> int:
    """Return the bytes of a size such as ``5GB``, ``500 MB``, ``2GiB`` or ``1000000``.

    Raises
    ------
    ConfigError
        If it is none, or less than a byte.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _UNITS.get(match[2].upper()) if match else None
    if match is None or factor is None or int(float(match[1]) * factor) < 1:
        raise ConfigError(f"a size must be such as 5GB, 500MB or 2GiB, not {text!r}")
    return int(float(match[1]) * factor)


def shard_names(path: Path, count: int) -> list[Path]:
    """Return the files that hold a model: ``path``, or ``STEM-00001-of-0000N.safetensors`` and on.

    Raises
    ------
    CapacityError
        If there are more than names of five digits can tell apart.
    """
    if count == 1:
        return [path]
    if count > _SHARDS_MAX:
        raise CapacityError(
            f"{path}: comes in {count:,} parts, at most {_SHARDS_MAX:,} have names: give a larger "
            "--max-shard-size"
        )
    parts = (f"{path.stem}-{n:05d}-of-{count:05d}{path.suffix}" for n in range(1, count + 1))
    return [path.with_name(part) for part in parts]


def stem_of(name: str) -> str:
    """Return what the names of all parts of a model begin with, of that of a part or its index."""
    stem = name.removesuffix(INDEX_ENDING)
    stem = stem[: stem.rfind(".")] if "." in stem else stem
    match = _NUMBERED.fullmatch(stem)
    return match[1] if match else stem


def check_numbers(folder: Path, names: Collection[str]) -> None:
    """Check that of numbered parts of a model without an index all are there.

    Raises
    ------
    FormatError
        If one is missing.
    """
    for name in names:
        stem, dot, ending = name.rpartition(".")
        match = _NUMBERED.fullmatch(stem)
        for n in range(1, int(match[3]) + 1) if match else ():
            part = f"{match[1]}-{n:05d}-of-{match[3]}{dot}{ending}" if match else name
            if part not in names:
                raise FormatError(
                    f"{folder}: part {part!r} is missing beside {name!r}: get that file as well"
                )


def index_text(places: Mapping[str, str], metadata: Mapping[str, Any]) -> str:
    """Return the index of parts as Transformers writes it.

    Parameters
    ----------
    places : mapping of tensor to file name
    metadata : mapping
        Has ``total_size``, in bytes of tensors.
    """
    facts = {"metadata": dict(metadata), "weight_map": dict(places)}
    return json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def is_index(path: Path) -> bool:
    """Whether a file is an index by its name."""
    return path.name.endswith(INDEX_ENDING)


def read_index(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Read an index.

    Returns
    -------
    (places, metadata)
        Name of the file that holds a tensor, by tensor; and what else the index tells.

    Raises
    ------
    ConfigError
        If it does not exist.
    FormatError
        If it is none, or names a file in another folder or one that is missing.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        index = read_json(path.read_bytes())
        places = {str(name): str(part) for name, part in index["weight_map"].items()}
        metadata = dict(index.get("metadata") or {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: is no index of a checkpoint: {error!r}") from None
    if not places:
        raise FormatError(f"{path}: names no tensor")
    for name, part in places.items():
        if Path(part).name != part:
            raise FormatError(f"{path}: tensor {name!r} is in {part!r}, which is not in the folder")
        if not (path.parent / part).is_file():
            raise FormatError(
                f"{path}: part {part!r} with tensor {name!r} is missing: get that file as well"
            )
    return places, metadata


def check_parts(
    path: Path, places: Mapping[str, str] | None, parts: Mapping[str, Collection[str]]
) -> None:
    """Check that parts have no name in common, and what their index says of them.

    Parameters
    ----------
    path : Path
        The index, or the folder.
    places : mapping of tensor to file name, optional
        Of the index.
    parts : mapping of file name to tensors

    Raises
    ------
    FormatError
        If a tensor comes twice, or is not in the part that the index names.
    """
    home: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            if name in home:
                raise FormatError(
                    f"{path}: tensor {name!r} is in {home[name]!r} and in {part!r}: name the file "
                    "that you want"
                )
            home[name] = part
    for name, part in (places or {}).items():
        if home.get(name) != part:
            there = f" ({home[name]!r} has it)" if name in home else ""
            raise FormatError(
                f"{path}: tensor {name!r} is not in {part!r}, where it should be{there}: get index "
                "and parts of one version of the model"
            )
