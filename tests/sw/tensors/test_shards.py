# SPDX-License-Identifier: Apache-2.0
"""Names and index of models in several files."""

import json
from pathlib import Path

import pytest
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.tensors.shards import (
    check_numbers,
    index_text,
    read_index,
    shard_names,
    size_of,
    stem_of,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("5GB", 5_000_000_000),
        ("500 mb", 500_000_000),
        ("1.5KB", 1500),
        ("2GiB", 2 << 30),
        ("1TiB", 1 << 40),
        (" 7B ", 7),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "5XB", "-1GB", "0", "0.1B", "1e9", "5 G B"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match="a size must be such as 5GB, 500MB or 2GiB, not "):
        size_of(text)


def test_parts_have_numbers_and_one_file_has_none():
    path = Path("d/model.xl.safetensors")
    assert shard_names(path, 1) == [path]
    names = ["d/model.xl-00001-of-00002.safetensors", "d/model.xl-00002-of-00002.safetensors"]
    assert [str(name) for name in shard_names(path, 2)] == names
    assert len(shard_names(path, 99_999)) == 99_999
    with pytest.raises(CapacityError, match=r"comes in 100,000 parts.*give a larger --max"):
        shard_names(path, 100_000)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("model.safetensors", "model"),
        ("model-00001-of-00003.safetensors", "model"),
        ("model.xl.safetensors.index.json", "model.xl"),
        ("pytorch_model.bin.index.json", "pytorch_model"),
        ("a-b-00001.npz", "a-b-00001"),
        ("plain", "plain"),
    ],
)
def test_stem_is_what_all_parts_have_in_common(name, stem):
    assert stem_of(name) == stem


def test_numbered_parts_must_be_there():
    here = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    check_numbers(Path("d"), [*here, "other.safetensors"])
    with pytest.raises(FormatError) as caught:
        check_numbers(Path("d"), here[:1] + here[2:])
    assert str(caught.value) == (
        f"d: part {here[1]!r} is missing beside {here[0]!r}: get that file as well"
    )


def test_an_index_comes_back_and_is_sorted_like_that_of_transformers(tmp_path):
    (tmp_path / "m.safetensors").touch()
    places = {"b": "m.safetensors", "ä": "m.safetensors", "a": "m.safetensors"}
    text = index_text(places, {"total_size": 3})
    # Ref: transformers 5, modeling_utils.save_pretrained: indent 2, sorted keys, a last line feed
    expected = {"metadata": {"total_size": 3}, "weight_map": places}
    assert text == json.dumps(expected, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (tmp_path / "i.index.json").write_text(text, encoding="utf-8")
    assert read_index(tmp_path / "i.index.json") == (places, {"total_size": 3})
    with pytest.raises(ConfigError, match=r"gone\.index\.json: no such file"):
        read_index(tmp_path / "gone.index.json")
