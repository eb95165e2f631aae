# SPDX-License-Identifier: Apache-2.0
"""Index planes: every codec, order and shape; streams beside those of the values; errors."""

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.bits.framing import index_overhead, split_streams
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.bitmap import bitmap_decoder
from xorloom.sw.golden.index.entropy import entropy_decoder
from xorloom.sw.golden.index.lowrank import lowrank_decoder
from xorloom.sw.golden.index.trellis import trellis_decoder
from xorloom.sw.index.plane import choose_index, decode_index, encode_index
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import BitmapConfig, EntropyConfig, LowrankConfig, TrellisConfig
from xorloom.sw.spec.weight_format import check_index, index_for, mask_lanes
from xorloom.sw.tensors.orders import ORDERS, beats
from xorloom.sw.value.window.codec import stream_slices

N_OUT = 32
CONFIGS = {
    "bitmap": BitmapConfig(n_out=N_OUT, bus_bits=32),
    "entropy": EntropyConfig(n_out=N_OUT, lanes=2, states=16, bus_bits=32),
    "trellis": TrellisConfig(n_in=6, n_out=N_OUT, window=7, bus_bits=32),
    "classes": TrellisConfig(n_in=6, n_out=N_OUT, window=7, classes=4, period=16, bus_bits=32),
    "lowrank": LowrankConfig(n_out=N_OUT, tile_slices=8, tile_lanes=8, bus_bits=32),
}
GOLDEN = {
    "bitmap": bitmap_decoder,
    "entropy": entropy_decoder,
    "trellis": trellis_decoder,
    "lowrank": lowrank_decoder,
}
STORING = [name for name, config in CONFIGS.items() if not config.chooses_mask]
CHOOSING = [name for name, config in CONFIGS.items() if config.chooses_mask]
SHAPES = [(37, 29), (5, 3, 4, 11), (700,), (1, 65), (65, 1), (1,), (0,), (0, 7), (7, 0)]
WINDOW = WindowConfig(n_in=8, n_out=64, window=64, frame=16, bus_bits=32)


def importance_of(shape, seed=3):
    return np.abs(np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def stored(name, array, order="row", size=0):
    """(mask, streams) by a codec: it stores where the importance is large, or chooses."""
    config = CONFIGS[name]
    if name in STORING:
        mask = array > 1.5
        return mask, encode_index(mask, config, order, size).streams
    chosen = choose_index(array, 0.1, config, order, size)
    return chosen.mask, chosen.streams


def test_every_codec_is_known_by_its_name():
    assert {name: config.codec for name, config in INDEX_CODECS.items()} == {
        name: name for name in (*GOLDEN, "none", "hashed")
    }
    assert CHOOSING == ["trellis", "classes", "lowrank"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", CONFIGS)
def test_decode_gives_the_mask_of_every_codec_and_order(name, order):
    for shape in SHAPES:
        for size in (0, 16):
            mask, streams = stored(name, importance_of(shape), order, size)
            assert mask.shape == shape
            assert mask.dtype == np.bool_
            found = decode_index(streams, shape, CONFIGS[name], order, size, "t")
            np.testing.assert_array_equal(found, mask)
            assert found.dtype == np.bool_
            assert found.flags.c_contiguous


@pytest.mark.parametrize("name", CONFIGS)
def test_streams_are_those_of_the_golden_model(name):
    config = CONFIGS[name]
    mask, streams = stored(name, importance_of((37, 29)), "skewed", 16)
    parts = split_streams(streams, config.bus_bytes, "t")
    assert len(parts) == 3  # 34 slices
    found = [v for part in parts for v in GOLDEN[config.codec](config, bus_words(part, 32))]
    expected = beats(mask, "skewed", N_OUT)
    lanes = np.array([[value >> j & 1 for j in range(N_OUT)] for value in found], np.bool_)
    lanes.reshape(-1)[37 * 29 :] = False  # places without a weight have no meaning
    np.testing.assert_array_equal(lanes, expected)


@pytest.mark.parametrize("planes", [1, 2, 4])
@pytest.mark.parametrize("codec", sorted(INDEX_CODECS))
def test_planes_divide_the_slice(codec, planes):
    value = WindowConfig(n_out=128, window=128)
    n_out = mask_lanes(value, planes)
    assert n_out == 128 // planes
    extra = {"entropy": {"lanes": 4}, "trellis": {"n_in": 6, "window": 7}}.get(codec, {})
    config = INDEX_CODECS[codec](n_out=n_out, **extra)
    check_index(config, value, planes)
    importance = importance_of((20, 30))
    if config.chooses_mask:
        chosen = choose_index(importance, 0.1, config, "strided", 0)
        mask, streams = chosen.mask, chosen.streams
    else:
        mask = importance > (-1 if config.keeps_all else 1)
        streams = encode_index(mask, config, "strided", 0).streams
    assert (decode_index(streams, (20, 30), config, "strided", 0, "t") == mask).all()


@pytest.mark.parametrize("shape", [(37, 29), (1, 200), (300,)])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("value", [0.0, 1.0, 9.0])
def test_constant_tensors(name, shape, value):
    array = np.full(shape, value, np.float32)
    mask, streams = stored(name, array)
    found = decode_index(streams, shape, CONFIGS[name], "row", 0, "t")
    assert (found == mask).all()
    if name in STORING:
        assert found.all() == (value > 1.5)
        assert found.any() == (value > 1.5)
    elif value == 0 and name != "lowrank":
        assert not mask.any()
    else:
        assert mask.mean() < 0.3


def test_beats_put_weights_where_the_order_says():
    array = np.arange(1, 12, dtype=np.float32)
    assert beats(array, "row", 4).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 0]]
    assert beats(array, "strided", 4).tolist() == [[1, 4, 7, 10], [2, 5, 8, 11], [3, 6, 9, 0]]
    matrix = array[:10].reshape(2, 5)
    assert beats(matrix, "column", 4).tolist() == [[1, 6, 2, 7], [3, 8, 4, 9], [5, 10, 0, 0]]
    assert beats(matrix, "strided-column", 8)[:, 0].tolist() == [1, 6]
    assert (
        beats(matrix.reshape(2, 5, 1), "column", 4).tolist() == beats(matrix, "column", 4).tolist()
    )
    assert beats(array, "column", 4).tolist() == beats(array, "row", 4).tolist()
    assert beats(np.zeros((3, 0), np.float32), "column", 4).shape == (0, 4)


@pytest.mark.parametrize("name", CONFIGS)
def test_index_streams_cover_the_slices_of_the_value_streams(name):
    config = CONFIGS[name]
    size = stream_slices(5000, 1 << 30, 1, WindowConfig(**WINDOW.to_dict() | {"n_out": 64}), 1)
    assert size == 16  # whole frames
    _, streams = stored(name, importance_of((5000,)), "skewed", size)
    parts = split_streams(streams, config.bus_bytes, "t")
    slices = -(-5000 // N_OUT)
    counts = [int.from_bytes(part[4:8], "little") for part in parts]
    assert len(counts) == -(-slices // size)
    assert counts[:-1] == [size * N_OUT] * (len(counts) - 1)
    assert sum(counts) == 5000
    # Header of 16 bytes and CRC of 4, on a bus of 4.
    assert index_overhead(streams, 4, "t") == 160 * len(counts)


def test_index_overhead_counts_bus_words():
    found = encode_index(np.ones(100, np.bool_), BitmapConfig(n_out=64, bus_bits=256), "row", 1)
    assert found.overhead_bits == index_overhead(found.streams, 32, "t") == 2 * 8 * 64
    assert index_overhead(b"", 32, "t") == 0


def test_slice_multiple_is_what_a_codec_shares():
    expected = {"bitmap": 1, "entropy": 1, "trellis": 1, "classes": 16, "lowrank": 8}
    assert {name: config.slice_multiple for name, config in CONFIGS.items()} == expected


@pytest.mark.parametrize("name", CHOOSING)
def test_choosing_codec_refuses_a_given_mask(name):
    codec = CONFIGS[name].codec
    text = f"the {codec} index chooses the mask and cannot keep a given one exactly: use the bitmap"
    with pytest.raises(ConfigError, match=text):
        encode_index(np.ones(64, np.bool_), CONFIGS[name], "row", 0)


@pytest.mark.parametrize("name", STORING)
def test_storing_codec_refuses_to_choose(name):
    with pytest.raises(ConfigError, match=f"the {name} index stores a given mask: prune first"):
        choose_index(importance_of(64), 0.1, CONFIGS[name], "row", 0)


@pytest.mark.parametrize("name", CHOOSING)
def test_choosing_codec_refuses_bad_importance(name):
    with pytest.raises(ConfigError, match="importance must be finite and not negative"):
        choose_index(-importance_of(64), 0.1, CONFIGS[name], "row", 0)


@pytest.mark.parametrize("name", CONFIGS)
def test_decode_rejects_another_number_of_streams(name):
    _, streams = stored(name, importance_of((37, 29)), "row", 16)
    parts = split_streams(streams, 4, "t")
    for wrong in (parts[:-1], [*parts, parts[0]], []):
        text = f"t: 1073 weights must be 3 index streams, found {len(wrong)}"
        with pytest.raises(FormatError, match=text):
            decode_index(b"".join(wrong), (37, 29), CONFIGS[name], "row", 16, "t")
    with pytest.raises(FormatError, match="t: 1073 weights must be 1 index streams, found 3"):
        decode_index(streams, (37, 29), CONFIGS[name], "row", 0, "t")
    with pytest.raises(FormatError, match="t: 0 weights must be 0 index streams, found 3"):
        decode_index(streams, (0, 29), CONFIGS[name], "row", 16, "t")


@pytest.mark.parametrize("name", CONFIGS)
def test_decode_names_the_damaged_stream(name):
    _, streams = stored(name, importance_of((37, 29)), "row", 16)
    parts = split_streams(streams, 4, "t")
    damaged = bytearray(streams)
    damaged[len(parts[0]) + 17] ^= 1
    with pytest.raises(FormatError, match="t: index stream 1: CRC-32 must be"):
        decode_index(bytes(damaged), (37, 29), CONFIGS[name], "row", 16, "t")
    with pytest.raises(FormatError, match="t: stream 2 of"):
        decode_index(streams[:-1], (37, 29), CONFIGS[name], "row", 16, "t")
    swapped = b"".join([parts[2], parts[1], parts[0]])
    with pytest.raises(FormatError, match="t: index stream 0: "):
        decode_index(swapped, (37, 29), CONFIGS[name], "row", 16, "t")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"n_out": 32},
            "an index of n_out 32 and bus_bits 32 does not go with slices of 64 weights",
        ),
        (
            {"bus_bits": 64},
            "n_out 64 and bus_bits 64 does not go with .* 64 weights and bus_bits 32",
        ),
    ],
)
def test_index_must_fit_the_value_decoder(change, text):
    for codec, kind in INDEX_CODECS.items():
        extra = {"lanes": 4} if codec == "entropy" else {"n_in": 8} if codec == "trellis" else {}
        extra |= {"tile_lanes": 8} if codec == "lowrank" else {}
        check_index(kind(**{"n_out": 64, "bus_bits": 32} | extra), WINDOW, 1)
        with pytest.raises(ConfigError, match=text):
            check_index(kind(**{"n_out": 64, "bus_bits": 32} | extra | change), WINDOW, 1)


@pytest.mark.parametrize("name", ["entropy", "trellis", "lowrank"])
def test_block_value_codec_takes_a_bitmap_only(name):
    value = BlockConfig(n_out=N_OUT, bus_bits=32)
    text = (
        f"the {name} index goes with the window value codec: the block codec takes the bitmap index"
    )
    with pytest.raises(ConfigError, match=text):
        check_index(CONFIGS[name], value, 1)
    check_index(CONFIGS["bitmap"], value, 3)


def test_index_for_is_the_bitmap_that_fits():
    assert index_for(WINDOW, 2) == BitmapConfig(n_out=32, bus_bits=32)
    assert index_for(BlockConfig(n_out=30), 2) == BitmapConfig(n_out=30, bus_bits=64)
