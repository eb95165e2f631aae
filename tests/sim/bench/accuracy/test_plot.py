# SPDX-License-Identifier: Apache-2.0
"""Figure of the accuracy laboratory."""

from pathlib import Path

import pytest
from xorloom.sim.bench.accuracy.plot import TITLES, draw, drawn
from xorloom.sw.base.errors import ConfigError

ROW = {
    **{"network": "lenet", "data": "mnist", "metric": "accuracy", "epochs": 6, "budget": 0.1},
    **{"bits_per_weight": 0.0993, "accuracy": 96.0, "accuracy_std": 0.1, "dense_accuracy": 98.3},
}


def test_titles_are_of_all_methods():
    pytest.importorskip("torch")
    from xorloom.sim.bench.accuracy.methods import METHODS

    assert set(TITLES) == {name for name in METHODS if METHODS[name].usual}


def test_accuracy_is_drawn_as_what_is_wrong():
    assert drawn(ROW, "accuracy") == 4.0
    assert drawn(ROW | {"metric": "cosine", "accuracy": 0.9}, "accuracy") == 0.9


def test_networks_of_one_budget_are_not_drawn(tmp_path: Path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ConfigError, match="rows of one budget only"):
        draw([ROW | {"method": "hashed"}], tmp_path / "a.png")
    rows = [ROW | {"method": m, "budget": b} for m in ("hashed", "direct") for b in (0.1, 0.2)]
    draw(rows, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "<svg" in text
    draw([row | {"accuracy_std": None} for row in rows], tmp_path / "b.svg")
    assert len((tmp_path / "b.svg").read_text()) < len(text)  # no bar of a single run
