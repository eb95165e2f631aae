# SPDX-License-Identifier: Apache-2.0
"""``xorloom image``, as its user sees it."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from xorloom.hw.ip.csr import MAP, identity
from xorloom.sim.cli.commands.image import image_registers
from xorloom.sw.memory.image import memory_image
from xorloom.sw.model.container import read_container
from xorloom.sw.spec.layout import network_id

from tests.helpers.cli import refuses, xorloom
from tests.helpers.weights import clustered_weights

DECODER = ["--n-in", 8, "--n-out", 64, "--window", 64, "--frame", 16, "--bus-bits", 32]


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    arrays = {"v": clustered_weights(64, 80, 2), "w": clustered_weights(70, 90, 1)}
    np.savez(folder / "model.npz", **arrays)
    out = folder / "model.safetensors"
    xorloom("compress", folder / "model.npz", "-o", out, "--index", "entropy", *DECODER)
    return out


def test_image_writes_bytes_table_and_header(compressed: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.bin"
    header = tmp_path / "weights.h"
    report = xorloom("image", compressed, "-o", out, "--c-header", header, "--json")[0]
    table = json.loads(report)
    assert table.pop("command").startswith("xorloom image ")
    assert json.loads((tmp_path / "weights.json").read_text()) == table
    image = memory_image(read_container(compressed))
    assert out.read_bytes() == image.data
    assert header.read_text() == image.c_header()
    assert table == image.table() | {"registers": image_registers(image)}
    for entry in table["tensors"]:
        data = image.data[entry["offset"] : entry["offset"] + entry["length"]]
        assert zlib.crc32(data) == entry["crc32"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "weights.bin",
        "weights.h",
        "weights.json",
    ]


def test_image_prints_a_table(compressed: Path, tmp_path: Path) -> None:
    out, _ = xorloom(
        "image",
        compressed,
        "-o",
        tmp_path / "w.bin",
        "--tensor",
        "w",
        "--align",
        4096,
        "--table",
        tmp_path / "t.json",
    )
    assert "w.bin" in out.replace("\n", "")  # a long path is broken
    assert "6,300" in out
    assert "for a decoder with index entropy (network id" in " ".join(out.split())
    assert json.loads((tmp_path / "t.json").read_text())["align_bytes"] == 4096
    assert not (tmp_path / "w.json").exists()


def test_image_registers_are_those_of_a_decoder_that_fits(compressed: Path) -> None:
    image = memory_image(read_container(compressed))
    value = image.value
    words = identity(
        bus_bits=32,
        n_out=64,
        planes=1,
        levels=0,
        planar=1,
        kinds=1 << 6 | 1 << 1,
        network=network_id(value),
        reader=1,
        address_bits=40,
        align_bytes=4,
        queue=4,
    )
    registers = {row["name"]: row for row in image_registers(image)}
    assert set(registers) == set(words)
    for name, row in registers.items():
        assert row["offset"] == MAP[name].offset
        assert row["value"] == words[name] & row["mask"]
        assert row["mask"]
    assert registers["KINDS"]["value"] == 1 << 6


def test_image_refuses(compressed: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.bin"
    refuses("no compressed tensor 'x' in", "image", compressed, "-o", out, "--tensor", "x")
    refuses(
        "align_bytes must be a power of two between 1 and 1048576, not 3",
        "image",
        compressed,
        "-o",
        out,
        *A3,
    )
    refuses(f"{compressed} is the input", "image", compressed, "-o", compressed)
    same = "are one file: give each output a name of its own"
    refuses(same, "image", compressed, "-o", out, "--table", out)
    refuses(same, "image", compressed, "-o", out, "--c-header", tmp_path / "weights.json")
    refuses("no such file", "image", tmp_path / "none.safetensors", "-o", out)
    assert not list(tmp_path.iterdir())


A3 = ("--align", 3)


def test_image_refuses_a_block_codec_model(compressed: Path, tmp_path: Path) -> None:
    model = tmp_path / "block.safetensors"
    xorloom(
        "compress",
        compressed.with_suffix(".npz"),
        "-o",
        model,
        "--value",
        "block",
        "--n-in",
        8,
        "--n-out",
        40,
    )
    refuses(
        "the block codec has no weight streams: compress with --value window",
        "image",
        model,
        "-o",
        tmp_path / "w.bin",
    )
    assert not (tmp_path / "w.json").exists()


def test_image_leaves_nothing_half_written(
    compressed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xorloom.sw.base.host.os.fsync", full)
    _, err = xorloom("image", compressed, "-o", tmp_path / "w.bin", code=1)
    assert "No space left on device" in err
    assert not list(tmp_path.iterdir())


def test_an_image_of_the_longest_name_wants_a_name_for_its_table(
    compressed: Path, tmp_path: Path
) -> None:
    long = tmp_path / ("i" * 251 + ".bin")
    text = "is too long to end in .json: give --table"
    refuses(text, "image", compressed, "-o", long)
    assert list(tmp_path.iterdir()) == []
    xorloom("image", compressed, "-o", long, "--table", tmp_path / "t.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [long.name, "t.json"]
