# SPDX-License-Identifier: Apache-2.0
"""A compressed file as input: tensors are added to it, and nothing is compressed twice."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.selection import select
from xorloom.sw.model.plan.source import open_plain, open_source
from xorloom.sw.model.verify import verify_model
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.containers import rewrite
from tests.helpers.models import CONFIG, WINDOW, spec


@pytest.fixture
def plain(tmp_path, rng):
    arrays = {
        "a.weight": rng.standard_normal((32, 40)).astype(np.float32),
        "b.weight": rng.standard_normal((40, 24)).astype(np.float32),
        "bias": np.arange(9, dtype=np.float32),
    }
    save_file(arrays, tmp_path / "m.safetensors", metadata={"format": "pt"})
    return tmp_path / "m.safetensors"


@pytest.fixture
def first(plain, tmp_path):
    """A file of which ``a.weight`` is compressed."""
    path = tmp_path / "a.xl.safetensors"
    compress_model(open_source(plain).model, path, {"a.weight": spec(config=WINDOW)})
    return path


def test_tensors_are_added_to_a_compressed_file(plain, first, tmp_path):
    source = open_source(first)
    assert list(source.model) == ["b.weight", "bias"]
    assert source.done == ["a.weight"]
    assert source.notes == [f"{first}: compressed already, and copied: a.weight"]
    out = tmp_path / "c.xl.safetensors"
    options = spec(config=CONFIG, quantizer=Quantizer(planes=2))
    made = compress_model(source.model, out, {"b.weight": options}, base=source.base)
    assert list(made.tensors) == ["b.weight"]
    before, after = read_container(first), read_container(out)
    assert after.order == before.order == ["a.weight", "b.weight", "bias"]
    assert after.metadata == {"format": "pt"}
    assert after.tensor("a.weight") == before.tensor("a.weight")
    for suffix in (".xl_stream", ".xl_index", ".xl_scale"):
        assert after.raw("a.weight" + suffix) == before.raw("a.weight" + suffix)
    assert [d.value.codec for d in after.decoders] == ["window", "block"]
    assert all(verdict.ok for verdict in verify_model(after, golden=True))
    decompress_model(out, tmp_path / "d.safetensors")
    decompress_model(first, tmp_path / "e.safetensors")
    found, old, given = (
        load_file(tmp_path / name) for name in ("d.safetensors", "e.safetensors", "m.safetensors")
    )
    assert (found["a.weight"] == old["a.weight"]).all()
    assert (found["bias"] == given["bias"]).all()
    assert np.count_nonzero(found["b.weight"]) == 96


def test_a_file_may_be_added_to_in_place_of_itself(first):
    source = open_source(first)
    before = read_container(first).raw("a.weight.xl_stream")
    compress_model(source.model, first, {"b.weight": spec(config=WINDOW)}, base=source.base)
    assert list(read_container(first).tensors) == ["a.weight", "b.weight"]
    assert read_container(first).raw("a.weight.xl_stream") == before


def test_what_is_compressed_is_never_selected(first):
    source = open_source(first)
    assert select(source.model, (), 10, done=source.done) == ["b.weight"]
    with pytest.raises(ConfigError, match=r"'a\.weight' is compressed already: leave it out"):
        select(source.model, ("a.weight",), 10, done=source.done)


def test_other_readers_of_checkpoints_refuse_a_compressed_file(plain, first):
    with pytest.raises(ConfigError, match=r"a\.xl\.safetensors: compressed already: run xorloom d"):
        open_plain(first)
    assert list(open_plain(plain)) == ["a.weight", "b.weight", "bias"]


def test_a_damaged_compressed_file_is_no_checkpoint(first):
    rewrite(first, lambda manifest: manifest.update(version=99))
    with pytest.raises(FormatError, match="file version 99 is not supported"):
        open_source(first)


def test_metadata_that_only_looks_like_ours_is_refused(plain, tmp_path):
    path = tmp_path / "odd.safetensors"
    save_file({"w": np.ones((4, 4), np.float32)}, path, metadata={"xorloom": json.dumps({})})
    with pytest.raises(FormatError, match="not a xorloom file"):
        open_source(path)
