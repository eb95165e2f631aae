# SPDX-License-Identifier: Apache-2.0
"""bench bus: configurations, rows, command, roofline."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xorloom.sim.bench.bus as bench
from typer.testing import CliRunner
from xorloom.sim.bandwidth.roofline import plot_roofline
from xorloom.sim.bench.bus import CASES, DESIGNS, build_designs, bus_configs, bus_rows, case_weights
from xorloom.sim.cli.main import app
from xorloom.sim.simulate.bus import BusResult
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.memory.weight_stream import split_weight_streams
from xorloom.sw.spec.index_config import EntropyConfig, TrellisConfig
from xorloom.sw.spec.weight_format import WeightFormat

KEYS = ("design", "memory", "bus_bits", "case", "cycles", "bus_utilisation", "weights_per_cycle")


def measured(words: int, weights: int, memory: str = "ideal", **_: Any) -> BusResult:
    """Stand in for a simulation: one word per clock, or every other."""
    waits = {"latency": 0, "refresh": 0, "row": 0, "rate": 0 if memory == "ideal" else words}
    cycles = words + sum(waits.values())
    counters = {"starved": 0, "blocked": 0, "stalled": 0}
    return BusResult(
        cycles + 9, cycles, words, 1, weights, 64, 64 * words - 640, waits, 0, 0, counters
    )


@pytest.fixture
def no_simulator(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Streams are made, but not simulated; return the runs, and their stored bits per weight."""
    runs: list[tuple[str, float]] = []
    weights = sum(matrix.size for matrix in case_weights("gaussian-64k"))

    def decoder(streams: list[bytes], value: Any, indexes: list[Any], **how: Any) -> BusResult:
        form = WeightFormat(value, 1, indexes[0])
        size = sum(map(len, streams))
        assert all(split_weight_streams(data, form.value.bus_bytes) for data in streams)
        runs.append((indexes[0].codec, 8 * size / weights))
        return measured(size // 8, weights, **how)

    def baseline(name: str, streams: list[bytes], *_: Any, **how: Any) -> BusResult:
        size = sum(map(len, streams))
        runs.append((name, 8 * size / weights))
        return measured(size // 8, weights, **how)

    monkeypatch.setattr(bench, "simulate_bus", decoder)
    monkeypatch.setattr(bench, "simulate_baseline", baseline)
    return runs


def test_bench_bus_rows_tell_what_was_measured(no_simulator: list[tuple[str, float]]) -> None:
    steps: list[tuple[str, ...]] = []
    rows = list(
        bus_rows(
            DESIGNS,
            ["ideal", "sdr-133"],
            ["gaussian-64k"],
            [0.9],
            progress=lambda *step: steps.append(step),
        )
    )
    assert len(rows) == len(steps) == len(no_simulator) == 2 * len(DESIGNS)
    for row, (codec, stored) in zip(rows, no_simulator, strict=True):
        assert tuple(row)[: len(KEYS) + 1] == (*KEYS, "stall_cycles")
        assert set(row["stall_cycles"]) == {"memory", "blocked", "output"}
        assert codec in (row["design"], "trellis", row["design"].removeprefix("xorloom-"))
        assert row["bits_per_weight"] == stored
        assert row["weights_per_cycle"] == (1 << 16) / row["cycles"]
        assert row["mweights_per_s"] == 100 * row["weights_per_cycle"]
        assert row["bit_exact"] is True
        assert row["of_memory"] == pytest.approx(1 - 10 * 8 / (stored * 65536 / 8))
    bits = {row["design"]: row["bits_per_weight"] for row in rows}
    assert bits["xorloom"] < 0.27
    assert bits["xorloom-entropy"] < 0.62
    assert bits["xorloom"] < bits["rice"] < 0.62 < bits["bitmask"] < 1.13 < bits["csr"] < 1.8
    assert bits["csr"] < bits["dense"] == pytest.approx(2, abs=0.01)
    kept = {row["design"]: row["kept"] for row in rows}
    assert kept.pop("xorloom") == pytest.approx(0.8, abs=0.02)
    assert set(kept.values()) == {1.0}


def test_bench_bus_rows_refuse_unknown_names() -> None:
    for names, text in (
        ((["zip"], ["ideal"], ["alexnet-fc"]), "design must be one of xorloom, .*not 'zip'"),
        ((["csr"], ["tape"], ["alexnet-fc"]), "memory must be one of .*not 'tape'"),
        ((["csr"], ["ideal"], ["lenet"]), "case must be one of gaussian-64k, .*not 'lenet'"),
    ):
        with pytest.raises(ConfigError, match=text):
            list(bus_rows(*names, [0.9]))
    with pytest.raises(ConfigError, match="design must be one of"):
        build_designs(["zip"], [0.9], 64)


@pytest.mark.parametrize("bus_bits", [32, 64])
@pytest.mark.parametrize("sparsity", [0.7, 0.9, 0.95])
def test_bench_bus_decoders_are_faster_than_their_bus(sparsity: float, bus_bits: int) -> None:
    for design in ("xorloom", "xorloom-entropy", "xorloom-bitmap"):
        value, index = bus_configs(design, 1 - sparsity, bus_bits)
        kept_bits = (1 - sparsity) * value.n_out
        assert value.n_in <= kept_bits, "no seeds are stored for nothing"
        rate = {"trellis": 5 / 32, "bitmap": 1.0}.get(index.codec, 0.0)
        pace = bus_bits / (rate + (1 - sparsity)) if rate else 0.0
        # A slice takes a step at least, and as many as its kept bits need.
        assert value.n_out > pace
        assert value.n_in > pace * (1 - sparsity)
        if isinstance(index, TrellisConfig):
            assert index.rate == pytest.approx(5 / 32, rel=0.02)
        if isinstance(index, EntropyConfig):
            assert index.n_out % (8 * index.lanes) == 0
    assert bus_configs("xorloom", 0.1, 64)[0].n_out == 512
    assert bus_configs("xorloom", 0.1, 32)[0].n_out == 256


def test_bench_bus_refuses_a_bus_no_decoder_keeps_up_with() -> None:
    with pytest.raises(ConfigError, match="no xorloom decoder keeps up with 512 bits per cycle"):
        bus_configs("xorloom", 0.02, 512)


def test_bench_bus_cases_have_the_weights_they_name() -> None:
    assert case_weights("alexnet-fc")[0].shape == (1024, 4096)
    assert set(CASES) == {"gaussian-64k", "minilm-ffn0", "minilm-ffn", "alexnet-fc"}


def some_rows(*_: Any, progress: Any = None, **how: Any) -> Iterator[dict[str, Any]]:
    for memory, cycles in (("ideal", 100), ("ddr3-1600", 104), ("sdr-133", 300)):
        for design, bits in (("xorloom", 0.26), ("rice", 0.58)):
            result = measured(cycles, int(6400 / bits), memory)
            head = {"design": design, "memory": memory, "bus_bits": 64, "case": "gaussian-64k"}
            row = bench._row(result, memory, how.get("clock_mhz", 100.0), 64)
            yield head | row | {"sparsity": 0.9, "clock_mhz": 100.0, "bits_per_weight": bits}


def test_roofline_is_a_picture(tmp_path: Path) -> None:
    for name in ("roofline.png", "roofline.svg"):
        plot_roofline(list(some_rows()), tmp_path / name)
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "roofline.svg").read_text()
    with pytest.raises(ConfigError, match="nothing to draw"):
        plot_roofline([], tmp_path / "none.png")


def test_bench_bus_command_prints_rows_and_draws(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "bus_rows", some_rows)
    monkeypatch.setattr(bench, "build_designs", lambda *_: None)
    runner = CliRunner()
    picture = tmp_path / "p.png"
    done = runner.invoke(app, ["bench", "bus", "--json", "--plot", str(picture)])
    assert done.exit_code == 0, done.output
    rows = [[key for key in row if key != "command"] for row in json.loads(done.stdout)]
    assert [tuple(row)[: len(KEYS)] for row in rows] == [KEYS] * 6
    assert picture.exists()
    assert "blocked" in runner.invoke(app, ["bench", "bus"]).stdout

    def wrong(*_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        rows = list(some_rows())
        yield rows[0] | bench._row("beat 3 bit 1: expected 1, got 0", "ideal", 100.0, 64)

    monkeypatch.setattr(bench, "bus_rows", wrong)
    done = runner.invoke(app, ["bench", "bus", "--json", "--plot", str(tmp_path / "no.png")])
    assert done.exit_code == 1
    assert json.loads(done.stdout)[0]["cycles"] is None
    assert "xorloom, gaussian-64k: beat 3 bit 1: expected 1, got 0" in done.stderr
    assert not (tmp_path / "no.png").exists()
    both = runner.invoke(app, ["bench", "bus", "--quick", "--full"])
    assert isinstance(both.exception, ConfigError)


@pytest.mark.slow  # two builds of large decoders
def test_bench_bus_reaches_its_figures() -> None:
    rows = {
        (row["design"], row["memory"]): row
        for row in bus_rows(
            ["xorloom", "csr", "bitmask"], ["ideal", "ddr3-1600"], ["alexnet-fc"], [0.9]
        )
    }
    for memory in ("ideal", "ddr3-1600"):
        ours = rows["xorloom", memory]
        assert ours["bit_exact"]
        assert ours["stall_cycles"]["blocked"] == 0
        assert ours["of_memory"] >= 0.99
        pace = {name: rows[name, memory]["mweights_per_s"] for name in ("csr", "bitmask")}
        assert ours["mweights_per_s"] >= 3 * pace["csr"]
        assert ours["mweights_per_s"] >= 1.9 * pace["bitmask"]
        for name in pace:
            assert rows[name, memory]["of_memory"] >= 0.99, "a fair baseline"
    assert rows["xorloom", "ideal"]["bus_utilisation"] >= 0.99
    assert np.isclose(rows["xorloom", "ideal"]["kept"], 0.8, atol=0.02)
