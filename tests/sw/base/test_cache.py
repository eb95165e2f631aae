# SPDX-License-Identifier: Apache-2.0
"""Results on disk: made once a key, whole, and made again if damaged."""

import json
import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from xorloom.sw.base import cache
from xorloom.sw.base.cache import (
    PARTS,
    cache_folder,
    cached,
    digest,
    intact,
    read_text,
    seal,
    write_text,
)

from tests.helpers.imports import SOURCES, python_files


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path))
    return tmp_path


class Maker:
    """Counts how often it makes its value."""

    def __init__(self, value: Any = None) -> None:
        self.value, self.made = value or {"a": [1, 2.5, None]}, 0

    def __call__(self) -> Any:
        self.made += 1
        return self.value


def test_cached_makes_a_value_once_a_key() -> None:
    maker = Maker()
    values = [cached("kind", key, maker) for key in ("k1", "k1", "k2", "k1")]
    assert values == [{"a": [1, 2.5, None]}] * 4
    assert maker.made == 2


def test_cached_without_cache_reads_and_keeps_nothing() -> None:
    maker = Maker()
    assert cached("kind", "k", maker, use=False) == maker.value
    assert not list(cache_folder().iterdir())
    cached("kind", "k", maker)
    cached("kind", "k", maker, use=False)
    assert maker.made == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("2.5", "3.5"),
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps({"check": "", "value": 1}),
        lambda text: "[" * 100_000,
        lambda text: text.replace("2.5", "[" * 100_000 + "]" * 100_000),
        lambda text: "\0" * len(text),
    ],
)
def test_cached_makes_a_damaged_entry_again(damage: Any) -> None:
    maker = Maker()
    cached("kind", "k", maker)
    (path,) = (cache_folder() / "kind").iterdir()
    path.write_text(damage(path.read_text()))
    assert cached("kind", "k", maker) == maker.value
    assert maker.made == 2
    assert cached("kind", "k", maker) == maker.value
    assert maker.made == 2


def test_cached_keeps_nothing_of_what_fails() -> None:
    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        cached("kind", "k", fail)
    assert cached("kind", "k", Maker(5)) == 5


def test_cached_beside_others_leaves_no_partial_files() -> None:
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda n: cached("kind", "k", Maker()), range(50)))
    assert all(value == Maker().value for value in values)
    assert [path.name for path in (cache_folder() / "kind").iterdir()] == ["k.json"]


def test_texts_come_back_and_damage_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    assert read_text(path) is None
    write_text(path, "module\n" * 1000)
    assert read_text(path) == "module\n" * 1000
    assert path.stat().st_size < 1000
    whole = path.read_bytes()
    for damage in (b"", whole[:-9], whole[:20], bytes(len(whole)), whole[:30] + bytes(30), b"text"):
        path.write_bytes(damage)
        assert read_text(path) is None
    path.unlink()
    path.mkdir()
    assert read_text(path) is None


@pytest.mark.parametrize("what", ["entry", "kind"])
def test_a_result_that_cannot_be_kept_is_told_once_and_returned(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "_told", False)
    wrong = cache_folder() / "kind"
    if what == "entry":
        (wrong / "k.json").mkdir(parents=True)
        wrong = wrong / "k.json"
    else:
        wrong.write_bytes(b"")
    maker = Maker()
    for _ in range(2):
        assert cached("kind", "k", maker) == maker.value
        write_text(cache_folder() / "kind" / "k.json", "text")
    assert maker.made == 2
    (record,) = caplog.records
    assert record.message.startswith("xorloom: results are not kept: ")
    assert str(wrong) in record.message
    assert record.message.endswith(" (xorloom cache --clear clears the cache)")


def test_without_a_home_folder_no_folder_of_its_name_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("XORLOOM_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.chdir(tmp_path)
    assert cache_folder().is_dir()
    assert list(tmp_path.iterdir()) == []
    assert "~/.cache/xorloom cannot be written" in caplog.text
    monkeypatch.delenv("XORLOOM_CACHE")


def test_a_seal_tells_whole_files_from_damaged_ones(tmp_path: Path) -> None:
    mark, one, two = tmp_path / "mark", tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1" * 1000)
    two.write_bytes(b"2" * 1000)
    assert not intact(mark, one, two)
    seal(mark, one, two)
    assert intact(mark, one, two)
    assert not intact(mark, one)
    for damage in (b"1" * 999, b"1" * 999 + b"0", b""):
        one.write_bytes(damage)
        assert not intact(mark, one, two)
    one.unlink()
    assert not intact(mark, one, two)


def test_all_that_lies_in_the_cache_folder_is_listed() -> None:
    """``xorloom cache`` shows and clears what :data:`PARTS` lists."""
    known = {name for names in PARTS.values() for name in names}
    found = set()
    for path in (path for folder in SOURCES for path in python_files(folder)):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"cache_folder\(\) / f?\"([^\"]+)\"", text))
        found |= set(re.findall(r"\bcached\(\"(\w+)\"", text))
    assert found >= {"place", "sim", "synth", "verilog", "yowasp"}
    assert found <= known, found - known


def test_digest_tells_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest("a", 1) == digest("a", "1")


def test_cache_that_cannot_be_written_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XORLOOM_CACHE", "/proc/xorloom")  # nobody can make a folder there
    maker = Maker()
    with caplog.at_level(logging.WARNING):
        folder = cache_folder()
        values = [cached("kind", "k", maker) for _ in range(2)]
    assert values == [maker.value] * 2
    assert maker.made == 1
    assert (folder / "kind" / "k.json").is_file()
    (record,) = caplog.records
    assert record.message == (
        "xorloom: /proc/xorloom cannot be written: results are kept until this command ends "
        "(set XORLOOM_CACHE to a folder that can be written)"
    )


def test_replaced_cache_is_shared_with_children_and_goes_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XORLOOM_CACHE", "/proc/xorloom")
    code = (
        "import subprocess, sys\nfrom xorloom.sw.base.cache import cache_folder\n"
        "print(cache_folder(), flush=True)\n"
        "subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    )
    child = "from xorloom.sw.base.cache import cache_folder; print(cache_folder())"
    command = [sys.executable, "-c", code, child]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = done.stdout.split()
    assert first == second
    assert not Path(first).exists()
    assert done.stderr.count("cannot be written") == 1
