# SPDX-License-Identifier: Apache-2.0
"""Row blocks on the command line: one tensor in every report, several streams for hardware."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sim.datasets import large_matrices, minilm

from tests.helpers.cli import WINDOW, refuses, xorloom

BLOCKS = ("--block-weights", 2048)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cut of MiniLM, and what it is compressed to in five blocks."""
    folder: Path = tmp_path_factory.mktemp("blocks")
    array = next(iter(large_matrices(minilm()).values())).weights()
    save_file({"w": np.array(array[:100, :100]), "b": np.ones(3, "f")}, folder / "m.safetensors")
    compress = ("compress", folder / "m.safetensors", *WINDOW, "--index", "entropy", "--n-out", 64)
    out, _ = xorloom(*compress, "-o", folder / "c.safetensors", *BLOCKS, "--verify", "--json")
    (folder / "c.json").write_text(out)
    xorloom(*compress, "-o", folder / "whole.safetensors", "--block-weights", 0)
    return folder


def test_reports_tell_of_one_tensor(folder: Path) -> None:
    made = json.loads((folder / "c.json").read_text())
    assert list(made["tensors"]) == ["w"]
    assert made["tensors"]["w"]["blocks"] == 5
    assert [row["tensor"] for row in made["verify"]["tensors"]] == ["b", "w"]
    seen = json.loads(xorloom("inspect", folder / "c.safetensors", "--json")[0])
    for key in ("weights", "kept", "seeds", "index", "error"):
        assert seen["tensors"]["w"][key] == made["tensors"]["w"][key]
    assert seen["frames"]["w"]["streams"] == 5
    part = xorloom("inspect", folder / "c.safetensors", "-t", "w[20:40]", "--json")[0]
    assert json.loads(part)["tensors"]["w[20:40]"]["weights"] == 2000
    assert "w " in xorloom("inspect", folder / "c.safetensors")[0]


def test_it_comes_back_as_it_would_whole(folder: Path) -> None:
    back = []
    for name in ("c", "whole"):
        path = folder / f"{name}.back.safetensors"
        out, _ = xorloom("decompress", folder / f"{name}.safetensors", "-o", path)
        assert "1 tensor decoded" in out
        back.append(load_file(path))
    assert back[0].keys() == back[1].keys() == {"w", "b"}
    np.testing.assert_array_equal(back[0]["w"], back[1]["w"])


def test_hardware_reads_all_blocks_of_a_name(folder: Path, tmp_path: Path) -> None:
    images = []
    for names in ((), ("--tensor", "w")):
        out = tmp_path / f"{len(names)}.bin"
        xorloom("image", folder / "c.safetensors", "-o", out, *names)
        images.append(out.read_bytes())
    assert images[0] == images[1]
    refuses("(there is: w)", "image", folder / "c.safetensors", "-o", out, "--tensor", "v")


def test_choices_are_of_whole_masks(folder: Path, tmp_path: Path) -> None:
    chosen = ("--index-bits", 0.2, "--density", 0.12, "--index-window", 8, *WINDOW)
    out = ("-o", tmp_path / "c.safetensors", "--save-choices", tmp_path / "c.npz")
    err = xorloom("compress", folder / "m.safetensors", *out, *chosen, *BLOCKS)[1]
    assert "--save-choices writes whole masks, so these are not cut: w" in err
    with np.load(tmp_path / "c.npz") as masks:
        assert masks["w"].shape == (100, 100)
