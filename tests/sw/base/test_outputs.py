# SPDX-License-Identifier: Apache-2.0
"""What may be written to: nothing that is read, and plain files only."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.outputs import check_outputs, check_outside, target_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An input in a folder of its own."""
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "model"
    path.write_bytes(b"weights")
    return path


def by_itself(path: Path) -> Path:
    return path


def by_another_spelling(path: Path) -> Path:
    return path.parent / ".." / path.parent.name / "." / path.name


def by_a_relative_name(path: Path) -> Path:
    return Path(os.path.relpath(path))


def by_a_link(path: Path) -> Path:
    link = path.parent.parent / "link"
    link.symlink_to(path)
    return link


def by_a_link_to_a_link(path: Path) -> Path:
    link = path.parent.parent / "link to link"
    link.symlink_to(by_a_link(path).name)
    return link


def by_a_hard_link(path: Path) -> Path:
    link = path.parent.parent / "hard"
    link.hardlink_to(path)
    return link


def by_a_linked_folder(path: Path) -> Path:
    link = path.parent.parent / "folder"
    link.symlink_to(path.parent)
    return link / path.name


SPELLINGS = pytest.mark.parametrize(
    "spelt",
    [
        by_itself,
        by_another_spelling,
        by_a_relative_name,
        by_a_link,
        by_a_link_to_a_link,
        by_a_hard_link,
        by_a_linked_folder,
    ],
)


@SPELLINGS
def test_an_input_is_no_output_by_any_name(spelt: Callable[[Path], Path], source: Path) -> None:
    other = spelt(source)
    for output, read in ((other, source), (source, other)):
        with pytest.raises(ConfigError, match=r"is the input.*: give the output another name"):
            check_outputs([output], [source.parent.parent / "none", read])
    check_outputs([source.with_name("other")], [source])


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_an_open_file_is_the_file_that_was_opened(folder: str, source: Path) -> None:
    with source.open("rb") as file:
        opened = Path(folder) / str(file.fileno())
        with pytest.raises(ConfigError, match=f"{source} is the input {opened}"):
            check_outputs([source], [opened])
        with pytest.raises(OSError, match=f"cannot write {opened}: it is a name of an open file"):
            check_outputs([opened], [])


@SPELLINGS
def test_two_outputs_are_two_files(spelt: Callable[[Path], Path], source: Path) -> None:
    text = "are one file: give each output a name of its own"
    other = spelt(source)
    with pytest.raises(ConfigError, match=text):
        check_outputs([source, other])
    if spelt is not by_a_hard_link:
        source.unlink()
        with pytest.raises(ConfigError, match=text):
            check_outputs([other, source])


def test_no_output_lies_in_an_input_folder(source: Path) -> None:
    folder, link = source.parent, source.parent.parent / "link"
    link.symlink_to(folder)
    (folder / "deep").mkdir()
    for read in (folder, link):
        for output in (folder / "new", link / "new", folder / "deep" / "new"):
            text = f"{output} lies in the input {read}: write it elsewhere"
            with pytest.raises(ConfigError, match=text):
                check_outputs([output], [read])
        with pytest.raises(ConfigError, match="lies in the input"):
            check_outputs([], [read], [folder / "deep" / "more" / "still"])
        with pytest.raises(ConfigError, match="is the input"):
            check_outputs([], [read], [folder])
    check_outputs([folder.parent / "new"], [folder], [folder.parent / "new folder"])


def test_an_input_in_a_folder_that_is_written_over_is_refused(source: Path) -> None:
    for path in (source, by_a_link(source), by_a_linked_folder(source)):
        text = f"the input {path} lies in {source.parent}, which is written to: move it away"
        with pytest.raises(ConfigError, match=text):
            check_outside(path, source.parent)
    check_outside(source, source.parent / "deeper")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # names of sockets are short
        server.bind(path.name)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/null")


def make_stdout(path: Path) -> None:
    path.symlink_to("/dev/stdout")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (make_folder, r"it is a folder \(name a file\)"),
        (make_fifo, r"it is a FIFO \(name a file\)"),
        (make_socket, r"it is a socket \(name a file\)"),
        (make_device, r"it is a device \(name a file\)"),
        (make_stdout, "it is a name of an open file, or the kernel's"),
        (make_loop, "Too many levels of symbolic links"),
    ],
)
def test_only_plain_files_are_written(
    make: Callable[[Path], None], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "out"
    make(path)
    with pytest.raises(OSError, match=f"cannot write {path}: {text}"):
        check_outputs([path])


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    assert target_of(tmp_path / ("a" * 255)).name == "a" * 255
    path = tmp_path / ("a" * 256)
    with pytest.raises(OSError, match=f"cannot write {path}: File name too long$"):
        target_of(path)


def test_a_folder_that_is_missing_or_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "none", tmp_path / "file"):
        text = rf"cannot write {folder}/out: .*is {folder} a folder that you may write to\?"
        with pytest.raises(OSError, match=text):
            check_outputs([folder / "out"])
    made = tmp_path / "made" / "later"
    check_outputs([made / "out"], [], [made])
    assert not made.exists()
    with pytest.raises(ConfigError, match="are one file"):
        check_outputs([made / "out", made / ".." / "later" / "out"], [], [made, made / "../later"])
    with pytest.raises(NotADirectoryError, match=f"cannot write {tmp_path / 'file' / 'made'}: "):
        check_outputs([], [], [tmp_path / "file" / "made"])


def test_what_may_not_be_written_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: set[Path] = set()
    # A test may run as root, who may write to all.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in refused)
    target_of(source)
    refused.add(source)
    with pytest.raises(PermissionError, match=f"cannot write {source}: it is write-protected"):
        target_of(source)
    refused |= {source.parent}
    new = source.with_name("new")
    with pytest.raises(PermissionError, match=f"cannot write {new}: Permission denied .is "):
        target_of(new)
    with pytest.raises(PermissionError, match=f"cannot write {new}: you may not write to "):
        check_outputs([], [], [new])


@pytest.mark.skipif(os.geteuid() != 0, reason="makes another user's link")
def test_another_users_link_in_a_shared_folder_is_not_followed(tmp_path: Path) -> None:
    shared, victim = tmp_path / "shared", tmp_path / "victim"
    shared.mkdir()
    victim.write_bytes(b"precious")
    link = shared / "out"
    link.symlink_to(victim)
    os.chown(link, 12345, 12345, follow_symlinks=False)
    assert target_of(link) == victim, "in a folder of one's own"
    shared.chmod(0o1777)
    with pytest.raises(OSError, match="it is another user's link") as caught:
        target_of(link)
    assert caught.value.errno == errno.EPERM
    os.chown(link, 0, 0, follow_symlinks=False)
    assert target_of(link) == victim
