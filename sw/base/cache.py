# SPDX-License-Identifier: Apache-2.0
"""Results on disk by content hash: whole or not at all, and made again if damaged."""

import atexit
import contextlib
import gzip
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .host import write_whole

__all__ = ["cache_folder", "cached", "digest", "read_text", "write_text"]

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return ``$XORLOOM_CACHE``, or ``xorloom`` in the user's cache folder; created if needed.

    If it cannot be written, a folder takes its place that this process and those that it starts
    share, and that goes with it.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(os.environ.get("XORLOOM_CACHE") or Path(base) / "xorloom")
    with contextlib.suppress(OSError):
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
    """Write a compressed text, whole or not at all; :func:`read_text` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, gzip.compress(text.encode(), 1, mtime=0))


def read_text(path: Path) -> str | None:
    """Return a compressed text, ``None`` if it is missing or damaged."""
    try:
        return gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, ValueError):
        return None


def cached(kind: str, key: str, make: Callable[[], Any], *, use: bool = True) -> Any:
    """Return a JSON value from the cache, or make and keep it.

    Parameters
    ----------
    kind : str
        Folder in the cache.
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
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or damaged: made again
    value = make()
    entry = {"check": digest(json.dumps(value, sort_keys=True)), "value": value}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(entry))
    return json.loads(json.dumps(value))
