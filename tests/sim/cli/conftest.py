# SPDX-License-Identifier: Apache-2.0
"""A tiny model, compressed once with each codec."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.cli import SMALL, xorloom


@pytest.fixture(scope="session", params=["window", "block"])
def codec(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def folder(codec: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, compressed once with each codec."""
    folder = tmp_path_factory.mktemp(f"cli_{codec}")
    rng = np.random.default_rng(3)
    np.savez(
        folder / "model.npz",
        first=rng.normal(size=(40, 50)).astype(np.float32),
        second=rng.normal(size=(30, 20)).astype(np.float32),
        bias=np.arange(7, dtype=np.float32),
    )
    done, _ = xorloom(
        "compress",
        folder / "model.npz",
        "-o",
        folder / "model.xl.safetensors",
        "--min-size",
        100,
        "--sparsity",
        0.8,
        "--json",
        *SMALL[codec],
    )
    (folder / "report.json").write_text(done)
    return folder


@pytest.fixture(scope="session")
def model(folder: Path) -> Path:
    return folder / "model.xl.safetensors"


@pytest.fixture(scope="session")
def damaged(folder: Path, model: Path) -> Path:
    """One bit of the last byte, which belongs to a tensor, is flipped."""
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    path = folder / "damaged.safetensors"
    path.write_bytes(data)
    return path
