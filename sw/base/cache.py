# SPDX-License-Identifier: Apache-2.0
"""Cache on disk: results by content hash, whole or not at all, and made again if damaged."""

import atexit
import contextlib
import gzip
import hashlib
import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .host import write_whole

__all__ = [
    "PARTS",
    "cache_folder",
    "cache_path",
    "cached",
    "digest",
    "intact",
    "read_text",
    "remove",
    "seal",
    "write_text",
]

_log = logging.getLogger(__name__)
_told = False

PARTS: dict[str, tuple[str, ...]] = {
    "results": ("accuracy", "place", "rates", "synth", "verilog"),
    "simulators": ("sim", "last-failed-run.log"),
    "weights": (
        "minilm-l6-v2.safetensors",
        "minilm-l6-v2.json",
        "minilm-l6-v2.lock",
        "randfacts.txt",
        "randfacts.lock",
        "moby-dick.txt",
        "moby-dick.lock",
        "wordsim353.tsv",
        "wordsim353.lock",
        "simlex999.tsv",
        "simlex999.lock",
        "mnist.images",
        "mnist.lock",
        "fashion-mnist.images",
        "fashion-mnist.lock",
    ),
    "tools": ("yowasp",),
    "models": ("remote",),
}
"""What lies in the cache folder, by kind. Anything else in it is not ours."""


def cache_path() -> Path:
    """Return ``$XORLOOM_CACHE``, or ``xorloom`` in the user's cache folder; it may be missing.

    Without a home folder the path begins with ``~``.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    return Path(os.environ.get("XORLOOM_CACHE") or Path(base) / "xorloom")


def cache_folder() -> Path:
    """Return :func:`cache_path`, created if needed.

    If it cannot be written, a folder takes its place that this process and those that it starts
    share, and that goes with it.
    """
    folder = cache_path()
    with contextlib.suppress(OSError):
        if folder.parts[:1] != ("~",):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    _log.warning(
        "xorloom: %s cannot be written: results are kept until this command ends (set "
        "XORLOOM_CACHE to a folder that can be written)",
        folder,
    )
    made = tempfile.mkdtemp(prefix="xorloom-cache-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    os.environ["XORLOOM_CACHE"] = made
    return Path(made)


def digest(*parts: object) -> str:
    """Return a hash of what a result depends on; every part has an exact ``str``."""
    text = json.dumps([str(part) for part in parts])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def write_text(path: Path, text: str) -> None:
    """Keep a compressed text, whole or not at all; :func:`read_text` reads it.

    A text that cannot be kept is no error: it is made again when it is wanted.
    """
    _keep(path, gzip.compress(text.encode(), 1, mtime=0))


def read_text(path: Path) -> str | None:
    """Return a compressed text, ``None`` if it is missing or damaged."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw).decode() if raw else None
    except (OSError, EOFError, ValueError, zlib.error):
        return None


def cached(kind: str, key: str, make: Callable[[], Any], *, use: bool = True) -> Any:
    """Return a JSON value from the cache, or make and keep it.

    Parameters
    ----------
    kind : str
        Folder in the cache, one of the results in :data:`PARTS`.
    key : str
        A :func:`digest` of all that the value depends on.
    make : callable
        Makes the value; not called if the cache has it.
    use : bool
        Whether to look; what is made is not kept either if not.
    """
    if not use:
        return make()
    path = cache_folder() / kind / f"{key}.json"
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        if entry["check"] == digest(json.dumps(entry["value"], sort_keys=True)):
            return entry["value"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # missing or damaged: made again
    value = make()
    entry = {"check": digest(json.dumps(value, sort_keys=True)), "value": value}
    _keep(path, json.dumps(entry))
    return json.loads(json.dumps(value))


def _keep(path: Path, data: bytes | str) -> None:
    """Write an entry; where that fails, say so once and go on without."""
    global _told
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        if not _told:
            reason = error.strerror if error.filename is None else f"{error.filename}: {error}"
            _log.warning(
                "xorloom: results are not kept: %s (xorloom cache --clear clears the cache)", reason
            )
        _told = True


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there; of a link, the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def seal(mark: Path, *files: Path) -> None:
    """Note in ``mark`` that files are complete, and what they hold, for :func:`intact`."""
    remove(mark)
    write_whole(mark, json.dumps([_content(file) for file in files]))


def intact(mark: Path, *files: Path) -> bool:
    """Return whether files are what they were when they were sealed."""
    try:
        return bool(json.loads(mark.read_bytes()) == [_content(file) for file in files])
    except (OSError, ValueError, RecursionError):
        return False


def _content(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "blake2b").hexdigest()[:32]
