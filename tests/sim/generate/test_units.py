# SPDX-License-Identifier: Apache-2.0
"""Units are kept by what makes them: an edit of any source file makes them anew."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import xorloom.hw
from xorloom.sim.generate import units
from xorloom.sim.generate.options import ConfigOptions, UnitOptions
from xorloom.sw.base import cache

HW = Path(str(xorloom.hw.__file__)).parent


def test_an_edit_of_any_hardware_file_changes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HW in units.source_folders()
    copy = tmp_path / "hw"
    shutil.copytree(HW, copy, ignore=shutil.ignore_patterns("__pycache__"))
    keys: list[str] = []

    def cached(kind: str, key: str, make: Any, *, use: bool = True) -> dict[str, Any]:
        keys.append(key)
        return {"name": "top", "text": "", "manifest": {}}

    def key() -> str:
        units.unit_source("decoder", ConfigOptions(), UnitOptions())
        return keys.pop()

    monkeypatch.setattr(units, "source_folders", lambda: (copy,))
    monkeypatch.setattr(cache, "cached", cached)
    before = key()
    assert key() == before
    files = sorted(copy.rglob("*.py"))
    assert len(files) > 50
    assert max(len(path.relative_to(copy).parts) for path in files) > 2
    for path in files:
        text = path.read_text(encoding="utf-8")
        path.write_text(text + "# edited\n", encoding="utf-8")
        assert key() != before, path
        path.write_text(text, encoding="utf-8")
    assert key() == before
