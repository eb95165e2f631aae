# SPDX-License-Identifier: Apache-2.0
"""Compressed model in several files: each a container of its own, and the index that joins them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.tensors.checkpoint.model import listed
from xorloom.sw.tensors.shards import INDEX_ENDING, check_parts, index_text, read_index

from .manifest import Manifest
from .one_file import Contents, read_file
from .seal import SEAL_KEY

__all__ = ["found_in", "joined_manifest", "read_shards", "shards_text"]

_ENDING = ".safetensors"


def found_in(folder: Path) -> Path:
    """Return the index in a folder, or the one file that it has.

    Raises
    ------
    ConfigError
        If it has none, or several.
    """
    files = sorted(entry for entry in folder.iterdir() if entry.is_file())
    indexes = [file for file in files if file.name.endswith(_ENDING + INDEX_ENDING)]
    found = indexes or [file for file in files if file.name.endswith(_ENDING)]
    if not found:
        there = listed(file.name for file in files) or "nothing"
        raise ConfigError(f"{folder}: holds no {_ENDING} file, but {there}: name a file")
    if len(found) > 1:
        missing = "" if indexes else f", and no {_ENDING}{INDEX_ENDING}"
        raise ConfigError(
            f"{folder}: holds {listed(file.name for file in found)}{missing}: name the one that "
            "you want"
        )
    return found[0]


def joined_manifest(manifests: Iterable[Manifest]) -> Manifest:
    """Return what several files say of their tensors as if they were one."""
    whole = Manifest({}, {}, {}, {})
    for one in manifests:
        whole.tensors.update(one.tensors)
        whole.foreign.update(one.foreign)
        whole.ties.update(one.ties)
        whole.joined.update(one.joined)
        whole.crcs.update(one.crcs)
    return whole


def shards_text(places: Mapping[str, str], total_bytes: int, seals: Mapping[str, str]) -> str:
    """Return the text of the index of a compressed model.

    Parameters
    ----------
    places : mapping of tensor to file name
        Of the tensors that the files hold.
    total_bytes : int
        Of all these.
    seals : mapping of file name to str
        CRC-32 of every file's header.
    """
    return index_text(places, {"total_size": total_bytes, SEAL_KEY: dict(seals)})


def read_shards(path: Path) -> Contents:
    """Read and check an index and the headers of its files.

    Raises
    ------
    ConfigError
        If there is no such file.
    FormatError
        If one is damaged, or they are not those that were written together.
    """
    places, facts = read_index(path)
    seals = facts.get(SEAL_KEY)
    names = sorted(set(places.values()))
    shards = {name: read_file(path.parent / name) for name in names}
    if not isinstance(seals, dict) or sorted(seals) != names:
        raise FormatError(
            f"{path}: must have {SEAL_KEY!r} of every file in its metadata: take the index that "
            "compress wrote"
        )
    for name, shard in shards.items():
        if shard.seal != seals[name]:
            raise FormatError(
                f"{path.parent / name}: is not the file that was written with {path.name} (CRC-32 "
                f"of its header must be {seals[name]}, found {shard.seal}): take all files from "
                "one run of compress"
            )
    check_parts(path, places, {name: shard.entries for name, shard in shards.items()})
    entries = {name: entry for shard in shards.values() for name, entry in shard.entries.items()}
    if more := [name for name in entries if name not in places]:
        raise FormatError(f"{path}: does not name {listed(more)}, which its files hold")
    total = sum(entry.size for entry in entries.values())
    if facts.get("total_size") != total:
        raise FormatError(f"{path}: total_size must be {total}, not {facts.get('total_size')!r}")
    first = next(iter(shards.values()))
    for name, shard in shards.items():
        if shard.metadata != first.metadata:
            raise FormatError(
                f"{path.parent / name}: its metadata must be those of {names[0]} ({path.name})"
            )
    manifest = joined_manifest(shard.manifest for shard in shards.values())
    files = (path, *(path.parent / name for name in names))
    size = sum(shard.size for shard in shards.values())
    whole = Contents(files, manifest, first.metadata, entries, size)
    try:
        manifest.check_names(whole.facts, whole.metadata)
    except ConfigError as error:
        raise FormatError(f"{path}: its files do not fit: {error}") from error
    return whole
