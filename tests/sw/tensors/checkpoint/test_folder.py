# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.tensors.checkpoint import files_beside, open_model

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
TWICE = f'{{"weight_map": {{"head": "{ONE}", "head": "{TWO}"}}}}'


def array(value, shape=(2, 3)):
    return np.full(shape, value, np.float32)


def index(folder, places, name=INDEX):
    (folder / name).write_text(json.dumps({"weight_map": places}))


@pytest.fixture
def shards(tmp_path):
    """A folder as Hugging Face lays it out: two parts, an index, and other files."""
    save_file({"layer.0": array(0), "layer.1": array(1)}, tmp_path / ONE, {"format": "pt"})
    save_file({"layer.2": array(2), "head": array(3)}, tmp_path / TWO, {"format": "pt"})
    index(tmp_path, {"head": TWO, "layer.0": ONE, "layer.1": ONE, "layer.2": TWO})
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_folder_is_read_by_its_index(shards):
    model = open_model(shards)
    assert list(model) == ["layer.0", "layer.1", "head", "layer.2"]
    assert [int(t.load()[0, 0]) for t in model.values()] == [0, 1, 3, 2]
    assert (model.path, model.metadata, model.notes) == (shards, {"format": "pt"}, ())
    assert model["head"].source == str(shards / TWO)
    assert set(model.files) == {shards / ONE, shards / TWO, shards / INDEX}


def test_index_alone_names_the_checkpoint(shards):
    assert list(open_model(shards / INDEX)) == list(open_model(shards))


def test_folder_without_an_index_is_all_its_parts(shards):
    (shards / INDEX).unlink()
    model = open_model(shards)
    assert list(model) == ["layer.0", "layer.1", "head", "layer.2"]
    assert model.files == (shards / ONE, shards / TWO)


def test_folder_of_one_file_is_that_file(tmp_path):
    save_file({"w": array(1)}, tmp_path / "model.safetensors")
    for name in ("pytorch_model.bin", "optimizer.bin", "training_args.bin"):
        (tmp_path / name).write_bytes(b"x")
    model = open_model(tmp_path)
    assert list(model) == ["w"]
    assert model.notes == (
        "left out, other files of this folder: optimizer.bin, pytorch_model.bin, training_args.bin",
    )


def test_missing_part_is_named(shards):
    (shards / TWO).unlink()
    with pytest.raises(FormatError) as caught:
        open_model(shards)
    assert str(caught.value) == (
        f"{shards}/{INDEX}: part {TWO!r} with tensor 'head' is missing: get that file as well"
    )


def test_damaged_part_is_named(shards):
    (shards / TWO).write_bytes((shards / TWO).read_bytes()[:-1])
    with pytest.raises(FormatError, match=f"{TWO}: tensor '.*' has a bad header entry"):
        open_model(shards)


def test_tensor_that_its_part_lacks_is_named(shards):
    index(shards, {"head": ONE, "layer.0": ONE})
    with pytest.raises(FormatError) as caught:
        open_model(shards)
    assert (
        str(caught.value)
        == f"{shards}/{INDEX}: tensor 'head' is not in {ONE!r}, where it should be: "
        "get index and parts of one version of the model"
    )


def test_tensors_that_the_index_lacks_are_taken_and_told(shards):
    index(shards, {"head": TWO, "layer.0": ONE})
    model = open_model(shards)
    assert len(model) == 4
    assert model.notes == (
        "tensors that the index does not name are taken as well: layer.1, layer.2",
    )


@pytest.mark.parametrize("keep_index", [True, False])
def test_tensor_that_is_in_two_parts_is_named(keep_index, shards):
    save_file({"layer.2": array(2), "head": array(3), "layer.1": array(4)}, shards / TWO)
    if not keep_index:
        (shards / INDEX).unlink()
    with pytest.raises(FormatError) as caught:
        open_model(shards)
    assert str(caught.value).endswith(
        f": tensor 'layer.1' is in {ONE!r} and in {TWO!r}: name the file that you want"
    )


def test_metadata_of_parts_are_merged_and_conflicts_told(shards):
    tensors = {"layer.2": array(2), "head": array(3)}
    save_file(tensors, shards / TWO, {"format": "flax", "by": "x"})
    model = open_model(shards)
    assert model.metadata == {"format": "pt", "by": "x"}
    assert model.notes == (
        f"left out, metadata that differ from the first part's: format of {TWO}",
    )


def test_other_weights_beside_an_index_are_told(shards):
    save_file({"w": array(1)}, shards / "consolidated.safetensors")
    model = open_model(shards)
    assert "w" not in model
    assert model.notes == ("left out, other files of this folder: consolidated.safetensors",)


@pytest.mark.parametrize("part", ["../x.safetensors", "/x.safetensors", "a/../../x.safetensors"])
def test_index_names_no_files_elsewhere(part, shards):
    index(shards, {"head": part})
    with pytest.raises(FormatError, match=r"tensor 'head' is in '.*', which is not in the folder"):
        open_model(shards)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": []}', "[" * 99_999, "\udcff", TWICE],
)
def test_damaged_index_is_named(text, shards):
    (shards / INDEX).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(FormatError, match=r"index\.json: is no index of a checkpoint: "):
        open_model(shards)


def test_empty_index_is_named(shards):
    index(shards, {})
    with pytest.raises(FormatError, match=r"index\.json: names no tensor"):
        open_model(shards)


def test_folder_with_two_indexes_must_be_told_which(shards):
    index(shards, {"head": TWO}, "model.fp16.safetensors.index.json")
    with pytest.raises(ConfigError, match=rf"holds model\.fp16.*, {INDEX}: name the one that"):
        open_model(shards)


def test_folder_without_a_checkpoint_says_what_is_looked_for(tmp_path):
    (tmp_path / "unet").mkdir()
    with pytest.raises(ConfigError) as caught:
        open_model(tmp_path)
    assert str(caught.value) == f"{tmp_path}: holds no .safetensors and no .bin file"
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"\.bin file, but model\.onnx: name a file$"):
        open_model(tmp_path)
    save_file({"w": array(1)}, tmp_path / "unet" / "model.safetensors")
    with pytest.raises(ConfigError, match=r"\.bin file \(its folders unet do: name one\)$"):
        open_model(tmp_path)


def test_pair_whose_halves_are_in_two_parts_is_one_tensor(tmp_path):
    save_file({"w_orig": array(2)}, tmp_path / ONE)
    save_file({"w_mask": array(1)}, tmp_path / TWO)
    assert list(open_model(tmp_path)) == ["w"]


def test_part_that_is_missing_without_an_index_is_named(shards):
    (shards / INDEX).unlink()
    (shards / ONE).unlink()
    with pytest.raises(FormatError) as caught:
        open_model(shards)
    assert str(caught.value) == (
        f"{shards}: part {ONE!r} is missing beside {TWO!r}: get that file as well"
    )


@pytest.mark.parametrize(("total", "told"), [(96, False), (97, True), ("96", False)])
def test_index_that_tells_of_another_size_is_told(total, told, shards):
    facts = json.loads((shards / INDEX).read_text())
    (shards / INDEX).write_text(json.dumps(facts | {"metadata": {"total_size": total}}))
    text = (
        f"{INDEX} tells of 97 bytes of tensors, its parts hold 96: is one of another dtype or "
        "version?"
    )
    assert open_model(shards).notes == ((text,) if told else ())


def test_what_belongs_to_a_model_is_told_from_its_weights(shards, tmp_path):
    for name in (".git/HEAD", ".cache", "tokenizer.json", "2_Dense/model.safetensors", "LICENSE"):
        (shards / name).parent.mkdir(exist_ok=True)
        (shards / name).write_text("x")
    for name in ("pytorch_model.bin", "pytorch_model.bin.index.json", "old.ckpt"):
        (shards / name).write_text("read, or told of by open_model")
    for name in (
        "onnx/model.onnx",
        "onnx/model.onnx_data",
        "m.gguf",
        "openvino/openvino_model.bin",
    ):
        (shards / name).parent.mkdir(exist_ok=True)
        (shards / name).write_text("x")
    with (shards / "large.json").open("wb") as file:
        file.truncate(100_000_001)
    (shards / "blob").write_text("{}")
    (shards / "link.json").symlink_to("blob")
    (shards / "broken").symlink_to("nothing")
    files, left = files_beside(shards)
    assert sorted(map(str, files)) == [
        *("2_Dense/model.safetensors", "LICENSE", "blob", "config.json", "link.json"),
        "tokenizer.json",
    ]
    assert sorted(left) == [
        *("large.json", "m.gguf", "onnx/model.onnx", "onnx/model.onnx_data"),
        "openvino/openvino_model.bin",
    ]
