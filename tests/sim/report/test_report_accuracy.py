# SPDX-License-Identifier: Apache-2.0
"""Accuracy against stored bits in the report."""

import json
from pathlib import Path

import pytest
from xorloom.sim.report.page import sections
from xorloom.sim.report.results.input import read_pieces
from xorloom.sw.base.errors import FormatError

ROW = {
    **{"command": "xorloom bench accuracy --method hashed --budget 0.1", "network": "lenet"},
    **{"data": "mnist", "method": "hashed", "metric": "accuracy", "density": 0.097},
    **{"index_bits": 0.001, "planes": 1, "bits_per_weight": 0.0993, "accuracy": 96.0},
    **{"accuracy_std": 0.1, "dense_accuracy": 98.3, "epochs": 6, "seeds": 3},
    "accuracy_loss_from_codec": 0.0,
}


def figures(tmp_path: Path, rows: list[dict[str, object]]):
    file = tmp_path / "accuracy.json"
    file.write_text(json.dumps(rows))
    (section,) = sections(read_pieces([file]))
    assert section.key == "accuracy"
    return section.figures


def test_a_figure_per_network_and_a_line_per_method(tmp_path: Path) -> None:
    rows = [
        ROW,
        ROW | {"bits_per_weight": 0.0498, "accuracy": 94.8, "command": "xorloom bench accuracy -q"},
        ROW | {"method": "direct", "accuracy": 96.6, "command": "xorloom bench accuracy --x"},
        ROW
        | {"network": "minilm-l6", "metric": "cosine", "accuracy": 0.9}
        | {"accuracy_std": None, "seeds": 1},
    ]
    first, second = figures(tmp_path, rows)
    assert [trace["name"] for trace in first.chart["data"]] == ["hashed index", "trained seeds"]
    assert first.chart["data"][0]["x"] == [0.0498, 0.0993]
    assert first.chart["data"][0]["error_y"]["array"] == [0.1, 0.1]
    assert first.commands == ("xorloom bench accuracy --network lenet --data mnist",)
    assert "Lower" in first.reading
    assert "Higher" in second.reading
    assert second.chart["data"][0]["y"] == [0.9]
    assert second.chart["data"][0]["error_y"]["array"] == [None]
    assert "bars" in first.reading
    assert "bars" not in second.reading
    assert len(first.table.rows) == 3


def test_longer_runs_are_in_the_table_but_not_in_the_line(tmp_path: Path) -> None:
    rows = [
        ROW,
        ROW | {"bits_per_weight": 0.05, "command": "xorloom bench accuracy -q"},
        ROW | {"epochs": 18, "accuracy": 97.0, "command": "xorloom bench accuracy --epochs 3x"},
    ]
    (figure,) = figures(tmp_path, rows)
    assert figure.chart["data"][0]["y"] == [4.0, 4.0]
    assert len(figure.table.rows) == 3


def test_row_without_its_loss_is_refused(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "accuracy_loss_from_codec"}
    file = tmp_path / "accuracy.json"
    file.write_text(json.dumps([row]))
    with pytest.raises(FormatError, match="accuracy_loss_from_codec"):
        read_pieces([file])
