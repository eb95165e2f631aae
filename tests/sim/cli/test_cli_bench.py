# SPDX-License-Identifier: Apache-2.0
"""``xorloom bench``: documented keys, plots and messages."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sim.datasets import models
from xorloom.sim.datasets.package import Kept

from tests.helpers.cli import refuses, xorloom


def test_bench_value_reports_documented_keys() -> None:
    options = ["--sparsity", 0.9, "--n-in", 8, "--weights", 20_000, "--no-area", "--json"]
    window, block = json.loads(xorloom("bench", "value", *options)[0])
    common = {
        "command",
        "codec",
        "sparsity",
        "n_in",
        "n_out",
        "planes",
        "weights",
        "lossless",
        "bits_per_weight",
        "efficiency",
        "patches_per_weight",
    }
    assert set(window) == common | {"window", "taps"}
    assert set(block) == common | {"block_groups", "lanes"}
    for codec, row in (("window", window), ("block", block)):
        assert (row["codec"], row["sparsity"], row["n_in"]) == (codec, 0.9, 8)
        assert (row["weights"], row["planes"], row["lossless"]) == (20_000, 1, True)
    table = xorloom("bench", "value", *options[:-1])[0]
    assert "patches_per_weight" in table
    for codec in ("window", "block"):
        (row,) = json.loads(xorloom("bench", "value", *options, "--codec", codec)[0])
        command = "xorloom bench value --sparsity 0.9 --n-in 8 --weights 20000 --no-area"
        assert row.pop("command") == f"{command} --codec {codec}"
        assert {"command": command} | row == {"window": window, "block": block}[codec]


@pytest.mark.synth
def test_bench_value_picks_n_in_of_the_window_codec_and_counts_its_luts() -> None:
    options = ["--codec", "window", "--sparsity", 0.97, "--weights", 20_000, "--json"]
    (row,) = json.loads(xorloom("bench", "value", *options)[0])
    assert set(row) == {
        "command",
        "codec",
        "sparsity",
        "n_in",
        "n_out",
        "planes",
        "weights",
        "bits_per_weight",
        "efficiency",
        "patches_per_weight",
        "lossless",
        "window",
        "taps",
        "lut4",
    }
    assert (row["n_in"], row["n_out"], row["window"], row["taps"]) == (8, 512, 512, 13)
    assert 512 < row["lut4"] < 20_000


def test_bench_curve_draws_and_reports(tmp_path: Path) -> None:
    plot = tmp_path / "curve.svg"
    options = ["--n-in", 6, "--weights", 5_000, "--plot", plot, "--json"]
    rows = json.loads(xorloom("bench", "curve", *options)[0])
    assert {row["n_in"] for row in rows} == {6}
    assert plot.stat().st_size > 1000


def test_bench_speed_reports_encode_and_decode() -> None:
    options = ["--n-in", 8, "--weights", 5_000, "--repeats", 1, "--json"]
    rows: list[dict[str, Any]] = json.loads(xorloom("bench", "speed", *options)[0])
    expected = [(codec, what) for codec in ("window", "block") for what in ("encode", "decode")]
    assert [(row["codec"], row["what"]) for row in rows] == expected
    assert {row["n_in"] for row in rows} == {8}
    one = json.loads(xorloom("bench", "speed", *options, "--codec", "window")[0])
    assert [(row["codec"], row["what"]) for row in one] == expected[:2]


def test_bench_scale_reports_and_draws(tmp_path: Path) -> None:
    plot = tmp_path / "scale.svg"
    options = ["--weights", 3_000, "--weights", 9_000, "--plot", plot, "--json"]
    rows = json.loads(xorloom("bench", "scale", *options)[0])
    assert [row["weights"] for row in rows] == [3_000, 9_000]
    assert all(row["lossless"] for row in rows)
    assert plot.stat().st_size > 1000


@pytest.mark.slow
def test_bench_taps_prints_json_and_a_table() -> None:
    options = ["--sparsity", 0.9, "--weights", 3_000, "--no-area"]
    rows = json.loads(xorloom("bench", "taps", *options, "--json")[0])
    assert {"network", "window", "taps", "S 0.9"} <= set(rows[0])
    table = xorloom("bench", "taps", *options)[0]
    assert "tap networks, 3,000 weights" in table
    assert "own taps oldest" in table


def test_bench_matrices_measures_the_model_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    weights = np.random.default_rng(1).normal(size=(320, 320)).astype(np.float32)
    model = cache / "minilm-l6-v2.safetensors"
    save_file({"encoder.layer.0.x.weight": weights}, model)
    checksum = hashlib.sha256(model.read_bytes()).hexdigest()
    found = {model.name: Kept({"model.safetensors": checksum})}
    monkeypatch.setattr(models, "MINILM", replace(models.MINILM, files=found))
    options = ["--sparsity", 0.9, "--codec", "window"]
    monkeypatch.setenv("XORLOOM_CACHE", str(cache))
    (row,) = json.loads(xorloom("bench", "matrices", *options, "--json")[0])
    assert (row["matrices"], row["weights"], row["lossless"]) == (1, 102_400, True)
    table = xorloom("bench", "matrices", *options)[0]
    assert "value plane, MiniLM-L6" in table
    assert f"{next(iter(row['orders']))} 1" in table


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["value", "--codec", "huffman"], "codec must be window or block, not 'huffman'"),
        (["value", "--sparsity", "1.5"], "sparsity must be in [0, 1), not 1.5"),
        (["value", "--n-in", "0", "--codec", "block"], "n_in must be between 1 and 64, not 0"),
        (["value", "--n-in", "4"], "n_in must be a power of two between 8 and 256, not 4"),
        (["value", "--n-in", "20"], "n_in must be a power of two between 8 and 256, not 20"),
        (["scale", "--sparsity", "1"], "sparsity must be in [0, 1), not 1.0"),
        (["scale", "--weights", "0"], "weights must be at least 1, not 0"),
        (["taps", "--sparsity", "1.5"], "sparsity must be in [0, 1), not 1.5"),
        (["matrices", "--codec", "lz"], "codec must be window or block, not 'lz'"),
        (["matrices", "--sparsity", "1.5"], "sparsity must be in [0, 1), not 1.5"),
        (["value", "--weights", "0"], "weights"),
        (["curve", "--sparsity", "1"], "sparsity must be in [0, 1), not 1.0"),
        (["speed", "--sparsity", "-0.1"], "sparsity must be in [0, 1), not -0.1"),
        (["speed", "--n-in", "65", "--codec", "block"], "n_in must be between 1 and 64, not 65"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bench_with_a_bad_argument_exits_with_2(arguments: list[str], text: str) -> None:
    without = "--weights" in arguments or arguments[0] == "matrices"
    options = [] if without else ["--weights", "1000"]
    refuses(text, "bench", *arguments, *options)
