# SPDX-License-Identifier: Apache-2.0
"""Units are kept by what makes them: an edit of any source file makes them anew. Pipelines."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import xorloom.hw
from xorloom.hw.flow import kept
from xorloom.hw.lib.slice_pipe import PIPELINES
from xorloom.sim.generate import units
from xorloom.sim.generate.options import ConfigOptions, UnitOptions
from xorloom.sim.generate.units import unit_plan
from xorloom.sw.base.errors import ConfigError

HW = Path(str(xorloom.hw.__file__)).parent


def test_an_edit_of_any_hardware_file_changes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HW in kept.source_folders()
    copy = tmp_path / "hw"
    shutil.copytree(HW, copy, ignore=shutil.ignore_patterns("__pycache__"))
    keys: list[str] = []

    def cached(kind: str, key: str, make: Any, *, use: bool = True) -> dict[str, Any]:
        keys.append(key)
        return {"name": "top", "text": "", "manifest": {}}

    def key() -> str:
        units.unit_source("decoder", ConfigOptions(), UnitOptions())
        return keys.pop()

    monkeypatch.setattr(kept, "source_folders", lambda: (copy,))
    monkeypatch.setattr(kept.cache, "cached", cached)
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


@pytest.mark.parametrize(
    ("unit", "index"), [("decoder", None), ("stream-ip", ["bitmap"]), ("index", ["trellis"])]
)
def test_small_pipeline_has_no_queue_of_slices(unit: str, index: list[str] | None) -> None:
    options = ConfigOptions(n_in=16, n_out=64, window=64, bus_bits=32)
    texts = {
        pipeline: unit_plan(unit, options, UnitOptions(index=index, pipeline=pipeline))
        .verilog()
        .text
        for pipeline in (None, *PIPELINES)
    }
    assert texts[None] == texts["fast"]
    slices = re.compile(r"reg \[\d+:0\] part_0 \[15:0\]")
    assert slices.search(texts["fast"])
    assert not slices.search(texts["small"])


@pytest.mark.parametrize(
    ("unit", "options", "given", "text"),
    [
        ("decoder", {}, "slow", "pipeline must be one of fast, small, not slow"),
        ("network", {}, "small", "the window decoder and the trellis index, not with network of"),
        ("decoder", {"value": "block", "n_out": 41}, "fast", "not with decoder of block"),
    ],
)
def test_pipeline_is_refused_where_there_is_none(
    unit: str, options: dict[str, Any], given: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        unit_plan(unit, ConfigOptions(**options), UnitOptions(pipeline=given))
    with pytest.raises(ConfigError, match="not with index of entropy"):
        unit_plan("index", ConfigOptions(), UnitOptions(index=["entropy"], pipeline=given))
