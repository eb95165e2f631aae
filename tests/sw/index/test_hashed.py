# SPDX-License-Identifier: Apache-2.0
"""Hashed index: streams, hostile streams, the choice of a seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.hashed import hashed_decoder
from xorloom.sw.index.hashed import CODEC, choose, pack, unpack
from xorloom.sw.index.hashed.kernels import hash_states
from xorloom.sw.index.hashed.masks import seed_mask, states_of_all_seeds
from xorloom.sw.spec.config import BUS_BITS
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.layout import network_id

from tests.helpers.index import frame

CONFIG = HashedConfig(n_out=10, threshold=77, bus_bits=32)
NETWORK = network_id(CONFIG)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 255),
    st.sampled_from(BUS_BITS),
    st.integers(0, 65535),
    st.integers(0, 900),
    st.sampled_from([0, 1, 7]),
)
def test_software_equals_the_golden_model(n_out, threshold, bus_bits, seed, count, network_seed):
    config = HashedConfig(n_out, threshold, bus_bits, network_seed)
    data = pack(seed, count, config)
    assert data == frame(8, count, network_id(config), [seed] * min(1, count), bus_bits)
    expected = np.zeros((-(-count // n_out), n_out), np.bool_)
    for row, beat in zip(expected, hashed_decoder(config, bus_words(data, bus_bits)), strict=True):
        row[:] = [beat >> j & 1 for j in range(n_out)]
    expected.reshape(-1)[count:] = False
    assert np.array_equal(unpack(data, count, config), expected)


def test_blocks_of_states_join():
    config = HashedConfig(n_out=3)
    whole = seed_mask(9, 20000, config)
    assert np.array_equal(whole[:100], seed_mask(9, 100, config))
    assert abs(whole.mean() - config.density) < 0.005


def test_kernel_equals_its_python_text():
    start = np.array([1, 2, 3, 4], np.uint64)
    found, expected = np.zeros((2, 9, 4), np.uint64)
    hash_states(start, 5, found)
    hash_states.py_func(start, 5, expected)
    assert np.array_equal(found, expected)


def test_states_of_all_seeds_are_those_of_each():
    states = states_of_all_seeds(3, CONFIG)
    assert states.shape == (65536, 4)
    for seed in (0, 1, 40000, 65535):
        own = np.zeros((4, 4), np.uint64)
        start = CONFIG.network.start ^ seed
        words = np.array([start >> 64 * k & (1 << 64) - 1 for k in range(4)], np.uint64)
        hash_states(words, 32, own)
        assert np.array_equal(states[seed], own[3])


def test_stream_rejects_every_flipped_bit_and_truncation():
    data = pack(77, 24, CONFIG)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match=r"^index: "):
            unpack(bytes(damaged), 24, CONFIG)
    for n in range(len(data)):
        with pytest.raises(FormatError):
            unpack(data[:n], 24, CONFIG)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (frame(8, 24, 7, [1], 32), f"network id must be {NETWORK:08x} for n_out 10, threshold 77"),
        (frame(8, 23, NETWORK, [1], 32), "count must be 24 weights, found 23"),
        (frame(8, 24, NETWORK, [], 32), "stream must have 1 bus words, found 0"),
        (frame(8, 24, NETWORK, [1, 0], 32), "stream must have 1 bus words, found 2"),
        (frame(8, 24, NETWORK, [1 << 16], 32), "bits of the word behind its seed must be zero"),
        (frame(9, 24, 0, [0], 32), "stream kind must be 8, found 9"),
    ],
    ids=["network", "count", "short", "long", "word", "kind"],
)
def test_stream_with_a_right_crc_is_rejected(data, text):
    with pytest.raises(FormatError, match=f"^here: {text}"):
        unpack(data, 24, CONFIG, "here")


def test_zeros_of_a_trained_network_tell_the_seeds_of_its_mask():
    rng = np.random.default_rng(3)
    config, size, counts = HashedConfig(n_out=64, threshold=26), 40, [40 * 64, 40 * 64, 700]
    mask = np.concatenate([seed_mask(seed, size, config) for seed in (40000, 7, 65535)])
    importance = np.abs(rng.standard_normal(mask.shape)).astype(np.float32) * mask
    importance[:3] = 0  # rows of zeros do not mislead it
    importance = importance[: 2 * size + 11]
    importance.reshape(-1)[sum(counts) :] = 0
    found, streams = choose(importance, counts, 0.1, config, size, None)
    assert [data[16] | data[17] << 8 for data in streams] == [40000, 7, 65535]
    assert not importance[~found].any()
    assert not found.reshape(-1)[sum(counts) :].any()


def test_choice_of_a_seed_gains_a_little():
    rng = np.random.default_rng(4)
    config = HashedConfig(n_out=64, threshold=26)
    importance = np.abs(rng.standard_normal((100, 64))).astype(np.float32)
    mask, (data,) = choose(importance, [6400], 0.1, config, 0, None)
    assert np.array_equal(unpack(data, 6400, config), mask)
    gain = importance[mask].mean() / importance.mean()
    assert 1.005 < gain < 1.2
    assert choose(importance, [6400], 0.1, config, 0, None)[1] == [data]


def test_choice_of_nothing_and_of_zeros():
    assert choose(np.zeros((0, 10), np.float32), [], 0.3, CONFIG, 0, None)[1] == []
    mask, streams = choose(np.zeros((3, 10), np.float32), [24], 0.3, CONFIG, 0, None)
    assert np.array_equal(unpack(streams[0], 24, CONFIG), mask)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_importance_that_is_no_number_is_an_error(value):
    with pytest.raises(ConfigError, match="importance must be finite and not negative"):
        choose(np.full((2, 10), value, np.float32), [20], 0.3, CONFIG, 0, None)


def test_density_is_rounded_to_its_steps():
    made = [CODEC.configure(64, 32, density=d) for d in (0.1, 1e-5, 0.5, 0.997)]
    assert [config.threshold for config in made] == [26, 1, 128, 255]
    assert made[0].density == 26 / 256
    with pytest.raises(
        ConfigError, match=r"at most 255/256 for the hashed index, not 1 \(index none"
    ):
        CODEC.configure(64, 32, density=1.0)
    with pytest.raises(ConfigError, match=r"threshold must be between 1 and 255, not 0"):
        HashedConfig(threshold=0)


def test_estimate_is_what_is_stored():
    assert (CODEC.stream_bits(24, 0.3, CONFIG), CODEC.stream_bits(0, 0.3, CONFIG)) == (32, 0)
    assert CONFIG.rate == 0
