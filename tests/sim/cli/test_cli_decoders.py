# SPDX-License-Identifier: Apache-2.0
"""Files with several decoders, as users of ``image``, ``generate`` and ``bandwidth`` see them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from xorloom.sim.simulate.ip import simulate_image
from xorloom.sw.model.container import read_container, write_container
from xorloom.sw.model.container.reader import WEIGHTS_LEAST, WEIGHTS_PER_BYTE

from tests.helpers.cli import refuses, xorloom
from tests.helpers.paths import ROOT
from tests.helpers.weights import clustered_weights

DECODER = ["--n-in", 8, "--n-out", 64, "--window", 64, "--frame", 16, "--bus-bits", 32]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of two indexes of one value decoder, and one of two value decoders."""
    folder = tmp_path_factory.mktemp("decoders")
    arrays = {"v": clustered_weights(64, 40, 2), "w": clustered_weights(70, 60, 1)}
    np.savez(folder / "model.npz", **arrays)
    made = {}
    for name, options in {
        "bitmap": ["--index", "bitmap", *DECODER],
        "entropy": ["--index", "entropy", *DECODER],
        "seed": ["--index", "bitmap", *DECODER, "--network-seed", 7],
    }.items():
        out = folder / f"{name}.safetensors"
        xorloom("compress", folder / "model.npz", "-o", out, "--min-size", 100, *options)
        made[name] = read_container(out)
    for name, other in (("indexes", "entropy"), ("values", "seed")):
        tensors = [made["bitmap"].stored("v"), made[other].stored("w")]
        write_container(folder / f"{name}.safetensors", tensors)
    return {name: folder / f"{name}.safetensors" for name in ("indexes", "values")}


def test_image_holds_tensors_of_several_indexes(models: dict[str, Path], tmp_path: Path) -> None:
    out, _ = xorloom("image", models["indexes"], "-o", tmp_path / "w.bin")
    assert "for a decoder with index bitmap (network id" in " ".join(out.split())
    table = json.loads((tmp_path / "w.json").read_text())
    assert [row["kind"] for row in table["tensors"]] == [17, 22]
    (kinds,) = [row for row in table["registers"] if row["name"] == "KINDS"]
    assert kinds["mask"] == kinds["value"] == 1 << 1 | 1 << 6


def test_image_of_several_value_decoders_names_them(
    models: dict[str, Path], tmp_path: Path
) -> None:
    model, out = models["values"], tmp_path / "w.bin"
    refuses(
        "(network_seed 0: v; network_seed 7: w): name those of one w", "image", model, "-o", out
    )
    xorloom("image", model, "-o", out, "--tensor", "w")
    assert json.loads((tmp_path / "w.json").read_text())["config"]["network_seed"] == 7


def test_generate_makes_one_block_for_several_indexes(
    models: dict[str, Path], tmp_path: Path
) -> None:
    options = ("--unit", "ip", "--model", models["indexes"])
    xorloom("generate", "-o", tmp_path, *options)
    (manifest,) = tmp_path.glob("*.json")
    kinds = [index["kind"] for index in json.loads(manifest.read_text())["indexes"]]
    assert kinds == [17, 22]


@pytest.mark.parametrize("unit", ["decoder", "ip"])
def test_generate_for_several_value_decoders_takes_tensors(
    unit: str, models: dict[str, Path], tmp_path: Path
) -> None:
    options = ("--unit", unit, "--model", models["values"])
    refuses("of one", "generate", "-o", tmp_path / "a", *options)
    assert not (tmp_path / "a").exists()
    xorloom("generate", "-o", tmp_path / "b", *options, "--tensor", "w")
    assert "network-seed = 7" in next((tmp_path / "b").glob("*.toml")).read_text()


def test_parameters_of_a_model_need_neither_the_model_nor_their_folder(
    models: dict[str, Path], tmp_path: Path
) -> None:
    model = Path(shutil.copy(models["indexes"], tmp_path / "model.safetensors"))
    xorloom("generate", "-o", tmp_path / "b", "--unit", "ip", "--model", model, "--density", 0.2)
    (config,) = (tmp_path / "b").glob("*.toml")
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.move(config, tmp_path / "elsewhere"))
    model.unlink()
    xorloom("generate", "-o", tmp_path / "c", "--config", moved)
    shutil.copy(moved, config)
    again, first = ({p.name: p.read_bytes() for p in (tmp_path / f).iterdir()} for f in "cb")
    assert again == first


def test_generate_takes_tensors_of_a_model_only(tmp_path: Path) -> None:
    refuses("--tensor goes with --model", "generate", "-o", tmp_path / "a", "--tensor", "w")


def test_tensors_of_a_model_are_named_by_globs(models: dict[str, Path], tmp_path: Path) -> None:
    model, out = models["values"], tmp_path / "w.bin"
    xorloom("image", model, "-o", out, "-t", "[w]")
    assert [t["name"] for t in json.loads((tmp_path / "w.json").read_text())["tensors"]] == ["w"]
    assert list(json.loads(xorloom("inspect", model, "-t", "?", "--json")[0])["tensors"]) == [
        "v",
        "w",
    ]
    xorloom("generate", "-o", tmp_path / "a", "--model", model, "--tensor", "w*")
    assert "network-seed = 7" in next((tmp_path / "a").glob("*.toml")).read_text()
    refuses("no compressed tensor 'x*'", "image", model, "-o", out, "-t", "x*")
    refuses("(there is: v, w)", "simulate", model, "-t", "x*")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (("generate", "-o", "x", "--tensor", "w", "--model"), ("--n-in", 16)),
        (("generate", "-o", "x", "--tensor", "w", "--model"), ("--value", "block")),
        (("generate", "-o", "x", "--unit", "ip", "--tensor", "w", "--model"), ("--planes", 2)),
        (("synth", "--unit", "ip", "--tensor", "w", "--model"), ("--index", "entropy")),
        (("simulate",), ("--iid", 0.9)),
        (("simulate",), ("--bus-bits", 64)),
        (("bandwidth",), ("--sparsity", 0.5)),
    ],
)
def test_what_a_model_decides_is_not_taken_beside_it(
    command: tuple[str, ...], options: tuple[object, ...], models: dict[str, Path], tmp_path: Path
) -> None:
    words = [tmp_path / word if word == "x" else word for word in command]
    text = f"{options[0]} does not go with a compressed model"
    refuses(text, *words, models["values"], *options)
    assert not (tmp_path / "x").exists()


def test_stages_are_of_the_block_decoder(models: dict[str, Path], tmp_path: Path) -> None:
    model = ("--model", models["values"], "--tensor", "w")
    refuses("--stages belongs to", "generate", "-o", tmp_path / "a", *model, "--stages", 2)


@pytest.mark.parametrize("name", ["indexes", "values"])
def test_bandwidth_takes_the_sum(name: str, models: dict[str, Path]) -> None:
    report = json.loads(xorloom("bandwidth", models[name], "--json")[0])
    container = read_container(models[name])
    stored = sum(container.entry(part)[2] for part in container.names)
    assert report["bits_per_weight"]["xorloom"] == 8 * stored / container.weights
    assert report["bus_bits"] == 32


def test_max_weights_is_the_limit_of_what_is_decoded(
    models: dict[str, Path], tmp_path: Path
) -> None:
    model, out = models["indexes"], tmp_path / "d.safetensors"
    least = read_container(model).weights
    for command in (["decompress", model, "-o", out], ["inspect", model], ["bandwidth", model]):
        refuses(f"give --max-weights {least} if", *command, "--max-weights", least - 1, code=1)
    text, _ = xorloom("verify", model, "--max-weights", least - 1, code=1)
    assert f"give --max-weights {least} if" in text
    refuses("give --max-weights", "simulate", model, "-t", "v", "--max-weights", 1, code=1)
    xorloom("decompress", model, "-o", out, "--max-weights", least)
    assert out.exists()


def test_help_and_documents_tell_the_limit_of_what_is_decoded() -> None:
    least = f"{WEIGHTS_LEAST >> 20} Mi"
    out, _ = xorloom("decompress", "--help")
    text = " ".join(out.replace("│", " ").split())
    assert f"{WEIGHTS_PER_BYTE} per byte of the file, at least {least}" in text
    limits = " ".join((ROOT / "docs/limits.md").read_text(encoding="utf-8").split())
    assert f"more than {WEIGHTS_PER_BYTE} weights per byte" in limits
    assert f"more than {least} weights" in limits
    form = " ".join((ROOT / "sw/FORMAT.md").read_text(encoding="utf-8").split())
    assert f"more than {WEIGHTS_PER_BYTE} weights for every byte of the file" in form
    assert f"more than 2^{WEIGHTS_LEAST.bit_length() - 1}." in form


@pytest.mark.slow
def test_one_block_decodes_tensors_of_several_indexes(models: dict[str, Path]) -> None:
    row = simulate_image(models["indexes"], ["v", "w"], memory="ddr3-1600", sink="bursts")
    assert row["bit_exact"], row["mismatch"]
    assert row["index"] == "bitmap and entropy"
