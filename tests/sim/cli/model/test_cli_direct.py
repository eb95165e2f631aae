# SPDX-License-Identifier: Apache-2.0
"""The direct codec on the command line, as its user sees it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers.cli import refuses, xorloom

NETWORK = ["--window", 6, "--planes", 3, "--taps", 3, "--network-seed", 1]
DIRECT = ["--value", "direct", *NETWORK, "--bus-bits", 32]
ROWS, COLUMNS = 48, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, the moments of its inputs, and inputs to judge by."""
    folder = tmp_path_factory.mktemp("cli_direct")
    rng = np.random.default_rng(1)
    mix = rng.standard_normal((COLUMNS, COLUMNS)) / 8
    x = ((rng.standard_normal((400, COLUMNS)) + 1) @ mix).astype(np.float32)
    half = (rng.standard_normal((32, 4, 4)) / 9).astype(np.float16)
    tensors = {
        "a.bias": rng.standard_normal(ROWS).astype(np.float32),
        "a.weight": rng.standard_normal((ROWS, COLUMNS)).astype(np.float32),
        "b.weight": half,
        "norm": np.ones(5, np.float32),
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    moments = {"a.weight": x.T @ x / 400, "a.weight.mean": x.mean(axis=0)}
    np.savez(folder / "partial.npz", **moments)
    np.savez(folder / "all.npz", **moments, **{"b.weight": np.eye(16), "lost": np.eye(3)})
    np.savez(folder / "nan.npz", **{"a.weight": np.full((COLUMNS, COLUMNS), np.nan)})
    np.savez(folder / "wide.npz", **{"a.weight": np.eye(COLUMNS + 1)})
    np.save(folder / "inputs.npy", x)
    return folder


def compress(folder: Path, *options: object) -> tuple[dict[str, Any], str, dict[str, np.ndarray]]:
    """Compress, verify, inspect, decompress; return report, what was told, decoded weights."""
    model, out = folder / "model.safetensors", folder / "c.safetensors"
    done, told = xorloom(
        *("compress", model, "-o", out, "--min-size", 100, *DIRECT, *options, "--json")
    )
    report = json.loads(done)
    verified, _ = xorloom("verify", out, "--golden")
    assert verified.startswith("4 of 4 tensors are bit-exact")
    inspected = json.loads(xorloom("inspect", out, "--json")[0])
    assert inspected["all"] == report["all"]
    xorloom("decompress", out, "-o", folder / "d.safetensors")
    return report, told, load_file(folder / "d.safetensors")


def test_a_model_goes_through_the_direct_codec(folder: Path) -> None:
    report, told, plain = compress(folder)
    assert told == ""
    assert [d["codec"] for d in report["decoders"]] == ["direct"]
    assert report["decoders"][0]["index"]["codec"] == "none"
    given = load_file(folder / "model.safetensors")
    for name in ("a.weight", "b.weight"):
        facts = report["tensors"][name]
        assert facts["mask"] == "all"
        assert facts["quantizer"]["method"] == "trellis"
        assert facts["bits_per_weight"]["seeds"] == pytest.approx(2, abs=0.05)
        wanted = given[name].astype(np.float64)
        error = np.square(plain[name] - wanted).sum() / np.square(wanted).sum()
        assert error == pytest.approx(facts["error"])
        bound = 1 - 2 ** (-2 * facts["bits_per_weight"]["total"])
        assert facts["share_of_dense_bound"] == pytest.approx((1 - error) / bound)
        assert error < 0.11
    assert (plain["a.bias"] == given["a.bias"]).all()
    assert report["recipe"]["default"]["value"] == "direct"


def test_a_calibration_lessens_the_outputs_error_and_corrects_the_bias(folder: Path) -> None:
    given, x = load_file(folder / "model.safetensors"), np.load(folder / "inputs.npy")
    wanted = x @ given["a.weight"].T + given["a.bias"]

    def gap(plain: dict[str, np.ndarray]) -> float:
        found = x @ plain["a.weight"].T + plain["a.bias"]
        return float(np.square(found - wanted).sum() / np.square(wanted).sum())

    _, _, plain = compress(folder)
    report, told, calibrated = compress(folder, "--calibration", folder / "all.npz")
    assert gap(calibrated) < 0.7 * gap(plain)
    assert not (calibrated["a.bias"] == given["a.bias"]).any()
    assert "a.weight: its bias takes up the mean of the outputs' error" in told
    assert "all.npz: not used, as they are not compressed so: lost" in told
    inspected = json.loads(xorloom("inspect", folder / "c.safetensors", "--json")[0])
    assert {t["rotation"] for t in inspected["tensors"].values()} == {0}
    assert report["recipe"]["default"].get("rotate") is None


def test_rotated_weights_come_back_turned_or_as_they_are_stored(folder: Path) -> None:
    from xorloom.sw.tensors.rotation import rotate

    _, told, plain = compress(folder, "--rotation-seed", 7)
    assert told == ""
    out = folder / "kept.safetensors"
    _, told = xorloom("decompress", folder / "c.safetensors", "-o", out, "--keep-rotation")
    assert told == "2 tensors stay rotated, seed 7: rotate their inputs alike\n"
    kept = load_file(out)
    assert np.allclose(rotate(plain["a.weight"], 7), kept["a.weight"], atol=1e-5)
    assert not np.allclose(plain["a.weight"], kept["a.weight"], atol=0.1)
    metadata = open_model(out).metadata
    assert json.loads(metadata["xorloom.rotation"]) == {"a.weight": 7, "b.weight": 7}
    into = folder / "into.safetensors"
    common = ["decompress", folder / "c.safetensors", "--into", folder / "model.safetensors"]
    xorloom(*common, "-o", into, "--keep-rotation")
    assert (load_file(into)["a.weight"] == kept["a.weight"]).all()
    xorloom(*common, "-o", into)
    assert (load_file(into)["a.weight"] == plain["a.weight"]).all()


def test_keep_rotation_of_what_is_not_rotated_is_told(folder: Path) -> None:
    compress(folder)
    arguments = ["decompress", folder / "c.safetensors", "-o", folder / "k.safetensors"]
    assert "is not used: no tensor is rotated" in xorloom(*arguments, "--keep-rotation")[1]


def test_a_budget_chooses_the_highest_rate_that_fits(folder: Path) -> None:
    report, told, _ = compress(folder, "-t", "a.weight", "--bits-per-weight", 2.6)
    assert told == ""
    assert report["all"]["bits_per_weight"]["seeds"] > 1.9
    assert report["all"]["bits_per_weight"]["total"] <= 2.6
    arguments = ["compress", folder / "model.safetensors", "-o", folder / "e.safetensors", *DIRECT]
    text = "0.1 bits per weight are too few: the least is"
    refuses(text, *arguments, "-t", "a.weight", "--bits-per-weight", 0.1)


def test_zeros_of_a_pruned_tensor_are_not_kept(folder: Path) -> None:
    weights = np.random.default_rng(2).standard_normal((32, 64)).astype(np.float32)
    weights[:, ::2], weights[3] = 0, 0
    np.savez(folder / "pruned.npz", w=weights)
    out = folder / "p.safetensors"
    _, told = xorloom("compress", folder / "pruned.npz", "-o", out, "--min-size", 10, *DIRECT)
    assert "w: its 1,056 zeros may come back as small weights" in told
    xorloom("decompress", out, "-o", folder / "q.safetensors")
    plain = load_file(folder / "q.safetensors")["w"]
    assert (plain[3] == 0).all()  # a row of zeros has scale 0


def test_one_file_has_tensors_of_several_value_codecs(folder: Path) -> None:
    recipe = folder / "recipe.toml"
    recipe.write_text(
        "min-size = 100\n[default]\ndensity = 0.3\nn-in = 8\nn-out = 64\nwindow = 64\n"
        "bus-bits = 32\n[[tensor]]\nmatch = 'b.*'\nvalue = 'direct'\nrate = '1'\nwindow = 10\n"
        "rotate = true\n",
        encoding="utf-8",
    )
    out = folder / "m.safetensors"
    model = folder / "model.safetensors"
    done, _ = xorloom("compress", model, "-o", out, "--recipe", recipe, "--json", "--verify")
    report = json.loads(done)
    assert [d["codec"] for d in report["decoders"]] == ["window", "direct"]
    assert report["tensors"]["a.weight"]["bits_per_weight"]["index"] > 0.9
    assert report["tensors"]["b.weight"]["bits_per_weight"]["seeds"] == pytest.approx(1, abs=0.1)
    refuses("for 2 decoders", "image", out, "-o", folder / "x.bin")
    xorloom("image", out, "-t", "b.weight", "-o", folder / "x.bin")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("--density does not go with --value direct, which keeps every weight", ["--density", 0.5]),
        ("--sparsity does not go with --value direct", ["--sparsity", 0.5]),
        ("--index entropy does not go with --value direct", ["--index", "entropy"]),
        ("--index-bits does not go with --value direct", ["--index-bits", 0.2]),
        ("--scope does not go with --value direct", ["--scope", "row"]),
        ("--quantizer binary does not go with --value direct", ["--quantizer", "binary"]),
        ("give either --rate or --bits-per-weight", ["--rate", 2, "--bits-per-weight", 2.1]),
        ("--rotation-seed contradicts --no-rotate", ["--no-rotate", "--rotation-seed", 1]),
        ("rotation must be between 0 and", ["--rotation-seed", -1]),
        ("partial.npz: b.weight: not calibrated; it has a.weight", ["--calibration", "partial"]),
        ("nan.npz: a.weight: second moment at (0, 0) is nan", ["--calibration", "nan"]),
        (
            "wide.npz: a.weight: calibration is of 65 columns, the tensor has 64",
            ["--calibration", "wide"],
        ),
        (
            "with a calibration, columns are chosen in turn: order must be column, not row",
            ["--calibration", "all", "--order", "row"],
        ),
        ("compensation goes with scale row", ["--calibration", "all", "--scale", "group"]),
        (
            "a mask of 'a.weight': the direct value codec keeps every weight and chooses the codes",
            ["--masks", "model", "-t", "a.weight"],
        ),
    ],
)
def test_what_does_not_go_with_it_is_refused_with_the_fix(
    text: str, options: list[Any], folder: Path
) -> None:
    if options[0] == "--calibration":
        options = [options[0], folder / f"{options[1]}.npz", *options[2:]]
    if options[0] == "--masks":
        np.savez(folder / "masks.npz", **{"a.weight": np.ones((ROWS, COLUMNS), np.bool_)})
        options = [options[0], folder / "masks.npz", *options[2:]]
    out = folder / "refused.safetensors"
    model = folder / "model.safetensors"
    code = 1 if "nan" in text else 2  # a damaged file
    refuses(text, "compress", model, "-o", out, "--min-size", 100, *DIRECT, *options, code=code)
    assert not out.exists()


def test_a_rate_without_a_network_names_the_nearest(folder: Path) -> None:
    arguments = ["compress", folder / "model.safetensors", "-o", folder / "no.safetensors"]
    text = "no network of 77/100 bits per weight was searched: the nearest are"
    refuses(text, *arguments, "-t", "a.weight", "--value", "direct", "--rate", 0.77)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("--rotate belongs to --value direct, not window", ["--rotate"]),
        ("--rotation-seed belongs to --value direct, not block", ["--rotation-seed", 1]),
        ("--rate belongs to --value direct, not window", ["--rate", 2]),
        ("a calibration goes with --value direct, and no tensor has it", ["--calibration"]),
    ],
)
def test_what_is_its_own_is_refused_by_other_codecs(
    text: str, options: list[Any], folder: Path
) -> None:
    if options == ["--calibration"]:
        options = ["--calibration", folder / "all.npz"]
    if "block" in text:
        options = [*options, "--value", "block"]
    model = folder / "model.safetensors"
    refuses(text, "compress", model, "-o", folder / "no.safetensors", "-t", "a.weight", *options)
