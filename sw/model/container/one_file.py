# SPDX-License-Identifier: Apache-2.0
"""One file of a compressed model: its header, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.tensors.safetensors_file import DTYPE_NAMES, read_header

from .manifest import MANIFEST_KEY, VERSIONS, Manifest, VersionError
from .seal import SEAL_KEY, find_seal

__all__ = ["Contents", "Entry", "read_file"]


@dataclass(frozen=True)
class Entry:
    """Tensor of a file: what it is, where it lies, and its checksum."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int
    crc32: int


@dataclass(frozen=True)
class Contents:
    """What the headers of a compressed model say.

    Parameters
    ----------
    files : tuple of Path
        All that were read.
    manifest : Manifest
    metadata : dict
        The original's.
    entries : dict
        Where every tensor lies, in file order.
    size : int
        Bytes of all files.
    seal : str
        Of one file: CRC-32 of its header, eight hexadecimal digits.
    """

    files: tuple[Path, ...]
    manifest: Manifest
    metadata: Mapping[str, str]
    entries: Mapping[str, Entry]
    size: int
    seal: str = ""

    @property
    def facts(self) -> dict[str, tuple[str, tuple[int, ...], int]]:
        """Dtype name, shape and bytes of every tensor."""
        return {name: (e.dtype, e.shape, e.size) for name, e in self.entries.items()}


def read_file(path: Path) -> Contents:
    """Read and check the header of a file.

    Raises
    ------
    ConfigError
        If the file does not exist.
    FormatError
        If it is damaged, not ours, or of another version.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    header, metadata, raw, start = read_header(path)
    found = find_seal(raw)
    if MANIFEST_KEY not in metadata or SEAL_KEY not in metadata or found is None:
        raise FormatError(
            f"{path}: not a xorloom file (no {MANIFEST_KEY!r} metadata); compress it first"
        )
    if found[0] != found[1]:
        raise FormatError(f"{path}: header is damaged: CRC-32 must be {found[1]}, found {found[0]}")
    sizes = {
        name: (e["dtype"], tuple(e["shape"]), e["data_offsets"][1] - e["data_offsets"][0])
        for name, e in header.items()
    }
    for name, (dtype, _, _) in sizes.items():
        if dtype not in DTYPE_NAMES:
            raise FormatError(f"{path}: tensor {name!r} has no dtype of safetensors: {dtype}")
    own = {key: text for key, text in metadata.items() if key not in (MANIFEST_KEY, SEAL_KEY)}
    try:
        manifest = Manifest.from_json(metadata[MANIFEST_KEY], sizes, own)
    except VersionError as error:
        *most, last = VERSIONS
        known = f"{', '.join(map(str, most))} and {last}"
        raise FormatError(
            f"{path}: file version {error.args[0]!r} is not supported (there are {known}): "
            "compress the model again, or use the xorloom that wrote it"
        ) from None
    except ValueError as error:
        raise FormatError(f"{path}: manifest does not fit: {error}") from error
    entries = {
        name: Entry(path, *sizes[name][:2], start + e["data_offsets"][0], sizes[name][2], crc)
        for (name, e), crc in zip(header.items(), manifest.crcs.values(), strict=True)
    }
    return Contents((path,), manifest, own, entries, path.stat().st_size, found[0])
