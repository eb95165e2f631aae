# SPDX-License-Identifier: Apache-2.0
"""Error against stored bits: the first figure of the report."""

from pathlib import Path

import pytest
from xorloom.sim.report.page import sections, tiles
from xorloom.sim.report.results.input import read_pieces

from tests.helpers.report import written


def test_error_against_rate_is_the_first_figure(tmp_path: Path) -> None:
    found = sections(read_pieces(written(tmp_path)))
    assert found[0].key == "rate"
    assert [figure.key for figure in found[0].figures] == ["rate", "rate-2"]
    first, second = found[0].figures
    assert first.title == "Error against stored bits: i.i.d. Gaussian weights"
    assert "MiniLM" in second.title
    upper = [trace for trace in first.chart["data"] if trace["yaxis"] == "y"]
    lower = [trace for trace in first.chart["data"] if trace["yaxis"] == "y2"]
    names = ["bound", "direct, window 10", "scalar Lloyd-Max"]
    assert [trace["name"] for trace in upper] == names
    assert upper[1]["x"] == [0.25, 2.01]
    assert upper[1]["y"] == [0.72, 0.075]
    assert [trace["name"] for trace in lower] == names[:2]
    assert lower[1]["y"] == pytest.approx([0.28])
    assert len(first.table.rows) == 3
    (tile,) = [tile for tile in tiles(read_pieces(written(tmp_path))) if tile.link == "rate"]
    assert tile.value == "0.140"
    assert "2.01 bits" in tile.what
