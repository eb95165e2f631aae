# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.calibration.collect import along, collect
from xorloom.sw.tensors.moments import MomentsBuilder

X = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)


def ignore(name, moments):
    pass


class Chain:
    """Three matrices: the first two share inputs, the third one follows."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.weights = {name: rng.standard_normal((4, 4)).astype(np.float32) for name in "abc"}
        self.replaced = []

    def walk(self):
        yield ("a", "b"), X
        yield ("c",), np.tanh(X @ (self.weights["a"] + self.weights["b"]).T)

    def replace(self, name, moments):
        self.replaced.append((name, moments.samples))
        self.weights[name] = np.round(self.weights[name])


def test_later_groups_see_what_is_compressed_already():
    chain, original = Chain(), Chain()
    found = collect(along(chain.walk(), original.walk()), chain.replace)
    assert chain.replaced == [("a", 200), ("b", 200), ("c", 200)]
    rounded = np.round(original.weights["a"]) + np.round(original.weights["b"])
    x, z = np.tanh(X @ rounded.T), np.tanh(X @ (original.weights["a"] + original.weights["b"]).T)
    assert found["a"].second == pytest.approx(X.T @ X / 200, abs=1e-5)
    assert found["a"] is found["b"]
    assert found["c"].second == pytest.approx(x.T @ x / 200, abs=1e-5)
    assert found["c"].cross == pytest.approx(z.T @ x / 200, abs=1e-5)
    assert found["c"].original_mean == pytest.approx(z.mean(axis=0), abs=1e-5)


def test_without_an_original_there_is_no_cross_moment():
    chain = Chain()
    found = collect(along(chain.walk()), chain.replace)
    assert [found[name].cross for name in "abc"] == [None] * 3


def test_faults_name_the_matrix():
    with pytest.raises(ConfigError, match="a: no inputs reached the matrix"):
        collect([{"a": MomentsBuilder(4)}], ignore)
    with pytest.raises(ConfigError, match="a: comes twice"):
        collect(along([("a", X), ("a", X)]), ignore)
    with pytest.raises(ConfigError, match="a, b: inputs are not finite"):
        collect(along([("ab", X * np.nan)]), ignore)
    with pytest.raises(ConfigError, match="a: the original model has b in this place"):
        collect(along([("a", X)], [("b", X)]), ignore)
    with pytest.raises(ConfigError, match="a: the original model has nothing in this place"):
        collect(along([("a", X)], []), ignore)
