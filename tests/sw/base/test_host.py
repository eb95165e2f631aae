# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all."""

import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from xorloom.sw.base.host import (
    replaced,
    replaced_paths,
    spool_beside,
    threads_default,
    write_all,
    write_whole,
)

FULL = OSError(errno.ENOSPC, "No space left on device")


def through_file(path: Path) -> None:
    with replaced(path) as file:
        file.write(b"new")


def through_name(path: Path) -> None:
    with replaced_paths(path) as (partial,):
        partial.write_bytes(b"new")


def through_bytes(path: Path) -> None:
    write_whole(path, b"new")


def through_text(path: Path) -> None:
    write_whole(path, "new")


WRITERS = pytest.mark.parametrize(
    "write", [through_file, through_name, through_bytes, through_text]
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


def test_a_failure_in_the_middle_leaves_the_folder_as_it_was(path: Path) -> None:
    before = state(path.parent)

    def file_fails() -> None:
        with replaced(path) as file:
            file.write(b"half of it")
            raise KeyError

    def name_fails() -> None:
        with replaced_paths(path) as (partial,):
            partial.write_bytes(b"half of it")
            raise KeyError

    for fails in (file_fails, name_fails):
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
    with pytest.raises(OSError, match="No space left"):
        write(path)
    assert state(path.parent) == before


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_of_several_files_all_appear_or_none(
    fails: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    before, calls = state(tmp_path), []

    def full(number: int) -> None:
        calls.append(number)
        if len(calls) == fails:
            raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
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
    for _ in range(50):
        write_whole(path, letter * 100_000)


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
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


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

    monkeypatch.setattr(Path, "open", refuse)  # a test may run as root, whom no folder refuses
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
