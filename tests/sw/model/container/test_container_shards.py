# SPDX-License-Identifier: Apache-2.0
"""Compressed models in several files; the reader that was made from FORMAT.md reads each part."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
from safetensors import safe_open
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.container import read_container, write_container
from xorloom.sw.model.container.seal import SEAL_KEY
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.verify import verify_model

from tests.helpers.format_reader import read_model
from tests.helpers.small_files import NEW, small_files

INDEX = "m.xl.safetensors.index.json"


@pytest.fixture
def whole(tmp_path):
    """A file of all small tensors of the window codec and of pass-through ones, with ties."""
    path = tmp_path / "whole.safetensors"
    path.write_bytes(small_files()["window"])
    return read_container(path)


@pytest.fixture
def folder(whole, tmp_path):
    """The same tensors in several files."""
    return split(whole, tmp_path / "parts", 200)


def split(container, folder, most):
    folder.mkdir()
    tensors = (container.stored(name) for name in container.order)
    facts = {"metadata": container.metadata, "ties": container.ties}
    write_container(folder / "m.xl.safetensors", tensors, shard_bytes=most, **facts)
    return folder


def part(folder, number):
    return sorted(folder.glob("*.safetensors"))[number]


def edit(folder, change):
    index = json.loads((folder / INDEX).read_text())
    change(index)
    (folder / INDEX).write_text(json.dumps(index))


def reseal(folder):
    """Put the checksums of the parts that are there into the index."""
    seals = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            seals[path.name] = file.metadata()[SEAL_KEY]
    edit(folder, lambda index: index["metadata"].update({SEAL_KEY: seals}))


@pytest.mark.parametrize("name", NEW)
def test_parts_hold_what_one_file_holds(name, tmp_path):
    (tmp_path / "whole").write_bytes(small_files()[name])
    one = read_container(tmp_path / "whole")
    folder = split(one, tmp_path / "parts", 100)
    index = json.loads((folder / INDEX).read_text())
    expected = read_model(small_files()[name])
    found, ties, places = {}, {}, {}
    for path in sorted(folder.glob("*.safetensors")):
        plain = read_model(path.read_bytes())
        assert plain.metadata == expected.metadata
        found |= plain.tensors
        ties |= plain.ties
        with safe_open(path, "np") as file:
            places |= dict.fromkeys(file.keys(), path.name)
            assert index["metadata"][SEAL_KEY][path.name] == file.metadata()[SEAL_KEY]
    assert list(found.items()) == list(expected.tensors.items())
    assert ties == expected.ties
    assert places == index["weight_map"]
    for opened in (folder, folder / INDEX):
        many = read_container(opened)
        assert many.names == one.names
        assert many.tensors == one.tensors
        assert (many.ties, many.foreign, many.metadata) == (one.ties, one.foreign, one.metadata)
        assert all(verdict.ok for verdict in verify_model(many))
        assert (many.max_weights, many.path) == (one.max_weights, opened)
        decompress_model(opened, tmp_path / "plain.safetensors")
        decompress_model(one.path, tmp_path / "one.safetensors")
        plain, same = tmp_path / "plain.safetensors", tmp_path / "one.safetensors"
        assert plain.read_bytes() == same.read_bytes()


@pytest.mark.parametrize("most", [1, 100, 300, 1000])
def test_a_part_has_as_many_bytes_as_asked_for_or_one_tensor(most, whole, tmp_path):
    folder = split(whole, tmp_path / "parts", most)
    sizes = []
    for path in sorted(folder.glob("*.safetensors")):
        held = read_container(path)
        sizes.append([sum(size_in(held, part) for part in parts(held, n)) for n in held.order])
        assert sum(sizes[-1]) <= most or len(sizes[-1]) == 1
    # Each is as full as it can be: the next tensor would be too much.
    assert all(sum(a) + b[0] > most for a, b in pairwise(sizes))
    assert len(list(folder.iterdir())) == len(sizes) + (len(sizes) > 1)


def parts(container, name):
    info = container.tensors.get(name)
    return [name + suffix for suffix in (info.parts if info else ("",))]


def size_in(container, name):
    return container.entry(name)[2]


def test_one_part_is_a_plain_file_and_its_folder_opens_it(whole, tmp_path):
    folder = split(whole, tmp_path / "parts", 1 << 30)
    assert [path.name for path in folder.iterdir()] == ["m.xl.safetensors"]
    assert (folder / "m.xl.safetensors").read_bytes() == whole.path.read_bytes()
    assert read_container(folder).names == whole.names


def test_a_tie_stands_with_its_tensor(folder, whole):
    assert whole.ties
    for path in folder.glob("*.safetensors"):
        held = read_container(path)
        assert held.ties == {a: n for a, n in whole.ties.items() if n in held.order}


def test_part_that_is_missing_or_cut_is_named(folder):
    path = part(folder, 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match=f"^{path}: .*truncated"):
        read_container(folder)
    path.unlink()
    with pytest.raises(FormatError, match=f"{INDEX}: part '{path.name}' with tensor '.*' is missi"):
        read_container(folder)


def test_part_of_another_run_is_named(folder, whole, tmp_path):
    info = {n: replace(i, error=0.0625) for n, i in whole.tensors.items()}
    other = split(replace(whole, tensors=info), tmp_path / "other", 200)
    for path in sorted(other.glob("*.safetensors")):
        if path.read_bytes() != (folder / path.name).read_bytes():
            shutil.copy(path, folder)
            break
    with pytest.raises(FormatError) as caught:
        read_container(folder)
    assert str(caught.value).startswith(
        f"{folder / path.name}: is not the file that was written with {INDEX} (CRC-32 of its "
    )
    assert str(caught.value).endswith("): take all files from one run of compress")


def test_damage_of_a_tensor_names_its_part(folder):
    path = part(folder, 0)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    bad = [verdict for verdict in verify_model(read_container(folder)) if not verdict.ok]
    assert [verdict.message.startswith(f"{path}: tensor ") for verdict in bad] == [True]


def test_two_parts_must_not_share_a_name(folder, tmp_path):
    first, second = part(folder, 0), part(folder, 1)
    shutil.copy(first, second)
    reseal(folder)
    text = f"tensor '.*' is in '{first.name}' and in '{second.name}'"
    with pytest.raises(FormatError, match=text):
        read_container(folder)


def test_index_and_parts_must_name_the_same_tensors(folder):
    names = list(json.loads((folder / INDEX).read_text())["weight_map"])
    edit(folder, lambda index: index["weight_map"].update(gone=part(folder, 0).name))
    with pytest.raises(
        FormatError, match=r"tensor 'gone' is not in .*: get index and parts of one"
    ):
        read_container(folder)
    edit(folder, lambda index: [index["weight_map"].pop(name) for name in ("gone", names[0])])
    with pytest.raises(FormatError, match=f"{INDEX}: does not name {names[0]}, which its files"):
        read_container(folder)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda facts: facts.pop(SEAL_KEY), f"must have '{SEAL_KEY}' of every file"),
        (
            lambda facts: facts[SEAL_KEY].update(other="00000000"),
            "must have 'xorloom_header_crc32' of every",
        ),
        (lambda facts: facts.update(total_size=1), "total_size must be [0-9]+, not 1"),
        (lambda facts: facts.pop("total_size"), "total_size must be [0-9]+, not None"),
    ],
)
def test_index_that_tells_something_else_is_refused(change, text, folder):
    edit(folder, lambda index: change(index["metadata"]))
    with pytest.raises(FormatError, match=f"{INDEX}: {text}"):
        read_container(folder)


def test_metadata_and_names_must_fit_across_parts(folder, whole, tmp_path):
    first = part(folder, 0)
    held = read_container(first)
    tensors = [held.stored(name) for name in held.order]
    write_container(first, tensors, metadata={"format": "np"}, ties=held.ties)
    reseal(folder)
    with pytest.raises(FormatError, match=r"its metadata must be those of m.xl-00001-of-"):
        read_container(folder)
    alias = next(name for name in whole.order if name not in held.order)
    tensors = [held.stored(name) for name in held.order]
    write_container(first, tensors, metadata=held.metadata, ties={alias: held.order[0]})
    reseal(folder)
    with pytest.raises(FormatError, match=f"files do not fit: name '{alias}' cannot stand for "):
        read_container(folder)


def test_writer_checks_names_across_parts(whole, tmp_path):
    names = list(whole.order)
    for again, ties, text in (
        (names[:1], {}, "comes twice"),
        ([], {names[-1]: names[0]}, "cannot stand for tensor"),
        ([], {"alias": "nobody"}, "cannot stand for tensor 'nobody'"),
    ):
        tensors = (whole.stored(name) for name in [*names, *again])
        with pytest.raises(ConfigError, match=text):
            write_container(tmp_path / "x.safetensors", tensors, ties=ties, shard_bytes=1)


def test_folder_that_is_none_or_several_is_told(whole, folder, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "config.json").touch()
    with pytest.raises(ConfigError, match=r"none: holds no .safetensors file, but config.json"):
        read_container(tmp_path / "none")
    (folder / INDEX).unlink()
    with pytest.raises(ConfigError, match=r"parts: holds .*, and no .safetensors.index.json: name"):
        read_container(folder)
