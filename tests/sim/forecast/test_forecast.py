# SPDX-License-Identifier: Apache-2.0
"""Forecasts, with samples that are measured in this process."""

import itertools
from concurrent.futures import Future
from contextlib import nullcontext

import numpy as np
import pytest
from xorloom.sim.bench.forecast import forecast as module
from xorloom.sim.bench.forecast import measure as measure_module
from xorloom.sim.bench.forecast import rates as rates_module
from xorloom.sim.bench.forecast.forecast import forecast
from xorloom.sim.bench.forecast.kinds import units_of
from xorloom.sim.bench.forecast.parts import part_shape, sketch, stored_rows
from xorloom.sim.bench.forecast.rates import Point, Rates
from xorloom.sim.bench.forecast.shapes import read_shapes
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.plans import plan_source
from xorloom.sw.model.plan.recipe import Recipe, read_recipe
from xorloom.sw.model.plan.source import Source, open_plain
from xorloom.sw.tensors.checkpoint.model import from_arrays


class Inline:
    """Process that is none."""

    def submit(self, task, *arguments):
        done = Future()
        done.set_result(task(*arguments))
        return done


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(rates_module, "_process", lambda: nullcontext(Inline()))
    monkeypatch.setattr(rates_module, "_COMPILES", 1e9)
    monkeypatch.setattr(measure_module, "_RUNS", (1, 1))
    monkeypatch.setattr(module, "start_seconds", lambda *_, **__: 1.0)


def _slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def saved(tmp_path, arrays):
    np.savez(tmp_path / "m.npz", **arrays)
    return open_plain(tmp_path / "m.npz")


def compressed(model, recipe, tmp_path, **options):
    plans, _ = plan_source(Source(model), recipe, UserArrays())
    return compress_model(model, tmp_path / "c.safetensors", plans, **options)


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ({}, 0.01),
        ({"index": "entropy", "planes": 2}, 0.01),
        ({"value": "direct", "rate": "1"}, 1e-9),
        ({"quantizer": "ternary"}, 0.03),
        _slow({"index_bits": 0.1667}, 1e-3),
        _slow({"index": "hashed", "density": 0.1}, 0.01),
        _slow({"index": "none"}, 0.01),
        _slow({"value": "block"}, 0.03),
        _slow({"scope": "row", "scale": "group"}, 0.01),
    ],
    ids=str,
)
def test_sizes_are_those_of_the_file(values, near, tmp_path):
    rng = np.random.default_rng(1)
    arrays = {f"l.{k}.w": rng.standard_normal((96, 250), np.float32) for k in range(3)}
    model = saved(tmp_path, arrays | {"l.0.b": np.ones(77, np.float32)})
    recipe = Recipe(default=values)
    found = forecast(model, recipe, weights=True)
    made = compressed(model, recipe, tmp_path)
    total = sum(bits.total for bits in made.bits.values())
    matrices, bias = found.layers
    assert 8 * matrices.stored == pytest.approx(total, rel=near)
    assert (matrices.name, matrices.tensors, matrices.weights) == ("l.{0..2}.w", 3, 72000)
    assert (bias.becomes, bias.stored) == ("", 308)
    size = (tmp_path / "c.safetensors").stat().st_size
    assert found.file == pytest.approx(size, rel=near + 0.03)
    assert found.cpu > 1
    assert found.source == 4 * 72077


def test_a_mask_of_its_own_is_seen_and_counted(tmp_path):
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((256, 512), np.float32)
    weights[rng.random(weights.shape) < 0.7] = 0
    model = saved(tmp_path, {"w": weights})
    recipe = Recipe(default={"index": "entropy"})
    found = forecast(model, recipe, weights=True)
    made = compressed(model, recipe, tmp_path)
    assert 8 * found.layers[0].stored == pytest.approx(made.bits["w"].total, rel=0.02)
    assert found.layers[0].kept == pytest.approx(made.bits["w"].kept, rel=0.02)
    assert "1 tensors keep masks of their own" in " ".join(found.notes)


def test_large_tensors_are_planned_in_row_blocks(tmp_path):
    rng = np.random.default_rng(1)
    model = from_arrays({"w": rng.standard_normal((400, 256), np.float32)})
    recipe = Recipe(default={"index": "entropy", "scale": "tensor"})
    found = forecast(model, recipe, weights=True, block_weights=1 << 14)
    made = compressed(model, recipe, tmp_path, block_weights=1 << 14)
    layer = found.layers[0]
    assert layer.blocks == made.tensors["w"].blocks == 7
    assert 8 * layer.stored == pytest.approx(made.bits["w"].total, rel=0.02)
    units = units_of(sketch(model, stored_rows), *_plans(model, recipe), 1 << 14)
    assert [unit.scale_bits for unit in units] == [16] * 7
    assert all(unit.is_compared for unit in units)


def _plans(model, recipe):
    return (plan_source(Source(model), recipe, UserArrays())[0],)


def test_jobs_share_the_work_and_each_takes_memory(tmp_path, monkeypatch):
    peaks = itertools.count(1 << 20, 1 << 20)
    monkeypatch.setattr(measure_module, "peak_bytes", lambda: next(peaks))
    table = tmp_path / "t.csv"
    table.write_text("name,shape\nl.{0..3}.w,128x256\n")
    model, recipe = read_shapes(table), Recipe(default={"index": "entropy"})
    one, four = (forecast(model, recipe, weights=False, jobs=n) for n in (1, 4))
    assert one.cpu == four.cpu == pytest.approx(one.seconds)
    assert four.seconds - 1 == pytest.approx((one.seconds - 1) / 4)
    layer = one.layers[0]
    assert layer.memory > 1 << 20
    assert four.memory - one.memory == pytest.approx(3 * layer.memory)


def test_rates_are_measured_once_and_anew_if_asked_for(tmp_path, monkeypatch):
    table = tmp_path / "t.csv"
    table.write_text("name,shape\nw,64x128\n")
    model, calls = read_shapes(table), []
    measure = rates_module._measure
    monkeypatch.setattr(rates_module, "_measure", lambda *a: calls.append(1) or measure(*a))
    for use_cache, count in ((True, 1), (True, 1), (False, 2), (True, 2)):
        forecast(model, Recipe(), weights=False, use_cache=use_cache)
        assert len(calls) == count
    forecast(model, Recipe(default={"planes": 2}), weights=False)
    assert len(calls) == 3
    real = saved(tmp_path, {"w": np.ones((64, 128), np.float32)})
    forecast(real, Recipe(), weights=True)
    saved(tmp_path, {"w": np.ones((64, 129), np.float32)})
    forecast(open_plain(tmp_path / "m.npz"), Recipe(), weights=True)
    assert len(calls) == 5


def test_tensors_of_several_densities_share_a_decoder_as_in_the_file(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {name: rng.standard_normal((128, 1024), np.float32) for name in "ab"}
    recipe_file = tmp_path / "r.toml"
    recipe_file.write_text('[default]\nsparsity = 0.98\n[[tensor]]\nmatch = "b"\nsparsity = 0.5\n')
    model, recipe = from_arrays(arrays), read_recipe(recipe_file)
    made = compressed(model, recipe, tmp_path)
    found = forecast(model, recipe, weights=True)
    for layer in found.layers:
        assert 8 * layer.stored == pytest.approx(made.bits[layer.name].total, rel=0.01)


def test_what_cannot_be_compressed_is_refused_as_by_compress(tmp_path):
    model = from_arrays({"w": np.ones((64, 128), np.float32)})
    with pytest.raises(ConfigError, match="give either --sparsity or --density"):
        forecast(model, Recipe(default={"sparsity": 0.9, "density": 0.1}), weights=True)


def test_figures_lie_on_lines_between_and_beyond_the_points():
    points = (Point(100, 1.0, 0, 0, 0, 0.9), Point(200, 3.0, 0, 0, 0, 1.1))
    rates = Rates(points, 0, 0, 0, 0)
    assert [rates.at("cpu", n) for n in (50, 150, 300)] == [1.0, 2.0, 5.0]
    assert [rates.at("ratio", n) for n in (50, 150, 300)] == pytest.approx([0.9, 1.0, 1.1])
    assert Rates(points[:1], 0, 0, 0, 0).at("cpu", 300) == 3.0


@pytest.mark.parametrize(
    ("shape", "weights", "part"),
    [
        ((64, 32), 320, (10, 32)),
        ((64, 32), 5, (1, 5)),
        ((64, 32), 1 << 20, (64, 32)),
        ((8, 64, 32), 320, (1, 10, 32)),
        ((1000,), 30, (30,)),
        ((), 30, ()),
    ],
)
def test_parts_are_whole_rows_where_they_can(shape, weights, part):
    assert part_shape(shape, weights) == part


def test_a_sketch_reads_rows_from_all_over_a_tensor():
    weights = np.repeat(np.arange(512, dtype=np.float32), 1024).reshape(512, 1024)
    model = from_arrays({"w": weights, "v": weights[0]})
    found = sketch(model, stored_rows)
    rows = np.unique(found["w"].load())
    assert (found["w"].shape, rows.size) == ((512, 1024), 32)
    assert rows[0] < 100
    assert rows[-1] > 400
    np.testing.assert_array_equal(found["v"].load(), weights[0])
