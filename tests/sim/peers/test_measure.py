# SPDX-License-Identifier: Apache-2.0
"""``bench peers``: rows, medians, faults that it must find, messages."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from xorloom.sim.bench.rate.sources import Source
from xorloom.sim.peers import measure
from xorloom.sim.peers.measure import METHODS, Method, peer_rows
from xorloom.sim.peers.own import encode_given
from xorloom.sim.peers.sample import Clock, Sample, Stored
from xorloom.sw.base.errors import ConfigError

from tests.helpers.cli import refuses, xorloom
from tests.helpers.weights import clustered_weights

KEYS = {"source", "sparsity", "planes", "method", "package", "weights", "tensors", "entropy"}
SPEEDS = {
    f"{what}_mweights_per_s{end}"
    for what in ("encode", "decode", "planes")
    for end in ("", "_min", "_max")
}
SMALL = ["--source", "gaussian", "--weights", 65_536, "--repeats", 2]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two matrices in the place of MiniLM's."""
    tensors = {str(n): clustered_weights(192, 256, seed=n) for n in (1, 2)}
    found = Source("minilm", tensors, "row")
    monkeypatch.setattr(measure, "source", lambda name, weights, quick: found)


@pytest.mark.long
def test_rows_have_a_method_each_of_every_case(few: None) -> None:
    steps: list[tuple[str, ...]] = []
    methods = ["xorloom-fixed-order", "xorloom-trellis-10"]
    rows = peer_rows(
        ["minilm"], [0.8, 0.9], [1, 2], methods, 0, 2, lambda *step: steps.append(step)
    )
    assert [(row["sparsity"], row["planes"], row["method"]) for row in rows] == [
        (s, q, method) for s in (0.8, 0.9) for q in (1, 2) for method in methods
    ]
    assert len(steps) == 3 * len(rows), "one turn more, which compiles"
    for row in rows:
        assert set(row) == KEYS | SPEEDS | {"kept", "bits_per_weight", "lossless"}
        assert (row["source"], row["weights"], row["tensors"]) == ("minilm", 2 * 192 * 256, 2)
        assert row["package"].startswith("xorloom 0")
        assert row["lossless"] is True
        chosen = row["method"] == "xorloom-trellis-10"
        assert 0.6 < row["kept"] < 0.95 if chosen else row["kept"] == 1
        if not chosen:
            assert row["entropy"] < row["bits_per_weight"] < 1.2 * row["entropy"]
        for what in ("encode", "decode", "planes"):
            key = f"{what}_mweights_per_s"
            assert 0 < row[f"{key}_min"] <= row[key] <= row[f"{key}_max"]


def test_speeds_are_of_the_turns_after_the_first(
    few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Starts and stops: two tensors a turn, of each the encoder's and the decoder's.
    runs = [100, 100] * 2 + [1, 5] * 2 + [3, 7] * 2
    ticks = iter(np.cumsum([part for run in runs for part in (0, run)]).tolist())
    monkeypatch.setattr("xorloom.sim.peers.sample.time.process_time", lambda: float(next(ticks)))

    def quick(sample: Sample, clock: Clock) -> Stored:
        values = sample.values
        with clock:
            return Stored(8, lambda: values, values, sample.mask)

    monkeypatch.setitem(METHODS, "quick", Method("xorloom", quick))
    (row,) = peer_rows(["minilm"], [0.9], [1], ["quick"], 0, 2)
    mweights = row["weights"] / 1e6
    assert row["encode_mweights_per_s"] == pytest.approx(mweights / 4)
    assert row["encode_mweights_per_s_min"] == pytest.approx(mweights / 6)
    assert row["encode_mweights_per_s_max"] == pytest.approx(mweights / 2)
    assert row["decode_mweights_per_s"] == pytest.approx(mweights / 12)
    assert row["planes_mweights_per_s"] is row["planes_mweights_per_s_min"] is None


@pytest.mark.parametrize("fault", ["value", "mask", "plane"])
def test_a_method_that_loses_something_is_found(fault, monkeypatch):
    def lossy(sample, clock):
        stored = encode_given("row", sample, clock)
        assert stored.decode_planes is not None
        values, (mask, planes) = stored.decode(), stored.decode_planes()
        values.reshape(-1)[5] += fault == "value"
        mask[0] ^= np.uint64(fault == "mask")
        planes[1, 7] ^= np.uint64(fault == "plane")
        return replace(stored, decode=lambda: values, decode_planes=lambda: (mask, planes))

    method = Method("xorloom", lossy)
    monkeypatch.setitem(METHODS, "xorloom", method)
    options = ["--method", "xorloom", "--planes", 2, "--json"]
    (row,) = json.loads(xorloom("bench", "peers", *SMALL, *options, code=1)[0])
    assert row["lossless"] is False


def test_command_prints_a_table_for_each_case():
    table, _ = xorloom("bench", "peers", *SMALL, "--method", "xorloom-fixed-order")
    assert "gaussian, S 0.9, 1 bit; entropy 0.469" not in table, "values count, too"
    assert "gaussian, S 0.9, 1 bit; entropy 0.569" in table
    assert "gaussian, S 0.9, 4 bits; entropy 0.7" in table
    assert table.count("xorloom-fixed-order") == 2


@pytest.mark.long
def test_every_method_runs_on_the_same_data():
    for module in {method.module for method in METHODS.values()} - {"xorloom"}:
        pytest.importorskip(module, reason="make setup EXTRAS=peers")
    rows = json.loads(xorloom("bench", "peers", *SMALL, "--planes", 1, "--json")[0])
    assert [row["method"] for row in rows] == list(METHODS)
    assert all(row["lossless"] for row in rows)
    given = [row for row in rows if "trellis" not in row["method"]]
    assert all(row["kept"] == 1 and row["bits_per_weight"] > row["entropy"] for row in given)
    assert {row["package"].split()[0] for row in rows} == {
        *("xorloom", "ethos-u-vela", "constriction", "zstandard", "blosc2")
    }


def test_arguments_are_checked_before_the_work():
    refuses("method must be one of xorloom, ", "bench", "peers", "--method", "gzip")
    refuses("source must be one of gaussian, minilm, not", "bench", "peers", "--source", "x")
    own = ["bench", "peers", "--method", "xorloom", "--source", "gaussian"]
    refuses("planes must be between 1 and 7, not 8: peers take int8", *own, "--planes", 8)
    refuses("sparsity must be", *own, "--sparsity", 1.5)
    with pytest.raises(ConfigError, match="source must be one of gaussian, minilm, not 'x'"):
        peer_rows(["x"], [0.9], [1], [], 0, 1)


def test_own_methods_need_no_package(monkeypatch):
    for module in {method.module for method in METHODS.values()} - {"xorloom"}:
        monkeypatch.setitem(sys.modules, module, None)
    (row,) = json.loads(
        xorloom("bench", "peers", *SMALL, "--method", "xorloom", "--planes", 1, "--json")[0]
    )
    assert row["bits_per_weight"] == pytest.approx(0.58, abs=0.02)
