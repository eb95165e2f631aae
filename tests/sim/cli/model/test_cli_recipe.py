# SPDX-License-Identifier: Apache-2.0
"""``xorloom compress`` with recipes, presets, masks of its own, and compressed input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file
from xorloom.sim.datasets import minilm
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.recipe import read_recipe
from xorloom.sw.model.plan.settings import KEYS, Settings

from tests.helpers.cli import WINDOW, refuses, xorloom

SMALL = "n-in = 8\nn-out = 64\nwindow = 64\nframe = 16\nbus-bits = 32\n"
DOCS = Path(__file__).parents[4] / "docs"


def g(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("f")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    arrays = {
        "embed.weight": g(64, 64),
        "layer.0.attn.weight": g(64, 96),
        "layer.0.ffn.weight": g(96, 64),
        "layer.1.ffn.weight": g(64, 80),
        "norm.weight": g(64),
    }
    save_file(arrays, tmp_path / "m.safetensors", metadata={"format": "pt"})
    return tmp_path / "m.safetensors"


def run(model: Path, recipe: str, *options: object) -> tuple[dict[str, Any], list[str]]:
    """Compress with a recipe; return the report and the lines on stderr."""
    path = model.with_name("recipe.toml")
    path.write_text(recipe, encoding="utf-8")
    out = model.with_name("out.safetensors")
    command = ["compress", model, "-o", out, "--recipe", path, "--verify", "--json", *options]
    done, said = xorloom(*command)
    return json.loads(done), said.splitlines()


def test_a_pruned_model_keeps_its_weights(tmp_path: Path) -> None:
    w = g(256, 256)
    w[np.random.default_rng(1).random(w.shape) < 0.95] = 0
    save_file({"w": w}, tmp_path / "m.safetensors")
    out = tmp_path / "c.safetensors"
    done, said = xorloom("compress", tmp_path / "m.safetensors", "-o", out, "--json")
    assert json.loads(done)["tensors"]["w"]["kept"] == 3238
    assert said == "w: keeps its own mask, 3,238 of 65,536 weights that are not zero\n"
    xorloom("decompress", out, "-o", tmp_path / "d.safetensors")
    assert ((load_file(tmp_path / "d.safetensors")["w"] != 0) == (w != 0)).all()
    quiet = xorloom("-q", "compress", tmp_path / "m.safetensors", "-o", out, "--sparsity", 0.9)
    assert "3238" not in quiet[1]


def test_a_recipe_gives_each_tensor_its_own(model: Path) -> None:
    text = f"""
preset = "transformer"
[default]
sparsity = 0.8
{SMALL}
[[tensor]]
match = "*.ffn.*"
density = 0.3
planes = 2
quantizer = "alternating"
[[tensor]]
match = "layer.1.*"
index = "entropy"
scale-dtype = "float32"
"""
    report, said = run(model, text)
    assert said == report["notes"] == ["the preset transformer leaves 1 alone: embed.weight"]
    tensors = report["tensors"]
    names = ["layer.0.attn.weight", "layer.0.ffn.weight", "layer.1.ffn.weight"]
    assert list(tensors) == names
    kept = [round(t["kept"] / t["weights"], 2) for t in tensors.values()]
    assert kept == [0.2, 0.3, 0.3]
    assert [t["planes"] for t in tensors.values()] == [1, 2, 2]
    assert [t["decoder"] for t in tensors.values()] == [0, 1, 2]
    assert [d["index"]["codec"] for d in report["decoders"]] == ["bitmap", "bitmap", "entropy"]
    assert tensors[names[2]]["quantizer"]["scale_dtype"] == "float32"
    assert report["verify"]["ok"]
    recipe = report["recipe"]
    assert (recipe["preset"], recipe["default"]["sparsity"]) == ("transformer", 0.8)
    assert recipe["tensor"][0]["match"] == ["*.ffn.*"]
    table = xorloom("inspect", model.with_name("out.safetensors"))[0]
    assert "error" in table
    assert f"{names[2]}: window decoder: n_in 8" in table


def test_the_command_line_is_below_the_recipe(model: Path) -> None:
    text = f"exclude = ['embed*']\n[default]\nplanes = 2\n{SMALL}"
    report, _ = run(model, text, "--sparsity", 0.7, "--exclude", "*.1.*", "--planes", 2)
    assert list(report["tensors"]) == ["layer.0.attn.weight", "layer.0.ffn.weight"]
    assert {t["planes"] for t in report["tensors"].values()} == {2}
    assert report["recipe"]["default"]["sparsity"] == 0.7
    assert report["recipe"]["exclude"] == ["embed*", "*.1.*"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "[default]\nplanes = 9",
            [],
            "recipe.toml: for embed.weight, layer.0.attn.weight, layer.0",
        ),
        ("[default]\nplanes = 2", ["--planes", 3], "[default] has planes 2, the command line --pl"),
        ("[default]\nsparsity = 0.5", ["--density", 0.5], "has sparsity 0.5, the command line --d"),
        (
            "[[tensor]]\nmatch = 'x*'\nplanes = 2",
            [],
            "recipe.toml: [[tensor]] 1 (line 1): 'x*' mat",
        ),
        (
            "[[tensor]]\nmatch = '*norm*'\nplanes = 2",
            [],
            "'*norm*' matches no tensor that is compr",
        ),
        ("exclude = ['x*']", [], "exclude 'x*' matches no tensor (there is: "),
        ("include = ['x*']", [], "m.safetensors: no matrix matches 'x*'"),
        ("plane = 2", [], "recipe.toml: unknown key plane:"),
        ("", ["--preset", "rnn"], "preset must be one of transformer, convolution, not 'rnn'"),
        ("[default]\nlanes = 2", [], "--lanes belongs to --value block, not window"),
    ],
)
def test_a_bad_recipe_is_refused_before_anything_is_written(
    text: str, options: list[object], message: str, model: Path
) -> None:
    path = model.with_name("recipe.toml")
    path.write_text(text, encoding="utf-8")
    out = model.with_name("never.safetensors")
    refuses(message, "compress", model, "-o", out, "--recipe", path, *options)
    assert not out.exists()


def test_masks_beside_a_sparsity_are_refused(model: Path) -> None:
    np.savez(model.with_name("masks.npz"), **{"layer.0.attn.weight": np.ones((64, 96), np.bool_)})
    command = ["compress", model, "-o", model.with_name("c.safetensors")]
    command += ["--masks", model.with_name("masks.npz")]
    text = "the mask of 'layer.0.attn.weight' tells what is kept: give no sparsity"
    for option in ("--sparsity", "--density", "--bits-per-weight"):
        refuses(text, *command, option, 0.5)
    path = model.with_name("r.toml")
    path.write_text("[[tensor]]\nmatch = '*.ffn.*'\nsparsity = 0.5\n")
    report = json.loads(xorloom(*command, "--recipe", path, "--json", *WINDOW)[0])
    kept = {name: t["kept"] / t["weights"] for name, t in report["tensors"].items()}
    assert kept["layer.0.attn.weight"] == 1.0
    assert kept["layer.0.ffn.weight"] == 0.5


def test_masks_of_no_number_are_refused(model: Path) -> None:
    masks = model.with_name("masks.npz")
    np.savez(masks, **{"layer.0.attn.weight": np.full((64, 96), "yes")})
    text = f"{masks}: mask of 'layer.0.attn.weight' is <U3, not bool or integer"
    refuses(text, "compress", model, "-o", model.with_name("c.safetensors"), "--masks", masks)


def test_int8_codes_go_in_and_come_back(model: Path) -> None:
    name = "layer.0.attn.weight"
    codes = np.random.default_rng(2).integers(-4, 4, (64, 96))
    np.savez(model.with_name("codes.npz"), **{name: codes.astype(np.int64)})
    np.savez(model.with_name("masks.npz"), **{name: np.ones((64, 96), np.bool_)})
    out, plain = model.with_name("c.safetensors"), model.with_name("d.safetensors")
    options = ["--codes", model.with_name("codes.npz"), "--masks", model.with_name("masks.npz")]
    xorloom("compress", model, "-o", out, "-t", name, *options, "--planes", 3, "--verify")
    xorloom("decompress", out, "-o", plain)
    found = load_file(plain)[name]
    assert found.dtype == np.int8
    assert (found == codes).all()
    text = "must be between -2 and 1 for 2 planes of int8 codes (use 3 planes)"
    refuses(text, "compress", model, "-o", out, "-t", name, *options, "--planes", 2)


def test_a_compressed_file_takes_more_tensors(model: Path) -> None:
    first, second = model.with_name("a.xl.safetensors"), model.with_name("c.xl.safetensors")
    xorloom("compress", model, "-o", first, "-t", "layer.0.attn.weight", *WINDOW)
    _, said = xorloom(
        "compress", first, "-o", second, "-t", "layer.1.ffn.weight", "--planes", 2, "--trained"
    )
    assert said == f"{first}: compressed already, and copied: layer.0.attn.weight\n"
    assert list(read_container(second).tensors) == ["layer.0.attn.weight", "layer.1.ffn.weight"]
    assert not [name for name in read_container(second).names if name.count(".xl_") > 1]
    assert xorloom("verify", second)[0].startswith("5 of 5 tensors are bit-exact")
    text = "tensor 'layer.0.attn.weight' is compressed already: leave it out, or decompress"
    refuses(text, "compress", first, "-o", second, "-t", "layer.0.attn.weight")
    refuses("compressed already: run xorloom decompress first", "explore", first)


def test_decompress_into_an_onnx_model_that_runs(tmp_path: Path) -> None:
    w = g(64, 64)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 64]) for n in ("x", "y")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(w, "w")])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    out, plain = tmp_path / "c.safetensors", tmp_path / "d.safetensors"
    xorloom("compress", tmp_path / "m.onnx", "-o", out, "--sparsity", 0.5)
    xorloom("decompress", out, "-o", plain)
    done, _ = xorloom("decompress", out, "-o", tmp_path / "n.onnx", "--into", tmp_path / "m.onnx")
    assert done == f"{tmp_path / 'n.onnx'}: 1 tensor decoded\n"
    x = g(1, 64)
    (y,) = onnxruntime.InferenceSession(str(tmp_path / "n.onnx")).run(None, {"x": x})
    np.testing.assert_allclose(y, x @ load_file(plain)["w"], rtol=1e-4, atol=1e-4)
    refuses(
        "must end in .onnx like m.onnx",
        *("decompress", out, "-o", tmp_path / "n.npz", "--into", tmp_path / "m.onnx"),
    )


def test_the_manual_tells_every_key() -> None:
    text = (DOCS / "usage.md").read_text(encoding="utf-8")
    keys = [name.replace("_", "-") for name in KEYS]
    missing = [
        key
        for key in (*keys, "preset", "include", "exclude", "min-size", "match")
        if f"`{key}`" not in text
    ]
    assert missing == []


@pytest.mark.parametrize("path", sorted((DOCS / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_recipes_of_the_manual_are_read(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.rules
    assert Settings.of(recipe.default) != Settings()


@pytest.mark.long
@pytest.mark.parametrize("path", sorted((DOCS / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_recipes_of_the_manual_run_on_minilm(path: Path, tmp_path: Path) -> None:
    """On one of its layers, which has all that their globs match."""
    out = tmp_path / "out.safetensors"
    options = ["--recipe", path, "-t", "encoder.layer.0.*", "--verify", "--json"]
    report = json.loads(xorloom("compress", minilm(), "-o", out, *options)[0])
    assert report["verify"]["ok"]
    assert len(report["tensors"]) == 6
    decoders = {"given-masks": 1, "chosen-masks": 2, "direct": 3}
    assert len(report["decoders"]) == decoders[path.stem]
    if path.stem == "direct":
        seeds = {name: t["bits_per_weight"]["seeds"] for name, t in report["tensors"].items()}
        assert {round(seeds[name], 1) for name in seeds if "attention" in name} == {3}
        assert round(seeds["encoder.layer.0.output.dense.weight"], 1) == 2
        assert seeds["encoder.layer.0.intermediate.dense.weight"] < 0.11
        return
    kept = {name: round(t["kept"] / t["weights"], 3) for name, t in report["tensors"].items()}
    assert {kept[name] for name in kept if "attention" in name} == {0.2}
    assert {kept[name] for name in kept if "attention" not in name} <= {0.099, 0.1, 0.101}
