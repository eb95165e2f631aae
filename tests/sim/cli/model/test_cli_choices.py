# SPDX-License-Identifier: Apache-2.0
"""Masks that one run chooses and another keeps, as the user of the command line sees them."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sim.datasets import large_matrices, minilm
from xorloom.sw.index.masks import load_choices
from xorloom.sw.model.container import INDEX, read_container

from tests.helpers.cli import WINDOW, refuses, xorloom

CHOOSES = {
    "trellis": ["--index-bits", 0.2, "--density", 0.12, "--index-window", 8],
    "lowrank": ["--index", "lowrank", "--index-bits", 0.3],
    "hashed": ["--index", "hashed", "--density", 0.25],
}


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """A cut of MiniLM, some rows of two matrices, and a bias."""
    matrices = [tensor.weights() for tensor in large_matrices(minilm()).values()][:6:5]
    cuts = {f"m{k}": np.array(array[:72, :96]) for k, array in enumerate(matrices)}
    return cuts | {"bias": np.ones(3, np.float32)}


@pytest.fixture(scope="module", params=CHOOSES)
def run(
    request: pytest.FixtureRequest,
    weights: dict[str, np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with a model, what it was compressed to, the choices, and the model trained."""
    folder: Path = tmp_path_factory.mktemp("choices")
    save_file(weights, folder / "model.safetensors")
    err = xorloom(
        *("compress", folder / "model.safetensors", "-o", folder / "first.safetensors"),
        *("--save-choices", folder / "c.npz", *CHOOSES[request.param], *WINDOW),
    )[1]
    assert f"{folder / 'c.npz'}: choices of m0, m1" in err
    with np.load(folder / "c.npz") as masks:  # as someone would who has no xorloom in the training
        trained = {n: (a * 1.5 + 0.01) * masks[n] if n != "bias" else a for n, a in weights.items()}
    save_file(trained, folder / "trained.safetensors")
    return folder


def test_the_trained_model_has_exactly_the_masks_that_were_chosen(
    run: Path, tmp_path: Path
) -> None:
    out, again = tmp_path / "out.safetensors", tmp_path / "again.npz"
    trained = ("compress", run / "trained.safetensors", "-o", out, *WINDOW)
    stdout, err = xorloom(
        *trained, "--choices", run / "c.npz", "--save-choices", again, "--verify", "--json"
    )
    report = json.loads(stdout)
    assert report["verify"]["ok"]
    choices = load_choices(run / "c.npz")
    first, container = read_container(run / "first.safetensors"), read_container(out)
    xorloom("decompress", out, "-o", tmp_path / "plain.safetensors")
    plain = load_file(tmp_path / "plain.safetensors")
    original = load_file(run / "trained.safetensors")
    for name, choice in choices.items():
        assert container.raw(name + INDEX) == choice.seeds == first.raw(name + INDEX)
        assert report["tensors"][name]["mask"] == "choice"
        assert ((plain[name] != 0) == choice.mask).all()
        assert ((plain[name] < 0) == (original[name] < 0)).all()
        assert f"{name}: keeps the mask of its choice, {choice.count:,} of 6,912 weights" in err
    assert again.read_bytes() == (run / "c.npz").read_bytes()


def test_a_plain_mask_names_the_choices_as_the_way(run: Path, tmp_path: Path) -> None:
    with np.load(run / "c.npz") as arrays:
        np.savez(tmp_path / "masks.npz", m0=arrays["m0"])
    out = tmp_path / "out.safetensors"
    model = ("compress", run / "trained.safetensors", "-o", out, *WINDOW)
    masks = ("--masks", tmp_path / "masks.npz")
    refuses("the choice that the mask comes from (a Choice, --choices)", *model, *masks, *HASHED)
    refuses(
        f"'m0' has a mask in {tmp_path / 'masks.npz'} and in {run / 'c.npz'}: leave one out",
        *(*model, *masks, "--choices", run / "c.npz"),
    )
    assert not out.exists()


HASHED = ("--index", "hashed")


def test_choices_that_do_not_fit_are_refused_before_the_work(run: Path, tmp_path: Path) -> None:
    out, choices = tmp_path / "out.safetensors", ("--choices", run / "c.npz")
    model = ("compress", run / "trained.safetensors", "-o", out)
    for text, *options in (
        ("does not go with slices of 512 weights", *choices),
        ("tells what is kept: give no sparsity, density", *choices, *WINDOW, "--density", 0.1),
        ("the plan's index is the entropy index", *choices, *WINDOW, "--index", "entropy"),
        ("mask 'm1' belongs to no tensor that is compressed", *choices, *WINDOW, "-t", "m0"),
        ("a file of choices must end in .npz", "--choices", run / "model.safetensors", *WINDOW),
        ("there are no choices to write", "--save-choices", tmp_path / "c.npz", *WINDOW),
        ("must end in .npz", "--save-choices", tmp_path / "c.zip", *HASHED, *WINDOW),
    ):
        refuses(text, *model, *options)
    data = bytearray((run / "c.npz").read_bytes())
    data[len(data) // 3] ^= 1
    (tmp_path / "bad.npz").write_bytes(data)
    bad = tmp_path / "bad.npz"
    refuses(f"{bad}: ", *model, *WINDOW, "--choices", bad, code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npz"]


def test_a_mask_that_no_choosing_index_holds_is_told(tmp_path: Path) -> None:
    mostly = np.zeros((64, 80), np.float32)
    mostly[::7] = 1
    save_file({"w": mostly}, tmp_path / "m.safetensors")
    err = xorloom(
        *("compress", tmp_path / "m.safetensors", "-o", tmp_path / "o.safetensors", *WINDOW),
        *("--save-choices", tmp_path / "c.npz", *CHOOSES["trellis"][:2]),
    )[1]
    assert f"{tmp_path / 'c.npz'} is not written: not of w, whose masks no choosing index" in err
    assert not (tmp_path / "c.npz").exists()
