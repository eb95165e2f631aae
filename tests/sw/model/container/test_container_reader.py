# SPDX-License-Identifier: Apache-2.0
"""FORMAT.md is enough: a reader that shares no code with ``sw`` reads what it writes."""

import ast
import json
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import CompressSpec, TensorPlan
from xorloom.sw.model.verify import verify_model
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import EntropyConfig
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.checkpoint.model import from_arrays
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.plane import value_bits

from tests.helpers import format_index, format_network, format_reader
from tests.helpers.format_reader import Plain, read_model
from tests.helpers.mutations import MUTATIONS
from tests.helpers.small_files import NAMES, small_files
from tests.helpers.weights import clustered_weights


def decompressed(data: bytes, folder: Path) -> Plain:
    """What ``sw`` makes of a file."""
    path, out = folder / "c", folder / "d"
    path.write_bytes(data)
    decompress_model(path, out)
    raw = out.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    metadata = header.pop("__metadata__", {})
    foreign = json.loads(metadata.pop("xorloom.foreign", "{}"))
    container = read_container(path)
    tensors = {
        name: (
            e["dtype"],
            e["shape"],
            raw[start + e["data_offsets"][0] : start + e["data_offsets"][1]],
        )
        for name, e in header.items()
    }
    for alias, name in container.ties.items():
        assert metadata.pop(alias) == name
    return Plain(tensors, dict(container.ties), metadata, foreign)


def test_small_files_hold_what_their_names_say(tmp_path: Path) -> None:
    assert sorted(small_files()) == sorted(NAMES)
    patched = {}
    for name in ("patches", "block"):
        (tmp_path / name).write_bytes(small_files()[name])
        container = read_container(tmp_path / name)
        info = container.tensors["w"]
        data, weights = container.raw("w.xl_stream"), container.weights
        bits = value_bits(data, weights, info.planes, info.decoder.value, info.layout, "w")
        patched[name] = bits.patches
    assert all(patched.values()), patched


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_of_the_text_reads_every_file(name: str, tmp_path: Path) -> None:
    data = small_files()[name]
    found = read_model(data)
    assert found == decompressed(data, tmp_path)
    assert list(found.tensors) == list(decompressed(data, tmp_path).tensors)
    assert len(found.tensors) > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_golden_models_decode_every_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(small_files()[name])
    assert all(verdict.ok for verdict in verify_model(read_container(path), golden=True))


@pytest.mark.parametrize("how", ["scale", "manifest", "stream"])
def test_a_reader_of_the_text_makes_the_same_of_edited_files(how: str, tmp_path: Path) -> None:
    """Scales beyond all floats, other dtypes, unused seed bits: what is not refused is the same."""
    read = 0
    for name, sound in small_files().items():
        for seed in range(8):
            data = MUTATIONS[how](sound, random.Random(f"{name} {how} {seed}"))
            with suppress(FormatError, ConfigError, CapacityError):
                expected = decompressed(data, tmp_path)
                assert read_model(data) == expected, f"{name}, {how}, seed {seed}"
                read += 1
    assert read > 2


def test_a_reader_of_the_text_reads_what_compress_writes(tmp_path: Path) -> None:
    """Default parameters of the window codec, weights as clustered as real ones."""
    weights = {"w": clustered_weights(96, 128, 1).astype(np.float16), "b": np.ones(3, np.float32)}
    save_file(weights, tmp_path / "m.safetensors", {"format": "pt"})
    spec = CompressSpec(
        sparsity=0.9,
        quantizer=Quantizer("uniform", 2),
        config=WindowConfig(),
        search=False,
        index=EntropyConfig(n_out=256),
    )
    compress_model(open_model(tmp_path / "m.safetensors"), tmp_path / "x", spec)
    data = (tmp_path / "x").read_bytes()
    assert read_model(data) == decompressed(data, tmp_path)


@pytest.mark.parametrize("what", ["window", "direct", "codes"])
def test_a_reader_of_the_text_joins_row_blocks(what: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    shape = (3, 10, 20)
    arrays = {
        "b": np.ones(3, np.float32),
        "w[0,0:4]": np.ones((2, 2), np.float32),  # as a block would be named
        "w": rng.standard_normal(shape).astype(np.float16),
        "c": rng.standard_normal((40, 3)).astype(np.float32),
    }
    value = WindowConfig(n_out=64, window=64, n_in=16, bus_bits=32)
    plan, given = TensorPlan(config=value, sparsity=0.7, search=False), UserArrays()
    if what == "direct":
        direct = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
        plan = TensorPlan(config=direct, rotation=7, quantizer=Quantizer("trellis", 3))
    if what == "codes":
        codes = rng.integers(-2, 2, shape).astype(np.int8)
        given = UserArrays(masks={"w": rng.random(shape) < 0.3}, codes={"w": codes})
        plan = TensorPlan(config=value, quantizer=Quantizer("uniform", 2), search=False)
    model = from_arrays(arrays)
    compress_model(model, tmp_path / "x", {"w": plan}, given=given, block_weights=80)
    data = (tmp_path / "x").read_bytes()
    assert len(read_container(tmp_path / "x").blocks("w")) > 3
    found = read_model(data)
    assert found == decompressed(data, tmp_path)
    assert list(found.tensors) == ["b", "w[0,0:4]", "w", *["w.mask"] * (what == "codes"), "c"]


def test_the_reader_shares_nothing_with_what_it_judges() -> None:
    for module in (format_reader, format_index, format_network):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        names = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert not any(name.startswith(("xorloom", "numpy", "tests")) for name in names)
