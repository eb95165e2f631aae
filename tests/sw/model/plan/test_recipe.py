# SPDX-License-Identifier: Apache-2.0
"""Recipes: layers of settings, and errors that name file, table and key."""

from pathlib import Path

import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.plan.recipe import Recipe, read_recipe
from xorloom.sw.model.plan.settings import KEYS, Settings, merge
from xorloom.sw.spec.config import BlockConfig, WindowConfig

NAMES = ["a.attention.weight", "a.ffn.weight", "b.attention.weight"]


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_later_layers_win_key_by_key(written):
    recipe = read_recipe(
        written(
            """
preset = "transformer"
include = ["*.weight"]
exclude = ["c.*"]
min-size = 10

[default]
density = 0.2
planes = 2
quantizer = "alternating"

[[tensor]]
match = "*.attention.*"
sparsity = 0.95
n-in = 16

[[tensor]]
match = ["b.*", "nothing-else"]
planes = 3
scale_dtype = "float32"
"""
        )
    )
    with pytest.raises(ConfigError, match="'nothing-else' matches no tensor that is compressed"):
        recipe.settings(NAMES)
    found = recipe.above({"group": 64, "planes": 2}).settings([*NAMES, "nothing-else"])
    default = Settings(density=0.2, planes=2, quantizer="alternating", group=64)
    assert found["a.ffn.weight"] == default
    first = found["a.attention.weight"]
    assert (first.density, first.sparsity, first.planes) == (None, 0.95, 2)
    assert first.config == WindowConfig(n_in=16)
    assert (first.search, default.search) == (False, True)
    last = found["b.attention.weight"]
    assert (last.planes, last.scale_dtype, last.sparsity) == (3, "float32", 0.95)
    assert (recipe.preset, recipe.include, recipe.exclude) == (
        "transformer",
        ("*.weight",),
        ("c.*",),
    )
    assert recipe.min_size == 10


def test_no_recipe_is_what_the_command_line_gives():
    wanted = Recipe().above(
        {"sparsity": 0.8}, include=["a.*"], exclude=["*.bias"], preset="convolution", min_size=7
    )
    assert wanted.settings(["a.x"]) == {"a.x": Settings(sparsity=0.8)}
    assert wanted.to_dict() == {
        "file": None,
        "preset": "convolution",
        "include": ["a.*"],
        "exclude": ["*.bias"],
        "min-size": 7,
        "default": Settings(sparsity=0.8).to_dict(),
        "tensor": [],
    }


def test_a_report_holds_the_recipe_as_it_was_used(written):
    text = "[default]\ndensity = 0.1\n[[tensor]]\nmatch = 'a*'\nindex-bits = 0.2\n"
    recipe = read_recipe(written(text)).above({"planes": 2})
    assert recipe.to_dict() | {"file": ""} == {
        "file": "",
        "preset": None,
        "include": [],
        "exclude": [],
        "min-size": 4096,
        "default": Settings(density=0.1, planes=2).to_dict(),
        "tensor": [{"match": ["a*"], "index-bits": 0.2}],
    }


@pytest.mark.parametrize(
    ("base", "layer", "expected"),
    [
        ({"density": 0.1}, {"sparsity": 0.8}, {"sparsity": 0.8}),
        ({"sparsity": 0.1, "index_bits": 0.2}, {"bits_per_weight": 0.3}, {"bits_per_weight": 0.3}),
        ({"bits_per_weight": 0.3}, {"density": 0.1}, {"density": 0.1}),
        ({"bits_per_weight": 0.3}, {"index": "entropy"}, None),
        ({"index_bits": 0.2}, {"index": "entropy"}, {"index": "entropy"}),
        ({"index_bits": 0.2}, {"index": "lowrank"}, None),
        (
            {"n_in": 16, "window": 512, "bus_bits": 32, "order": "row"},
            {"value": "block"},
            {"value": "block", "bus_bits": 32},
        ),
        ({"n_in": 16}, {"value": "window"}, None),
    ],
)
def test_a_key_takes_back_what_it_stands_against(base, layer, expected):
    assert merge(base, layer) == (base | layer if expected is None else expected)


def test_settings_of_the_block_codec():
    wanted = Settings.of({"value": "block", "n_in": 8, "bus_bits": 32})
    assert wanted.config == BlockConfig(n_in=8, lanes=4, bus_bits=32)
    assert wanted.search
    assert not Settings.of({"value": "block", "n_out": 30}).search


def test_every_setting_comes_back_from_its_own_report():
    values = {name: 1 for name, kind in KEYS.items() if kind is int}
    values |= {"n_in": 16, "scope": "row", "index": "entropy", "density": 0.3, "order": "skewed"}
    wanted = Settings.of(values)
    names = {key.replace("-", "_"): value for key, value in wanted.to_dict().items()}
    assert Settings.of(names) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("densty = 0.1", "unknown key densty: keys are preset, include, exclude, min-size, def"),
        ("includes = []", "unknown key includes: did you mean include?"),
        ("min-size = -1", "min-size must not be negative, not -1"),
        ("min-size = 1\nmin_size = 1", "key min-size is given twice, with - and with _"),
        ("preset = 'rnn'", "preset must be one of transformer, convolution, not 'rnn'"),
        ("include = 'a'", 'include must be a list of strings, not "a"'),
        ("exclude = [1]", "exclude must be a list of strings, not [1]"),
        ("tensor = 3", "tensor must be tables: write [[tensor]]"),
        ("[tensor]\nmatch = 'a'", "tensor must be tables: write [[tensor]]"),
        ("default = 3", "default must be a table, not 3"),
        ("[default]\nplane = 1", "[default]: unknown key plane: did you mean planes?"),
        ("[default]\nzzzz = 1", "[default]: unknown key zzzz: keys are the flags of compress"),
        ("[default]\nmatch = 'a'", "[default]: unknown key match:"),
        ("[default]\nplanes = 1.5", "[default]: planes must be an integer, not 1.5"),
        ("[default]\nplanes = true", "[default]: planes must be an integer, not true"),
        (
            "[default]\ndensity = 1979-05-27",
            '[default]: density must be a number, not "1979-05-27"',
        ),
        ("[default]\ndensity = 1\nsparsity = 0.5", "[default]: give either density or sparsity"),
        ("[default]\nbits-per-weight = 1\nindex-bits = 0.5", "[default]: give either bits-per-"),
        ("[[tensor]]\nplanes = 2", "[[tensor]] 1 (line 1): match is missing"),
        ("[[tensor]]\nmatch = []\nplanes = 2", "[[tensor]] 1 (line 1): match is empty"),
        ("[[tensor]]\nmatch = [1]\nplanes = 2", "(line 1): match must be a list of strings, not"),
        ("[[tensor]]\nmatch = 'a'", "[[tensor]] 1 (line 1): sets nothing: give a key"),
        (
            "[[tensor]]\nmatch = 'a'\nplanes = 2\n\n[[tensor]]\nmatch = 'b'\norder = 1",
            "[[tensor]] 2 (line 5): order must be a string, not 1",
        ),
        ("[default]\nplanes", "not a TOML file: "),
    ],
)
def test_errors_name_file_table_and_key(text, message, written):
    path = written(text)
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_glob_without_match_is_named_with_its_line(written):
    path = written("[[tensor]]\nmatch = ['a.*', 'c.*']\nplanes = 2\n")
    with pytest.raises(ConfigError) as caught:
        read_recipe(path).settings(NAMES)
    assert str(caught.value) == (
        f"{path}: [[tensor]] 1 (line 1): 'c.*' matches no tensor that is compressed (there is: "
        "a.attention.weight, a.ffn.weight, b.attention.weight)"
    )


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        ({"density": 0.2}, {}, "[default] has density 0.1, the command line --density 0.2: leave"),
        ({"sparsity": 0.9}, {}, "[default] has density 0.1, the command line --sparsity 0.9"),
        ({"bits_per_weight": 1}, {}, "[default] has density 0.1, the command line --bits-per-w"),
        ({}, {"preset": "convolution"}, "has preset, the command line has --preset"),
        ({}, {"include": ["b"]}, "has include, the command line has --tensors"),
        ({}, {"min_size": 5}, "has min-size, the command line has --min-size"),
        ({}, {"min_size": 0}, "has min-size, the command line has --min-size"),
    ],
)
def test_recipe_and_command_line_must_not_contradict(values, more, message, written):
    text = "preset = 'transformer'\ninclude = ['a*']\nmin-size = 4\n[default]\ndensity = 0.1\n"
    with pytest.raises(ConfigError) as caught:
        read_recipe(written(text)).above(values, **more)
    assert message in str(caught.value)


def test_recipe_and_command_line_may_agree(written):
    recipe = read_recipe(written("include = ['a*']\n[default]\ndensity = 0.1\n"))
    assert recipe.above({"density": 0.1}, include=["a*"]) == recipe


def test_a_recipe_that_is_not_there():
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: No such"):
        read_recipe(Path("gone.toml"))
