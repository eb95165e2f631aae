# SPDX-License-Identifier: Apache-2.0
"""What xorloom writes is what it wrote before, to the byte.

The digests in ``digests.json`` were made before the files of the project moved into rooms. A change
that should not alter any output must leave them alone. Renew them (run this file as a module:
``python -m tests.project.test_digests``) only in a commit that

- changes the RTL, the encoder or the format on purpose, or
- locks another version of Amaranth, Yosys (pyosys) or safetensors,

and say in its message which of the two it is. Units may then change without containers, and the
other way round.
"""

import hashlib
import json
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.cli import xorloom

STORED = Path(__file__).with_name("digests.json")
WINDOW = ("--n-in", "16", "--n-out", "64", "--bus-bits", "32")
BLOCK = ("--value", "block", "--n-in", "8", "--n-out", "24", "--bus-bits", "32")
UNITS: dict[str, tuple[str, ...]] = {
    "window decoder": ("decoder", *WINDOW),
    "window decoder with patches": ("decoder", "--n-in", "32", "--n-out", "64", "--patches", "1"),
    "window value": ("value", *WINDOW),
    "window control": ("control", *WINDOW),
    "window network": ("network", *WINDOW),
    "block decoder": ("decoder", *BLOCK, "--stages", "2"),
    "block parser": ("parser", *BLOCK),
    "block lane": ("lane", *BLOCK, "--patches-per-cycle", "2"),
    "block network": ("network", *BLOCK),
    "trellis index": ("index", *WINDOW, "--index", "trellis"),
    "entropy index": ("index", *WINDOW, "--index", "entropy"),
    "lowrank core": ("core", *WINDOW, "--index", "lowrank"),
    "bitmap index": ("index", *WINDOW, "--index", "bitmap"),
    "stream IP block": ("stream-ip", *WINDOW, "--index", "bitmap"),
    "IP block": ("ip", *WINDOW, "--index", "trellis", "--index", "entropy", "--planes", "2"),
}
FILES = ("container", "memory image", "inspect --json")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def unit_digest(name: str, folder: Path) -> str:
    """Return the SHA-256 of a unit's Verilog."""
    unit, *options = UNITS[name]
    xorloom("generate", "--unit", unit, *options, "-o", folder)
    (text,) = (path for path in folder.glob("*.v") if path.with_suffix(".json").exists())
    return sha256(text.read_bytes())


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of a small compressed model, its image, and what inspect says of it."""
    # On a grid, so that sums are exact and no processor rounds them in another way.
    draw = random.Random("xorloom digests").randrange
    grid = np.array([draw(-64, 65) for _ in range(96 * 160)], np.float32) / 64
    bias = np.arange(96, dtype=np.float32)
    source, target = folder / "model.npz", folder / "model.xl.safetensors"
    np.savez(source, **{"layer.weight": grid.reshape(96, 160), "layer.bias": bias})
    options = ("--index", "entropy", "--planes", "2", "--sparsity", "0.8", "--min-size", "1000")
    xorloom("compress", source, "-o", target, *options)
    image = folder / "weights.bin"
    xorloom("image", target, "-o", image)
    told = json.loads(xorloom("inspect", target, "--json")[0].replace(str(folder), ""))
    told.pop("command", None)
    text = json.dumps(told, sort_keys=True)
    data = (target.read_bytes(), image.read_bytes(), text.encode())
    return dict(zip(FILES, map(sha256, data), strict=True))


@pytest.fixture(scope="module")
def stored() -> dict[str, str]:
    return json.loads(STORED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", UNITS)
def test_verilog_is_what_it_was(name: str, stored: dict[str, str], tmp_path: Path) -> None:
    assert unit_digest(name, tmp_path) == stored[name]


def test_container_image_and_inspect_are_what_they_were(
    stored: dict[str, str], tmp_path: Path
) -> None:
    assert file_digests(tmp_path) == {name: stored[name] for name in FILES}


def test_every_stored_digest_is_checked(stored: dict[str, str]) -> None:
    assert set(stored) == {*UNITS, *FILES}


def renew() -> None:
    """Write the digests of today."""
    found = {}
    for name in UNITS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = unit_digest(name, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        found |= file_digests(Path(folder))
    STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    renew()
