# SPDX-License-Identifier: Apache-2.0
"""Benchmarks on small sizes: documented keys, arithmetic, pictures."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sim.bench.value import (
    curve_rows,
    matrix_rows,
    plot_curve,
    speed_config,
    speed_rows,
    value_rows,
    window_value_rows,
)
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import BlockConfig, WindowConfig, lanes_for
from xorloom.sw.tensors.orders import ORDERS

from tests.helpers.weights import clustered_weights

WEIGHTS = 20_000


@pytest.mark.parametrize(
    ("n_in", "bus_bits", "lanes"), [(20, 64, 3), (60, 64, 1), (64, 64, 1), (60, 32, 1), (1, 32, 32)]
)
def test_lanes_for_fill_one_bus_word_with_seeds(n_in: int, bus_bits: int, lanes: int) -> None:
    assert lanes_for(n_in, bus_bits) == lanes


@pytest.mark.parametrize("planes", [1, 2])
def test_value_rows_count_everything(planes: int) -> None:
    steps: list[tuple[str, ...]] = []
    rows = value_rows(
        [0.8, 0.9], [8, 20], WEIGHTS, planes, progress=lambda *step: steps.append(step)
    )
    assert [(row["sparsity"], row["n_in"]) for row in rows] == [
        (0.8, 8),
        (0.8, 20),
        (0.9, 8),
        (0.9, 20),
    ]
    assert len(steps) == 4
    for row in rows:
        assert set(row) == {
            "codec",
            "sparsity",
            "n_in",
            "n_out",
            "block_groups",
            "lanes",
            "planes",
            "weights",
            "bits_per_weight",
            "efficiency",
            "patches_per_weight",
            "lossless",
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
            "sparsity",
            "weights",
            "n_in",
            "n_out",
            "bits_per_weight",
            "seeds",
            "control",
            "patches",
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


@pytest.mark.parametrize("planes", [1, 3])
def test_window_value_rows_count_everything(planes: int) -> None:
    steps: list[tuple[str, ...]] = []
    rows = window_value_rows(
        [0.8, 0.9], [16, 32], WEIGHTS, planes, area=False, progress=lambda *step: steps.append(step)
    )
    assert [(row["sparsity"], row["n_in"]) for row in rows] == [
        (0.8, 16),
        (0.8, 32),
        (0.9, 16),
        (0.9, 32),
    ]
    assert len(steps) == 4
    for row in rows:
        assert set(row) == {
            "codec",
            "sparsity",
            "n_in",
            "n_out",
            "planes",
            "weights",
            "window",
            "taps",
            "bits_per_weight",
            "efficiency",
            "patches_per_weight",
            "lossless",
        }
        assert (row["codec"], row["lossless"]) == ("window", True)
        assert (row["planes"], row["weights"]) == (planes, WEIGHTS)
        assert (row["n_out"], row["window"], row["taps"]) == (512, 512, 13)
        assert row["patches_per_weight"] == 0
        kept = row["efficiency"] * row["bits_per_weight"] / planes
        assert kept == pytest.approx(1 - row["sparsity"], abs=0.01)
        assert 0.3 < row["efficiency"] < 1.0


def test_window_value_rows_are_denser_than_the_block_codec_of_the_paper() -> None:
    (window,) = window_value_rows([0.9], (), 400_000, area=False)
    (block,) = value_rows([0.9], [20], 400_000)
    assert window["n_in"] == 32, "kept bits of a slice are 51: the next power of two below"
    assert window["efficiency"] > 0.95 > block["efficiency"]


def test_window_value_rows_synthesize_every_decoder_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def count(config: WindowConfig) -> int:
        made.append(config)
        return 1000 + config.n_in

    monkeypatch.setattr("xorloom.sim.bench.value.decoder_luts", count)
    rows = window_value_rows([0.8, 0.9], [16, 32], 2_000)
    assert [row["lut4"] for row in rows] == [1016, 1032, 1016, 1032]
    assert len(made) == 2


def test_matrix_rows_take_the_large_encoder_matrices_only(tmp_path: Path) -> None:
    arrays = {
        "encoder.layer.0.x.weight": clustered_weights(320, 320, seed=1),
        "encoder.layer.1.x.weight": clustered_weights(400, 300, seed=2),
        "encoder.layer.0.small.weight": clustered_weights(250, 400, seed=3),
        "encoder.layer.0.x.bias": np.zeros(120_000, np.float32),
        "embeddings.weight": clustered_weights(400, 400, seed=4),
    }
    save_file(arrays, tmp_path / "m.safetensors")
    steps: list[tuple[str, ...]] = []
    rows = matrix_rows(
        tmp_path / "m.safetensors", [0.9], ["window", "block"], lambda *step: steps.append(step)
    )
    assert steps == [("window", "S 0.9"), ("block", "S 0.9")]
    for codec, row in zip(("window", "block"), rows, strict=True):
        assert set(row) == {
            "codec",
            "matrices",
            "sparsity",
            "n_in",
            "n_out",
            "planes",
            "weights",
            "orders",
            "bits_per_weight",
            "efficiency",
            "patches_per_weight",
            "lossless",
        }
        assert (row["codec"], row["matrices"], row["sparsity"]) == (codec, 2, 0.9)
        assert row["weights"] == 320 * 320 + 400 * 300
        assert row["lossless"] is True
        assert sum(row["orders"].values()) == 2
        kept = row["efficiency"] * row["bits_per_weight"]
        assert kept == pytest.approx(0.1, abs=1e-4)
    assert set(rows[0]["orders"]) <= set(ORDERS)
    assert rows[1]["orders"] == {"row": 2}
    assert rows[0]["efficiency"] > rows[1]["efficiency"]


def test_speed_config_is_the_one_that_fits() -> None:
    assert speed_config("window", 0.9) == WindowConfig(n_in=32)
    assert speed_config("window", 0.9, 64) == WindowConfig(n_in=64)
    block = speed_config("block", 0.9, 8)
    assert isinstance(block, BlockConfig)
    assert (block.n_in, block.lanes) == (8, 8)
    assert 40 < block.n_out < 120
    with pytest.raises(ConfigError, match="n_in must be a power of two between 8 and 256, not 20"):
        speed_config("window", 0.9, 20)


@pytest.mark.parametrize(
    "config", [WindowConfig(n_in=16), BlockConfig(n_in=8, n_out=70)], ids=["window", "block"]
)
def test_speed_rows_report_median_between_extremes(config: WindowConfig | BlockConfig) -> None:
    steps: list[tuple[str, ...]] = []
    rows = speed_rows(config, 0.9, WEIGHTS, 3, progress=lambda *step: steps.append(step))
    assert [row["what"] for row in rows] == ["encode", "decode"]
    assert len(steps) == 4, "one run more, which compiles"
    for row in rows:
        assert set(row) == {
            "what",
            "codec",
            "sparsity",
            "n_in",
            "n_out",
            "weights",
            "threads",
            "mweights_per_s",
            "mweights_per_s_min",
            "mweights_per_s_max",
        }
        assert (row["codec"], row["n_in"]) == (config.codec, config.n_in)
        low, high = row["mweights_per_s_min"], row["mweights_per_s_max"]
        assert 0 < low <= row["mweights_per_s"] <= high
