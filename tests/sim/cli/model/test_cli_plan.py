# SPDX-License-Identifier: Apache-2.0
"""``xorloom plan``: what it says, and whether it comes true."""

import json
from pathlib import Path
from statistics import median

import ml_dtypes
import pytest
from xorloom.sim.bench.forecast import rates as rates_module
from xorloom.sw.tensors.safetensors_file import header_bytes, write_tensors

from tests.helpers.cli import refuses, xorloom
from tests.helpers.weights import clustered_weights


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "shapes.csv"
    path.write_text("name,shape\nl.{0..3}.w,256x384\nnorm,256\n")
    return path


@pytest.mark.long
def test_plan_and_trial_of_a_table(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("plan", table, "--index", "entropy", "--jobs", 2)
    report = json.loads(xorloom(*words, "--check", "--json")[0])
    assert report["command"].startswith("xorloom plan")
    weights, norm = report["layers"]
    assert (weights["name"], weights["tensors"], weights["shape"]) == ("l.{0..3}.w", 4, [256, 384])
    assert weights["becomes"] == "entropy index, 1 bit of 10 %"
    assert (norm["becomes"], norm["stored"]) == ("", 512)
    planned, found = report["all"], report["check"]
    assert planned["bits_per_weight"] == pytest.approx(found["bits_per_weight"], rel=0.02)
    assert planned["file"] == pytest.approx(found["file"], rel=0.03)
    assert planned["memory"] == pytest.approx(found["memory"], rel=0.25)
    assert 0 < planned["decode"] < planned["cpu"]
    # From here on rates are known.
    monkeypatch.setattr(rates_module, "_measure", None)
    monkeypatch.setattr(rates_module, "run_timed", None)
    out, err = xorloom(*words)
    assert "l.{0..3}.w" in out
    assert "as they are" in out
    assert " with 2 jobs, " in out
    assert "normal weights" in out
    assert err == ""


def test_plan_refuses_what_compress_refuses(table: Path) -> None:
    refuses("give either --sparsity or --density", "plan", table, "--sparsity", 0.9, "--density", 1)
    refuses("no matrix matches 'x*'", "plan", table, "-t", "x*")
    refuses("jobs must be between 1 and 1024, not 0", "plan", table, "--jobs", 0)
    refuses("No such option: --masks", "plan", table, "--masks", "m.npz")
    refuses("shapes.csv: line 4: shape must be", "plan", _with(table, "v,4 by 4"), code=1)
    refuses("no.csv: no such file", "plan", table.with_name("no.csv"))


def _with(table: Path, line: str) -> Path:
    table.write_text(f"{table.read_text()}{line}\n")
    return table


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--index", "entropy"), ("--value", "direct")])
def test_plans_come_true(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clustered weights in bfloat16, 24 M; CPU time as the median of three pairs."""
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path / "cache"))
    shapes = {f"l.{k}.w": (1024, 4096) for k in range(2)} | {"e": (16384, 1024)}
    arrays = {
        name: clustered_weights(*shape, k).astype(ml_dtypes.bfloat16)
        for k, (name, shape) in enumerate(shapes.items())
    }
    model = tmp_path / "m.safetensors"
    entries = {name: ("BF16", a.shape, a.nbytes) for name, a in arrays.items()}
    write_tensors(model, header_bytes(entries, {}), [a.tobytes() for a in arrays.values()])
    ratios = []
    for _ in range(3):
        words = ("plan", model, *options, "--measure", "--check", "--json")
        report = json.loads(xorloom(*words)[0])
        planned, found = report["all"], report["check"]
        assert planned["bits_per_weight"] == pytest.approx(found["bits_per_weight"], rel=0.03)
        assert planned["file"] == pytest.approx(found["file"], rel=0.03)
        assert planned["memory"] == pytest.approx(found["memory"], rel=0.25)
        ratios.append(planned["cpu"] / found["cpu"])
    assert median(ratios) == pytest.approx(1, abs=0.25), ratios
