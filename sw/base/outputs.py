# SPDX-License-Identifier: Apache-2.0
"""Outputs: what may be written to, checked before the work that ends in it.

Nothing that is read may be written over, and nothing but plain files is replaced. A link is
followed: the file that it points to is replaced, and the link stays.
"""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from .errors import ConfigError

__all__ = ["check_outputs", "check_outside", "folder_target", "target_of"]

_LINKS = 40
"""Links that the kernel follows in one name."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_Identity = tuple[int, int] | Path


def target_of(path: Path) -> Path:
    """Return the file that takes what is written to ``path``: itself, or what it links to.

    Raises
    ------
    OSError
        If it cannot be written; names ``path``.
    """
    try:
        target = _followed(path)
        found = _stat(target)
    except OSError as error:
        hint = _hint(path) if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES) else ""
        raise _error(path, error.errno, error.strerror, hint) from None
    folder = target.parent
    if found is None:
        if not folder.is_dir():
            raise _error(path, errno.ENOENT, os.strerror(errno.ENOENT), _hint(path))
    else:
        for is_kind, what in _KINDS:
            if is_kind(found.st_mode):
                code = errno.EISDIR if what == "a folder" else errno.EINVAL
                raise _error(path, code, f"it is {what}", " (name a file)")
        if not os.access(target, os.W_OK):
            raise _error(path, errno.EACCES, "it is write-protected", "")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _error(path, errno.EACCES, os.strerror(errno.EACCES), _hint(path))
    return target


def folder_target(path: Path) -> Path:
    """Return the folder that is made for ``path``, or what is there already: what it links to.

    Raises
    ------
    OSError
        If it cannot be made or written to; names ``path``.
    """
    target = Path(os.path.realpath(path))
    found = _stat(target)
    if found is None and not target.parent.is_dir():
        raise _error(path, errno.ENOENT, os.strerror(errno.ENOENT), _hint(path))
    _check_folder(path, target)
    return target


def check_outputs(
    outputs: Iterable[Path], inputs: Iterable[Path] = (), folders: Iterable[Path] = ()
) -> None:
    """Check that files can be written, that none is read, and that no two are the same.

    Names are followed: another spelling, a link of either kind and a name of an open file
    (``/dev/fd/3``) are the same file.

    Parameters
    ----------
    outputs : iterable of Path
        Files that will be written.
    inputs : iterable of Path
        Files that are read, and folders of which all is.
    folders : iterable of Path
        Folders that outputs will be written into; they are made later if they are missing. Any
        other folder must be there.

    Raises
    ------
    ConfigError
        If a file is written twice, is an input, or lies in a folder that is one.
    OSError
        If an output cannot be written.
    """
    read = {identity: path for path in inputs if (identity := _identity(path)) is not None}
    written: dict[_Identity, Path] = {}
    folders = set(folders)
    for path in outputs:
        made_later = path.parent in folders and not path.parent.exists()
        target = Path(os.path.realpath(path)) if made_later else target_of(path)
        identity = _identity(target) or target
        _check_unread(path, target, identity, read)
        if identity in written:
            raise ConfigError(
                f"{written[identity]} and {path} are one file: give each output a name of its own"
            )
        written[identity] = path
    for path in folders:
        target = Path(os.path.realpath(path))
        _check_folder(path, target)
        _check_unread(path, target, _identity(target) or target, read)


def check_outside(path: Path, folder: Path) -> None:
    """Check that what is read does not lie in a folder whose files are written over.

    Raises
    ------
    ConfigError
        If it does.
    """
    written = _identity(folder)
    if written and written in map(_identity, Path(os.path.realpath(path)).parents):
        raise ConfigError(f"the input {path} lies in {folder}, which is written to: move it away")


def _check_unread(
    path: Path, target: Path, identity: _Identity, read: dict[_Identity, Path]
) -> None:
    if identity in read:
        same = "" if path == read[identity] else f" {read[identity]}"
        raise ConfigError(f"{path} is the input{same}: give the output another name")
    for parent in target.parents:
        above = _identity(parent)
        if above in read:
            raise ConfigError(f"{path} lies in the input {read[above]}: write it elsewhere")


def _check_folder(path: Path, target: Path) -> None:
    """Check that a folder can be written to, or be made."""
    while (found := _stat(target)) is None:
        target = target.parent
    if not stat.S_ISDIR(found.st_mode):
        raise _error(path, errno.ENOTDIR, f"{target} is no folder", "")
    if not os.access(target, os.W_OK | os.X_OK):
        raise _error(path, errno.EACCES, f"you may not write to {target}", "")


def _identity(path: Path) -> _Identity | None:
    """Return what a file is known by under all its names; ``None`` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _followed(path: Path) -> Path:
    """Follow the links of a name, with the kernel's care for those that others left in ``/tmp``."""
    step = path
    for _ in range(_LINKS):
        folder = Path(os.path.realpath(step.parent))
        step = folder / step.name
        if folder.is_relative_to("/proc"):
            raise OSError(errno.EINVAL, "it is a name of an open file, or the kernel's")
        if not step.is_symlink():
            return step
        above, link = folder.stat(), step.lstat()
        shared = above.st_mode & stat.S_ISVTX and above.st_mode & stat.S_IWOTH
        # Ref: Linux, Documentation/admin-guide/sysctl/fs.rst, protected_symlinks
        if shared and link.st_uid not in (os.geteuid(), above.st_uid):
            raise OSError(errno.EPERM, "it is another user's link in a folder of everybody's")
        step = folder / step.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _hint(path: Path) -> str:
    return f" (is {path.parent} a folder that you may write to?)"


def _error(path: Path, code: int | None, reason: str | None, hint: str) -> OSError:
    return OSError(code, f"cannot write {path}: {reason}{hint}")
