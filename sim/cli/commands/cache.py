# SPDX-License-Identifier: Apache-2.0
"""Command ``cache``: what is kept between runs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table

__all__ = ["COMMANDS", "cache"]


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of it.")] = False,
    size: Annotated[bool, typer.Option("--size", help="Show its size; the default.")] = False,
    as_json: Json = False,
) -> None:
    """Show or clear what is kept between runs; all of it is made again when it is needed.

    That is machine code of the encoder's kernels, results of synthesis, simulators, downloaded
    weights, machine code of place-and-route tools, and what came from URLs or could not be put
    there. Clear it while no other command runs.
    Simulators leave by themselves, oldest use first, beyond XORLOOM_SIMULATORS_MB (1000).
    """
    from xorloom.sw.base.bounded import limit_bytes
    from xorloom.sw.base.errors import ConfigError

    if clear and size:
        raise ConfigError("give --clear or --size, not both")
    rows: list[dict[str, Any]] = [
        {
            "what": what,
            "folder": str(folder),
            "files": len(files),
            "bytes": sum(map(_size, files)),
            "limit_bytes": limit_bytes() if what == "simulators" else None,
        }
        for what, folder, paths in _parts()
        for files in [[file for path in paths for file in _files(path)]]
    ]
    if clear:
        _clear([path for _, _, paths in _parts() for path in paths])
    if as_json:
        print_json({"cleared": clear, "rows": rows})
        return
    cells = [
        (
            row["what"],
            f"{row['files']:,}",
            _megabytes(row["bytes"]),
            "" if row["limit_bytes"] is None else _megabytes(row["limit_bytes"]),
            row["folder"],
        )
        for row in rows
    ]
    title = "removed" if clear else "kept between runs"
    print_table(title, ("what", "files", "MB", "limit", "folder"), cells)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def _parts() -> list[tuple[str, Path, list[Path]]]:
    """Return what is kept: its name, its folder, and files and folders that are all ours."""
    from xorloom.sw.base.cache import PARTS, cache_path
    from xorloom.sw.bits.jit import kernel_folders

    own = cache_path()
    parts = [(what, own, [own / name for name in names]) for what, names in PARTS.items()]
    kernels = [
        ("kernels", root, [file for folder in folders for file in folder.glob("*.nb[ci]")])
        for root, folders in kernel_folders(_package()).items()
    ]
    return [*kernels, *parts]


def _package() -> Path:
    """Return the folder of the package with the kernels."""
    import xorloom.sw

    return Path(xorloom.sw.__path__[0])


def _files(path: Path) -> list[Path]:
    """Return a file itself, or all files in a folder."""
    if path.is_dir() and not path.is_symlink():
        return [file for file in path.rglob("*") if not file.is_dir()]
    return [path] if path.is_symlink() or path.exists() else []


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # another command has removed it
        return 0


def _clear(paths: list[Path]) -> None:
    """Remove what can be removed, and then say what cannot."""
    from xorloom.sw.base.cache import remove

    failed: list[OSError] = []
    for path in paths:
        try:
            remove(path)
        except OSError as error:
            failed.append(error)
    if failed:
        first = failed[0]
        raise OSError(first.errno, f"cannot remove {first.filename}: {first.strerror}")


COMMANDS = (cache,)
