# SPDX-License-Identifier: Apache-2.0
"""Golden model of the hashed index, against the example of the format and the published engine."""

import galois
import numpy as np
import pytest
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.hashed import hashed_decoder, hashed_mask, lane_hash
from xorloom.sw.spec.hashed import STATE_BITS, HashedConfig, hash_network, next_state

from tests.helpers.index import frame

CONFIG = HashedConfig(n_out=10, threshold=77, bus_bits=32, network_seed=1)
DATA = bytes.fromhex("584c010818000000a9ec04b701000000341200005c485837")


def text_of(mask, lanes):
    return f"{mask:0{lanes}b}"[::-1]


def test_decoder_makes_the_mask_of_the_example():
    beats = hashed_decoder(CONFIG, bus_words(DATA, 32))
    assert [text_of(mask, 10) for mask in beats[:2]] == ["0000000001", "1001010000"]
    assert text_of(beats[2], 10)[:4] == "0010"


def test_states_and_hashes_of_the_example():
    state = CONFIG.network.start ^ 0x1234
    assert CONFIG.network.start & (1 << 64) - 1 == 0x910A2DEC89035CC1
    assert CONFIG.network.lanes[0] == (168, 150, 97, 254, 192, 138)
    assert CONFIG.network.nibbles[2] == (188, 91, 98, 172)
    assert next_state(state) >> 192 == 0x84AD99E541663179
    for _ in range(32):
        state = next_state(state)
    assert state & (1 << 64) - 1 == 0xD5436FA50FCBF755
    hashes = [lane_hash(CONFIG, state, lane) for lane in range(10)]
    assert hashes == [92, 124, 172, 220, 124, 188, 236, 172, 155, 59]
    assert text_of(hashed_mask(CONFIG, state), 10) == "0000000001"


def test_step_is_linear_and_loses_no_state():
    """Its matrix over GF(2) has full rank: no state is lost, and zero alone stays zero."""
    rows = [[next_state(1 << k) >> j & 1 for j in range(STATE_BITS)] for k in range(STATE_BITS)]
    assert np.linalg.matrix_rank(galois.GF(2)(rows)) == STATE_BITS
    rng = np.random.default_rng(1)
    a, b = (int.from_bytes(rng.bytes(32), "little") for _ in range(2))
    assert next_state(a ^ b) == next_state(a) ^ next_state(b)
    assert next_state(0) == 0


def test_step_is_that_of_xoshiro256():
    """First states out of 1, 2, 3, 4: those of the reference code, its output function aside."""
    state = 1 | 2 << 64 | 3 << 128 | 4 << 192
    seen = []
    for _ in range(3):
        # The output of xoshiro256++ is rotl(s0 + s3, 23) + s0; known for this state.
        s0, s3 = state & (1 << 64) - 1, state >> 192
        total = s0 + s3 & (1 << 64) - 1
        seen.append((total << 23 | total >> 41) + s0 & (1 << 64) - 1)
        state = next_state(state)
    assert seen == [41943041, 58720359, 3588806011781223]


@pytest.mark.parametrize("seed", [0, 1, 1 << 63])
def test_wiring_keeps_lanes_apart(seed):
    network = hash_network(2048, seed)
    pairs = []
    for lane, (a, b, c, d, e, f) in enumerate(network.lanes):
        assert len({a, b, c, d, e, f, *network.nibbles[lane // 4]}) == 10
        pairs += [frozenset(pair) for pair in ((a, b), (a, c), (b, c), (d, e), (d, f), (e, f))]
    assert len(set(pairs)) == len(pairs) == 6 * 2048
    for low, high in map(sorted, pairs):
        assert (high - low) % 64
        assert (low >= 64) or high != 192 + (low + 45) % 64
    assert network.lanes[:100] == hash_network(100, seed).lanes
    assert network.start >> 16 & 1


def test_hash_of_a_lane_is_uniform_over_states():
    """Its eight bits are independent as rows over GF(2)."""
    for lane, (a, b, c, d, e, f) in enumerate(hash_network(512, 0).lanes):
        rows = np.zeros((8, STATE_BITS), np.uint8)
        for row, places in enumerate(((a, b), (a, c), (d, e), (d, f))):
            rows[row, list(places)] = 1
        for row, place in enumerate(hash_network(512, 0).nibbles[lane // 4]):
            rows[4 + row, place] = 1
        if lane % 16 == 0:
            assert np.linalg.matrix_rank(galois.GF(2)(rows)) == 8


def test_decoder_of_nothing_and_of_too_little():
    assert hashed_decoder(CONFIG, bus_words(frame(8, 0, 0, [], 32), 32)) == []
    with pytest.raises(StopIteration):
        hashed_decoder(CONFIG, bus_words(frame(8, 5, 0, [], 32), 32)[:4])
