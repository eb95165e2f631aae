# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.tensors.orders import ORDERS
from xorloom.sw.value.window import codec as window_codec
from xorloom.sw.value.window.codec import decode, encode, per_slice, stream_counts
from xorloom.sw.value.window.stream import pack_window, unpack_window

from tests.helpers.window import random_case, small

CONFIGS = [
    small(),
    small(own_taps=7, frame=128, bus_bits=512),  # rate words count several steps
    WindowConfig(n_in=64, n_out=128, window=192, frame=16, bus_bits=256),
    WindowConfig(n_in=16, n_out=64, window=192 + 64, frame=1024, own_taps=2, bus_bits=128),
    WindowConfig(n_in=32, n_out=256, window=256, frame=64, patches=1),
    WindowConfig(n_in=256, n_out=256, window=256, frame=16, bus_bits=32),  # no preload
    WindowConfig(n_in=8, n_out=512, window=512, frame=1024),
    WindowConfig(n_in=64, n_out=512, window=512, frame=32, patches=1, parity_taps=2),
]


def through_bytes(encoded, mask, planes, config):
    data, bits = pack_window(encoded, config)
    assert bits.total == 8 * len(data)
    return unpack_window(
        data,
        config,
        order=encoded.order,
        weights=mask.size,
        planes=planes,
        slices_per_stream=encoded.slices_per_stream,
    )


def check_round_trip(mask, codes, planes, config, order):
    encoded = encode(mask, codes, planes, config, order=order)
    expected = np.where(mask, codes, 0)
    again = through_bytes(encoded, mask, planes, config)
    for stream, copy in zip(encoded.streams, again.streams, strict=True):
        assert (stream.chunks, stream.count) == (copy.chunks, copy.count)
        assert stream.facts.tolist() == copy.facts.tolist()
    for streams in (encoded, again):
        decoded = decode(streams, mask, planes, config)
        assert (decoded.dtype, decoded.shape) == (np.uint8, mask.shape)
        wrong = np.argwhere(decoded != expected)
        assert wrong.size == 0, (wrong[0], decoded[tuple(wrong[0])], expected[tuple(wrong[0])])
    return encoded


@st.composite
def shapes(draw, lanes):
    kind = draw(st.sampled_from(["near", "row", "column", "matrix", "cube", "scalar"]))
    if kind == "near":  # one weight more or less than whole slices
        return (max(0, draw(st.integers(0, 40)) * lanes + draw(st.integers(-1, 1))),)
    if kind == "row":
        return (1, draw(st.integers(0, 900)))
    if kind == "column":
        return (draw(st.integers(1, 900)), 1)
    if kind == "matrix":
        return (draw(st.integers(1, 50)), draw(st.integers(1, 50)))
    return tuple(draw(st.integers(1, 12)) for _ in range(3)) if kind == "cube" else ()


@st.composite
def cases(draw):
    config = draw(st.sampled_from(CONFIGS))
    planes = draw(st.integers(1, 8))
    shape = draw(shapes(per_slice(config, planes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sparsity = draw(st.sampled_from([0.0, 0.3, 0.7, 0.95, 0.999, 1.0]))
    mask, codes = random_case(rng, shape, sparsity, planes)
    if draw(st.booleans()) and mask.ndim == 2:
        mask[:: draw(st.integers(1, 9))] = draw(st.booleans())
    return config, planes, mask, codes, draw(st.sampled_from([*ORDERS, "auto"]))


@given(cases())
@settings(max_examples=250)
def test_decode_undoes_encode_through_the_stream(case):
    config, planes, mask, codes, order = case
    encoded = check_round_trip(mask, codes, planes, config, order)
    assert encoded.order == order or order == "auto"


def adversarial_masks():
    shape = (64, 96)
    names = ("row", "columns", "rows", "checks", "dense_slices", "late", "early", "diagonal")
    masks = {name: np.zeros(shape, np.bool_) for name in names}
    masks["row"][17] = True
    masks["columns"][:, 20:60] = True
    masks["rows"][::8] = True
    masks["checks"][::2, ::2] = masks["checks"][1::2, 1::2] = True
    masks["dense_slices"].reshape(-1, 128)[7::16] = True
    masks["late"].reshape(-1)[-700:] = True
    masks["early"].reshape(-1)[:700] = True
    masks["diagonal"][np.arange(64), np.arange(64)] = True
    return masks | {"all": np.ones(shape, np.bool_), "none": np.zeros(shape, np.bool_)}


@pytest.mark.parametrize("order", [*ORDERS, "auto"])
@pytest.mark.parametrize("name", adversarial_masks())
def test_decode_undoes_encode_on_adversarial_masks(name, order, rng):
    mask = adversarial_masks()[name]
    for config in (CONFIGS[0], CONFIGS[2], CONFIGS[4]):
        codes = rng.integers(0, 4, mask.shape, dtype=np.uint8)
        check_round_trip(mask, codes, 2, config, order)


def worst_masks(config, planes, slices):
    """Slices without a don't care: all of them, one in a desert, a run, and the frames' edges."""
    lanes = per_slice(config, planes)
    masks = np.zeros((5, slices, lanes), np.bool_)
    masks[0] = True
    masks[1, slices // 2] = True
    masks[2, -slices // 3 :] = True
    masks[3, :: config.frame] = True
    masks[4, config.frame - 1 :: config.frame] = True
    return masks.reshape(5, -1)


@pytest.mark.parametrize(
    "config",
    [
        small(),
        small(frame=1024),
        small(n_in=64),
        small(n_in=32, patches=1),
        WindowConfig(n_in=8, n_out=512, window=512, frame=128),
        WindowConfig(n_in=256, n_out=256, window=256, frame=16),
        WindowConfig(n_in=32, n_out=256, window=256, frame=16, patches=1),
    ],
    ids=lambda config: config.identity,
)
def test_encode_needs_no_patch_if_the_window_holds_a_slice(config, rng):
    slices = 2 * config.frame + 5 if config.frame <= 128 else config.frame + 5
    for planes in (1, 3):
        for mask in worst_masks(config, planes, slices):
            codes = rng.integers(0, 1 << planes, mask.size, dtype=np.uint8)
            for target in (None, 0, config.window):
                encoded = encode(mask, codes, planes, config, order="row", target=target)
                assert (decode(encoded, mask, planes, config) == np.where(mask, codes, 0)).all()
                assert config.patches or not any(s.n_patches for s in encoded.streams)


@pytest.mark.slow
def test_encode_of_the_largest_window(rng):
    config = WindowConfig(n_in=128, n_out=2048, window=2048, frame=16, own_taps=7, shared=0,
                          shared_taps=0)  # fmt: skip
    mask, codes = random_case(rng, (173, 301), 0.6, 3)
    mask[40:60] = True
    check_round_trip(mask, codes, 3, config, "row")


def test_encode_stores_nearly_one_bit_a_kept_bit(rng):
    mask, codes = random_case(rng, (500, 600), 0.9, 2)
    config = WindowConfig()
    encoded = encode(mask, codes, 2, config)
    bits = encoded.streams[0].chunks * config.n_in
    assert mask.sum() * 2 < bits < 1.04 * mask.sum() * 2


def test_encode_of_a_mask_too_dense_for_the_window_tells_the_fix(rng):
    config = small(n_out=192)
    mask = np.zeros((40, 192), np.bool_)
    mask[21] = True
    codes = rng.integers(0, 2, mask.shape, dtype=np.uint8)
    text = (
        "slices 16 to 31 keep too many weights for window 64 and n_out 192 "
        "(use window >= n_out, another order, or patches)"
    )
    with pytest.raises(CapacityError, match=re.escape(text)):
        encode(mask, codes, 1, config, order="row")
    for order in ("strided", "skewed-column", "auto"):  # spread over the slices it fits
        assert check_round_trip(mask, codes, 1, config, order).order != "row"
    with pytest.raises(CapacityError, match="slices 0 to 15 keep too many"):
        encode(np.ones_like(mask), codes, 1, config)


def test_encode_uses_patches_where_steps_cannot_help(rng):
    plain = small(n_in=32, n_out=192, bus_bits=64)
    patched = small(n_in=32, n_out=192, bus_bits=64, patches=1)
    mask = np.zeros((160, 192), np.bool_)
    mask[:, :20] = True
    mask[::20, :66] = True  # 66 equations, 64 unknowns
    refused = 0
    for _ in range(8):
        codes = rng.integers(0, 2, mask.shape, dtype=np.uint8)
        try:
            encode(mask, codes, 1, plain, order="row")
        except CapacityError:
            refused += 1
        try:
            encoded = check_round_trip(mask, codes, 1, patched, "row")
        except CapacityError:
            continue  # one patch a slice does not always do
        assert encoded.streams[0].n_patches > 0
        break
    else:
        pytest.fail("patches never helped")
    assert refused


def test_encode_patches_only_where_that_costs_fewer_bits(rng):
    spent = {}
    for patches in (0, 1):
        config = WindowConfig(n_in=32, n_out=256, window=256, frame=32, patches=patches)
        total = count = 0
        for seed in range(6):
            own = np.random.default_rng(seed)
            mask, codes = random_case(own, (640, 256), 0.97, 1)
            mask[16::32] = True  # one full slice in the middle of every frame
            encoded = check_round_trip(mask, codes, 1, config, "row")
            total += encoded.streams[0].chunks * config.n_in
            count += encoded.streams[0].n_patches
        spent[patches] = total, count
    assert spent[0][1] == 0
    assert spent[1][1] > 0
    assert spent[1][0] < spent[0][0]


@pytest.mark.parametrize("shape", [(60, 80), (5, 6, 7, 8), (4800,)])
def test_encode_auto_takes_the_order_of_fewest_chunks(shape, rng):
    mask, codes = random_case(rng, shape, 0.5, 2)
    mask[len(mask) // 2 :] = False
    config = CONFIGS[0]
    chunks = {
        order: encode(mask, codes, 2, config, order=order).streams[0].chunks for order in ORDERS
    }
    assert min(chunks.values()) < max(chunks.values())
    auto = encode(mask, codes, 2, config)
    assert auto.streams[0].chunks == chunks[auto.order] == min(chunks.values())


@pytest.mark.parametrize("order", ["row", "strided", "skewed"])
def test_encode_by_column_is_encode_of_the_transpose(order, rng):
    mask, codes = random_case(rng, (30, 4, 17), 0.8, 3)
    turned = [np.ascontiguousarray(a.reshape(30, -1).T) for a in (mask, codes)]
    by_column = encode(mask, codes, 3, CONFIGS[0], order={"row": "column"}.get(order) or
                       f"{order}-column")  # fmt: skip
    plain = encode(*turned, 3, CONFIGS[0], order=order)
    assert by_column.streams[0].seeds.tolist() == plain.streams[0].seeds.tolist()


def test_encode_ignores_codes_of_pruned_weights_and_memory_order(rng):
    mask, codes = random_case(rng, (37, 41), 0.8, 4)
    plain = encode(mask, codes, 4, CONFIGS[0]).streams[0].seeds.tolist()
    clean = np.where(mask, codes, 0).astype(np.uint8)
    assert encode(mask, clean, 4, CONFIGS[0]).streams[0].seeds.tolist() == plain
    turned = encode(np.asfortranarray(mask), np.asfortranarray(codes), 4, CONFIGS[0])
    assert turned.streams[0].seeds.tolist() == plain


def test_encode_of_nothing_has_no_streams_or_no_bits():
    empty = encode(np.zeros((0, 5), np.bool_), np.zeros((0, 5), np.uint8), 2, CONFIGS[0])
    assert empty.streams == ()
    bare = encode(np.zeros((30, 30), np.bool_), np.full((30, 30), 3, np.uint8), 2, CONFIGS[0])
    assert not bare.streams[0].seeds.any()
    assert bare.streams[0].chunks == 64 // 8 - 1 + -(-900 // 32)


@pytest.mark.parametrize("order", ["column", "strided-column", "skewed-column"])
def test_encode_by_column_of_no_rows_has_no_streams(order):
    mask = np.zeros((0, 5), np.bool_)
    assert encode(mask, mask.astype(np.uint8), 1, CONFIGS[0], order=order).streams == ()


def test_decode_by_column_of_no_rows_is_empty():
    nothing = window_codec.WindowStreams("column", 16, ())
    assert decode(nothing, np.zeros((0, 5), np.bool_), 1, CONFIGS[0]).shape == (0, 5)


def test_stream_counts_are_slice_bits():
    config = small()  # 64 // 3 = 21 weights a slice, 16 slices a frame
    assert stream_counts(0, 3, config.n_out, 16) == []
    assert stream_counts(1, 3, config.n_out, 16) == [3]
    assert stream_counts(16 * 21, 3, config.n_out, 16) == [15 * 64 + 63]
    assert stream_counts(16 * 21 + 2, 3, config.n_out, 16) == [1024, 6]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"order": "x"}, "order must be one of row, column, .*, not 'x'"),
        ({"target": -1}, "target must be between 0 and 64, not -1"),
        ({"target": 65}, "target must be between 0 and 64, not 65"),
    ],
)
def test_encode_rejects(change, text):
    with pytest.raises(ConfigError, match=text):
        encode(np.ones(3, np.bool_), np.zeros(3, np.uint8), 1, CONFIGS[0], **change)
    with pytest.raises(ConfigError, match="code 2 at"):
        encode(np.ones(3, np.bool_), np.full(3, 2, np.uint8), 1, CONFIGS[0])


def test_decode_rejects_an_unknown_order():
    mask = np.ones(3, np.bool_)
    streams = encode(mask, np.zeros(3, np.uint8), 1, CONFIGS[0], order="row")
    wrong = window_codec.WindowStreams("up", 16, streams.streams)
    with pytest.raises(ConfigError, match="not 'up'"):
        decode(wrong, mask, 1, CONFIGS[0])
