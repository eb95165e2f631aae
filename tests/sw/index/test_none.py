# SPDX-License-Identifier: Apache-2.0
"""No index: bytes by hand, and everything that a reader must refuse."""

import numpy as np
import pytest
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.none import none_decoder
from xorloom.sw.index import none as index_none
from xorloom.sw.index.none import CODEC, pack, unpack
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.plans import make_plans
from xorloom.sw.model.plan.settings import Settings
from xorloom.sw.spec.config import BUS_BITS
from xorloom.sw.spec.index_config import NoneConfig
from xorloom.sw.tensors.checkpoint import from_arrays

from tests.helpers.index import frame

CONFIG = NoneConfig(n_out=8, bus_bits=32)


def dense(count, n_out=8):
    """Slices that keep every weight; lanes without a weight are 0."""
    mask = np.zeros((-(-count // n_out), n_out), np.bool_)
    mask.reshape(-1)[:count] = True
    return mask


@pytest.mark.parametrize("bus_bits", BUS_BITS)
@pytest.mark.parametrize("count", [0, 1, 8, 19])
def test_stream_is_one_word_of_zeros(count, bus_bits):
    config = NoneConfig(n_out=8, bus_bits=bus_bits)
    data = pack(dense(count), count, config)
    assert data.hex() == frame(9, count, 0, [0] * min(1, count), bus_bits).hex()
    found = unpack(data, count, config)
    assert found.dtype == np.bool_
    assert np.array_equal(found, dense(count))
    beats = [sum(int(bit) << j for j, bit in enumerate(row)) for row in found]
    assert none_decoder(config, bus_words(data, bus_bits)) == beats


def test_stream_rejects_every_flipped_bit_and_truncation():
    data = pack(dense(19), 19, CONFIG)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match=r"^index: "):
            unpack(bytes(damaged), 19, CONFIG)
    for n in range(len(data)):
        with pytest.raises(FormatError):
            unpack(data[:n], 19, CONFIG)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (frame(9, 19, 7, [0], 32), "network id must be 0 of index none, found 00000007"),
        (frame(9, 18, 0, [0], 32), "count must be 19 weights, found 18"),
        (frame(9, 19, 0, [], 32), "stream must have 1 bus words, found 0"),
        (frame(9, 19, 0, [0, 0], 32), "stream must have 1 bus words, found 2"),
        (frame(9, 19, 0, [1 << 31], 32), "the word of index none must be zero"),
        (frame(1, 19, 0, [0], 32), "stream kind must be 9, found 1"),
    ],
    ids=["network", "count", "short", "long", "word", "kind"],
)
def test_stream_with_a_right_crc_is_rejected(data, text):
    with pytest.raises(FormatError, match=f"^here: {text}"):
        unpack(data, 19, CONFIG, "here")


def test_stream_without_weights_has_no_word():
    with pytest.raises(FormatError, match="stream must have 0 bus words, found 1"):
        unpack(frame(9, 0, 0, [0], 32), 0, CONFIG)


def test_mask_that_prunes_is_refused_with_the_fix():
    mask = dense(19)
    mask[1, 3] = mask[2, 0] = False
    text = "index none keeps every weight, but the mask prunes 2 of 19: use the bitmap or entropy"
    with pytest.raises(ConfigError, match=text):
        pack(mask, 19, CONFIG)


def test_dense_tensor_may_have_zeros(tmp_path):
    weights = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    weights[3, 5:9] = 0
    model = from_arrays({"w": weights})
    plans = make_plans(model, {"w": Settings.of({"index": "none", "planes": 3})})
    made = compress_model(model, tmp_path / "w.safetensors", plans)
    quantized = decode_tensor(read_container(tmp_path / "w.safetensors"), "w")
    assert quantized.mask.all()
    assert made.tensors["w"].origin == "all"
    assert any("4 zeros are kept" in note for note in made.tensors["w"].notes)


def test_pack_rejects_four_billion_weights():
    huge = np.broadcast_to(np.True_, (1 << 16, 1 << 16))
    with pytest.raises(CapacityError, match="4294967296 weights does not fit 32 bits"):
        pack(huge, 1 << 32, CONFIG)


def test_estimate_is_what_is_stored():
    assert CODEC.stream_bits(19, 1.0, CONFIG) == 32
    assert CODEC.stream_bits(0, 1.0, CONFIG) == 0
    assert CONFIG.rate == 0
    assert index_none.CODEC.order_bits is None
