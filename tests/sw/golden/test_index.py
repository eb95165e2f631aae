# SPDX-License-Identifier: Apache-2.0
"""Golden models of bitmap, none and trellis index, against bytes and matrices over GF(2)."""

import galois
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.bitmap import bitmap_decoder
from xorloom.sw.golden.index.none import none_decoder
from xorloom.sw.golden.index.trellis import trellis_decoder, trellis_mask
from xorloom.sw.spec.index_config import BitmapConfig, NoneConfig
from xorloom.sw.spec.trellis_code import trellis_code

from tests.helpers.index import frame, pack_bitmap
from tests.helpers.trellis import trellis_config

GF2 = galois.GF(2)


def selector(parities, window, shift, width):
    """Rows of 0 and 1: one row a parity, over ``width`` seed bits."""
    matrix = np.zeros((len(parities), width), np.uint8)
    for row, parity in enumerate(parities):
        matrix[row, [t + shift for t in parity]] = 1
    assert matrix.shape[1] >= shift + window
    return GF2(matrix)


def mask_by_matrices(config, bits, classes):
    """The mask of one beat: all inputs of look-up tables as one product over GF(2)."""
    code, width = config.code, config.n_in + config.window - 1
    vector = GF2(np.array(bits, np.uint8))
    out = []
    for j, u in enumerate(code.steps):
        chosen = [code.parities[u][pick] for pick in code.picks[j]]
        a, b, c, d = np.array(selector(chosen, config.window, u, width) @ vector).tolist()
        hit = bool(code.tables[j] >> (a + 2 * b + 4 * c + 8 * d) & 1)
        gate = code.gates[j]
        xors = [gate] if config.classes == 1 else [gate[:2]]
        odd = np.array(selector(xors, config.window, u, width) @ vector).tolist()[0] == 1
        if config.classes == 1:
            out.append(hit and odd)
        else:
            both = all(bits[u + t] for t in gate[2:])
            out.append(hit and (classes[j] in (0, 2) or odd) and (classes[j] in (0, 1) or both))
    return sum(bit << j for j, bit in enumerate(out))


def test_bitmap_decoder_reads_these_bytes():
    # Header: 19 weights, one word; 8 lanes a beat, lane 0 in bit 0, the first beat in byte 0.
    data = bytes.fromhex("584c0101 13000000 00000000 01000000 a1 5e 05 00") + bytes(4)
    config = BitmapConfig(n_out=8, bus_bits=32)
    assert bitmap_decoder(config, bus_words(data, 32)) == [0xA1, 0x5E, 0x05]
    assert bitmap_decoder(BitmapConfig(n_out=10, bus_bits=32), bus_words(data, 32)) == [
        0x2A1,
        0x157,  # bits 0 to 9 and 10 to 18 of 0x55ea1
    ]


def test_none_decoder_keeps_every_weight():
    for bus_bits in (32, 256):
        words = bus_words(frame(9, 19, 0, [0], bus_bits), bus_bits)
        assert none_decoder(NoneConfig(n_out=8, bus_bits=bus_bits), words) == [0xFF, 0xFF, 7]
        with pytest.raises(StopIteration):
            none_decoder(NoneConfig(n_out=8, bus_bits=bus_bits), words[: 128 // bus_bits or 1])


@given(st.lists(st.booleans(), max_size=300), st.integers(1, 70), st.sampled_from([32, 128]))
def test_bitmap_decoder_gives_the_mask_in_beats(bits, n_out, bus_bits):
    data = pack_bitmap(np.array(bits, np.bool_), bus_bits)
    found = bitmap_decoder(BitmapConfig(n_out=n_out, bus_bits=bus_bits), bus_words(data, bus_bits))
    expected = [
        sum(bit << j for j, bit in enumerate(bits[low : low + n_out]))
        for low in range(0, len(bits), n_out)
    ]
    assert found == expected


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize(("n_in", "n_out", "window"), [(2, 8, 6), (4, 21, 7), (1, 20, 9)])
def test_trellis_mask_equals_matrices(n_in, n_out, window, classes):
    config = trellis_config(n_in, n_out, window, classes=classes, minterms=6)
    rng = np.random.default_rng(6)
    seen = 0
    for _ in range(25):
        bits = rng.integers(0, 2, n_in + window - 1).tolist()
        lanes = rng.integers(0, classes, n_out).tolist()
        seeds = sum(bit << t for t, bit in enumerate(bits))  # the oldest in bit 0
        expected = mask_by_matrices(config, bits, lanes)
        assert trellis_mask(config, seeds, lanes) == expected, (bits, lanes)
        seen |= expected
    assert seen.bit_count() > n_out // 2


def test_trellis_mask_of_one_lane_by_hand():
    # Lane 0 of this code looks at parities 1, 0, 3, 4 of step 0: (2 1 5 4), (4 0 2 3), (3 4 0 5)
    # and (1 2 4 5); its table 2066 has the ones 1, 4 and 11; its gate is bits 0, 1 and 3.
    code = trellis_code(2, 8, 6, 3, 1, 0)
    assert (code.picks[0], code.tables[0], code.gates[0]) == ((1, 0, 3, 4), 2066, (0, 1, 3))
    config = trellis_config(2, 8, 6)
    # Bit 3 alone: parities 0 1 1 0 = 6, no one. Bits 0 and 5: 1 1 0 1 = 11, gate 1.
    assert trellis_mask(config, 0b001000, [0] * 8) & 1 == 0
    assert trellis_mask(config, 0b100001, [0] * 8) & 1 == 1
    # Bits 0, 1 and 5: parities 0 1 0 0 = 2, no one.
    assert trellis_mask(config, 0b100011, [0] * 8) & 1 == 0


def test_trellis_mask_of_a_lane_in_all_classes():
    config = trellis_config(1, 8, 6, classes=4, minterms=8)
    code = config.code
    (a, b, c, d), hits = code.gates[0], 0
    for seeds in range(64):
        bit = [trellis_mask(config, seeds, [k] * 8) & 1 for k in range(4)]
        hits += bit[0]
        odd = (seeds >> a ^ seeds >> b) & 1
        both = seeds >> c & seeds >> d & 1
        assert bit == [bit[0], bit[0] & odd, bit[0] & both, bit[0] & odd & both]
    assert 16 <= hits <= 48


def test_trellis_decoder_slides_over_the_seed_bits():
    config = trellis_config(5, 10, 7)
    bits = np.random.default_rng(1).integers(0, 2, 60).tolist()
    value = sum(bit << i for i, bit in enumerate(bits))
    data = frame(4, 115, 0, [value & 0xFFFFFFFF, value >> 32], 32)
    found = trellis_decoder(config, bus_words(data, 32))
    before = [0] * 6 + bits
    assert found == [
        mask_by_matrices(config, before[5 * e : 5 * e + 11], [0] * 10) for e in range(12)
    ]


def test_trellis_decoder_reads_classes_every_period():
    config = trellis_config(3, 9, 6, classes=4, period=16, minterms=8)
    rng = np.random.default_rng(2)
    bits, classes = rng.integers(0, 2, 60).tolist(), rng.integers(0, 4, (2, 9)).tolist()
    fields = [sum(k << 2 * j for j, k in enumerate(row)) for row in classes]  # 18 bits, 6 chunks
    chunks = []
    for period, field in enumerate(fields):
        chunks += [field >> 3 * k & 7 for k in range(6)]
        own = bits[48 * period : 48 * period + 48]
        chunks += [sum(b << i for i, b in enumerate(own[k : k + 3])) for k in range(0, len(own), 3)]
    value = sum(chunk << 3 * k for k, chunk in enumerate(chunks))
    data = frame(4, 20 * 9, 0, [value >> low & 0xFFFFFFFF for low in (0, 32, 64, 96)], 32)
    found = trellis_decoder(config, bus_words(data, 32))
    before = [0] * 5 + bits
    expected = [
        mask_by_matrices(config, before[3 * e : 3 * e + 8], classes[e // 16]) for e in range(20)
    ]
    assert found == expected


def test_decoders_of_nothing_give_nothing():
    assert (
        bitmap_decoder(BitmapConfig(n_out=8, bus_bits=32), bus_words(frame(1, 0, 0, [], 32), 32))
        == []
    )
    nothing = bus_words(frame(9, 0, 0, [], 32), 32)
    assert none_decoder(NoneConfig(n_out=8, bus_bits=32), nothing) == []
    words = bus_words(frame(4, 0, 0, [], 32), 32)
    assert trellis_decoder(trellis_config(2, 8, 6), words) == []
