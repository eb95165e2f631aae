# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner
from xorloom.hw.flow.synth import SynthReport
from xorloom.sim.bench.explore import sweep as explore
from xorloom.sim.bench.explore.grid import DEFAULT, FULL, Grid, points
from xorloom.sim.bench.explore.plot import draw
from xorloom.sim.bench.explore.store import Store
from xorloom.sim.bench.explore.sweep import Sweep, cut_rows, run_sweep, sweep_rows
from xorloom.sim.cli.main import app
from xorloom.sim.plots import check_plot
from xorloom.sw.base.errors import ConfigError, FormatError, ToolError
from xorloom.sw.tensors.checkpoint import from_arrays, open_model

from tests.helpers.weights import clustered_weights

GOALS = ("bits_per_weight", "kept", "lut", "fmax_mhz", "mweights_per_s")
SMALL = Grid(value=("window",), n_in=(16,), n_out=(128,), index=("bitmap",))
COMMAND = [sys.executable, "-m", "xorloom.sim.cli", "explore"]


def test_points_are_all_combinations_that_make_a_decoder() -> None:
    grid = Grid(n_in=(32,), n_out=(128, 512, 100_000), window=(0, 64), bus_bits=(64,))
    found, skipped = points(grid, 0.1)
    windows = [p for p in found if p.parameters["value"] == "window"]
    # 2 slice widths, 4 indexes; a window of 64 bits and the wide slice make no decoder
    assert {p.parameters["n_out"] for p in windows} == {128, 512}
    assert {(p.parameters["index"], p.parameters["index_bits"]) for p in windows} == {
        ("trellis", 0.15625),
        ("trellis", 0.25),
        ("entropy", None),
        ("bitmap", None),
    }
    assert sum(skipped.values()) + len(found) == 3 * 2 * 4 + 1 + len(grid.rate)
    assert any("n_out must be a multiple of 64 between" in reason for reason in skipped)
    few, _ = points(grid, 0.1, at_most=3)
    assert [p.parameters for p in few] == [p.parameters for p in points(grid, 0.1, at_most=3)[0]]
    assert len(few) == 3
    assert 12 <= len(points(DEFAULT, 0.1)[0]) <= 24
    assert len(points(FULL, 0.1)[0]) > 200


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"taps": ("7",)}, r"no combination .*: taps must be like 1\+3x4 \(OWN\+SHAREDxPARITY\)"),
        ({"value": ("huffman",)}, "value codec must be block, window, direct, not 'huffman'"),
        ({"n_in": ()}, "no combination of the grid makes a decoder: a parameter has no values"),
    ],
)
def test_points_refuses_a_grid_without_decoders(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        points(replace(SMALL, **change), 0.1)


def test_run_sweep_measures_what_the_store_lacks(
    sweep: Sweep, in_process: list[str], tmp_path: Path
) -> None:
    grid = replace(SMALL, index=("bitmap", "trellis"), index_bits=(0.15625,))
    chosen, _ = points(grid, 0.1)
    with Store(tmp_path / "s.jsonl", {"weights": "a"}) as store:
        run_sweep(chosen, sweep, store)
        rows, skipped, missing = sweep_rows(chosen, sweep, store, GOALS)
    # the value decoder is shared, a bitmap has no decoder
    assert sorted(in_process) == ["encoding", "encoding", "synthesis", "synthesis"]
    assert (dict(skipped), missing) == ({}, 0)
    bitmap, trellis = sorted(rows, key=lambda row: str(row["index"]))
    assert (bitmap["lut"], bitmap["fmax_mhz"]) == (900, 200.0)
    assert (trellis["lut"], trellis["fmax_mhz"], trellis["ff"]) == (1300, 150.0, 20)
    assert bitmap["kept"] == 1.0
    assert 0.6 < trellis["kept"] < 1
    assert trellis["bits_per_weight"] < 0.6 < 1 < bitmap["bits_per_weight"] < 1.5
    assert bitmap["pareto"]
    assert trellis["pareto"], "fewer bits, though it keeps less"
    for row in rows:
        assert row["mweights_per_s"] == pytest.approx(row["weights_per_cycle"] * row["fmax_mhz"])
        assert row["lut_per_weight"] == pytest.approx(row["lut"] / row["weights_per_cycle"])
    # Another run does nothing, another point only its own; a slow memory and a clock count.
    in_process.clear()
    more, _ = points(replace(grid, n_in=(16, 32)), 0.1)
    slow = replace(sweep, memory="spi-50", clock_mhz=100.0)
    with Store(tmp_path / "s.jsonl", {"weights": "a"}) as store:
        run_sweep(chosen, sweep, store)
        assert in_process == []
        run_sweep(more, sweep, store)
        slower, _, _ = sweep_rows(chosen, slow, store, GOALS)
    assert sorted(in_process) == ["encoding", "encoding", "synthesis"]
    for row, before in zip(slower, rows, strict=True):
        # 50 Mbit/s; the rows' float16 scales are stored, but not streamed.
        streamed = row["bits_per_weight"] - 16 * (96 + 80) / (96 * 128 + 80 * 64)
        assert row["mweights_per_s"] * streamed == pytest.approx(50, rel=0.01)
        assert row["pareto"] in (True, False)
        assert row["lut"] == before["lut"]


def test_row_counts_what_compress_stores(
    sweep: Sweep, in_process: list[str], tmp_path: Path
) -> None:
    chosen, _ = points(SMALL, 0.1)
    with Store(tmp_path / "s.jsonl", {}) as store:
        run_sweep(chosen, sweep, store)
        ((row,), _, _) = sweep_rows(chosen, sweep, store, GOALS)
    out = tmp_path / "out.safetensors"
    options = ["--density", "0.1", "--n-in", "16", "--n-out", "128", "--min-size", "1"]
    argv = ["compress", str(sweep.weights), "-o", str(out), *options, "--index", "bitmap", "--json"]
    found = json.loads(CliRunner().invoke(app, argv).stdout)["all"]
    assert row["bits_per_weight"] == pytest.approx(found["bits_per_weight"]["total"])


def test_run_sweep_goes_on_where_a_point_fails(
    sweep: Sweep, in_process: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: Any, **how: Any) -> SynthReport:
        raise ToolError("nextpnr failed with exit code 1: no route (log: x.log)")

    grid = replace(SMALL, index=("bitmap", "trellis"), index_bits=(0.15625,))
    chosen, _ = points(grid, 0.1)
    whole = explore.synthesize
    monkeypatch.setattr(explore, "synthesize", crash)
    with Store(tmp_path / "s.jsonl", {}) as store:
        run_sweep(chosen, sweep, store)
        assert sweep_rows(chosen, sweep, store, GOALS) == ([], {}, 2)
        assert len(store.errors) == 2
        assert "no route" in store.errors[0]
    monkeypatch.setattr(explore, "synthesize", whole)
    in_process.clear()
    with Store(tmp_path / "s.jsonl", {}) as store:
        run_sweep(chosen, sweep, store)
        rows, _, missing = sweep_rows(chosen, sweep, store, GOALS)
    assert in_process == ["synthesis", "synthesis"], "what failed is tried again"
    assert (len(rows), missing) == (2, 0)


def test_store_drops_a_line_that_was_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.jsonl"
    with Store(path, {"weights": "a"}) as store:
        store.add({"key": "one", "lut": 1})
    whole = path.read_bytes()
    for cut in range(1, 12):
        path.write_bytes(whole + b'{"key": "two", "lut": 2}\n'[:cut])
        with Store(path, {"weights": "a"}) as store:
            assert list(store.results) == ["one"]
        assert path.read_bytes() == whole
    assert "dropped a last line that was cut off" in caplog.text


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('{"format": "other"}\n', FormatError, r"no store of a sweep \(give another -o\)"),
        ("weights\n", FormatError, "no store of a sweep"),
        ("weights", FormatError, "no store of a sweep"),
        ("\n", FormatError, "no store of a sweep"),
        ("[" * 100_000 + "\n", FormatError, "no store of a sweep"),
        (
            '{"format": "xorloom-explore-3", "weights": "b"}\n',
            ConfigError,
            "was made with weights b, not a: give another -o, or delete it",
        ),
    ],
)
def test_store_refuses_a_file_that_is_not_its_own(
    text: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(text)
    before = path.read_bytes()
    with pytest.raises(kind, match=message):
        Store(path, {"weights": "a"})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [b"", b"[]", b"{}", b"\0" * 30, b"\xff", b"[" * 100_000, b'{"key": "one", "lut": 2}'],
)
def test_store_measures_again_what_a_damaged_line_held(
    damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.jsonl"
    with Store(path, {}) as store:
        store.add({"key": "one", "lut": 1})
        store.add({"key": "two", "lut": [1, 2.5, None]})
    head, one, two = path.read_bytes().splitlines()
    assert json.loads(one)["lut"] == 1
    for line in (damage, one.replace(b'"lut": 1', b'"lut": 2'), one[:-9]):
        path.write_bytes(b"\n".join([head, line, two, b""]))
        caplog.clear()
        with Store(path, {}) as store:
            assert store.results == {"two": {"key": "two", "lut": [1, 2.5, None]}}
            store.add({"key": "one", "lut": 1})
        (record,) = caplog.records
        assert "s.jsonl, line 2: damaged and left out: its result is made again" in record.message
        with Store(path, {}) as store:
            assert store.results["one"]["lut"] == 1


def test_store_begins_again_where_its_first_line_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    with Store(path, {"weights": "a"}):
        whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Store(path, {"weights": "a"}):
            assert path.read_bytes() == whole


def test_store_is_of_one_sweep_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / ("s" * 249 + ".jsonl")
    with Store(path, {}), pytest.raises(ConfigError, match="is in use by another sweep"):
        Store(path, {})
    with Store(path, {}):
        assert list(tmp_path.iterdir()) == [path]


def test_cut_rows_takes_the_first_of_each(tmp_path: Path) -> None:
    arrays = {"w": np.arange(12, dtype=np.float32).reshape(4, 3), "v": np.ones((2, 2), np.float32)}
    model = from_arrays(arrays)
    digest = cut_rows(model, ["w", "v"], 2, tmp_path / "cut.npz")
    cut = open_model(tmp_path / "cut.npz")
    assert (cut["w"].weights() == arrays["w"][:2]).all()
    assert digest != cut_rows(model, ["w", "v"], None, tmp_path / "all.npz")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_draw_writes_a_picture(suffix: str, tmp_path: Path) -> None:
    row = {"value": "window", "index": "trellis", "kept": 0.8, "error": 0.5, "pareto": True}
    row |= {"lut_per_weight": 5.0, "bits_per_weight": 0.3}
    other = row | {"index": "bitmap", "kept": 1.0, "bits_per_weight": 1.1, "pareto": False}
    path = tmp_path / "made" / f"a.{suffix}"
    direct = row | {"value": "direct", "index": "none", "kept": 1.0}
    draw([row, other, direct, row | {"lut_per_weight": None}], path, "title")
    head = path.read_bytes()[:300]
    assert head.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with pytest.raises(ConfigError, match=r"a plot's name ends in .png or .svg, not 'a.pdf'"):
        check_plot(Path("a.pdf"))


def command(tmp_path: Path, *more: str) -> list[str]:
    path = tmp_path / "m.npz"
    np.savez(path, w=clustered_weights(128, 128, 1))
    options = ["--value", "window", "--n-in", "16", "--n-out", "64", "--index", "bitmap"]
    options += ["--target", "gates", "--seeds", "0", "--clock", "100", "--workers", "1"]
    return [*COMMAND, str(path), "-o", str(tmp_path / "s.jsonl"), *options, *more]


@pytest.mark.synth
def test_explore_resumes_after_an_interruption(tmp_path: Path) -> None:
    store = tmp_path / "s.jsonl"
    long = command(tmp_path, "--n-in", "32", "--n-in", "64")
    with subprocess.Popen(long, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            if store.exists() and store.read_bytes().count(b"\n") >= 2:
                break
            time.sleep(0.05)
        assert process.poll() is None, "interrupted before its end"
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    before = store.read_bytes()
    assert before.endswith(b"\n")
    lines = [json.loads(line) for line in before.splitlines()]
    assert 2 <= len(lines) < 7
    done = subprocess.run(
        [*command(tmp_path), "--json"], check=True, capture_output=True, text=True
    )
    result = json.loads(done.stdout)
    assert store.read_bytes().startswith(before), "results are kept"
    (row,) = result["rows"]
    assert row["pareto"]
    assert row["lut"] is None
    assert row["nand2"] > 1000
    assert row["mweights_per_s"] == pytest.approx(100 * row["weights_per_cycle"])
    again = subprocess.run(command(tmp_path), check=True, capture_output=True, text=True)
    assert "1 decoders on 1 matrices" in again.stdout
    argv = command(tmp_path)
    np.savez(tmp_path / "m.npz", w=clustered_weights(128, 128, 2))
    refused = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "was made with weights" in refused.stderr


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--target", "z80"), "target must be one of"),
        (("--clock", "0"), "clock must be positive, not 0.0 MHz"),
        (("--points", "0"), "points must be at least 1, not 0"),
        (("--memory", "tape"), "memory must be one of"),
        (("--density", "2"), "sparsity must be in"),
        (("--objective", "area"), "objective must be one of"),
        (("--plot", "a.pdf"), "a plot's name ends in .png or .svg"),
        (("--rows", "0"), "rows must be at least 1"),
    ],
)
def test_explore_refuses_bad_options(more: tuple[str, str], text: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, command(tmp_path, *more)[3:])
    assert isinstance(result.exception, ConfigError)
    assert text in str(result.exception)
