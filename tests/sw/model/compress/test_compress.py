# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import (
    read_container,
)
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.reports.inspect import tensor_frames, tensor_steps
from xorloom.sw.model.verify import verify_tensor
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.orders import ORDERS
from xorloom.sw.tensors.prune import global_cuts, prune_rows, prune_tensor
from xorloom.sw.tensors.quantize import Quantizer, dequantize, quantize
from xorloom.sw.tensors.safetensors_file import dtype_name

from tests.helpers.models import CONFIG, WINDOW, as_model, spec


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
    scope, quantizer, arrays, round_trip, value_codec
):
    options = spec(sparsity=0.75, scope=scope, quantizer=quantizer)
    config, container, out = round_trip(arrays, options)
    assert config == value_codec
    assert set(out) == set(arrays)
    names = ["enc.weight", "dec.weight"]
    assert list(container.tensors) == names
    weights = {name: arrays[name].astype(np.float32) for name in names}
    if scope == "global":
        cuts = global_cuts([lambda w=w: w for w in weights.values()], 0.75)
        masks = {name: cut.mask(weights[name]) for name, cut in zip(names, cuts, strict=True)}
    else:
        by_scope = {"tensor": prune_tensor, "row": prune_rows}[scope]
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


@pytest.mark.parametrize("value_codec", [WINDOW], indirect=True)
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
@pytest.mark.parametrize("value_codec", [WINDOW], indirect=True)
def test_compress_stores_the_order_it_was_told(order, arrays, round_trip):
    _, container, out = round_trip(arrays, spec(sparsity=0.7, order=order))
    assert {t.layout.order for t in container.tensors.values()} == {order}
    _, other, same = round_trip(arrays, spec(sparsity=0.7, order="row"))
    assert all((out[name] == same[name]).all() for name in out)
    for name, facts in container.tensors.items():
        assert facts.content_crc32 == other.tensors[name].content_crc32


@pytest.mark.parametrize("value_codec", [WINDOW], indirect=True)
def test_compress_with_auto_is_no_larger_than_the_worst_order(arrays, round_trip):
    def stored(order):
        _, container, _ = round_trip(arrays, spec(sparsity=0.7, order=order))
        return container.entry("enc.weight.xl_stream")[2]

    assert stored("auto") == min(map(stored, ORDERS))


def test_compress_refuses_an_order_it_does_not_know(arrays, tmp_path):
    with pytest.raises(ConfigError) as caught:
        compress_model(as_model(arrays), tmp_path / "c", spec(config=WINDOW, order="diagonal"))
    assert str(caught.value) == f"order must be one of {', '.join(ORDERS)}, not 'diagonal'"
    assert list(tmp_path.iterdir()) == []


def test_tensor_frames_tell_orders_and_rates(arrays, value_codec, tmp_path):
    compress_model(as_model(arrays), tmp_path / "c", spec(config=value_codec, order="auto"))
    container = read_container(tmp_path / "c")
    frames = tensor_frames(container, "enc.weight")
    steps = tensor_steps(container, "enc.weight")
    if value_codec is CONFIG:
        assert frames is None
        return
    assert (frames["streams"], frames["slices"], frames["frame_slices"]) == (1, 10, 16)
    assert frames["patches"] == [0]
    assert frames["order"] == container.tensor("enc.weight").layout.order
    # The last frame of 10 slices ends early; it takes as many steps per slice as its rate tells.
    assert steps <= WINDOW.preload_steps + sum(frames["steps"])


@pytest.mark.parametrize("value_codec", [CONFIG], indirect=True)
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


@pytest.mark.parametrize(
    "dtype",
    [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2fnuz, np.float64],
)
def test_compress_gives_back_the_original_dtype(dtype, tmp_path, rng):
    array = rng.standard_normal((20, 20)).astype(dtype)
    options = spec(quantizer=Quantizer("binary", 1, scale_dtype="float32"))
    compress_model(as_model({"w": array}), tmp_path / "c.safetensors", options)
    decompress_model(tmp_path / "c.safetensors", tmp_path / "d.safetensors")
    found = open_model(tmp_path / "d.safetensors")["w"]
    assert found.dtype == dtype_name(np.dtype(dtype))
    q = decode_tensor(read_container(tmp_path / "c.safetensors"), "w")
    assert found.raw() == dequantize(q, options.quantizer).astype(dtype).tobytes()


def test_weights_whose_code_is_beyond_their_dtype_come_back_as_its_largest_number(tmp_path):
    # Greedy coding gives 448 as 299 + 198 = 497, which float8_e4m3fn has as NaN.
    array = np.array([[448, 448, 1], [3, -2, 1]], ml_dtypes.float8_e4m3fn)
    options = spec(include=("w",), sparsity=0.0, quantizer=Quantizer("binary", 2))
    compress_model(as_model({"w": array}), tmp_path / "c.safetensors", options)
    decompress_model(tmp_path / "c.safetensors", tmp_path / "d.safetensors")
    found = open_model(tmp_path / "d.safetensors")["w"].load().astype(np.float32)
    assert found[0, :2].tolist() == [448, 448]
    assert np.isfinite(found).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2fnuz])
def test_error_is_that_of_the_weights_that_come_back(dtype, tmp_path, rng):
    array = rng.standard_normal((20, 20)).astype(dtype)
    options = spec(quantizer=Quantizer("uniform", 8), sparsity=0.1)
    made = compress_model(as_model({"w": array}), tmp_path / "c.safetensors", options)
    decompress_model(tmp_path / "c.safetensors", tmp_path / "d.safetensors")
    found = open_model(tmp_path / "d.safetensors")["w"].weights().astype(np.float64)
    wanted = array.astype(np.float64)
    error = np.square(wanted - found).sum() / np.square(wanted).sum()
    assert made.tensors["w"].error == pytest.approx(error)
    assert read_container(tmp_path / "c.safetensors").tensor("w").error == pytest.approx(error)


def test_compress_reads_a_file_and_may_replace_it(arrays, tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"enc.weight": arrays["enc.weight"], "ids": arrays["ids"]}, path)
    compress_model(open_model(path), path, spec())
    verify_tensor(read_container(path), "enc.weight")
    decompress_model(path, path)
    assert (load_file(path)["ids"] == arrays["ids"]).all()


def test_compress_is_deterministic(arrays, value_codec, tmp_path):
    for name in ("a", "b"):
        compress_model(as_model(arrays), tmp_path / name, spec(config=value_codec, search=True))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_compress_reports_progress(arrays, tmp_path):
    seen = []
    options = spec(search=True)
    out = tmp_path / "c.safetensors"
    compress_model(as_model(arrays), out, options, progress=lambda *what: seen.append(what))
    decompress_model(out, tmp_path / "d.safetensors", lambda *what: seen.append(what))
    names = ("enc.weight", "dec.weight")
    assert seen == [(stage, name) for stage in ("search", "encode", "decode") for name in names]


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
