# SPDX-License-Identifier: Apache-2.0
"""Hugging Face folders: in and out of compress and decompress, whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from xorloom.sw import load, open_file, save
from xorloom.sw.model.container import read_container
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers.cli import WINDOW, refuses, xorloom
from tests.helpers.full_disk import at_most_bytes

OPTIONS = ["--sparsity", "0.5", "--planes", "2", "--min-size", "1000", *WINDOW]
INDEX = "model.safetensors.index.json"
FILES = {
    "config.json": '{"model_type": "llama", "tie_word_embeddings": true}',
    "generation_config.json": "{}",
    "tokenizer.json": '{"version": "1.0"}',
    "tokenizer_config.json": "{}",
    "1_Pooling/config.json": "{}",
}
DTYPES = {"a": np.float32, "b": np.float16, "c": ml_dtypes.bfloat16, "d": np.int8}


def write(folder: Path, tensors: dict[str, np.ndarray], parts: list[list[str]]) -> None:
    """Write a folder as Hugging Face lays it out."""
    places = {}
    for number, names in enumerate(parts):
        name = f"model-{number + 1:05d}-of-{len(parts):05d}.safetensors"
        save_file({n: tensors[n] for n in names}, folder / name, {"format": "pt"})
        places |= dict.fromkeys(names, name)
    total = sum(array.nbytes for array in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / INDEX).write_text(json.dumps(index))


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    """Matrices of four dtypes in two layers, and their norms."""
    rng = np.random.default_rng(5)
    found = {}
    for layer in range(2):
        for name, dtype in DTYPES.items():
            values = rng.normal(size=(40, 50)) * (30 if dtype is np.int8 else 1)
            found[f"layers.{layer}.{name}.weight"] = values.astype(dtype)
        found[f"layers.{layer}.norm"] = rng.normal(size=40).astype(ml_dtypes.bfloat16)
    return found


@pytest.fixture
def source(tensors: dict[str, np.ndarray], tmp_path: Path) -> Path:
    folder = tmp_path / "hf"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    names = list(tensors)
    write(folder, tensors, [names[:4], names[4:7], names[7:]])
    return folder


def by_index(folder: Path, name: str = INDEX) -> dict[str, bytes]:
    """Read all tensors of a folder as others do: by its index, with the safetensors package."""
    places = json.loads((folder / name).read_text())["weight_map"]
    parts = sorted(path.name for path in folder.glob("*.safetensors"))
    assert sorted(set(places.values())) == parts
    found, held = {}, {}
    for part in parts:
        with safe_open(folder / part, "np") as file:
            assert file.metadata()["format"] == "pt"
            names = list(file.keys())
            held |= dict.fromkeys(names, part)
            found |= {name: file.get_tensor(name).tobytes() for name in names}
    assert held == places
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_folder_comes_out_as_a_folder_and_back(source: Path, tmp_path: Path) -> None:
    out, plain, one = tmp_path / "out", tmp_path / "plain", tmp_path / "one.xl.safetensors"
    xorloom("compress", source, "-o", out, *OPTIONS, "--max-shard-size", "2KB", "--verify")
    xorloom("compress", source, "-o", one, *OPTIONS)
    parts = sorted(path.name for path in out.glob("*.safetensors"))
    count = len(parts)
    assert count > 2
    assert parts == [f"model.xl-{k + 1:05d}-of-{count:05d}.safetensors" for k in range(count)]
    others = {name: data for name, data in files(out).items() if "safetensors" not in name}
    assert others == {name: text.encode() for name, text in FILES.items()}
    by_index(out, "model.xl.safetensors.index.json")
    xorloom("decompress", out, "-o", plain, "--max-shard-size", "10KB")
    xorloom("decompress", one, "-o", tmp_path / "one.safetensors")
    expected = {
        name: tensor.raw() for name, tensor in open_model(tmp_path / "one.safetensors").items()
    }
    found = by_index(plain)
    assert found == expected
    assert list(open_model(plain)) == list(open_model(source))
    total = json.loads((plain / INDEX).read_text())["metadata"]["total_size"]
    assert total == sum(map(len, found.values()))
    others = {name: data for name, data in files(plain).items() if "safetensors" not in name}
    assert others == {name: text.encode() for name, text in FILES.items()}
    sizes = {part.name: open_model(part) for part in plain.glob("*.safetensors")}
    assert all(sum(len(t.raw()) for t in m.values()) <= 10_000 for m in sizes.values())


def test_all_commands_take_the_folder_or_its_index(source: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "out", tmp_path / "one.xl.safetensors"
    xorloom("compress", source / INDEX, "-o", out, *OPTIONS, "--max-shard-size", "5KB")
    xorloom("compress", source, "-o", one, *OPTIONS)
    index = out / "model.xl.safetensors.index.json"
    for command in ("inspect", "verify", "bandwidth"):
        expected = json.loads(xorloom(command, one, "--json")[0])
        for model in (out, index):
            found = json.loads(xorloom(command, model, "--json")[0])
            assert without_names(found) == without_names(expected), command
    for model in (one, out, index):
        xorloom("image", model, "-o", tmp_path / f"{model.name}.bin")
    images = {(tmp_path / f"{model.name}.bin").read_bytes() for model in (one, out, index)}
    assert len(images) == 1
    arrays = {name: array.tobytes() for name, array in load(one).items()}
    assert {name: array.tobytes() for name, array in load(out).items()} == arrays
    with open_file(index) as file:
        assert {name: file.get_tensor(name).tobytes() for name in file} == arrays
        assert file.metadata() == {"format": "pt"}


def without_names(report: object) -> object:
    if isinstance(report, list):
        return [without_names(row) for row in report]
    if isinstance(report, dict):
        named = ("command", "model", "case")
        return {key: without_names(v) for key, v in report.items() if key not in named}
    return report


def test_weights_go_back_into_their_folder(source: Path, tmp_path: Path) -> None:
    xorloom("compress", source, "-o", tmp_path / "out", *OPTIONS)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.saf*")) == ["model.xl.safetensors"]
    xorloom("decompress", tmp_path / "out", "-o", tmp_path / "plain")
    xorloom("decompress", tmp_path / "out", "--into", source, "-o", tmp_path / "into")
    assert files(tmp_path / "into").keys() == files(source).keys()
    assert (tmp_path / "into" / INDEX).read_bytes() == (source / INDEX).read_bytes()
    with safe_open(tmp_path / "plain" / "model.safetensors", "np") as file:
        names = list(file.keys())
        expected = {name: file.get_tensor(name).tobytes() for name in names}
    assert by_index(tmp_path / "into") == expected


def test_more_is_compressed_of_a_folder(source: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    size = ["--max-shard-size", "5KB"]
    xorloom("compress", source, "-o", first, *OPTIONS, *size, "--tensors", "layers.0.*")
    xorloom("compress", first, "-o", second, *OPTIONS, *size)
    xorloom("compress", source, "-o", tmp_path / "once", *OPTIONS, *size)
    names = set(read_container(tmp_path / "once").tensors)
    assert set(read_container(second).tensors) == names > set(read_container(first).tensors)
    arrays = {name: array.tobytes() for name, array in load(tmp_path / "once").items()}
    assert {name: array.tobytes() for name, array in load(second).items()} == arrays
    assert files(second).keys() == files(tmp_path / "once").keys()


def test_save_makes_a_folder_when_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    array = rng.normal(size=(80, 60)).astype("f")
    save({"w": array}, tmp_path / "m", max_shard_size="1GB")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["model.xl.safetensors"]
    assert list(load(tmp_path / "m")) == ["w"]


def test_what_is_left_behind_is_told(source: Path, tmp_path: Path) -> None:
    (source / "onnx").mkdir()
    (source / "onnx" / "model.onnx").touch()
    (source / "pytorch_model.bin").touch()
    _, told = xorloom("compress", source, "-o", tmp_path / "out", *OPTIONS)
    assert "left out, other files of this folder: pytorch_model.bin" in told
    assert "not copied, as other forms of the weights, or over 100 MB: onnx/model.onnx" in told
    assert not (tmp_path / "out" / "onnx").exists()


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_outputs_that_cannot_be_are_refused_before_the_work(
    command: str, source: Path, tmp_path: Path
) -> None:
    model, more = source, OPTIONS
    if command == "decompress":
        model, more = tmp_path / "out", []
        xorloom("compress", source, "-o", model, *OPTIONS)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thing").touch()
    before = files(tmp_path)
    refuses(
        f"{full}: is a folder that holds thing: name another", command, model, "-o", full, *more
    )
    refuses("lies in the input", command, model, "-o", model / "x", *more)
    file = [tmp_path / "x.safetensors", "--max-shard-size", "1GB"]
    refuses("'x.safetensors' is a file", command, model, "-o", *file, *more)
    refuses("not '5XB'", command, model, "-o", tmp_path / "x", "--max-shard-size", "5XB", *more)
    gone = tmp_path / "gone" / "x"
    refuses(f"cannot write {gone}: No such file", command, model, "-o", gone, *more, code=1)
    one = next(model.glob("*.safetensors"))
    refuses("output must end in .safetensors, not 'x'", command, one, "-o", tmp_path / "x", *more)
    assert files(tmp_path) == before


def test_a_full_disk_leaves_no_folder(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for size in ("5KB", "1GB"):
        with at_most_bytes(6000):
            text = f"cannot write {out}/model.xl"
            options = [*OPTIONS, "--max-shard-size", size]
            refuses(text, "compress", source, "-o", out, *options, code=1)
        assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_bad_folders_are_told_and_leave_nothing(
    tensors: dict[str, np.ndarray], source: Path, tmp_path: Path
) -> None:
    parts = sorted(source.glob("*.safetensors"))
    whole, index = files(source), source / INDEX
    facts = json.loads(index.read_text())

    def refused(text: str) -> None:
        refuses(text, "compress", source, "-o", tmp_path / "out", *OPTIONS, code=1)
        assert [path.name for path in tmp_path.iterdir()] == ["hf"]
        for name, data in whole.items():
            (source / name).write_bytes(data)

    parts[1].unlink()
    refused(f"{index}: part {parts[1].name!r} with tensor 'layers.0.norm' is missing: get that")
    parts[1].write_bytes(parts[1].read_bytes()[:-5])
    refused(f"{parts[1]}: tensor 'layers.1.b.weight' has a bad header entry (truncated file?)")
    save_file({"layers.0.a.weight": tensors["layers.0.a.weight"]}, parts[1])
    refused(f"tensor 'layers.0.a.weight' is in {parts[0].name!r} and in {parts[1].name!r}")
    facts["weight_map"]["lost"] = parts[2].name
    index.write_text(json.dumps(facts))
    refused(f"{index}: tensor 'lost' is not in {parts[2].name!r}, where it should be: get index")
    wider = {n: tensors[n].astype("f") for n in list(tensors)[4:7]}
    save_file(wider, parts[1], {"format": "pt"})
    _, told = xorloom("compress", source, "-o", tmp_path / "out", *OPTIONS)
    assert f"{INDEX} tells of {facts['metadata']['total_size']:,} bytes" in told
    assert "is one of another dtype or version?" in told


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_nothing_that_the_next_one_keeps(
    kind: signal.Signals, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["compress", str(source), "-o", str(out), *OPTIONS, "--max-shard-size", "2KB"]
    command = [sys.executable, "-m", "xorloom.sim.cli", "-q", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ) as process:
        while process.poll() is None and not list(tmp_path.glob(".xorloom-*.partial/*.safetens*")):
            time.sleep(0.001)
        process.send_signal(kind)
    if process.returncode:  # else it was done before
        assert not out.exists()
        assert (len(list(tmp_path.iterdir())) == 1) == (kind != signal.SIGKILL)
        xorloom(*words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "out"]
    assert json.loads(xorloom("verify", out, "--json")[0])["ok"]
