# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all."""

import errno
import multiprocessing
import os
import pydoc
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from xorloom.sw.base import host, partial
from xorloom.sw.base.host import (
    replaced,
    replaced_all,
    spool_beside,
    threads_default,
    write_all,
    write_whole,
)

from tests.helpers.full_disk import at_most_bytes

FULL = OSError(errno.ENOSPC, "No space left on device")


def through_file(path: Path) -> None:
    with replaced(path) as file:
        file.write(b"new")


def through_files(path: Path) -> None:
    with replaced_all(path) as (file,):
        file.write(b"n")
        file.write(b"ew")


def through_bytes(path: Path) -> None:
    write_whole(path, b"new")


def through_text(path: Path) -> None:
    write_whole(path, "new")


WRITERS = pytest.mark.parametrize(
    "write", [through_file, through_files, through_bytes, through_text]
)


@pytest.fixture(params=[None, b"old"], ids=["missing", "old"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A target that is missing, or an old file."""
    target = tmp_path / "out"
    if request.param:
        target.write_bytes(request.param)
    return target


def state(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


@WRITERS
def test_a_file_appears_whole(write: Callable[[Path], None], path: Path) -> None:
    write(path)
    assert state(path.parent) == {"out": b"new"}


def test_until_the_block_ends_the_old_file_is_there(path: Path) -> None:
    before = path.read_bytes() if path.exists() else None
    with replaced(path) as file:
        file.write(b"new")
        file.flush()
        assert (path.read_bytes() if path.exists() else None) == before


def test_files_have_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_whole(tmp_path / "whole", b"")
    modes = {entry.stat().st_mode for entry in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
@WRITERS
def test_a_file_keeps_the_mode_of_the_one_it_replaces(
    write: Callable[[Path], None], mode: int, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_secret_file_is_never_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with replaced(path) as file:
        (partial,) = tmp_path.glob(".*")
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        file.write(b"new")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_root_leaves_a_file_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    os.chown(path, 12345, 54321)
    write_whole(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@WRITERS
def test_a_link_is_followed_and_stays(write: Callable[[Path], None], path: Path) -> None:
    folder = path.parent / "links"
    folder.mkdir()
    near, far = folder / "near", folder / "far"
    near.symlink_to("far")
    far.symlink_to(path)
    write(near)
    assert near.is_symlink()
    assert far.is_symlink()
    assert path.read_bytes() == b"new"
    assert len(list(path.parent.iterdir())) == 2


def test_names_of_255_bytes_are_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127 + "x")
    write_whole(path, b"one")
    write_all({path: b"two", tmp_path / "b": b"three"})
    assert state(tmp_path) == {path.name: b"two", "b": b"three"}


def test_a_link_that_waits_under_the_next_name_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    monkeypatch.setattr(host, "new_name", lambda folder: tmp_path / ".planted")
    (tmp_path / ".planted").symlink_to(victim)
    with pytest.raises(FileExistsError, match=f"cannot write {tmp_path / 'out'}: File exists"):
        write_whole(tmp_path / "out", b"new")
    assert victim.read_bytes() == b"precious"


def test_names_cannot_be_guessed(tmp_path: Path) -> None:
    seen = set()
    for _ in range(20):
        with replaced(tmp_path / "out"):
            (partial,) = tmp_path.glob(".xorloom-*")
        seen.add(partial.name.split("-")[2])
    assert len(seen) == 20
    assert all(len(token) == len("0123456789abcdef.partial") for token in seen)


KILLED = """
import os, sys
from pathlib import Path
from xorloom.sw.base.host import replaced
with replaced(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_writer_left_goes_with_the_next_write(path: Path) -> None:
    before = state(path.parent)
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        write_whole(path.with_name("other"), b"")
        assert b"half" in state(path.parent).values(), "its writer is alive"
        process.send_signal(signal.SIGKILL)
    assert b"half" in state(path.parent).values()
    write_whole(path.with_name("other"), b"")
    assert state(path.parent) == before | {"other": b""}


def test_only_what_is_surely_left_behind_is_removed(tmp_path: Path) -> None:
    own = f".xorloom-{partial._HOST}-0123.partial"
    kept = ["other.partial", ".xorloom-note", ".xorloom-00000000-fresh.partial"]
    for name in (own, ".xorloom-00000000-old.partial", *kept):
        (tmp_path / name).write_bytes(b"")
    old = time.time() - 25 * 3600
    for name in (".xorloom-00000000-old.partial", *kept[:2]):
        os.utime(tmp_path / name, (old, old))
    os.mkfifo(tmp_path / f".xorloom-{partial._HOST}-fifo.partial")
    (tmp_path / f".xorloom-{partial._HOST}-link.partial").symlink_to("other.partial")
    kept += [f".xorloom-{partial._HOST}-{kind}.partial" for kind in ("fifo", "link")]
    (tmp_path / f".xorloom-{partial._HOST}-folder.partial" / "inner").mkdir(parents=True)
    kept.append(".xorloom-00000000-folder.partial")
    (tmp_path / kept[-1]).mkdir()
    os.utime(tmp_path / kept[-1], (old, old))
    write_whole(tmp_path / "out", b"")
    assert {entry.name for entry in tmp_path.iterdir()} == {"out", *kept}


def test_a_failure_in_the_middle_leaves_the_folder_as_it_was(path: Path) -> None:
    before = state(path.parent)

    def fails() -> None:
        with replaced(path) as file:
            file.write(b"half of it")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert state(path.parent) == before


@WRITERS
@pytest.mark.parametrize("step", ["xorloom.sw.base.host.os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_leaves_the_folder_as_it_was(
    step: str, write: Callable[[Path], None], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(path.parent)

    def full(*_: object) -> None:
        raise FULL

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match=f"cannot write {path}: No space left on device"):
        write(path)
    assert state(path.parent) == before


@WRITERS
def test_a_file_that_may_not_grow_leaves_the_folder_as_it_was(
    write: Callable[[Path], None], path: Path
) -> None:
    before = state(path.parent)
    with at_most_bytes(1), pytest.raises(OSError, match=f"cannot write {path}: File too large"):
        write(path)
    assert state(path.parent) == before


def test_a_spool_that_may_not_grow_names_the_file_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "out"
    text = f"cannot write {path}: File too large"
    with at_most_bytes(1), spool_beside(path) as spool, pytest.raises(OSError, match=text):
        spool.write(bytes(100_000))
    assert state(tmp_path) == {}


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("fails", [1, 2, 3])
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_of_several_files_all_appear_or_none(
    step: str, fails: int, links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old a")
    (tmp_path / "c").write_bytes(b"old c")
    before, calls, real = state(tmp_path), [], pydoc.locate(step)
    assert callable(real)

    def full(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == fails:
            raise FULL
        real(*arguments)

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with monkeypatch.context() as patch:
        patch.setattr(step, full)
        with pytest.raises(OSError, match=f"cannot write {tmp_path / 'abc'[fails - 1]}: No space"):
            write_all({tmp_path / name: name for name in "abc"})
    assert state(tmp_path) == before
    write_all({tmp_path / name: name for name in "abc"})
    assert state(tmp_path) == {name: name.encode() for name in "abc"}


def test_of_several_files_none_appears_if_one_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError, match=f"cannot write {tmp_path / 'b'}: it is a folder"):
        write_all({tmp_path / name: name for name in "ab"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_several_files_appear_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, replace = [], Path.replace

    def seen(self: Path, target: Path) -> Path:
        order.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", seen)
    write_all({tmp_path / name: name for name in "bca"})
    assert order == ["b", "c", "a"]


def test_of_two_writers_at_once_the_last_wins(path: Path) -> None:
    with replaced(path) as first:
        first.write(b"first")
        with replaced(path) as second:
            second.write(b"2nd")
        assert path.read_bytes() == b"2nd"
    assert state(path.parent) == {"out": b"first"}


def write_many(path: Path, letter: bytes) -> None:
    for _ in range(100):
        write_all({path.with_name("first"): letter, path: letter * 100_000})


def test_two_processes_never_mix_their_files(tmp_path: Path) -> None:
    path, context = tmp_path / "out", multiprocessing.get_context("fork")
    write_whole(path, b"a" * 100_000)
    writers = [context.Process(target=write_many, args=(path, letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        data = path.read_bytes()
        assert data == data[:1] * 100_000
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert {entry.name for entry in tmp_path.iterdir()} == {"first", "out"}


@pytest.mark.parametrize("write", [through_file, through_bytes])
def test_a_folder_that_cannot_be_written_is_named(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder, error in ((tmp_path / "no", FileNotFoundError), (tmp_path / "file", OSError)):
        text = rf"cannot write {folder}/out: .* \(is {folder} a folder that you may write to\?\)"
        with pytest.raises(error, match=text):
            write(folder / "out")
        with pytest.raises(error, match=text), spool_beside(folder / "out"):
            pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/some/partial")

    monkeypatch.setattr(os, "open", refuse)  # a test may run as root, whom no folder refuses
    with pytest.raises(PermissionError, match=f"cannot write {tmp_path}/out: Permission denied"):
        write_whole(tmp_path / "out", b"")


def test_a_spool_has_no_name_and_keeps_what_is_written(tmp_path: Path) -> None:
    with spool_beside(tmp_path / "out") as spool:
        spool.write(b"data")
        spool.seek(0)
        assert spool.read() == b"data"
        assert list(tmp_path.iterdir()) == []
    assert spool.closed


def test_threads_default_is_what_this_process_may_use() -> None:
    assert 1 <= threads_default() <= (os.cpu_count() or 1)
