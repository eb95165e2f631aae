# SPDX-License-Identifier: Apache-2.0
"""``xorloom cache``: what is kept between runs, its size, and how it goes."""

import errno
import json
from pathlib import Path

import numba
import pytest
from xorloom.sim.cli.commands import cache as command
from xorloom.sw.base.cache import cached, write_text

from tests.helpers.cli import refuses, xorloom


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with something of each kind, and with files that are not ours."""
    folder, package = tmp_path / "cache", tmp_path / "package"
    monkeypatch.setenv("XORLOOM_CACHE", str(folder))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(command, "_package", lambda: package)
    cached("synth", "k", lambda: {"lut": 1})
    write_text(folder / "synth" / "k.netlist.gz", "netlist")
    (folder / "sim" / "top" / "obj").mkdir(parents=True)
    (folder / "sim" / "top" / "obj" / "top").write_bytes(bytes(1000))
    (folder / "minilm-l6-v2.safetensors").write_bytes(bytes(200))
    (folder / "mine.txt").write_bytes(b"not the cache's")
    compiled = package / "bits" / "__pycache__"
    compiled.mkdir(parents=True)
    for name in ("k.f-1.py311.00.nbc", "k.f-1.py311.nbi", "k.cpython-311.pyc"):
        (compiled / name).write_bytes(bytes(10))
    return folder


def rows(*options: str) -> dict[str, tuple[int, int]]:
    """Return files and bytes by kind and place."""
    report = json.loads(xorloom("cache", *options, "--json")[0])
    assert report["command"].startswith("xorloom cache")
    return {row["what"]: (row["files"], row["bytes"]) for row in report["rows"][-6:]} | {
        "kernels": (report["rows"][0]["files"], report["rows"][0]["bytes"])
    }


def test_cache_shows_what_is_kept(kept: Path) -> None:
    found = rows()
    assert found == rows("--size")
    files, size = found.pop("results")
    assert (files, size) == (2, sum(p.stat().st_size for p in (kept / "synth").iterdir()))
    assert found == {
        "kernels": (2, 20),
        "simulators": (1, 1000),
        "weights": (1, 200),
        "tools": (0, 0),
        "models": (0, 0),
    }
    out, _ = xorloom("cache")
    assert "kept between runs" in out
    assert str(kept) in "".join(out.split())


def test_cache_shows_the_limit_of_simulators(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XORLOOM_SIMULATORS_MB", "1234")
    report = json.loads(xorloom("cache", "--json")[0])
    limits = {row["what"]: row["limit_bytes"] for row in report["rows"]}
    assert limits.pop("simulators") == 1_234_000_000
    assert set(limits.values()) == {None}
    assert "1,234.0" in xorloom("cache")[0]
    monkeypatch.setenv("XORLOOM_SIMULATORS_MB", "all")
    refuses("XORLOOM_SIMULATORS_MB must be a whole number of megabytes, not 'all'", "cache")


def test_cache_clears_what_is_its_own(kept: Path, tmp_path: Path) -> None:
    before = rows()
    assert rows("--clear") == before, "what was there"
    assert set(rows().values()) == {(0, 0)}
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]
    compiled = tmp_path / "package" / "bits" / "__pycache__"
    assert [path.name for path in compiled.iterdir()] == ["k.cpython-311.pyc"]
    assert "removed" in xorloom("cache", "--clear")[0]


def test_cache_clears_links_and_not_what_they_point_to(kept: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (kept / "yowasp").symlink_to(elsewhere)
    (kept / "place").symlink_to(elsewhere / "file")
    xorloom("cache", "--clear")
    assert (elsewhere / "file").exists()
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]


def test_cache_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path / "none"))
    assert rows()["results"] == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_cache_refuses_to_show_and_clear(kept: Path) -> None:
    refuses("give --clear or --size, not both", "cache", "--clear", "--size")


def test_an_error_in_the_cache_names_the_command_that_clears_it(kept: Path) -> None:
    lock = kept / "minilm-l6-v2.lock"
    lock.mkdir()
    text = f"xorloom: {lock}: Is a directory (xorloom cache --clear removes what is in the cache)"
    refuses(text, "bench", "matrices", code=1)


def test_cache_clears_what_it_can_and_names_what_it_cannot(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".nbc":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    _, err = xorloom("cache", "--clear", code=1)
    assert err.startswith("xorloom: cannot remove ")
    assert err.endswith("k.f-1.py311.00.nbc: Permission denied\n")
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]
