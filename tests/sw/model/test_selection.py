# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.selection import select

from tests.helpers.models import as_model


def test_select_takes_large_float_matrices_in_file_order(arrays):
    model = as_model(arrays)
    assert select(model, (), 100) == ["enc.weight", "dec.weight"]
    assert select(model, (), 0) == ["enc.weight", "dec.weight", "tiny"]
    assert select(model, (), 401) == ["enc.weight"]


def test_select_globs_choose_among_those_that_qualify(arrays):
    model = as_model(arrays)
    assert select(model, ("*.weight",), 100) == ["enc.weight", "dec.weight"]
    assert select(model, ("dec.*", "enc*"), 100) == ["enc.weight", "dec.weight"]
    assert select(model, ("*",), 100) == ["enc.weight", "dec.weight"]
    assert select(model, ("[de]ec.weight",), 100) == ["dec.weight"]


def test_select_exact_names_need_not_qualify(arrays):
    model = as_model(arrays)
    assert select(model, ("enc.bias",), 100) == ["enc.bias"]
    assert select(model, ("tiny", "dec.*"), 100) == ["dec.weight", "tiny"]


def test_select_takes_an_exact_name_before_a_glob(rng):
    model = as_model({"w[0]": np.ones((20, 20), np.float32), "w0": np.ones((20, 20), np.float32)})
    assert select(model, ("w[0]",), 100) == ["w[0]"]


@pytest.mark.parametrize("pattern", ["nothing.*", "ENC.weight", "enc.bia?"])
def test_select_rejects_patterns_without_match(pattern, arrays):
    with pytest.raises(ConfigError) as caught:
        select(as_model(arrays), (pattern,), 100)
    expected = f"no matrix matches {pattern!r} (the model has: dec.weight, enc.weight ...)"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ids", "tensor 'ids' is I64, not floating point"),
        ("none", "tensor 'none' of shape (0, 300) is empty"),
    ],
)
def test_select_rejects_names_without_weights(name, text, arrays):
    with pytest.raises(ConfigError) as caught:
        select(as_model(arrays), (name,), 100)
    assert str(caught.value) == text


def test_select_rejects_models_without_large_matrices(arrays):
    text = r"no tensor has two dimensions and 5000 elements \(lower min_size\)"
    with pytest.raises(ConfigError, match=text):
        select(as_model(arrays), (), 5000)
    with pytest.raises(ConfigError, match=text):
        select({}, (), 5000)
