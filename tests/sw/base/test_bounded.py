# SPDX-License-Identifier: Apache-2.0
"""Folders in the cache up to a size: the oldest leave, what is used stays."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from xorloom.sw.base import bounded
from xorloom.sw.base.bounded import LIMIT, Held, hold, limit_bytes, trim
from xorloom.sw.base.errors import ConfigError

SIZE = 100_000


def entry(root: Path, name: str, age: int) -> Held:
    """Make an entry of about ``SIZE`` bytes that was last used ``age`` seconds ago."""
    held = hold(root, name)
    (held.folder / "program").write_bytes(bytes(SIZE))
    os.utime(held.folder / "use", (1e9 - age, 1e9 - age))
    return held


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != "lock")


def test_trim_removes_what_was_not_used_for_longest(tmp_path: Path) -> None:
    for age, name in enumerate("cab"):
        entry(tmp_path, name, age)
    (tmp_path / "file-of-an-old-version").write_bytes(bytes(SIZE))
    os.utime(tmp_path / "file-of-an-old-version", (0, 0))
    trim(tmp_path, 10 * SIZE)
    assert names(tmp_path) == ["a", "b", "c", "file-of-an-old-version"]
    trim(tmp_path, 4 * SIZE)
    assert names(tmp_path) == ["a", "b", "c"]
    hold(tmp_path, "b")  # used again: younger than all
    trim(tmp_path, 3 * SIZE)
    assert names(tmp_path) == ["b", "c"]
    trim(tmp_path, 0)
    assert names(tmp_path) == []


def test_trim_leaves_what_is_held(tmp_path: Path) -> None:
    old = entry(tmp_path, "old", 9)
    entry(tmp_path, "young", 1)
    again = hold(tmp_path, "old")
    os.utime(old.folder / "use", (0, 0))
    trim(tmp_path, 0)
    assert names(tmp_path) == ["old"]
    del old
    trim(tmp_path, 0)
    assert (again.folder / "program").exists(), "held twice"
    del again
    trim(tmp_path, 0)
    assert names(tmp_path) == []


def test_trim_leaves_what_another_process_holds_until_it_dies(tmp_path: Path) -> None:
    entry(tmp_path, "a", 1)
    code = (
        "import sys; from pathlib import Path; from xorloom.sw.base.bounded import hold\n"
        "held = hold(Path(sys.argv[1]), 'a'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        trim(tmp_path, 0)
        assert names(tmp_path) == ["a"]
        other.kill()
    trim(tmp_path, 0)
    assert names(tmp_path) == []


def test_trim_finishes_what_a_killed_process_began(tmp_path: Path) -> None:
    (tmp_path / ".gone-1" / "obj").mkdir(parents=True)
    trim(tmp_path, 10 * SIZE)
    assert names(tmp_path) == []


def test_trim_removes_nothing_where_nobody_can_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, kind: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(bounded.fcntl, "flock", refuse)
    entry(tmp_path, "a", 1)
    trim(tmp_path, 0)
    assert names(tmp_path) == ["a"]


def test_hold_and_trim_at_once_never_lose_what_is_held(tmp_path: Path) -> None:
    wrong: list[str] = []

    def use(number: int) -> None:
        for turn in range(40):
            held = hold(tmp_path, f"e{(number + turn) % 3}")
            try:
                (held.folder / f"by-{number}").write_bytes(bytes(SIZE))
                (held.folder / f"by-{number}").read_bytes()
            except OSError as error:
                wrong.append(str(error))

    def clean() -> None:
        try:
            for _ in range(60):
                trim(tmp_path, 0)
        except OSError as error:
            wrong.append(str(error))

    jobs: list[Callable[[], None]] = [*(lambda n=n: use(n) for n in range(3)), clean, clean]
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_limit_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    assert limit_bytes() == 1_000_000_000
    monkeypatch.setenv(LIMIT, "25")
    assert limit_bytes() == 25_000_000
    monkeypatch.setenv(LIMIT, "many")
    text = f"{LIMIT} must be a whole number of megabytes, not 'many'"
    with pytest.raises(ConfigError, match=text):
        limit_bytes()
