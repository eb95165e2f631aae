# SPDX-License-Identifier: Apache-2.0
"""Folders that appear whole or not at all."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.folders import check_new_folder, copied, new_folder
from xorloom.sw.base.host import write_whole

from tests.helpers.full_disk import at_most_bytes

WRITER = """
import sys, time
from pathlib import Path
from xorloom.sw.base.folders import new_folder
from xorloom.sw.base.host import write_whole
with new_folder(Path(sys.argv[1])) as folder:
    write_whole(folder / "half", b"")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["missing", "empty", "link"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder to make: there is none, or an empty one, or a link to that."""
    target = tmp_path / "out"
    if request.param == "empty":
        target.mkdir()
    elif request.param == "link":
        (tmp_path / "other").mkdir()
        target.symlink_to("other")
    return target


def files(folder: Path) -> dict[str, bytes | None]:
    """Return all that lies in a folder, at any depth; of a folder, ``None``."""
    return {
        str(entry.relative_to(folder)): entry.read_bytes() if entry.is_file() else None
        for entry in sorted(folder.rglob("*"))
    }


def fill(folder: Path) -> None:
    write_whole(folder / "a", b"1")
    (folder / "inner").mkdir()
    write_whole(folder / "inner" / "b", b"2")


def test_a_folder_appears_whole(path: Path, tmp_path: Path) -> None:
    before = {entry.name for entry in tmp_path.iterdir()}
    with new_folder(path) as folder:
        fill(folder)
        assert not path.exists() or len([*path.iterdir()]) == 1, "in a folder that is there"
    assert files(path) == {"a": b"1", "inner": None, "inner/b": b"2"}
    assert {entry.name for entry in tmp_path.iterdir()} == before | {"out"}


def bad_data(folder: Path) -> None:
    fill(folder)
    raise ConfigError(f"{folder}/a: is bad")


def full_disk(folder: Path) -> None:
    with at_most_bytes(10):
        write_whole(folder / "big", b"0" * 20)


def gone(folder: Path) -> None:
    (folder / "gone").read_bytes()


@pytest.mark.parametrize(
    ("work", "text"),
    [
        (bad_data, "{}/a: is bad"),
        (full_disk, "[Errno 27] cannot write {}/big: File too large"),
        (gone, "[Errno 2] No such file or directory: '{}/gone'"),
    ],
)
def test_a_failure_leaves_nothing_and_names_what_the_user_knows(
    work: Callable[[Path], None], text: str, path: Path, tmp_path: Path
) -> None:
    before = files(tmp_path)

    def fails() -> None:
        with new_folder(path) as folder:
            work(folder)

    with pytest.raises((ConfigError, OSError)) as caught:
        fails()
    assert str(caught.value) == text.format(path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("step", ["pathlib.Path.rename", "xorloom.sw.base.folders._sync"])
def test_a_disk_that_fails_at_the_end_leaves_nothing(
    step: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real, calls = files(tmp_path), Path.rename, 0

    def full(self: Path, *target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == 2 or not path.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *target) if target else self

    def fails() -> None:
        nonlocal calls
        with new_folder(path) as folder:
            fill(folder)
            monkeypatch.setattr(step, full)
            calls = 0

    with pytest.raises(OSError, match=re.escape(f"cannot write {path}: No space left")):
        fails()
    monkeypatch.undo()
    assert calls
    assert files(tmp_path) == before


def test_a_folder_that_holds_things_is_left_alone(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / name).touch()
    text = f"{tmp_path}: is a folder that holds a, b, c and 2 more: name another one, or empty it"
    with pytest.raises(ConfigError, match=re.escape(text)), new_folder(tmp_path):
        pytest.fail("it was begun")
    assert len(files(tmp_path)) == 5


def test_a_folder_that_fills_meanwhile_is_left_alone(path: Path) -> None:
    def fails() -> None:
        with new_folder(path) as folder:
            fill(folder)
            path.mkdir(exist_ok=True)
            (path / "inner").write_bytes(b"another's")

    with pytest.raises(OSError, match=f"cannot write {path}: (File exists|Directory not empty)"):
        fails()
    assert files(path) == {"inner": b"another's"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("file", r"is no folder"),
        ("file/out", r"Not a directory|No such file or directory|is no folder"),
        ("gone/out", r"No such file or directory \(is .*gone a folder that you may write to\?\)"),
    ],
)
def test_a_place_that_takes_no_folder_is_told(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=f"cannot write {tmp_path / name}: .*({text})"):
        check_new_folder(tmp_path / name)


def test_a_place_that_one_may_not_write_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A test may run as root, who may write to all.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=f"you may not write to {tmp_path}"):
        check_new_folder(tmp_path / "out")


def test_what_a_killed_writer_left_goes_with_the_next_one(path: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        home = path if path.exists() else tmp_path
        write_whole(home / "other", b"")
        (home / "other").unlink()
        assert [name for name in files(tmp_path) if name.endswith("half")], "its writer is alive"
        process.send_signal(signal.SIGKILL)
    assert files(tmp_path) != before
    assert check_new_folder(path) == path.resolve()
    assert files(tmp_path) == before


def test_a_copy_makes_its_folder_and_follows_links(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"x")
    (tmp_path / "link").symlink_to("blob")
    copied(tmp_path / "link", tmp_path / "deep" / "er" / "copy")
    assert not (tmp_path / "deep" / "er" / "copy").is_symlink()
    assert (tmp_path / "deep" / "er" / "copy").read_bytes() == b"x"
