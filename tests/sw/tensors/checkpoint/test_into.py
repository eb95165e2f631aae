# SPDX-License-Identifier: Apache-2.0
"""Decoded weights back into the files that they came from; ONNX Runtime runs the models."""

import json
import zipfile
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from safetensors import safe_open
from safetensors.numpy import save_file
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.tensors.checkpoint import into_model, onnx_file, open_model

from tests.helpers import onnx_models
from tests.helpers.checkpoints import ARRAYS
from tests.helpers.onnx_models import save_initializers


def decoded(arrays):
    """Return arrays as decoding might leave them: two levels, and half of the weights pruned."""
    kept = {name: np.where(np.abs(a) > 1, np.sign(a), 0) for name, a in arrays.items()}
    return {name: a.astype(arrays[name].dtype) for name, a in kept.items()}


def inputs():
    rng = np.random.default_rng(3)
    return [sign * rng.integers(-2, 3, (4, 8)).astype(np.float32) for sign in (1, -1, 1, -1)]


def outputs(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    return [session.run(None, {"x": x})[0] for x in inputs()]


@pytest.mark.parametrize("outside", [False, True])
def test_onnx_runtime_runs_the_decoded_weights(outside, tmp_path):
    source, out = tmp_path / "m.onnx", tmp_path / "new" / "out.onnx"
    out.parent.mkdir()
    outer = {"save_as_external_data": outside, "location": "m.data", "size_threshold": 0}
    onnx.save(onnx_models.model(), source, **(outer if outside else {}))
    for x, y in zip(inputs(), outputs(source), strict=True):
        np.testing.assert_array_equal(y, onnx_models.run(onnx_models.ARRAYS, x))
    new = decoded(onnx_models.ARRAYS)
    into_model(source, out, new)
    for x, y in zip(inputs(), outputs(out), strict=True):
        np.testing.assert_array_equal(y, onnx_models.run(new, x))
    found = open_model(out)
    for name, array in new.items():
        assert np.array_equal(found[name].load(), array), name
        assert found[name].pruned == (name in onnx_models.SPARSE), name
    assert sorted(path.name for path in out.parent.iterdir()) == (
        ["out.onnx", "out.onnx.data"] if outside else ["out.onnx"]
    )


def test_onnx_is_the_same_byte_for_byte_but_for_what_is_replaced(tmp_path):
    source, out, back = (tmp_path / f"{name}.onnx" for name in ("m", "out", "back"))
    onnx.save(onnx_models.model(), source)
    into_model(source, out, {})
    assert out.read_bytes() == source.read_bytes()
    into_model(source, out, decoded(onnx_models.ARRAYS))
    assert out.read_bytes() != source.read_bytes()
    into_model(out, back, onnx_models.ARRAYS)
    assert back.read_bytes() == source.read_bytes()


def test_onnx_scalars_and_integers_of_constants_are_replaced_in_kind(tmp_path):
    values = {"value_float": 2.5, "value_int": 3, "value_ints": [1, 2]}
    nodes = [helper.make_node("Constant", [], [k], **{k: v}) for k, v in values.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [], [])), tmp_path / "m.onnx")
    new = {"value_float": np.float32(7), "value_int": np.int64(8), "value_ints": np.array([9, 10])}
    into_model(tmp_path / "m.onnx", tmp_path / "o.onnx", {k: np.asarray(v) for k, v in new.items()})
    found = onnx.load(tmp_path / "o.onnx").graph.node
    assert [helper.get_attribute_value(n.attribute[0]) for n in found] == [7, 8, [9, 10]]


def test_onnx_data_file_keeps_what_is_not_replaced(tmp_path):
    arrays = {"a": np.arange(3000, dtype=np.float32), "b": np.arange(500), "c": np.ones(3)}
    save_initializers(tmp_path / "plain.onnx", arrays)
    source = tmp_path / "m.onnx"
    outer = {"save_as_external_data": True, "location": "m.data", "size_threshold": 100}
    onnx.save(onnx.load(tmp_path / "plain.onnx"), source, **outer)
    into_model(source, tmp_path / "o.onnx", {"b": -arrays["b"], "c": 2 * arrays["c"]})
    found = open_model(tmp_path / "o.onnx")
    assert np.array_equal(found["a"].load(), arrays["a"])
    assert np.array_equal(found["b"].load(), -arrays["b"])
    assert np.array_equal(found["c"].load(), 2 * arrays["c"])
    assert np.array_equal(open_model(source)["b"].load(), arrays["b"])
    places = {
        t.name: {e.key: e.value for e in t.external_data}
        for t in onnx.load(tmp_path / "o.onnx", load_external_data=False).graph.initializer
    }
    assert places == {
        "a": {"location": "o.onnx.data", "offset": "0", "length": "12000"},
        "b": {"location": "o.onnx.data", "offset": "12288", "length": "4000"},
        "c": {},
    }


def test_onnx_writes_nothing_over_what_it_reads(tmp_path):
    save_initializers(tmp_path / "plain.onnx", {"w": np.ones(600)})
    source = tmp_path / "m.onnx"
    outer = {"save_as_external_data": True, "location": "o.onnx.data", "size_threshold": 0}
    onnx.save(onnx.load(tmp_path / "plain.onnx"), source, **outer)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "link.onnx").symlink_to(source)
    for out, text in (
        ("o", "o.onnx.data is the input"),
        ("m", "m.onnx is the input"),
        ("link", f"link.onnx is the input {source}"),
    ):
        with pytest.raises(ConfigError) as caught:
            into_model(source, tmp_path / f"{out}.onnx", {})
        assert str(caught.value) == f"{tmp_path}/{text}: give the output another name"
    (tmp_path / "link.onnx").unlink()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_onnx_that_fails_half_way_leaves_nothing_behind(tmp_path):
    source, out = tmp_path / "m.onnx", tmp_path / "new" / "o.onnx"
    out.parent.mkdir()
    outer = {"save_as_external_data": True, "location": "m.data", "size_threshold": 0}
    onnx.save(onnx_models.model(), source, **outer)
    with pytest.raises(ConfigError, match=r"tensor 'constant' is F32 \(8, 8\), not F32 \(8, 9\)"):
        into_model(source, out, onnx_models.ARRAYS | {"constant": np.ones((8, 9), np.float32)})
    assert list(out.parent.iterdir()) == []


def test_onnx_that_grows_too_large_for_a_file_says_so(tmp_path, monkeypatch):
    save_initializers(tmp_path / "m.onnx", {"w": np.ones(6)})

    class Large:
        def SerializeToString(self):  # noqa: N802
            raise ValueError("exceeds maximum protobuf size")

    with pytest.raises(CapacityError, match=r"o\.onnx: model cannot be written, 2 GiB at most: "):
        onnx_file._text(Large(), tmp_path / "o.onnx")


KINDS = {
    ".onnx": save_initializers,
    ".npz": lambda path, arrays: np.savez_compressed(path, **arrays),
    ".safetensors": lambda path, arrays: save_file(arrays, path, {"format": "pt"}),
}


@pytest.mark.parametrize("ending", KINDS)
def test_named_tensors_are_replaced_and_others_kept(ending, tmp_path):
    source, out = tmp_path / f"m{ending}", tmp_path / f"out{ending}"
    arrays = {name: a for name, a in ARRAYS.items() if name != "empty" or ending != ".onnx"}
    KINDS[ending](source, arrays)
    into_model(source, out, {"f32": -arrays["f32"], "scalar": np.array(8, np.float32)})
    found = open_model(out)
    assert list(found) == list(open_model(source))
    for name, array in arrays.items():
        new = {"f32": -ARRAYS["f32"], "scalar": np.float32(8)}.get(name, array)
        assert found[name].load().dtype == array.dtype
        assert np.array_equal(found[name].load(), new), name
    assert found.metadata == open_model(source).metadata


class Decoding(Mapping):
    """Arrays that are made when asked for, as decoding makes them."""

    def __init__(self, arrays):
        self.arrays, self.asked = arrays, []

    def __getitem__(self, name):
        self.asked.append(name)
        if name not in self.arrays:
            raise ConfigError(f"no compressed tensor {name!r}")
        return self.arrays[name]

    def __iter__(self):
        return iter(self.arrays)

    def __len__(self):
        return len(self.arrays)


@pytest.mark.parametrize("ending", KINDS)
def test_arrays_are_asked_for_once_and_others_never(ending, tmp_path):
    source = tmp_path / f"m{ending}"
    KINDS[ending](source, {"a": ARRAYS["f32"], "b": ARRAYS["f16"], "c": ARRAYS["f32"]})
    arrays = Decoding({"c": -ARRAYS["f32"], "b": -ARRAYS["f16"]})
    into_model(source, tmp_path / f"out{ending}", arrays)
    assert sorted(arrays.asked) == ["b", "c"]


@pytest.mark.parametrize("ending", KINDS)
@pytest.mark.parametrize(
    ("name", "array", "text"),
    [
        ("none", np.zeros((3, 4), "f"), r"m\.\w+: has no tensor 'none' \(there is: "),
        ("f32", np.zeros((4, 3), "f"), r"tensor 'f32' is F32 \(3, 4\), not F32 \(4, 3\): give th"),
        ("f32", np.zeros((3, 4)), r"tensor 'f32' is F32 \(3, 4\), not F64 \(3, 4\): give the mo"),
    ],
)
def test_array_that_does_not_fit_leaves_nothing_behind(ending, name, array, text, tmp_path):
    KINDS[ending](tmp_path / f"m{ending}", {"f32": ARRAYS["f32"]})
    with pytest.raises(ConfigError, match=text):
        into_model(tmp_path / f"m{ending}", tmp_path / f"out{ending}", {name: array})
    assert [path.name for path in tmp_path.iterdir()] == [f"m{ending}"]


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_pruned_pair_gets_its_weight_and_keeps_its_mask(ending, tmp_path):
    source, out = tmp_path / f"m{ending}", tmp_path / f"out{ending}"
    mask = (ARRAYS["f32"] > 0).astype(np.float32)
    KINDS[ending](source, {"w_orig": ARRAYS["f32"], "w_mask": mask})
    into_model(source, out, {"w": 2 * mask})
    assert np.array_equal(open_model(out)["w"].load(), 2 * mask)
    if ending == ".safetensors":
        with safe_open(out, "np") as file:
            assert np.array_equal(file.get_tensor("w_mask"), mask)


def test_npz_keeps_members_that_are_no_arrays(tmp_path):
    np.savez(tmp_path / "m.npz", w=ARRAYS["f32"])
    with zipfile.ZipFile(tmp_path / "m.npz", "a") as archive:
        archive.writestr("README.txt", "trained on sand")
    into_model(tmp_path / "m.npz", tmp_path / "o.npz", {"w": -ARRAYS["f32"]})
    with zipfile.ZipFile(tmp_path / "o.npz") as archive:
        assert archive.read("README.txt") == b"trained on sand"


@pytest.mark.parametrize(
    ("source", "out", "text"),
    [
        ("m.pt", "o.pt", r"m\.pt: weights go back into \.onnx, \.npz, \.safetensors only"),
        ("m.onnx", "o.safetensors", r"o\.safetensors: must end in \.onnx like m\.onnx"),
        ("none.onnx", "o.onnx", r"none\.onnx: no such file"),
        ("m.onnx", "m.onnx", r"m\.onnx is the input: give the output another name"),
    ],
)
def test_into_model_says_what_it_cannot(source, out, text, tmp_path):
    (tmp_path / "m.pt").write_bytes(b"")
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ConfigError, match=text):
        into_model(tmp_path / source, tmp_path / out, {})


def test_numpy_helper_reads_what_was_written(tmp_path):
    save_initializers(tmp_path / "m.onnx", {"w": ARRAYS["f16"]})
    into_model(tmp_path / "m.onnx", tmp_path / "o.onnx", {"w": -ARRAYS["f16"]})
    (tensor,) = onnx.load(tmp_path / "o.onnx").graph.initializer
    assert np.array_equal(numpy_helper.to_array(tensor), -ARRAYS["f16"])


@pytest.mark.parametrize("by_index", [False, True])
def test_folder_keeps_its_files_but_for_the_weights(by_index, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    (source / "more").mkdir(parents=True)
    (source / "config.json").write_text("{}")
    (source / "more" / "merges.txt").write_text("a b")
    names = ["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"]
    old = {name: np.full((2, 2), k, np.float16) for k, name in enumerate("abcd")}
    mask = {"c_mask": np.ones((2, 2), np.float16)}
    save_file({"a": old["a"], "b": old["b"]}, source / names[0], {"format": "pt"})
    save_file({"c_orig": old["c"], "d": old["d"]} | mask, source / names[1])
    places = {"a": 0, "b": 0, "c_orig": 1, "c_mask": 1, "d": 1}
    text = json.dumps({"weight_map": {name: names[k] for name, k in places.items()}})
    (source / "m.safetensors.index.json").write_text(text)
    new = {name: old[name] + np.float16(10) for name in "ac"}
    into_model(source / "m.safetensors.index.json" if by_index else source, out, new)
    kept = ("config.json", "more/merges.txt", "m.safetensors.index.json")
    assert all((out / name).read_bytes() == (source / name).read_bytes() for name in kept)
    assert len(list(out.rglob("*"))) == 6
    found = {}
    for name in names:
        with safe_open(out / name, "np") as file, safe_open(source / name, "np") as before:
            held = list(file.keys())
            assert held == list(before.keys())
            assert file.metadata() == before.metadata()
            found |= {key: file.get_tensor(key) for key in held}
    expected = {"a": new["a"], "b": old["b"], "c_orig": new["c"], "d": old["d"]} | mask
    assert all(np.array_equal(found[name], array) for name, array in expected.items())
    with pytest.raises(ConfigError, match=r"out: is a folder that holds config\.json"):
        into_model(source, out, new)
    with pytest.raises(
        ConfigError, match=r"has no tensor 'e' .*give the model that was compressed"
    ):
        into_model(source, tmp_path / "other", {"e": old["a"]})
    assert not (tmp_path / "other").exists()


def test_folder_of_torch_files_takes_no_weights(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ConfigError, match=r"\.bin: of folders, weights go back into safetensors"):
        into_model(tmp_path, tmp_path.with_name("out"), {})
