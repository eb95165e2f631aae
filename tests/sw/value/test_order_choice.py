# SPDX-License-Identifier: Apache-2.0
"""Choice of the weight order: the model of the rate control against real encodings."""

import numpy as np
import pytest
from xorloom.sw.base.workers import mapping
from xorloom.sw.bits.gf2 import pack_bool, pack_rows
from xorloom.sw.bits.slices import packed_beats
from xorloom.sw.index.choice import index_config
from xorloom.sw.index.plane import encode_index, order_bits
from xorloom.sw.model.codec import encode_tensor
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.orders import ORDERS, beats, flatten, lanes, needs_transpose, slice_count
from xorloom.sw.tensors.prune import prune_tensor
from xorloom.sw.tensors.quantize import Quantized
from xorloom.sw.value.search import window_for
from xorloom.sw.value.window import rates
from xorloom.sw.value.window.codec import encode, per_slice, stream_slices
from xorloom.sw.value.window.geometry import geometry
from xorloom.sw.value.window.order_choice import default_targets, expected_chunks, rank_orders

from tests.helpers.weights import clustered_weights
from tests.helpers.window import small


def period_mask(rows=128):
    weights = np.random.default_rng(0).normal(size=(rows, 128, 64)).astype(np.float32)
    weights[:, :, 15:] *= 1e-2
    return prune_tensor(weights.reshape(rows, -1), 0.9)


def masks():
    rng = np.random.default_rng(7)
    shape = (300, 400)
    columns = np.where(rng.random(400) < 0.15, 0.5, 0.03)
    found = {
        "even": rng.random(shape) < 0.1,
        "columns": rng.random(shape) < columns,
        "rows": rng.random(shape) < np.where(rng.random(300) < 0.15, 0.5, 0.03)[:, None],
        "blocks": (np.kron(rng.random((19, 25)) < 0.1, np.ones((16, 16)))[:300] > 0)
        & (rng.random(shape) < 0.9),
        "top": np.arange(300)[:, None] * np.ones(400) < 40,
        "period": rng.random(shape) < np.tile(np.where(np.arange(50) < 6, 0.8, 0.01), 8),
        "clustered": prune_tensor(clustered_weights(300, 400, 3), 0.9),
        "vector": rng.random(30_000) < 0.1,
        "tiny": rng.random((20, 30)) < 0.1,
        "sparse": rng.random(shape) < 0.004,
    }
    return {name: mask.astype(np.bool_) for name, mask in found.items()}


def cut(mask, order, n_out):
    where = lanes(order, mask.size, n_out)
    return packed_beats(bits_in(mask, order), slice_count(mask.size, n_out), n_out, where)


def bits_in(mask, order):
    """The packed mask in an order's own sequence."""
    return pack_bool(flatten(mask, order), spare_words=10)


def bits_of(mask, planes, config, codec, order):
    codes = np.random.default_rng(1).integers(0, 1 << planes, mask.shape).astype(np.uint8)
    index = index_config(codec, config, planes, density=0.1)
    quantized = Quantized(mask, codes, np.zeros((0, 0), np.float16))
    found = encode_tensor(quantized, planes, Decoder(config, index), order=order, has_scales=False)
    return 8 * (len(found.stream) + len(found.index)), found.layout.order


def test_auto_compares_the_same_weights_in_all_orders():
    mask = period_mask()
    config = window_for(mask.mean(), WindowConfig())
    codes = np.random.default_rng(1).integers(0, 16, mask.shape).astype(np.uint8)
    encoded = encode(mask, codes, 4, config)
    stored = sum(stream.chunks for stream in encoded.streams) * config.n_in
    assert 4 * np.count_nonzero(mask) / stored > 0.99, "0.671 by a stream out of the middle"


@pytest.mark.parametrize("codec", ["bitmap", "entropy"])
@pytest.mark.parametrize("name", masks())
def test_auto_is_near_the_best_of_all_orders(name, codec):
    mask = masks()[name]
    config = window_for(max(0.01, mask.mean()), WindowConfig())
    bits = [bits_of(mask, 2, config, codec, order)[0] for order in ORDERS]
    assert bits_of(mask, 2, config, codec, "auto")[0] <= 1.012 * min(bits)


def test_index_counts_in_the_choice():
    """Blocks: kept bits want them spread, the entropy index wants them together."""
    mask = masks()["blocks"]
    config = window_for(mask.mean(), WindowConfig())
    found = {codec: bits_of(mask, 1, config, codec, "auto") for codec in ("bitmap", "entropy")}
    assert found["bitmap"][1].startswith(("strided", "skewed"))
    assert found["entropy"][1] in ("row", "column")
    assert found["entropy"][0] < 0.6 * bits_of(mask, 1, config, "entropy", found["bitmap"][1])[0]


@pytest.mark.parametrize("name", ["even", "clustered", "columns", "vector", "sparse", "tiny"])
@pytest.mark.parametrize("planes", [1, 4])
def test_model_takes_as_many_chunks_as_the_encoder(name, planes):
    mask = masks()[name]
    config = window_for(max(0.01, mask.mean()), WindowConfig())
    codes = np.random.default_rng(1).integers(0, 1 << planes, mask.shape).astype(np.uint8)
    for order in ("strided", "skewed") if mask.ndim == 1 else ("skewed", "skewed-column"):
        encoded = encode(mask, codes, planes, config, order=order)
        real = sum(stream.chunks for stream in encoded.streams)
        packed = cut(mask, order, per_slice(config, planes))
        counts = np.bitwise_count(packed).sum(axis=1, dtype=np.int64) * planes
        assert len(encoded.streams) == 1
        assert expected_chunks(counts, config) == pytest.approx(real, rel=0.02, abs=1.5)


def test_model_kernels_equal_their_python_functions(rng):
    plain = {
        "first_rate": rates.first_rate.py_func,
        "next_rate": rates.next_rate.py_func,
        "run_frame": rates.run_frame.py_func,
    }
    for config in (small(), WindowConfig(n_in=16), small(n_in=32, frame=1024)):
        shape = geometry(config)
        for density in (0.0, 0.1, 0.6):
            counts = rng.binomial(config.n_out, density, 300)
            counts[100:120] = min(config.n_out, config.window)
            fast = rates.model_chunks(counts, shape, *default_targets(config))
            with pytest.MonkeyPatch.context() as patch:
                for name, function in plain.items():
                    patch.setattr(rates, name, function)
                slow = rates.model_chunks.py_func(counts, shape, *default_targets(config))
            assert fast == slow > 0


def test_model_of_slices_that_no_window_holds_is_stuck(rng):
    config = small(n_out=192)
    counts = np.full(40, 10, np.int64)
    assert expected_chunks(counts, config) < float("inf")
    counts[30] = config.window + 1
    assert expected_chunks(counts, config) == float("inf")
    counts[30] = config.window
    assert expected_chunks(counts, config) < float("inf"), "a fresh window may hold it"
    mask = np.zeros((40, 192), np.bool_)
    mask[21] = True
    bits = {needs_transpose(order): bits_in(mask, order) for order in ("row", "column")}
    targets = default_targets(config)
    with mapping(1) as each:
        ranked = rank_orders(ORDERS, bits, mask.size, 1, config, 48, targets, None, each)
    assert ranked[-1].total == float("inf")
    assert {cost.order for cost in ranked if cost.value == float("inf")} >= {"row"}


@pytest.mark.parametrize("shape", [(30, 40), (64, 512), (7, 9, 11), (1000,), (0, 5), (3, 0)])
@pytest.mark.parametrize("n_out", [32, 170, 8, 128])
def test_packed_beats_are_beats(shape, n_out, rng):
    mask = rng.random(shape) < 0.3
    for order in ORDERS:
        packed = cut(mask, order, n_out)
        assert packed.shape == (-(-mask.size // n_out), -(-n_out // 64))
        assert (packed == pack_rows(beats(mask, order, n_out))).all()


@pytest.mark.parametrize("name", ["even", "columns", "tiny"])
def test_order_bits_are_those_of_the_entropy_index(name):
    mask = masks()[name]
    config = WindowConfig()
    index = index_config("entropy", config, 1, density=0.1)
    size = stream_slices(mask.size, int(mask.sum()), 1, config)
    measure = order_bits(index)
    assert measure is not None
    for order in ORDERS:
        packed = cut(mask, order, 512)
        real = 8 * len(encode_index(mask, index, order, size).streams)
        assert measure(packed, mask.size, size) == pytest.approx(real, rel=0.03)
    assert order_bits(index_config("bitmap", config, 1, density=0.1)) is None
