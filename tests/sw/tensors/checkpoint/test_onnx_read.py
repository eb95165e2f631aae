# SPDX-License-Identifier: Apache-2.0
import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from xorloom.sw.base.errors import FormatError
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers import onnx_models
from tests.helpers.checkpoints import ARRAYS
from tests.helpers.onnx_models import save_initializers

GRAPH_NOTE = "the graph is not kept: decompress --into m.onnx puts tensors back into it"


def in_graph(path, nodes, functions=(), **more):
    graph = helper.make_graph(nodes, "g", [], [], **more)
    onnx.save(helper.make_model(graph, functions=functions), path)
    return path


def constant(output="c", **value):
    return helper.make_node("Constant", [], [output], **value)


def test_initializers_read_back(tmp_path):
    arrays = {k: v for k, v in ARRAYS.items() if k != "empty"}
    arrays["bf16"] = np.array([[1.5, -2.0]], ml_dtypes.bfloat16)
    save_initializers(tmp_path / "m.onnx", arrays)
    model = open_model(tmp_path / "m.onnx")
    assert list(model) == list(arrays)
    for name, array in arrays.items():
        assert (model[name].load() == array).all()
        assert model[name].shape == array.shape
        assert model[name].raw() == array.tobytes()
    assert model["bf16"].dtype == "BF16"
    assert model.notes == (GRAPH_NOTE,)


def test_weights_of_constants_branches_functions_and_sparse_initializers_are_found(tmp_path):
    onnx.save(onnx_models.model(), tmp_path / "m.onnx")
    model = open_model(tmp_path / "m.onnx")
    assert set(model) == {*onnx_models.ARRAYS, "zero"}
    for name, array in onnx_models.ARRAYS.items():
        assert np.array_equal(model[name].load(), array), name
        assert model[name].load().dtype == np.float32
        assert model[name].shape == array.shape
        assert model[name].pruned == (name in onnx_models.SPARSE), name


@pytest.mark.parametrize(
    ("value", "dtype", "array"),
    [
        ({"value_float": 2.5}, "F32", np.float32(2.5)),
        ({"value_floats": [1.0, 2.5]}, "F32", np.array([1, 2.5], np.float32)),
        ({"value_int": -3}, "I64", np.int64(-3)),
        ({"value_ints": [1, 2]}, "I64", np.array([1, 2])),
    ],
)
def test_numbers_of_constant_nodes_are_tensors(value, dtype, array, tmp_path):
    (tensor,) = open_model(in_graph(tmp_path / "m.onnx", [constant(**value)])).values()
    assert (tensor.name, tensor.dtype, tensor.shape) == ("c", dtype, array.shape)
    assert tensor.load().shape == array.shape
    assert tensor.raw() == array.tobytes()


@pytest.mark.parametrize("value", [{"value_string": "ab"}, {"value_strings": ["ab", "c"]}])
def test_texts_of_constant_nodes_are_kept(value, tmp_path):
    model = open_model(in_graph(tmp_path / "m.onnx", [constant(**value)]))
    tensor = model["c"]
    assert (tensor.foreign, tensor.dtype) == ("onnx", "onnx.STRING")
    (texts,) = value.values()
    kept = TensorProto.FromString(tensor.raw())
    assert [text.decode() for text in kept.string_data] == ([texts] if texts == "ab" else texts)
    assert tensor.shape == (() if texts == "ab" else (2,))
    assert "kept as they are, of types that safetensors lacks: c (onnx.STRING)" in model.notes


def test_names_are_paths_and_unique(tmp_path):
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    inner = helper.make_graph([constant("k", value=weight)], "inner", [], [], [weight])
    body = helper.make_graph([helper.make_node("If", [], [], then_branch=inner)], "b", [], [])
    fill = helper.make_node("Fill", [], [], name="my fill", value=weight, values=[weight, weight])
    nodes = [
        helper.make_node("Loop", [], [], body=body),
        helper.make_node("Scan", [], [], body=inner),
        fill,
        fill,
        constant("w", value=weight),
        helper.make_node("Cases", [], [], name="cases", graphs=[inner, inner], domain="custom"),
    ]
    block = helper.make_function(
        "custom", "Block", [], [], [constant("k", value=weight)], [helper.make_opsetid("", 18)]
    )
    path = in_graph(tmp_path / "m.onnx", nodes, [block], initializer=[weight])
    assert list(open_model(path)) == [
        "w",
        "Loop_0.body/If_0.then/w",
        "Loop_0.body/If_0.then/k",
        "Scan_1.body/w",
        "Scan_1.body/k",
        "my fill.value",
        "my fill.values.0",
        "my fill.values.1",
        "my fill.value#2",
        "my fill.values.0#2",
        "my fill.values.1#2",
        "w#2",
        "cases.graphs.0/w",
        "cases.graphs.0/k",
        "cases.graphs.1/w",
        "cases.graphs.1/k",
        "function custom.Block/k",
    ]


@pytest.mark.parametrize(
    ("number", "dtype", "numpy"),
    [
        (TensorProto.FLOAT8E4M3FN, "F8_E4M3", ml_dtypes.float8_e4m3fn),
        (TensorProto.FLOAT8E5M2, "F8_E5M2", ml_dtypes.float8_e5m2),
        (TensorProto.FLOAT8E4M3FNUZ, "F8_E4M3FNUZ", ml_dtypes.float8_e4m3fnuz),
        (TensorProto.FLOAT8E5M2FNUZ, "F8_E5M2FNUZ", ml_dtypes.float8_e5m2fnuz),
        (TensorProto.FLOAT8E8M0, "F8_E8M0", ml_dtypes.float8_e8m0fnu),
    ],
)
def test_narrow_floats_have_the_names_of_safetensors(number, dtype, numpy, tmp_path):
    values = np.array([[1, 2, 4, 8]]).astype(numpy)
    made = helper.make_tensor("w", number, (1, 4), values.tobytes(), raw=True)
    save_initializers(tmp_path / "m.onnx", {"w": made})
    tensor = open_model(tmp_path / "m.onnx")["w"]
    assert (tensor.dtype, tensor.foreign) == (dtype, "")
    assert np.array_equal(tensor.load(), values)
    assert tensor.raw() == values.tobytes()


@pytest.mark.parametrize("raw", [True, False])
def test_four_bit_floats_are_packed_as_safetensors_packs_them(raw, tmp_path):
    data = bytes([0x21, 0x43, 0xF5])
    made = helper.make_tensor("w", TensorProto.FLOAT4E2M1, (2, 3), data, raw=True)
    if not raw:
        made.ClearField("raw_data")
        made.int32_data[:] = data
    save_initializers(tmp_path / "m.onnx", {"w": made})
    tensor = open_model(tmp_path / "m.onnx")["w"]
    assert (tensor.dtype, tensor.shape, tensor.foreign) == ("F4", (2, 3), "")
    assert not tensor.is_float
    assert tensor.raw() == data


@pytest.mark.parametrize(
    "made",
    [
        helper.make_tensor("odd", TensorProto.INT4, (3,), bytes([0x21, 0x03]), raw=True),
        helper.make_tensor("odd", TensorProto.UINT4, (2,), bytes([0x21]), raw=True),
        helper.make_tensor("odd", TensorProto.FLOAT4E2M1, (1,), bytes([1]), raw=True),
        helper.make_tensor("odd", TensorProto.STRING, (2,), [b"ab", b"c"]),
        helper.make_tensor("odd", TensorProto.COMPLEX128, (1,), bytes(16), raw=True),
        TensorProto(name="odd", data_type=99, dims=[2], raw_data=b"??"),
    ],
    ids=lambda made: str(made.data_type),
)
def test_other_types_are_kept_as_onnx_has_them(made, tmp_path):
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    save_initializers(tmp_path / "m.onnx", {"w": weight, "odd": made})
    model = open_model(tmp_path / "m.onnx")
    tensor = model["odd"]
    assert (tensor.foreign, tensor.shape, tensor.is_float) == ("onnx", tuple(made.dims), False)
    assert tensor.raw() == made.SerializeToString()
    assert model["w"].load().all()
    assert f"kept as they are, of types that safetensors lacks: odd ({tensor.dtype})" in model.notes


def test_sparse_tensor_of_another_type_is_told(tmp_path):
    values = helper.make_tensor("odd", TensorProto.STRING, (1,), [b"a"])
    at = numpy_helper.from_array(np.array([3]), "at")
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    path = in_graph(
        tmp_path / "m.onnx",
        [],
        initializer=[weight],
        sparse_initializer=[helper.make_sparse_tensor(values, at, [5])],
    )
    model = open_model(path)
    assert list(model) == ["w"]
    assert model.notes[1:] == ("left out, sparse and of a type that is kept as it is: odd",)


@pytest.mark.parametrize("at", [[64], [-1], [0, 1], [[0, 9]], [[-1, 0]], [[0, 0, 0]]])
def test_sparse_tensor_with_bad_places_is_named(at, tmp_path):
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    at = numpy_helper.from_array(np.array(at), "at")
    odd = helper.make_sparse_tensor(values, at, [8, 8])
    tensor = open_model(in_graph(tmp_path / "m.onnx", [], sparse_initializer=[odd]))["w"]
    with pytest.raises(
        FormatError, match=r"m\.onnx: tensor 'w' (cannot be read|has \(1,\) values)"
    ):
        tensor.load()


def test_small_sparse_tensor_cannot_ask_for_any_memory(tmp_path):
    values = numpy_helper.from_array(np.ones(1000, np.float32), "w")
    at = numpy_helper.from_array(np.arange(1000), "at")
    for places, fits in ((4_096_000, True), (4_096_001, False)):
        odd = helper.make_sparse_tensor(values, at, [places])
        tensor = open_model(in_graph(tmp_path / "m.onnx", [], sparse_initializer=[odd]))["w"]
        if fits:
            assert tensor.load().sum() == 1000
            continue
        with pytest.raises(FormatError, match=r"for 1,000 values, more than 4,096 places for each"):
            tensor.load()


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (TensorProto(name="w", dims=[2], raw_data=bytes(8)), "has no data type"),
        (TensorProto(name="w", data_type=1, dims=[-2], raw_data=bytes(8)), r"has shape \(-2,\)"),
        (TensorProto(name="w", data_type=1, dims=[3], raw_data=bytes(8)), "cannot be read: "),
    ],
)
def test_tensor_that_does_not_fit_itself_is_named(made, text, tmp_path):
    save_initializers(tmp_path / "m.onnx", {"w": made})
    with pytest.raises(FormatError, match=rf"m\.onnx: tensor 'w' {text}"):
        open_model(tmp_path / "m.onnx")["w"].load()


@pytest.fixture
def outside(tmp_path):
    """A model whose weights are in another file."""
    arrays = {"v": np.arange(600, dtype=np.float32), "w": np.arange(700, dtype=np.float64)}
    save_initializers(tmp_path / "plain.onnx", arrays)
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(
        onnx.load(tmp_path / "plain.onnx"),
        folder / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    return folder / "m.onnx", arrays


def edit(path, **facts):
    """Change what the first tensor says of its data."""
    model = onnx.load(path, load_external_data=False)
    entries = {e.key: e for e in model.graph.initializer[0].external_data}
    for key, value in facts.items():
        entries[key].value = value
    path.write_bytes(model.SerializeToString())


def test_data_in_another_file_are_read(outside):
    path, arrays = outside
    model = open_model(path)
    assert model.files == (path, path.parent / "m.data")
    for name, array in arrays.items():
        assert np.array_equal(model[name].load(), array)
        assert model[name].raw() == array.tobytes()


def test_foreign_tensor_in_another_file_is_kept_with_its_bytes(outside):
    path, arrays = outside
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].data_type = TensorProto.INT4
    model.graph.initializer[0].dims[:] = [4800]
    path.write_bytes(model.SerializeToString())
    kept = TensorProto.FromString(open_model(path)["v"].raw())
    assert kept.raw_data == arrays["v"].tobytes()
    assert not kept.external_data


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"location": "../plain.onnx"}, "has its data in '../plain.onnx', which is not in the mo"),
        ({"location": "/etc/hostname"}, "has its data in '/etc/hostname', which is not in the mo"),
        ({"location": "a\\..\\..\\b"}, "has its data in 'a.*b', which is not in the model's fol"),
        ({"location": ""}, "has its data in '', which is not in the model's folder"),
        ({"location": "none"}, "has its data in .*/model/none, which is missing: get it as well"),
        ({"length": "9"}, "must have 2400 bytes in .*/m.data, not 9"),
        ({"offset": "99999"}, "has bytes 99999 to 102399 of .*/m.data, which has "),
        ({"offset": "-4"}, "has bytes -4 to 2396 of "),
        ({"offset": "x"}, "has no place in .*/m.data: invalid literal"),
    ],
)
def test_data_elsewhere_or_too_short_are_refused(facts, text, outside):
    edit(outside[0], **facts)
    with pytest.raises(FormatError, match=f"tensor 'v' {text}"):
        open_model(outside[0])


def test_link_out_of_the_folder_is_refused_unless_the_model_is_one_too(outside, tmp_path):
    path, arrays = outside
    store = tmp_path / "store"
    store.mkdir()
    (path.parent / "m.data").rename(store / "data")
    (path.parent / "m.data").symlink_to(store / "data")
    with pytest.raises(FormatError, match=r"has its data in .*m\.data, a link out of the model's"):
        open_model(path)
    path.rename(store / "model")
    path.symlink_to(store / "model")
    assert np.array_equal(open_model(path)["w"].load(), arrays["w"])


def test_truncated_model_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    save_initializers(path, {"w": ARRAYS["f32"]})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FormatError, match=r"cannot be read as \.onnx"):
        open_model(path)
