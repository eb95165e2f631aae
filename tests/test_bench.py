# SPDX-License-Identifier: Apache-2.0
"""Benchmarks on small sizes: documented keys, arithmetic, pictures."""

from pathlib import Path

import numpy as np
import pytest
from xorloom.sim.bench import curve_rows, lanes_for, plot_curve, speed_rows, value_rows

WEIGHTS = 20_000


@pytest.mark.parametrize(
    ("n_in", "bus_bits", "lanes"), [(20, 64, 3), (60, 64, 1), (64, 64, 1), (60, 32, 1), (1, 32, 32)]
)
def test_lanes_for_fill_one_bus_word_with_seeds(n_in: int, bus_bits: int, lanes: int) -> None:
    assert lanes_for(n_in, bus_bits) == lanes


@pytest.mark.parametrize("planes", [1, 2])
def test_value_rows_count_everything(planes: int) -> None:
    steps: list[str] = []
    rows = value_rows([0.8, 0.9], [8, 20], WEIGHTS, planes, progress=steps.append)
    assert [(row["sparsity"], row["n_in"]) for row in rows] == [
        (0.8, 8),
        (0.8, 20),
        (0.9, 8),
        (0.9, 20),
    ]
    assert len(steps) == 4
    for row in rows:
        assert set(row) == {
            *("codec", "sparsity", "n_in", "n_out", "block_groups", "lanes", "planes", "weights"),
            *("bits_per_weight", "efficiency", "patches_per_weight", "lossless"),
        }
        assert row["codec"] == "block"
        assert row["lossless"] is True
        assert row["lanes"] == lanes_for(row["n_in"], 64)
        assert (row["planes"], row["weights"]) == (planes, WEIGHTS)
        assert 0.5 < row["efficiency"] < 1.0
        kept = row["efficiency"] * row["bits_per_weight"] / planes
        assert kept == pytest.approx(1 - row["sparsity"], abs=0.01)
        assert row["patches_per_weight"] < 0.1


def test_value_rows_longer_seeds_are_more_efficient() -> None:
    short, long = value_rows([0.9], [6, 32], 100_000)
    assert short["efficiency"] < long["efficiency"]


def test_curve_rows_split_the_bits_of_every_slice_length() -> None:
    rows = curve_rows(0.8, [8], WEIGHTS)
    assert len(rows) > 20
    for row in rows:
        assert set(row) == {
            *("sparsity", "weights", "n_in", "n_out"),
            *("bits_per_weight", "seeds", "control", "patches"),
        }
        parts = row["seeds"] + row["control"] + row["patches"]
        assert row["bits_per_weight"] == pytest.approx(parts)
        slices = -(-WEIGHTS // row["n_out"])
        assert row["seeds"] == pytest.approx(8 * slices / WEIGHTS)
    bits = [row["bits_per_weight"] for row in rows]
    best = int(np.argmin(bits))
    assert 0 < best < len(bits) - 1, "the curve has a valley inside"
    assert rows[0]["patches"] < rows[-1]["patches"], "longer slices need more patches"


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_plot_curve_draws_a_picture(suffix: str, magic: bytes, tmp_path: Path) -> None:
    parts = {"seeds": 0.2, "control": 0.1, "patches": 0.1}
    rows = [
        {"sparsity": 0.8, "n_in": 8, "n_out": n, "bits_per_weight": 0.3 + n / 100} | parts
        for n in (20, 30, 40)
    ]
    path = tmp_path / f"curve{suffix}"
    plot_curve(rows, path)
    assert path.read_bytes().startswith(magic)
    assert path.stat().st_size > 2000


def test_speed_rows_report_median_between_extremes() -> None:
    steps: list[str] = []
    rows = speed_rows(config, 0.9, WEIGHTS, 3, progress=steps.append)
    assert [row["what"] for row in rows] == ["encode", "decode"]
    assert len(steps) == 4, "one run more, which compiles"
    for row in rows:
        assert set(row) == {
            *("what", "codec", "sparsity", "n_in", "n_out", "weights", "threads"),
            *("mweights_per_s", "mweights_per_s_min", "mweights_per_s_max"),
        }
        low, high = row["mweights_per_s_min"], row["mweights_per_s_max"]
        assert 0 < low <= row["mweights_per_s"] <= high
