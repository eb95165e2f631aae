# SPDX-License-Identifier: Apache-2.0
"""Tables of shapes, and models of normal weights that are made of them."""

import json
import re

import ml_dtypes
import numpy as np
import pytest
from xorloom.sim.bench.forecast import shapes as module
from xorloom.sim.bench.forecast.shapes import is_table, read_shapes, write_model
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers.paths import ROOT


def written(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_name_with_a_range_is_several_tensors(tmp_path):
    text = "name,shape,dtype\nl.{0..2}.{8..9}.w, 4x6 ,F32\nb,5,\n"
    model = read_shapes(written(tmp_path, text))
    assert list(model) == ["l.0.8.w", "l.0.9.w", "l.1.8.w", "l.1.9.w", "l.2.8.w", "l.2.9.w", "b"]
    assert (model["l.1.9.w"].shape, model["l.1.9.w"].dtype) == ((4, 6), "F32")
    assert (model["b"].shape, model["b"].dtype) == ((5,), "BF16")
    assert model["b"].load().dtype == ml_dtypes.bfloat16
    first, second = model["l.0.8.w"].load(), model["l.0.9.w"].load()
    assert first.shape == (4, 6)
    np.testing.assert_array_equal(first, model["l.0.8.w"].load())
    assert (first != second).all()


def test_the_header_of_a_safetensors_file_is_a_table(tmp_path):
    entry = {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}
    header = {"__metadata__": {"format": "pt"}, "w": entry, "v.{0..1}": {"shape": [7]}}
    model = read_shapes(written(tmp_path, json.dumps(header), "t.json"))
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in model.items()}
    assert found == {"w": ("F16", (2, 3)), "v.0": ("BF16", (7,)), "v.1": ("BF16", (7,))}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "w,4x4\n", "the first line must be name,shape or name,shape,dtype, not 'w,4x4'"),
        ("t.csv", "name,shape\nw,4by4\n", "line 2: shape must be as 4096x11008, not '4by4'"),
        ("t.csv", "name,shape\nw\n", "line 2: shape must be as 4096x11008, not ''"),
        ("t.csv", "name,shape\nw,4,F32\n", "line 2: must have 2 values: name,shape"),
        ("t.csv", "name,shape,dtype\nw,4,float\n", "line 2: dtype must be one of BOOL, .*'float'"),
        ("t.csv", "name,shape\nw,4\nw,5\n", "line 3: tensor 'w' comes twice"),
        ("t.csv", "name,shape\nw.{3..1},4\n", "line 2: range {3..1} must go up"),
        ("t.csv", "name,shape\nw,9999999x9999999x99\n", "line 2: shape .* is too large"),
        ("t.csv", "name,shape\n", "has no tensors"),
        ("t.json", "[]", "must be an object of tensors by name"),
        ("t.json", "{", "not JSON"),
        ("t.json", '{"w": [1, 2]}', "tensor 'w': must be as"),
        ("t.json", '{"w": {"shape": [-1]}}', "tensor 'w': must be as"),
    ],
)
def test_errors_tell_file_line_and_what_is_expected(name, text, message, tmp_path):
    pattern = re.escape(name) + ".*" + (message if ".*" in message else re.escape(message))
    with pytest.raises(FormatError, match=pattern):
        read_shapes(written(tmp_path, text, name))


def test_a_table_that_is_missing_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"t\.csv: no such file"):
        read_shapes(tmp_path / "t.csv")


def test_what_is_a_table(tmp_path):
    assert is_table(tmp_path / "a.csv")
    assert is_table(tmp_path / "a.JSON")
    assert not is_table(tmp_path / "model.safetensors.index.json")
    assert not is_table(tmp_path / "a.safetensors")


@pytest.mark.parametrize(("most", "shards"), [(1 << 20, 1), (100, 3)])
def test_a_model_of_a_table_can_be_written_in_shards(most, shards, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SHARD_BYTES", most)
    model = read_shapes(written(tmp_path, "name,shape,dtype\nw.{0..2},4x5,F32\nb,3,F32\n"))
    found = open_model(write_model(model, tmp_path / "m"))
    assert len(list((tmp_path / "m").glob("*.safetensors"))) == shards
    assert set(found) == set(model)
    for name, tensor in model.items():
        np.testing.assert_array_equal(found[name].load(), tensor.load())


@pytest.mark.parametrize(
    ("name", "tensors", "billions"),
    [("llama-2-7b", 291, 6.738), ("llama-2-70b", 723, 68.977), ("llama-80m", 47, 0.0806)],
)
def test_the_tables_of_the_manual_are_those_models(name, tensors, billions):
    model = read_shapes(ROOT / "docs" / "shapes" / f"{name}.csv")
    assert len(model) == tensors
    assert sum(t.size for t in model.values()) == pytest.approx(billions * 1e9, rel=1e-3)
