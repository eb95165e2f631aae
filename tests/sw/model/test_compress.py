# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.compress import (
    CompressSpec,
    compress_model,
    content_crc32,
    encode_tensor,
    select,
)
from xorloom.sw.model.container import CompressedTensor, read_container, write_container
from xorloom.sw.model.decompress import (
    decode_tensor,
    decompress_model,
    tensor_bits,
    tensor_frames,
    tensor_steps,
    verify_tensor,
)
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.weight_format import index_for
from xorloom.sw.tensors import prune
from xorloom.sw.tensors.model_io import ModelTensor, open_model
from xorloom.sw.tensors.orders import ORDERS
from xorloom.sw.tensors.quantize import Quantized, Quantizer, dequantize, quantize
from xorloom.sw.tensors.safetensors_file import dtype_name
from xorloom.sw.value.block.codec import encode
from xorloom.sw.value.block.stream import pack_block

CONFIG = BlockConfig(n_in=8, n_out=40, lanes=2, bus_bits=32)
WINDOW = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)


def spec(**options):
    return CompressSpec(**{"config": CONFIG, "search": False, "min_size": 100} | options)


def as_model(arrays):
    return {
        name: ModelTensor(name, dtype_name(a.dtype), a.shape, lambda a=a: a)
        for name, a in arrays.items()
    }


@pytest.fixture
def arrays(rng):
    return {
        "enc.weight": rng.standard_normal((20, 30)).astype(np.float32),
        "enc.bias": rng.standard_normal(20).astype(np.float32),
        "dec.weight": (4 * rng.standard_normal((10, 5, 8))).astype(np.float16),
        "tiny": rng.standard_normal((2, 3)).astype(np.float32),
        "ids": np.arange(400).reshape(20, 20),
        "none": np.zeros((0, 300), np.float32),
    }


@pytest.fixture(params=[CONFIG, WINDOW], ids=["block", "window"])
def codec(request):
    """The small configuration of either codec."""
    return request.param


@pytest.fixture
def round_trip(codec, tmp_path):
    """Compress arrays, check all, decompress; return config, container, arrays of the output."""

    def run(arrays, options, **given):
        options = replace(options, config=codec)
        config, bits = compress_model(
            as_model(arrays), tmp_path / "c.safetensors", options, **given
        )
        container = read_container(tmp_path / "c.safetensors")
        assert container.config == config
        assert set(bits) == set(container.tensors)
        for name in container.tensors:
            verify_tensor(container, name)
            assert tensor_bits(container, name) == bits[name]
            parts = [n for n in container.names if n.startswith(f"{name}.xl_")]
            assert bits[name].total == 8 * sum(container.entry(n)[2] for n in parts)
        shapes = decompress_model(tmp_path / "c.safetensors", tmp_path / "d.safetensors")
        assert shapes == {name: t.shape for name, t in container.tensors.items()}
        return config, container, load_file(tmp_path / "d.safetensors")

    return run


def test_select_takes_large_float_matrices_in_file_order(arrays):
    model = as_model(arrays)
    assert select(model, (), 100) == ["enc.weight", "dec.weight"]
    assert select(model, (), 0) == ["enc.weight", "dec.weight", "tiny"]
    assert select(model, (), 401) == ["enc.weight"]


def test_select_globs_choose_among_those_that_qualify(arrays):
    model = as_model(arrays)
    assert select(model, ("*.weight",), 100) == ["enc.weight", "dec.weight"]
    assert select(model, ("dec.*", "enc*"), 100) == ["enc.weight", "dec.weight"]
    assert select(model, ("*",), 100) == ["enc.weight", "dec.weight"]
    assert select(model, ("[de]ec.weight",), 100) == ["dec.weight"]


def test_select_exact_names_need_not_qualify(arrays):
    model = as_model(arrays)
    assert select(model, ("enc.bias",), 100) == ["enc.bias"]
    assert select(model, ("tiny", "dec.*"), 100) == ["dec.weight", "tiny"]


def test_select_takes_an_exact_name_before_a_glob(rng):
    model = as_model({"w[0]": np.ones((20, 20), np.float32), "w0": np.ones((20, 20), np.float32)})
    assert select(model, ("w[0]",), 100) == ["w[0]"]


@pytest.mark.parametrize("pattern", ["nothing.*", "ENC.weight", "enc.bia?"])
def test_select_rejects_patterns_without_match(pattern, arrays):
    with pytest.raises(ConfigError) as caught:
        select(as_model(arrays), (pattern,), 100)
    expected = f"no matrix matches {pattern!r} (the model has: dec.weight, enc.weight ...)"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ids", "tensor 'ids' is I64, not floating point"),
        ("none", "tensor 'none' of shape (0, 300) is empty"),
    ],
)
def test_select_rejects_names_without_weights(name, text, arrays):
    with pytest.raises(ConfigError) as caught:
        select(as_model(arrays), (name,), 100)
    assert str(caught.value) == text


def test_select_rejects_models_without_large_matrices(arrays):
    text = r"no tensor has two dimensions and 5000 elements \(lower min_size\)"
    with pytest.raises(ConfigError, match=text):
        select(as_model(arrays), (), 5000)
    with pytest.raises(ConfigError, match=text):
        select({}, (), 5000)


@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
@pytest.mark.parametrize(
    "quantizer",
    [
        Quantizer("binary", 1),
        Quantizer("alternating", 3, "group", 16),
        Quantizer("ternary", 1, "tensor"),
        Quantizer("uniform", 4, "row", scale_dtype="float32"),
    ],
)
def test_compress_then_decompress_gives_the_dequantized_weights(
    scope, quantizer, arrays, round_trip, codec
):
    options = spec(sparsity=0.75, scope=scope, quantizer=quantizer)
    config, container, out = round_trip(arrays, options)
    assert config == codec
    assert set(out) == set(arrays)
    names = ["enc.weight", "dec.weight"]
    assert list(container.tensors) == names
    weights = {name: arrays[name].astype(np.float32) for name in names}
    if scope == "global":
        masks = dict(zip(names, prune.prune_global(list(weights.values()), 0.75), strict=True))
    else:
        by_scope = {"tensor": prune.prune_tensor, "row": prune.prune_rows}[scope]
        masks = {name: by_scope(w, 0.75) for name, w in weights.items()}
    for name, array in arrays.items():
        assert out[name].dtype == array.dtype
        assert out[name].shape == array.shape
        if name in names:
            q = quantize(weights[name], masks[name], quantizer)
            expected = dequantize(q, quantizer).astype(array.dtype)
            assert (out[name] == expected).all()
        else:
            assert (out[name] == array).all()


def test_compress_row_scope_keeps_as_many_in_every_row(arrays, round_trip):
    _, container, _ = round_trip(arrays, spec(sparsity=0.9, scope="row"))
    mask = decode_tensor(container, "enc.weight").mask
    assert mask.sum(axis=1).tolist() == [3] * 20


def test_compress_global_scope_keeps_more_of_larger_weights(arrays, round_trip):
    _, container, _ = round_trip(arrays, spec(sparsity=0.9, scope="global"))
    counts = [int(decode_tensor(container, name).mask.sum()) for name in container.tensors]
    assert sum(counts) == 100
    assert counts[1] > counts[0]


@pytest.mark.parametrize("codec", [WINDOW], indirect=True)
def test_compress_with_search_chooses_n_in_by_density(arrays, round_trip):
    chosen = {}
    for sparsity in (0.2, 0.9):
        config, container, _ = round_trip(arrays, spec(sparsity=sparsity, search=True))
        assert replace(config, n_in=8) == WINDOW
        assert set(container.tensors) == {"enc.weight", "dec.weight"}
        chosen[sparsity] = config.n_in
    # 51 and 6 of a slice's 64 weights are kept: the next power of two below, 8 at least.
    assert chosen == {0.2: 32, 0.9: 8}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("codec", [WINDOW], indirect=True)
def test_compress_stores_the_order_it_was_told(order, arrays, round_trip):
    _, container, out = round_trip(arrays, spec(sparsity=0.7, order=order))
    assert {t.layout.order for t in container.tensors.values()} == {order}
    _, other, same = round_trip(arrays, spec(sparsity=0.7, order="row"))
    assert all((out[name] == same[name]).all() for name in out)
    for name, facts in container.tensors.items():
        assert facts.content_crc32 == other.tensors[name].content_crc32


@pytest.mark.parametrize("codec", [WINDOW], indirect=True)
def test_compress_with_auto_is_no_larger_than_the_worst_order(arrays, round_trip):
    def stored(order):
        _, container, _ = round_trip(arrays, spec(sparsity=0.7, order=order))
        return container.entry("enc.weight.xl_stream")[2]

    assert stored("auto") == min(map(stored, ORDERS))


def test_compress_refuses_an_order_it_does_not_know(arrays, tmp_path):
    text = reject(arrays, tmp_path, spec(config=WINDOW, order="diagonal"))
    assert text == f"order must be one of {', '.join(ORDERS)}, not 'diagonal'"


def test_tensor_frames_tell_orders_and_rates(arrays, codec, tmp_path):
    compress_model(as_model(arrays), tmp_path / "c", spec(config=codec, order="auto"))
    container = read_container(tmp_path / "c")
    frames = tensor_frames(container, "enc.weight")
    steps = tensor_steps(container, "enc.weight")
    if codec is CONFIG:
        assert frames is None
        return
    assert (frames["streams"], frames["slices"], frames["frame_slices"]) == (1, 10, 16)
    assert frames["patches"] == [0]
    assert frames["order"] == container.tensor("enc.weight").layout.order
    # The last frame of 10 slices ends early; it takes as many steps a slice as its rate tells.
    assert steps <= WINDOW.preload_steps + sum(frames["steps"])


@pytest.mark.parametrize("codec", [CONFIG], indirect=True)
def test_compress_with_search_uses_one_decoder_for_all(arrays, round_trip):
    config, container, _ = round_trip(arrays, spec(sparsity=0.8, search=True))
    assert config.n_in == CONFIG.n_in
    assert config.n_out != CONFIG.n_out
    assert set(container.tensors) == {"enc.weight", "dec.weight"}


@pytest.mark.parametrize("name", ["enc.bias", "tiny"])
def test_compress_takes_small_tensors_by_name(name, arrays, round_trip):
    _, container, out = round_trip(arrays, spec(include=(name,), sparsity=0.5))
    assert list(container.tensors) == [name]
    assert out[name].shape == arrays[name].shape
    assert np.count_nonzero(out[name]) == arrays[name].size // 2


@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_compress_takes_a_scalar_by_name(scope, round_trip):
    array = np.array(2.5, np.float32)
    _, _, out = round_trip({"s": array}, spec(include=("s",), scope=scope, sparsity=0.0))
    assert out["s"].shape == ()
    assert out["s"] == 2.5


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.float64])
def test_compress_gives_back_the_original_dtype(dtype, tmp_path, rng):
    array = rng.standard_normal((20, 20)).astype(dtype)
    options = spec(quantizer=Quantizer("binary", 1, scale_dtype="float32"))
    compress_model(as_model({"w": array}), tmp_path / "c.safetensors", options)
    decompress_model(tmp_path / "c.safetensors", tmp_path / "d.safetensors")
    found = open_model(tmp_path / "d.safetensors")["w"]
    assert found.dtype == dtype_name(np.dtype(dtype))
    q = decode_tensor(read_container(tmp_path / "c.safetensors"), "w")
    assert found.raw() == dequantize(q, options.quantizer).astype(dtype).tobytes()


def test_compress_reads_a_file_and_may_replace_it(arrays, tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"enc.weight": arrays["enc.weight"], "ids": arrays["ids"]}, path)
    compress_model(open_model(path), path, spec())
    verify_tensor(read_container(path), "enc.weight")
    decompress_model(path, path)
    assert (load_file(path)["ids"] == arrays["ids"]).all()


def test_compress_is_deterministic(arrays, codec, tmp_path):
    for name in ("a", "b"):
        compress_model(as_model(arrays), tmp_path / name, spec(config=codec, search=True))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_compress_reports_progress(arrays, tmp_path):
    seen = []
    options = spec(search=True)
    out = tmp_path / "c.safetensors"
    compress_model(as_model(arrays), out, options, progress=lambda *what: seen.append(what))
    decompress_model(out, tmp_path / "d.safetensors", lambda *what: seen.append(what))
    names = ("enc.weight", "dec.weight")
    assert seen == [(stage, name) for stage in ("search", "encode", "decode") for name in names]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float32])
@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_compress_keeps_the_users_mask(scope, dtype, arrays, round_trip, rng):
    mask = rng.random((20, 30)) < 0.2
    options = spec(scope=scope, sparsity=0.5)
    _, container, out = round_trip(arrays, options, masks={"enc.weight": mask.astype(dtype) * 3})
    assert (decode_tensor(container, "enc.weight").mask == mask).all()
    assert ((out["enc.weight"] != 0) == mask).all()
    assert decode_tensor(container, "dec.weight").mask.sum() == 200


@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_compress_takes_masks_of_all_tensors(scope, arrays, round_trip, rng):
    masks = {name: rng.random(arrays[name].shape) < 0.2 for name in ("enc.weight", "dec.weight")}
    _, container, _ = round_trip(arrays, spec(scope=scope), masks=masks)
    for name, mask in masks.items():
        assert (decode_tensor(container, name).mask == mask).all()


@pytest.mark.parametrize("search", [False, True])
def test_compress_gives_the_users_codes_back_untouched(search, arrays, round_trip, rng):
    mask = rng.random((20, 30)) < 0.3
    codes = (rng.integers(0, 8, (20, 30)) * mask).astype(np.uint8)
    options = spec(quantizer=Quantizer("binary", 3), search=search)
    given = {"masks": {"enc.weight": mask}, "codes": {"enc.weight": codes}}
    _, container, out = round_trip(arrays, options, **given)
    assert container.tensor("enc.weight").quantizer is None
    assert "enc.weight.xl_scale" not in container.names
    assert "dec.weight.xl_scale" in container.names
    assert out["enc.weight"].dtype == np.uint8
    assert (out["enc.weight"] == codes).all()
    assert out["enc.weight.mask"].dtype == np.bool_
    assert (out["enc.weight.mask"] == mask).all()


def test_compress_drops_the_users_codes_of_pruned_weights(arrays, round_trip):
    mask = np.zeros((20, 30), np.bool_)
    mask[3] = True
    given = {"masks": {"enc.weight": mask}, "codes": {"enc.weight": np.ones((20, 30), np.uint8)}}
    _, _, out = round_trip(arrays, spec(), **given)
    assert (out["enc.weight"] == mask).all()


def reject(arrays, tmp_path, options, **given):
    out = tmp_path / "never.safetensors"
    with pytest.raises(ConfigError) as caught:
        compress_model(as_model(arrays), out, options, **given)
    assert list(tmp_path.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("name", ["unknown", "enc.bias", "ids"])
def test_compress_rejects_masks_of_other_tensors(name, arrays, tmp_path):
    text = reject(arrays, tmp_path, spec(), masks={name: np.ones(3)})
    assert text == f"mask {name!r} belongs to no tensor that is compressed"


@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_compress_rejects_masks_of_another_shape(scope, arrays, tmp_path):
    masks = {"enc.weight": np.ones((30, 20))}
    text = reject(arrays, tmp_path, spec(scope=scope), masks=masks)
    assert text == "mask of 'enc.weight' is (30, 20), must be (20, 30) like the tensor"


def test_compress_rejects_codes_without_mask(arrays, tmp_path):
    codes = {"enc.weight": np.zeros((20, 30), np.uint8)}
    expected = "codes of 'enc.weight' need a compressed tensor and a mask of that name"
    assert reject(arrays, tmp_path, spec(), codes=codes) == expected
    masks = {"dec.weight": np.ones((10, 5, 8))}
    assert reject(arrays, tmp_path, spec(), codes=codes, masks=masks) == expected


def test_compress_rejects_codes_of_other_tensors(arrays, tmp_path):
    given = {"masks": {"ids": np.ones((20, 20))}, "codes": {"ids": np.zeros((20, 20), np.uint8)}}
    text = reject(arrays, tmp_path, spec(), **given)
    assert text == "codes of 'ids' need a compressed tensor and a mask of that name"


@pytest.mark.parametrize("search", [False, True])
def test_compress_rejects_codes_too_large_for_the_planes(search, arrays, tmp_path):
    mask = np.ones((20, 30), np.bool_)
    codes = np.zeros((20, 30), np.uint8)
    codes[1, 2] = 2
    given = {"masks": {"enc.weight": mask}, "codes": {"enc.weight": codes}}
    text = reject(arrays, tmp_path, spec(search=search), **given)
    assert text == "code 2 at (1, 2) needs more than 1 planes (raise planes)"


def test_compress_rejects_codes_of_another_dtype(arrays, tmp_path):
    ones = np.ones((20, 30), np.int64)
    given = {"masks": {"enc.weight": ones}, "codes": {"enc.weight": ones}}
    assert reject(arrays, tmp_path, spec(), **given) == "codes must be uint8, not int64"


def test_compress_rejects_codes_of_another_shape_than_the_tensor(arrays, tmp_path):
    given = {
        "masks": {"enc.weight": np.ones((30, 20), np.bool_)},
        "codes": {"enc.weight": np.ones((30, 20), np.uint8)},
    }
    assert "must be (20, 30) like the tensor" in reject(arrays, tmp_path, spec(), **given)


@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_compress_rejects_weights_that_are_not_finite(scope, arrays, tmp_path):
    arrays["enc.weight"][2, 7] = np.nan
    text = reject(arrays, tmp_path, spec(scope=scope))
    assert "weight at (2, 7) is nan, must be finite" in text


def test_compress_names_the_tensor_that_is_not_finite(arrays, tmp_path):
    arrays["dec.weight"][0, 1, 2] = np.inf
    text = reject(arrays, tmp_path, spec())
    assert text == "dec.weight: weight at (0, 1, 2) is inf, must be finite"


@pytest.mark.parametrize("suffix", [".xl_stream", ".xl_index", ".xl_scale"])
def test_compress_rejects_tensors_in_the_way_of_its_own(suffix, arrays, tmp_path):
    arrays["enc.weight" + suffix] = np.arange(5, dtype=np.uint8)
    text = reject(arrays, tmp_path, spec())
    name = "enc.weight" + suffix
    assert text == f"tensor {name!r} is in the way of what 'enc.weight' becomes: rename it"


def test_compress_rejects_a_tensor_in_the_way_of_the_users_mask(arrays, tmp_path):
    arrays["enc.weight.mask"] = np.arange(5, dtype=np.float32)
    mask = np.eye(20, 30) != 0
    given = {"masks": {"enc.weight": mask}, "codes": {"enc.weight": mask.astype(np.uint8)}}
    text = reject(arrays, tmp_path, spec(), **given)
    assert "tensor 'enc.weight.mask' is in the way of what 'enc.weight' becomes" in text


def test_compress_keeps_a_tensor_called_mask_when_the_codes_are_its_own(arrays, round_trip):
    arrays["enc.weight.mask"] = np.arange(5, dtype=np.float32)
    _, _, out = round_trip(arrays, spec())
    assert out["enc.weight.mask"].tolist() == [0, 1, 2, 3, 4]


def test_compress_rejects_a_tensor_that_is_called_metadata(arrays, tmp_path):
    arrays["__metadata__"] = np.ones(3, np.float32)
    with pytest.raises((ConfigError, FormatError), match="__metadata__"):
        compress_model(as_model(arrays), tmp_path / "c.safetensors", spec())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scope", ["column", "", None])
def test_spec_rejects_scopes(scope):
    with pytest.raises(
        ConfigError, match=f"scope must be one of tensor, row, global, not {scope!r}"
    ):
        CompressSpec(scope=scope)


@pytest.mark.parametrize("sparsity", [1.0, -0.1, float("nan")])
def test_spec_rejects_sparsity(sparsity):
    with pytest.raises(ConfigError, match=r"sparsity must be in \[0, 1\), not"):
        CompressSpec(sparsity=sparsity)


def test_encode_tensor_of_codes_has_no_scale(rng):
    mask = rng.random((9, 9)) < 0.5
    q = Quantized(mask, mask.astype(np.uint8), np.ones((9, 1), np.float16))
    with_scale = encode_tensor(q, 1, CONFIG, index_for(CONFIG, 1))
    without = encode_tensor(q, 1, CONFIG, index_for(CONFIG, 1), has_scales=False)
    assert with_scale.scale is q.scales
    assert without.scale is None
    assert with_scale.bits.scales == 9 * 16
    assert without.bits.scales == 0
    assert (
        with_scale.stream
        == without.stream
        == pack_block(encode(mask, q.codes, 1, CONFIG), CONFIG)[0]
    )


def write_one(path, quantized, **changes):
    """Write a container of one tensor of two planes whose manifest entry has ``changes``."""
    encoded = encode_tensor(quantized, 2, CONFIG, index_for(CONFIG, 2), has_scales=False)
    facts = {
        "shape": quantized.mask.shape,
        "dtype": "F32",
        "planes": 2,
        "content_crc32": content_crc32(quantized.mask, quantized.codes),
        "quantizer": None,
    }
    data = {
        "w.xl_stream": ("U8", (len(encoded.stream),), encoded.stream),
        "w.xl_index": ("U8", (len(encoded.index),), encoded.index),
    }
    write_container(
        path, CONFIG, index_for(CONFIG, 1), {"w": CompressedTensor(**facts | changes)}, data
    )
    return read_container(path)


@pytest.fixture
def quantized(rng):
    mask = rng.random((13, 11)) < 0.5
    codes = (rng.integers(0, 4, mask.shape) * mask).astype(np.uint8)
    return Quantized(mask, codes, np.zeros((0, 0), np.float16))


def test_decode_tensor_rejects_a_stream_of_other_planes(quantized, tmp_path):
    container = write_one(tmp_path / "c.safetensors", quantized, planes=1)
    with pytest.raises(FormatError, match=r"w: stream must hold 4 slices, found 8"):
        decode_tensor(container, "w")


def test_decode_tensor_rejects_an_index_of_another_shape(quantized, tmp_path):
    container = write_one(tmp_path / "c.safetensors", quantized, shape=(13, 12))
    with pytest.raises(FormatError, match="bitmap must hold 156 weights, found 143"):
        decode_tensor(container, "w")


def test_verify_tensor_rejects_other_contents(quantized, tmp_path):
    good = write_one(tmp_path / "c.safetensors", quantized)
    assert (verify_tensor(good, "w").codes == quantized.codes).all()
    container = write_one(tmp_path / "c.safetensors", quantized, content_crc32=5)
    crc = content_crc32(quantized.mask, quantized.codes)
    text = f"w: mask and codes must have CRC-32 00000005, decoded {crc:08x}"
    for read in (verify_tensor, tensor_bits):
        with pytest.raises(FormatError, match=text):
            read(container, "w")
    assert (decode_tensor(container, "w").codes == quantized.codes).all()


def test_content_crc32_sees_mask_and_kept_codes_only(quantized):
    base = content_crc32(quantized.mask, quantized.codes)
    noise = np.where(quantized.mask, quantized.codes, 9).astype(np.uint8)
    assert content_crc32(quantized.mask, noise) == base
    other = quantized.codes.copy()
    other[tuple(np.argwhere(quantized.mask)[0])] ^= 1
    assert content_crc32(quantized.mask, other) != base
    assert content_crc32(~quantized.mask, quantized.codes) != base
