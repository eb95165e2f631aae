# SPDX-License-Identifier: Apache-2.0
"""Lock files: resolves pyproject.toml with uv (``make lock``), wheels only.

``default.lock`` has what the project needs, each extra's lock what it adds, after ``-r`` of the
locks it builds on. They hold names, versions and hashes of wheels that pip may take on Linux.
``wheels.sha256`` tells which file a hash is of, so that a test can check the locks offline.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PROJECT = FOLDER.parent / "pyproject.toml"
UNLOCKED = {"torch"}
_LINUX = re.compile(r"-(any|manylinux\S*_(x86_64|aarch64))\.whl$")
_OTHER_PYTHONS = re.compile(r"-(pp|graalpy|cp3\d+-cp3\d+t-)")
"""PyPy, GraalPy, and CPython without its global lock, for which Numba is not made."""
_BROWSER = re.compile(r" ; (sys_platform != 'emscripten'|platform_machine != 'wasm32')$", re.M)
"""Markers that are always true on Linux: one package in two locks must read alike."""


def extras(project: dict[str, Any]) -> dict[str, list[str]]:
    """Return, for every extra with a lock, the extras that it includes."""
    name, found = project["project"]["name"], project["project"]["optional-dependencies"]
    own = re.compile(rf"{name}\[([\w,-]+)\]$")
    return {
        extra: [part for want in wants if (m := own.match(want)) for part in m[1].split(",")]
        for extra, wants in found.items()
        if extra not in UNLOCKED
    }


def resolve(output: Path, *words: object) -> str:
    """Let uv resolve the project for every Python on every system, from wheels."""
    command = ["uv", "pip", "compile", PROJECT, output.parent / "build.in", "--universal"]
    command += ["--only-binary", ":all:", "--no-header", "--no-annotate", "--no-emit-index-url"]
    command += ["--no-emit-find-links", "--quiet", "-o", output, *words]
    subprocess.run(list(map(str, command)), check=True)
    return _BROWSER.sub("", output.read_text(encoding="utf-8"))


def wheels(pylock: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return hashes by file name, for every name and version, of wheels for Linux."""
    found = {}
    for package in tomllib.loads(pylock)["packages"]:
        hashes = {
            wheel["url"].rpartition("/")[2]: wheel["hashes"]["sha256"]
            for wheel in package["wheels"]
        }
        found[package["name"], package["version"]] = {
            name: value
            for name, value in sorted(hashes.items())
            if _LINUX.search(name) and not _OTHER_PYTHONS.search(name)
        }
    return found


def lock(
    includes: Sequence[str], lines: Sequence[str], files: dict[tuple[str, str], dict[str, str]]
) -> str:
    """Return the text of a lock file."""
    text = "".join(f"-r {name}.lock\n" for name in includes)
    for line in lines:
        name, version = line.split(" ;")[0].strip().split("==")
        hashes = sorted(files[name, version].values())
        text += " \\\n    ".join([line, *(f"--hash=sha256:{value}" for value in hashes)]) + "\n"
    return text


def write(texts: dict[str, str]) -> None:
    """Replace files of this folder; none before all are written."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=FOLDER) as name:
        for file, text in texts.items():
            (Path(name) / file).write_text(text, encoding="utf-8")
        for file in texts:
            (Path(name) / file).replace(FOLDER / file)


def main() -> None:
    """Write all lock files; keep versions unless called with ``--upgrade``."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    groups = extras(project)
    every = [word for extra in groups for word in ("--extra", extra)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "build.in").write_text("\n".join(project["build-system"]["requires"]), "utf-8")
        pins = folder / "pins.txt"
        old = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.lock"))]
        pins.write_text(re.sub(r"(?m)^-r .*\n", "", "".join(old)), encoding="utf-8")
        resolve(pins, *every, *sys.argv[1:])
        files = wheels(resolve(folder / "pylock.toml", *every, "-c", pins))
        listed = {"default": resolve(folder / "default.txt", "-c", pins).splitlines()}
        for extra in groups:
            made = resolve(folder / f"{extra}.txt", "--extra", extra, "-c", pins)
            listed[extra] = made.splitlines()
    texts = {"default.lock": lock([], listed["default"], files)}
    for extra, parts in groups.items():
        before = parts or ["default"]
        there = {line for part in before for line in listed[part]}
        lines = [line for line in listed[extra] if line not in there]
        texts[f"{extra}.lock"] = lock(before, lines, files)
    rows = [f"{value}  {name}\n" for made in files.values() for name, value in made.items()]
    texts["wheels.sha256"] = "".join(sorted(rows, key=lambda row: row.split()[1]))
    write(texts)


if __name__ == "__main__":
    main()
