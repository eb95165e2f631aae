# SPDX-License-Identifier: Apache-2.0
"""Entropy index codec: round trips, bounds, literal bytes, damage."""

import heapq
import zlib
from dataclasses import replace
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.bits.framing import frame_payload
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.entropy import entropy_decoder, entropy_states
from xorloom.sw.index.entropy import classes, kernels
from xorloom.sw.index.entropy.stream import encode, fifo_bits, pack, unpack
from xorloom.sw.spec.index_config import EntropyConfig
from xorloom.sw.spec.layout import Header, network_id

SMALL = EntropyConfig(n_out=32, lanes=2, states=16, bus_bits=32)


def beats(density, n_beats, config, seed=1):
    return np.random.default_rng(seed).random((n_beats, config.n_out)) < density


def integers(mask):
    """Beats as integers, lane 0 in bit 0."""
    return [sum(1 << lane for lane in np.flatnonzero(beat).tolist()) for beat in mask]


def stream(mask, config):
    return pack(encode(mask, config), mask.size, config)


def check(mask, config):
    data = stream(mask, config)
    assert (unpack(data, mask.size, config) == mask).all()
    assert entropy_decoder(config, bus_words(data, config.bus_bits)) == integers(mask)
    return data


@settings(max_examples=60, deadline=None)
@given(
    lanes=st.sampled_from([1, 2, 3, 8, 16]),
    steps=st.integers(1, 4),
    states=st.sampled_from([16, 64, 256]),
    bus_bits=st.sampled_from([32, 64, 512]),
    n_beats=st.integers(0, 12),
    density=st.sampled_from([0.0, 0.001, 0.05, 0.3, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 1 << 20),
)
def test_encode_decode_gives_the_mask_back(lanes, steps, states, bus_bits, n_beats, density, seed):
    config = EntropyConfig(n_out=8 * lanes * steps, lanes=lanes, states=states, bus_bits=bus_bits)
    check(beats(density, n_beats, config, seed), config)


@settings(max_examples=30, deadline=None)
@given(data=st.binary(min_size=4, max_size=400))
def test_encode_decode_gives_any_bytes_back(data):
    size = len(data) // 4 * 4
    mask = np.unpackbits(np.frombuffer(data[:size], np.uint8), bitorder="little")
    check(mask.view(np.bool_).reshape(-1, 32), SMALL)


@pytest.mark.parametrize("density", [0.05, 0.09, 0.3, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("lanes", [8, 16])
def test_stored_bits_stay_near_the_entropy(density, lanes):
    config = EntropyConfig(lanes=lanes)
    mask = beats(density, 1152, config)  # a matrix of 589,824 weights
    d = float(mask.mean())
    entropy = -d * log2(d) - (1 - d) * log2(1 - d)
    bits = 8 * len(stream(mask, config)) / mask.size
    assert entropy - 0.001 < bits <= 1.01 * entropy + 0.001


@pytest.mark.parametrize("value", [False, True])
def test_constant_mask_is_one_word_and_header(value):
    config = EntropyConfig()
    mask = np.full((1000, 512), value)
    assert len(check(mask, config)) == 16 + 8 + 8


def test_empty_mask_has_no_payload():
    mask = np.zeros((0, 512), np.bool_)
    assert len(check(mask, EntropyConfig())) == 16 + 8
    assert unpack(stream(mask, EntropyConfig()), 0, EntropyConfig()).shape == (0, 512)


def test_single_row_and_partly_filled_beat():
    config = EntropyConfig()
    mask = np.zeros((1, 512), np.bool_)
    mask[0, [0, 3, 9]] = True
    data = pack(encode(mask, config), 10, config)
    assert (unpack(data, 10, config) == mask).all()


def test_structured_mask_lists_its_values():
    config = EntropyConfig()
    rng = np.random.default_rng(5)
    pairs = np.array(
        [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]]
    )
    mask = pairs[rng.integers(0, 6, 512 * 256)].astype(np.bool_).reshape(-1, 512)  # 2 of 4
    encoded = encode(mask, config)
    assert len(set(encoded.table.listed)) == 36
    data = check(mask[:300], config)
    assert len(data)
    assert 8 * len(pack(encoded, mask.size, config)) / mask.size < log2(6) / 4 * 1.005


def test_raw_chunks_are_these_bytes():
    # One class of all 256 values: rank of a value in the order by ones, 8 bits, no state.
    config = replace(SMALL, n_out=16)
    payload = bytes.fromhex("0000 f800") + bytes([0, 9, 255, 1])
    header = Header(EntropyConfig.kind, 32, network_id(config), 2)
    data = frame_payload(header, payload, 4)
    # Lane 0 takes unit 0 (ranks 0, 9), lane 1 unit 1 (ranks 255, 1): beats 0x00 0xff, 0x03 0x01.
    assert entropy_decoder(config, bus_words(data, 32)) == [0xFF00, 0x0103]
    assert integers(unpack(data, 32, config)) == [0xFF00, 0x0103]


def test_two_classes_are_these_bytes():
    """The worked example of the format text."""
    config = EntropyConfig(n_out=16, lanes=2, states=16, bus_bits=32)
    values = bytes.fromhex("0000 0001 0000 0000 0200 0000 0000 0080")
    mask = np.unpackbits(np.frombuffer(values, np.uint8), bitorder="little")
    data = check(mask.view(np.bool_).reshape(-1, 16), config)
    assert data.hex() == WORKED


WORKED = (
    "584c0106 80000000 a84af827 04000000"  # header: 128 weights, 4 words
    "0100 c000 2300"  # two classes: one value with 13 states, eight values with 3
    "8b00 0ce2 0000 0000 0000"  # lanes 0 and 1: state, bits; no more needed
    "a46ed05c"
).replace(" ", "")


@pytest.mark.parametrize("freqs", [(16,), (8, 8), (13, 2, 1), (1,) * 16, (5, 11)])
def test_states_are_a_bijection_that_loses_nothing(freqs):
    """Every (class, bits) leads from exactly one state: the code is uniquely decodable."""
    config = replace(SMALL, states=16)
    table = entropy_states(config, [(0, freq) for freq in freqs])
    for c, freq in enumerate(freqs):
        reached = sorted(
            base + low for moved, base, _, first in table if first == c for low in range(1 << moved)
        )
        assert reached == list(range(16)), freq


@pytest.mark.parametrize("states", [16, 64, 1024])
@given(st.lists(st.integers(0, 50), min_size=1, max_size=16))
@settings(max_examples=30, deadline=None)
def test_share_states_equals_greedy_choice_on_a_heap(states, counts):
    weights = [max(float(n), 1e-9) for n in counts]
    expected = [1] * len(counts)
    heap = [(-weight, c) for c, weight in enumerate(weights)]
    heapq.heapify(heap)
    for _ in range(states - len(counts)):
        _, c = heapq.heappop(heap)
        expected[c] += 1
        gain = weights[c] * float(np.log2((expected[c] + 1) / expected[c]))
        heapq.heappush(heap, (-gain, c))
    freqs = np.zeros(len(counts), np.int64)
    states_by_one = np.arange(1, states + 1)
    gains = np.log2((states_by_one + 1) / states_by_one)
    classes.share_states(np.array(weights), gains, freqs)
    assert freqs.tolist() == expected


@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 0.5])
def test_fast_kernels_equal_their_python(density, monkeypatch):
    mask = beats(density, 20, SMALL)
    data = stream(mask, SMALL)
    plain = {kernels: ("code", "order", "decode")}
    plain[classes] = ("best_classes", "share_states", "best_table")
    for module, names in plain.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name).py_func)
    assert stream(mask, SMALL) == data
    assert (unpack(data, mask.size, SMALL) == mask).all()


def runs_dry(demand, capacity, supply):
    """Whether a FIFO of ``capacity`` bits runs empty: the obvious simulation."""
    level = capacity
    for bits in demand:
        level -= bits
        if level < 0:
            return True
        level = min(capacity, level + supply)
    return False


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), slack=st.sampled_from([0, 2, 5, 10, 400]))
def test_fifo_bits_is_the_least_that_does_not_run_dry(seed, slack):
    config = EntropyConfig(n_out=64, lanes=4)
    rng = np.random.default_rng(seed)
    mask = rng.random((50, 64)) < rng.random((50, 1)) * 0.5
    encoded = encode(mask, config)
    demand = (encoded.demand * 16).tolist()
    supply = float(round(sum(demand) / len(demand) * (100 + slack) / 100))
    depth = fifo_bits(encoded, config, supply)
    assert not runs_dry(demand, depth, supply)
    assert depth == 0 or runs_dry(demand, depth - 1, supply)


def test_demand_and_preload_are_all_units():
    encoded = encode(beats(0.1, 40, SMALL), SMALL)
    assert encoded.preload + encoded.demand.sum() == encoded.units.size


def with_crc(data, bus_bytes=4):
    """Mend the CRC of a damaged stream."""
    body = data[:-bus_bytes]
    return body + zlib.crc32(body).to_bytes(4, "little") + bytes(bus_bytes - 4)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5])
def test_every_flipped_bit_is_found_by_the_crc(density):
    mask = beats(density, 6, SMALL)
    data = stream(mask, SMALL)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match=r"^index"):
            unpack(bytes(damaged), mask.size, SMALL)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5])
def test_damage_behind_a_good_crc_is_an_error_or_a_mask(density):
    mask = beats(density, 6, SMALL)
    data = stream(mask, SMALL)
    outcomes = set()
    rng = np.random.default_rng(3)
    flips = [[bit] for bit in range(128, 8 * len(data) - 32)]
    flips += [rng.integers(128, 8 * len(data) - 32, 9).tolist() for _ in range(300)]
    for flip in flips:
        damaged = bytearray(data)
        for bit in flip:
            damaged[bit // 8] ^= 1 << bit % 8
        fixed = with_crc(bytes(damaged))
        try:
            found = unpack(fixed, mask.size, SMALL)
        except FormatError as error:
            outcomes.add(str(error).split(" ")[1])
        else:
            outcomes.add("mask")
            assert found.shape == mask.shape
            # What is accepted means the same to the golden model.
            assert entropy_decoder(SMALL, bus_words(fixed, 32)) == integers(found)
    assert "mask" in outcomes or density == 0.0
    assert len(outcomes) >= 3


def test_truncated_streams_are_format_errors():
    mask = beats(0.1, 6, SMALL)
    data = stream(mask, SMALL)
    for size in range(len(data)):
        with pytest.raises(FormatError):
            unpack(data[:size], mask.size, SMALL)
    payload = data[16:-4]
    for words in range(len(payload) // 4):
        header = Header(EntropyConfig.kind, mask.size, network_id(SMALL), words)
        with pytest.raises(FormatError):
            unpack(frame_payload(header, payload[: 4 * words], 4), mask.size, SMALL)


def framed(units, count=32, config=SMALL, network=None):
    payload = np.array(units, "<u2").tobytes()
    payload += bytes(-len(payload) % 4)
    network = network_id(config) if network is None else network
    return frame_payload(Header(EntropyConfig.kind, count, network, len(payload) // 4), payload, 4)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([], "must begin with a table, found nothing"),
        ([3, 0xF0], "table of 4 classes ends after 1"),
        ([0x40, 0xF0], "unused bits of the table must be zero"),
        ([0, 0x10F0], "unused bits of the table must be zero"),
        ([0, 0xE0], "classes must share 16 states, found 15"),
        ([0, 0xF9], "at most 256 values, found 512"),
        ([1, 0x78, 0x70], "at most 256 values, found 257"),
        ([0x10, 0xF2, 0], r"list of 4 values ends after 2|before its last beat"),
        ([0x10, 0xF8, 0, 0], "list of 256 values ends after 4"),
        ([0x10, 0xF0, 0x100, 0], "padding of the list of values must be zero"),
        ([0, 0xF0, 1, 0], "padding after the last chunk must be zero"),
        ([0, 0xF0, 0, 0], "words must be 1, found 2"),
        ([1, 0x70, 0x70, 0], "stream ends after unit 4, before its last beat"),
        ([0, 0xF8], "stream ends after unit 2, before its last beat"),
    ],
)
def test_bad_tables_are_named(units, message):
    with pytest.raises(FormatError, match=f"layer: .*({message})"):
        unpack(framed(units), 32, SMALL, "layer")


def test_wrong_final_state_is_named():
    # Two classes of one value and eight states: four bits of state, then a bit a step.
    units = [1, 0x70, 0x70, 0, 0x20]
    with pytest.raises(FormatError, match="layer: lane 1 must end in state 0"):
        unpack(framed(units), 32, SMALL, "layer")


def test_stream_of_another_decoder_or_tensor_is_named():
    data = framed([0, 0xF0])
    assert not unpack(data, 32, SMALL).any()
    with pytest.raises(FormatError, match="count must be 33 weights, found 32"):
        unpack(data, 33, SMALL)
    with pytest.raises(FormatError, match=r"network id must be .* n_out 32, lanes 1, states 16"):
        unpack(data, 32, replace(SMALL, lanes=1))
    with pytest.raises(FormatError, match="no weights must have no payload, found 1"):
        unpack(framed([0, 0xF0], count=0), 0, SMALL)


def test_bad_arguments_are_named():
    with pytest.raises(ConfigError, match=r"mask must be bool of shape \(beats, 32\), not bool"):
        encode(np.zeros((2, 31), np.bool_), SMALL)
    with pytest.raises(ConfigError, match=r"mask must be bool .* not uint8"):
        encode(np.zeros((2, 32), np.uint8), SMALL)
    encoded = encode(np.zeros((2, 32), np.bool_), SMALL)
    with pytest.raises(ConfigError, match="count must be that of 2 beats of 32, not 65"):
        pack(encoded, 65, SMALL)
    with pytest.raises(CapacityError, match="does not fit 32 bits: split the tensor"):
        pack(encoded, 1 << 32, SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": 48}, "states must be a power of two between 16 and 256, not 48"),
        ({"states": 512}, "states must be a power of two between 16 and 256, not 512"),
        ({"lanes": 65}, "lanes must be between 1 and 64, not 65"),
        ({"lanes": 3}, "n_out must be a multiple of 24 between 24 and 2040, not 512"),
        ({"n_out": 4096}, "n_out must be a multiple of 128 between 128 and 2048"),
        ({"bus_bits": 48}, "bus_bits must be one of"),
    ],
)
def test_entropy_config_checks_its_parameters(change, message):
    with pytest.raises(ConfigError, match=message):
        EntropyConfig(**change)


def test_states_and_order_are_those_of_the_format_text():
    # stride 8 + 2 + 3 = 13: of classes with 13 and 3 states, the latter's are 13 * 13, 14 * 13 and
    # 15 * 13 modulo 16, that is 9, 6 and 3.
    table = entropy_states(SMALL, [(0, 13), (3, 3)])
    assert [s for s, (_, _, width, _) in enumerate(table) if width] == [3, 6, 9]
    assert table[3] == (3, 3 * 8 - 16, 3, 1)
    assert table[6] == (2, 4 * 4 - 16, 3, 1)
    assert table[9] == (2, 5 * 4 - 16, 3, 1)
    assert SMALL.symbol_order[:11] == (0, 1, 2, 4, 8, 16, 32, 64, 128, 3, 5)
    assert SMALL.symbol_order[-1] == 255
