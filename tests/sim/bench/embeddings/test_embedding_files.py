# SPDX-License-Identifier: Apache-2.0
"""The worked example of docs/calibration.md on a small model, and files that are not of it."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sim.bench import embeddings
from xorloom.sim.bench.embeddings import Subject
from xorloom.sim.embeddings.encoder import SentenceEncoder
from xorloom.sw.tensors.checkpoint import from_arrays

from tests.helpers.bert import bert_tensors, sentences
from tests.helpers.cli import refuses, xorloom
from tests.helpers.paths import ROOT

CHECKPOINT = "checkpoint.safetensors"


def small() -> Subject:
    encoder = SentenceEncoder(bert_tensors(96, 192, 1, 60), 4)
    biases = [name.removesuffix("weight") + "bias" for name in encoder.matrices]
    model = from_arrays({name: encoder.tensors[name] for name in [*encoder.matrices, *biases]})
    held_out = sentences(20, 60, 12)
    return Subject(model, encoder.matrices, encoder, sentences(40, 60, 12, seed=3), held_out)


@pytest.fixture(autouse=True)
def _small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the small model's checkpoint, which stands for MiniLM-L6."""
    subject = small()
    monkeypatch.setattr(embeddings, "minilm_subject", lambda *, quick: subject)
    monkeypatch.chdir(tmp_path)
    save_file(subject.encoder.tensors, CHECKPOINT)


def example() -> Iterator[list[str]]:
    """Yield the commands of the page's worked example."""
    page = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    section = page[page.index("## Worked example") :]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    for line in block[1].replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["xorloom"]:
            yield [CHECKPOINT if word == "$MODEL" else word for word in words[1:]]


def test_worked_example_runs_and_calibration_pays() -> None:
    commands = list(example())
    verbs = ["bench", "compress", "verify", "decompress", "bench"]
    assert [words[0] for words in commands] == verbs
    for words in commands[:-1]:
        xorloom(*words)
    rows = {row["method"]: row for row in json.loads(xorloom(*commands[-1], "--json")[0])}
    assert list(rows) == ["minilm-2.safetensors", "minilm.xl.safetensors", "direct-2", "binary-2"]
    plain, packed, direct, _ = rows.values()
    assert plain["cosine"] == packed["cosine"] > direct["cosine"]
    assert (plain["codec"], plain["bits_per_weight"], plain["rotation"]) == (None, None, None)
    assert (packed["codec"], packed["rotation"]) == ("direct", True)
    assert packed["bits_per_weight"] == direct["bits_per_weight"]
    table = xorloom("bench", "embeddings", "--model", "minilm-2.safetensors")[0]
    assert "None" not in table


def test_collected_moments_are_those_of_the_method() -> None:
    """Compressed with the file, the model is what the benchmark measures."""
    xorloom("bench", "embeddings", "--collect", "c.npz", "--rate", "1", "--window", "10")
    words = [CHECKPOINT, "-o", "c.xl.safetensors", "--value", "direct", "--rate", "1"]
    xorloom("compress", *words, "--preset", "transformer", "--calibration", "c.npz")
    options = ["--model", "c.xl.safetensors", "--method", "direct-1-rotated-calibrated", "--json"]
    file, method = json.loads(xorloom("bench", "embeddings", *options)[0])
    keys = ("bits_per_weight", "cosine", "cosine_p10", "rank_correlation", "neighbour", "rotation")
    assert [file[key] for key in keys] == [method[key] for key in keys]
    assert 0 < file["cosine"] < 0.999
    with np.load("c.npz") as arrays:
        names = [name for name in arrays.files if arrays[name].ndim == 2]
        assert {name.removesuffix(".cross") for name in names} == set(small().matrices)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--collect", "c.npy"], "c.npy: a file of calibrations must end in .npz"),
        (["--collect", "c.npz", "--rate", "1.9"], "the nearest are"),
        (["--collect", "c.npz", "--window", "40"], "window"),
        (["--collect", "c.npz", "--json"], "leave out --method, --model and --json"),
        (["--collect", "c.npz", "--model", CHECKPOINT], "--collect measures nothing"),
        (["--rate", "2"], "--rate and --window go with --collect"),
        (["--model", "absent.safetensors"], "absent.safetensors"),
    ],
)
def test_wrong_options_are_refused(words: list[str], text: str) -> None:
    refuses(text, "bench", "embeddings", *words)
    assert not Path("c.npz").exists()


def test_files_of_other_models_are_refused() -> None:
    tensors = load_file(CHECKPOINT)
    name = "encoder.layer.0.output.dense.weight"
    save_file({key: data for key, data in tensors.items() if key != name}, "less.safetensors")
    save_file(tensors | {name: tensors[name][:, :8].copy()}, "other.safetensors")
    text = f"less.safetensors: {name} is missing (take a file made of MiniLM-L6)"
    refuses(text, "bench", "embeddings", "--model", "less.safetensors")
    text = f"other.safetensors: {name} has shape (96, 8), MiniLM-L6 (96, 192)"
    refuses(text, "bench", "embeddings", "--model", "other.safetensors")
    words = ["-o", "r.xl.safetensors", "-t", name, "--value", "direct", "--rotate"]
    xorloom("compress", CHECKPOINT, *words)
    xorloom("decompress", "r.xl.safetensors", "-o", "r.safetensors", "--keep-rotation")
    text = f"r.safetensors: {name}: rotated weights (decompress without --keep-rotation)"
    refuses(text, "bench", "embeddings", "--model", "r.safetensors")
