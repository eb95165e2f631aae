# SPDX-License-Identifier: Apache-2.0
"""Files behind URLs: brought here before the work, put there after it. All protocols of fsspec.

What is read is kept in the cache and fetched again when it has changed. What is written is first a
file here; it appears whole or not at all, as far as the protocol knows transactions, and if it
cannot be put there it stays here.
"""

import errno
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from xorloom.sw.base.cache import cache_folder, digest, remove
from xorloom.sw.base.errors import ConfigError, ToolError, XorloomError
from xorloom.sw.base.extras import require
from xorloom.sw.base.host import replaced, write_whole
from xorloom.sw.base.partial import new_name
from xorloom.sw.tensors.shards import is_index

__all__ = ["delivered", "is_url", "named_as_given", "staged", "url_of", "url_of_staged"]

_FORM = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.S)
_PART = "remote"
_KEYS = ".xorloom-keys.json"
"""What tells versions of the files in a folder; hidden, so that nobody takes it for the model's."""
_CHUNK_BYTES = 1 << 22
_BESIDE_BYTES = 100_000_000
"""Largest file that is fetched of a folder without being one of its weights."""
_WEIGHTS = (".safetensors", ".bin")
"""Endings of weights; the first that a folder has is fetched."""
_HERE: dict[str, str] = {}
"""URLs of what is here, by path."""


def url_of(path: Path | str) -> str | None:
    """Return the URL that a path is meant as, ``None`` for one of this machine.

    A ``Path`` has lost the second slash of ``s3://bucket/model.safetensors``.
    """
    found = _FORM.fullmatch(str(path))
    if found is None:
        return None
    return f"{found[1]}://{'/' if found[1] in ('file', 'local') else ''}{found[2]}"


def is_url(text: str) -> bool:
    """Whether a text is a URL."""
    return url_of(text) is not None


def url_of_staged(path: Path) -> str | None:
    """Return the URL of what was brought here as ``path``."""
    return _HERE.get(str(path))


def named_as_given(text: str) -> str:
    """Return a text with URLs in the place of the names that their files have here."""
    for here in sorted(_HERE, key=len, reverse=True):
        text = text.replace(here, _HERE[here])
    return text


def staged(url: str) -> Path:
    """Bring a file or folder here, unless it is here already and has not changed.

    With an index come the files that it names, with an ONNX model those named like it.

    Raises
    ------
    ConfigError
        If it does not exist, or fsspec knows no such protocol.
    ToolError
        If it cannot be read, or a package is missing.
    """
    from filelock import FileLock

    url = url.rstrip("/")
    fs, path, local = _opened(url)
    if local:
        return Path(path)
    here = _place("in", url.rpartition("/")[0], url)
    with _reading(url), FileLock(here.parent / ".lock"):
        if fs.isdir(path):
            sizes = {name: info.get("size") or 0 for name, info in _inside(fs, path).items()}
            ending = next((e for e in _WEIGHTS if any(n.endswith(e) for n in sizes)), "")
            names = [n for n, s in sizes.items() if s <= _BESIDE_BYTES or n.endswith(ending or "/")]
            _fetch(fs, path, here, names)
        else:
            name, parent = here.name, path.rpartition("/")[0]
            _fetch(fs, parent, here.parent, [name])
            names = _parts(here) if is_index(here) else []
            if here.suffix == ".onnx":
                names = [n for n in _inside(fs, parent) if n.startswith(name) and n != name]
            _fetch(fs, parent, here.parent, names)
    _HERE[str(here)] = url
    return here


@contextmanager
def delivered(url: str, *, folder: bool = False) -> Iterator[Path]:
    """Yield a path for a file, or folder, which is put to a URL if the block ends well.

    Parameters
    ----------
    url : str
    folder : bool
        Whether it is a folder, which must be empty or not there.

    Raises
    ------
    ConfigError
        If the folder has something in it, or fsspec knows no such protocol.
    OSError
        If it cannot be written, which is tried before the block. If it fails after the block, what
        was made stays here, and the error tells where.
    """
    url = url.rstrip("/")
    fs, path, local = _opened(url)
    if local:
        yield Path(path)
        return
    with _writing(url):
        if folder and fs.isdir(path) and fs.ls(path):
            raise ConfigError(f"{url}: is a folder that is not empty: name another one")
        probe = f"{path.rpartition('/')[0]}/{new_name(Path()).name}"
        fs.pipe_file(probe, b"xorloom")
        fs.rm_file(probe)
    here = _place("out", url, url)
    remove(here)
    _HERE[str(here)] = url
    try:
        yield here
    except BaseException:
        remove(here)
        if not any(here.parent.glob("*.resume")):
            remove(here.parent)
        raise
    del _HERE[str(here)]
    with _writing(url, f"; what was made is kept as {here}: copy it from there, then remove it"):
        _put(fs, path, here)
    remove(here.parent)


def _opened(url: str) -> tuple[Any, str, bool]:
    """Return a URL's file system, the path there, and whether that is this machine's."""
    require("fsspec")
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        raise ToolError(f"{url}: {error} (with pip, into the environment of xorloom)") from error
    except ValueError as error:
        raise ConfigError(f"{url}: {error}") from error
    return fs, path.rstrip("/"), isinstance(fs, LocalFileSystem)


def _place(kind: str, shared: str, url: str) -> Path:
    """Return where a URL's file is here; those of equal ``shared`` are in one folder."""
    folder = cache_folder() / _PART / f"{kind}-{digest(shared)}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / url.rpartition("/")[2]


def _parts(index: Path) -> list[str]:
    """Return the files that an index names; whether it is in order is seen when it is opened."""
    try:
        places = json.loads(index.read_bytes())["weight_map"].values()
        return sorted({place for place in places if PurePosixPath(place).name == place})
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def _inside(fs: Any, path: str) -> dict[str, Any]:
    """Return the files in a folder, by their names in it."""
    found = fs.find(path, detail=True)
    places = {str(PurePosixPath(name).relative_to(path)): info for name, info in found.items()}
    return {n: info for n, info in places.items() if not any(p[0] == "." for p in n.split("/"))}


def _fetch(fs: Any, source: str, here: Path, names: list[str]) -> None:
    """Copy files of a folder that are not here, or are others here."""
    if not names:
        return
    here.mkdir(parents=True, exist_ok=True)
    kept = here / _KEYS
    try:
        keys = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        keys = {}
    for name in names:
        key = fs.ukey(f"{source}/{name}")
        target = here / name
        if target.is_file() and keys.get(name) == [key, target.stat().st_size]:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with fs.open(f"{source}/{name}", "rb") as file, replaced(target) as new:
            shutil.copyfileobj(file, new, _CHUNK_BYTES)
        keys[name] = [key, target.stat().st_size]
        write_whole(kept, json.dumps(keys))


def _put(fs: Any, path: str, here: Path) -> None:
    """Write a file, or all files of a folder, in one transaction."""
    files = [here] if here.is_file() else sorted(p for p in here.rglob("*") if p.is_file())
    targets = {f: "/".join((path, *f.relative_to(here).parts)) for f in files}
    if here.is_dir():
        for folder in sorted({target.rpartition("/")[0] for target in targets.values()}):
            fs.makedirs(folder, exist_ok=True)
    with fs.transaction:
        for file, target in targets.items():
            with file.open("rb") as data, fs.open(target, "wb") as new:
                shutil.copyfileobj(data, new, _CHUNK_BYTES)


@contextmanager
def _reading(url: str) -> Iterator[None]:
    """Name the URL in errors of its protocol's package, which are of any type."""
    try:
        yield
    except FileNotFoundError as error:
        raise ConfigError(f"{url}: no such file or folder") from error
    except XorloomError:
        raise
    except Exception as error:
        raise ToolError(f"{url}: cannot be read: {type(error).__name__}: {error}") from error


@contextmanager
def _writing(url: str, more: str = "") -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        code = getattr(error, "errno", None) or errno.EIO
        why = str(error) or type(error).__name__
        if isinstance(error, NotImplementedError):
            why = "files can only be read there"
        raise OSError(code, f"cannot write {url}: {why}{more}") from error
