# SPDX-License-Identifier: Apache-2.0
"""Results on disk: made once a key, whole, and made again if damaged."""

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from xorloom.sw.base.cache import cache_folder, cached, digest, read_text, write_text


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
    path.write_bytes(path.read_bytes()[:-9])
    assert read_text(path) is None


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
