# SPDX-License-Identifier: Apache-2.0
"""Sweeps over decoders of the direct codec."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner
from xorloom.sim.bench.explore.grid import Grid, points
from xorloom.sim.bench.explore.store import Store
from xorloom.sim.bench.explore.sweep import Sweep, run_sweep, sweep_rows
from xorloom.sim.cli.main import app


def test_points_of_the_direct_codec_take_networks_of_the_table() -> None:
    grid = Grid(value=("direct",), rate=("0.25", "2", "7/5"), direct_window=(8, 10))
    found, skipped = points(grid, 0.1)
    for point in found:
        facts = point.value.to_dict()
        assert point.parameters == {
            **{"value": "direct", "rate": "2" if facts["n_in"] > facts["n_out"] / 4 else "1/4"},
            **{n: facts[n] for n in ("n_in", "n_out", "window", "planes", "bus_bits")},
            **{"taps": str(facts["taps"]), "index": "none", "index_bits": None},
        }
        assert (point.planes, point.index.codec) == (facts["planes"], "none")
    assert [(p.parameters["rate"], p.parameters["window"]) for p in found] == [
        *(("1/4", 8), ("1/4", 10)),
        *(("2", 8), ("2", 10)),
    ]
    assert sum(skipped.values()) == 2
    assert all("no network of 7/5 bits per weight was searched" in why for why in skipped)


def test_sweep_of_direct_decoders_does_not_depend_on_density(
    sweep: Sweep, in_process: list[str], tmp_path: Path
) -> None:
    grid = Grid(value=("direct",), rate=("1", "2"), bus_bits=(32,))
    chosen, _ = points(grid, 0.1)
    with Store(tmp_path / "s.jsonl", {}) as store:
        run_sweep(chosen, sweep, store)
        rows, skipped, missing = sweep_rows(chosen, sweep, store, ("bits_per_weight", "error"))
        assert (dict(skipped), missing) == ({}, 0)
        # No index core is synthesized: there is no mask.
        assert sorted(in_process) == ["encoding", "encoding", "synthesis", "synthesis"]
        run_sweep(chosen, replace(sweep, density=0.3), store)
    assert len(in_process) == 4
    one, two = rows
    # Codes of 4 and 5 bits: each of two tensors stores 16 levels more, a byte each.
    more = 1 + 2 * 16 * 8 / (96 * 128 + 80 * 64)
    assert two["bits_per_weight"] == pytest.approx(one["bits_per_weight"] + more)
    assert one["kept"] == two["kept"] == 1
    assert 0.02 < two["error"] < 0.4 * one["error"] < 0.2
    # Beside its seeds a tensor has 4 or 8 words of levels, 5 of header and CRC, 6 of index none.
    size = 96 * 128 + 80 * 64
    assert one["weights_per_cycle"] == pytest.approx(size / (size / 32 + 2 * 15))
    assert two["weights_per_cycle"] == pytest.approx(size / (size / 16 + 2 * 19))
    assert one["pareto"]
    assert two["pareto"]
    out = tmp_path / "out.safetensors"
    options = ["--value", "direct", "--rate", "2", "--bus-bits", "32", "--min-size", "1", "--json"]
    argv = ["compress", str(sweep.weights), "-o", str(out), *options]
    found = json.loads(CliRunner().invoke(app, argv).stdout)["all"]
    assert two["bits_per_weight"] == pytest.approx(found["bits_per_weight"]["total"])
