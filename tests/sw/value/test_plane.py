# SPDX-License-Identifier: Apache-2.0
"""Either value codec behind one pair of functions."""

import numpy as np
import pytest
from xorloom.sim.datasets import iid
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.tensors.orders import ORDERS
from xorloom.sw.value.block import stream
from xorloom.sw.value.plane import ValueLayout, decode_value, encode_value, value_bits, value_frames

BLOCK = BlockConfig(n_in=8, n_out=40, lanes=2, bus_bits=32)
WINDOW = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)
WIDE = WindowConfig(
    **{"n_in": 32, "n_out": 128, "window": 64, "own_taps": 3, "shared_taps": 0, "shared": 0},
    **{"frame": 16, "patches": 1},
)
CONFIGS = {"block": BLOCK, "window": WINDOW}


def tensor(rng, shape, planes, density=0.3):
    mask = rng.random(shape) < density
    return mask, rng.integers(0, 1 << planes, shape, np.uint8)


@pytest.mark.parametrize("shape", [(1,), (7, 9), (3, 5, 11), (2, 3, 4, 5), (0, 4), ()])
@pytest.mark.parametrize("planes", [1, 3, 8])
@pytest.mark.parametrize("codec", CONFIGS)
def test_decode_gives_back_the_kept_codes(codec, planes, shape, rng):
    config = CONFIGS[codec]
    mask, codes = tensor(rng, shape, planes)
    data, bits, layout = encode_value(mask, codes, planes, config)
    decoded = decode_value(data, mask, planes, config, layout, "here")
    assert decoded.dtype == np.uint8
    assert decoded.shape == mask.shape
    assert (decoded == np.where(mask, codes, 0)).all()
    assert value_bits(data, mask.size, planes, config, layout, "here") == bits
    # A tensor without weights is no window stream, and a block stream without slices.
    assert bits.total == 8 * len(data)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("planes", [1, 3])
def test_every_order_of_the_window_codec_comes_back(order, planes, rng):
    mask, codes = tensor(rng, (13, 29), planes)
    data, _, layout = encode_value(mask, codes, planes, WINDOW, order)
    assert layout.order == order
    decoded = decode_value(data, mask, planes, WINDOW, layout, "here")
    assert (decoded == np.where(mask, codes, 0)).all()


def test_the_block_codec_has_no_layout(rng):
    mask, codes = tensor(rng, (13, 29), 1)
    _, _, layout = encode_value(mask, codes, 1, BLOCK, "skewed")
    assert layout == ValueLayout() == ValueLayout("row", 0)


def test_value_frames_of_the_block_codec_are_none(rng):
    mask, codes = tensor(rng, (13, 29), 1)
    data, _, layout = encode_value(mask, codes, 1, BLOCK)
    assert value_frames(data, mask.size, 1, BLOCK, layout, "here") is None


@pytest.mark.parametrize("config", [WINDOW, WIDE], ids=["plain", "patches"])
def test_value_frames_tell_what_is_stored(config):
    mask, codes = iid(20 * 128 + 5, 0.58 if config.patches else 0.8, 1, 1)
    data, bits, layout = encode_value(mask, codes, 1, config, "row")
    frames = value_frames(data, mask.size, 1, config, layout, "here")
    slices = -(-mask.size // config.n_out)
    assert (frames["order"], frames["slices"], frames["frame_slices"]) == ("row", slices, 16)
    assert len(frames["steps"]) == len(frames["patches"])
    assert bits.patches == sum(frames["patches"]) * config.patch_bits
    assert (sum(frames["patches"]) > 0) == bool(config.patches)
    assert all((steps - 16) % (1 << config.rate_shift) == 0 for steps in frames["steps"])
    assert frames["streams"] == len(split_streams(data, config.bus_bytes, "here"))


def test_value_frames_of_nothing(rng):
    data, _, layout = encode_value(*tensor(rng, (0, 4), 1), 1, WINDOW)
    frames = value_frames(data, 0, 1, WINDOW, layout, "here")
    assert (frames["slices"], frames["streams"]) == (0, 0)
    assert frames["steps"] == frames["patches"] == []


@pytest.mark.parametrize("codec", CONFIGS)
def test_damage_names_the_place(codec, rng):
    config = CONFIGS[codec]
    mask, codes = tensor(rng, (13, 29), 1)
    data, _, layout = encode_value(mask, codes, 1, config)
    damaged = bytearray(data)
    damaged[20] ^= 4
    readers = {
        "decode": lambda d: decode_value(bytes(d), mask, 1, config, layout, "model: w"),
        "bits": lambda d: value_bits(bytes(d), mask.size, 1, config, layout, "model: w"),
    }
    for read in readers.values():
        with pytest.raises(FormatError, match=r"^model: w: .*CRC-32 must be"):
            read(damaged)
        with pytest.raises(FormatError, match=r"^model: w: "):
            read(data[:-4])
        with pytest.raises(FormatError, match=r"^model: w: "):
            read(data + data)


@pytest.mark.parametrize("codec", CONFIGS)
def test_streams_of_other_tensors_are_refused(codec, rng):
    config = CONFIGS[codec]
    other = CONFIGS["window" if codec == "block" else "block"]
    mask, codes = tensor(rng, (13, 29), 1)
    data, _, layout = encode_value(mask, codes, 1, config)
    with pytest.raises(FormatError, match=r"w: .*(must hold 20 slices|count must be|streams)"):
        decode_value(data, mask, 2, config, layout, "w")
    with pytest.raises(FormatError, match=r"w: .*kind must be"):
        decode_value(data, mask, 1, other, ValueLayout("row", 1 << 20), "w")


def test_window_layout_of_another_length_is_refused(rng):
    mask, codes = tensor(rng, (40, 64), 1)  # 40 slices
    data, _, layout = encode_value(mask, codes, 1, WINDOW)
    for per_stream, streams in ((1, 40), (16, 3), (39, 2)):
        wrong = ValueLayout(layout.order, per_stream)
        with pytest.raises(FormatError, match=f"must be {streams} streams, found 1"):
            decode_value(data, mask, 1, WINDOW, wrong, "w")


@pytest.mark.parametrize("codec", CONFIGS)
def test_encode_refuses_what_does_not_fit(codec, rng):
    mask, codes = tensor(rng, (13, 29), 2)
    with pytest.raises(ConfigError, match="needs more than 1 planes"):
        encode_value(mask | True, codes | 2, 1, CONFIGS[codec])
    with pytest.raises(ConfigError):
        encode_value(mask, codes[:5], 2, CONFIGS[codec])


def test_encode_refuses_an_unknown_order(rng):
    with pytest.raises(ConfigError, match=r"order must be one of row, .*, not 'diagonal'"):
        encode_value(*tensor(rng, (13, 29), 1), 1, WINDOW, "diagonal")


def test_encode_of_a_mask_that_no_window_holds_is_a_capacity_error(rng):
    narrow = WindowConfig(n_in=8, n_out=128, window=64, shared=64, frame=16)
    mask, codes = tensor(rng, (40, 128), 1, 1.0)
    with pytest.raises(CapacityError):
        encode_value(mask, codes, 1, narrow)


def test_streams_are_those_of_the_codecs(rng):
    mask, codes = tensor(rng, (13, 29), 1)
    data, _, _ = encode_value(mask, codes, 1, BLOCK)
    assert stream.unpack_block(data, BLOCK).seeds.size == -(-13 * 29 // 40)
    data, _, layout = encode_value(mask, codes, 1, WINDOW)
    (part,) = split_streams(data, WINDOW.bus_bytes, "w")
    assert part == data
    assert data[:4] == b"XL\x01\x03"
    assert layout.slices_per_stream >= -(-13 * 29 // 64)
