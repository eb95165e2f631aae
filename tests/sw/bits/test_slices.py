# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.bits.lanes import put_slices, turned_bits
from xorloom.sw.bits.slices import cut_slices, pack_planes
from xorloom.sw.tensors.orders import ORDERS, lanes

from tests.helpers.orders import slices_of


@given(st.data())
def test_cut_slices_cuts_out_what_the_definition_says(data):
    order = data.draw(st.sampled_from(ORDERS))
    planes = data.draw(st.integers(1, 8))
    n_out = data.draw(st.sampled_from([64, 192, 512]))
    weights = data.draw(st.one_of(st.integers(1, 700), st.integers(9_000, 20_000)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(weights) >= data.draw(st.floats(0, 1))
    codes = rng.integers(0, 1 << planes, weights, dtype=np.uint8)
    per_slice = n_out // planes
    slices = slices_of(order, weights, per_slice)
    first = data.draw(st.integers(0, len(slices) - 1))
    last = data.draw(st.integers(first + 1, len(slices)))
    care = rng.integers(0, 2**63, (last - first, n_out // 64), dtype=np.uint64)
    value = care.copy()
    packed = pack_planes(mask, codes, planes, n_out)
    cut_slices(packed, lanes(order, weights, per_slice), first, care, value)
    for k, e in enumerate(range(first, last)):
        kept = bits = 0
        for lane, weight in enumerate(slices[e]):
            if mask[weight]:
                kept |= ((1 << planes) - 1) << (lane * planes)
                bits |= int(codes[weight]) << (lane * planes)
        assert int.from_bytes(care[k].tobytes(), "little") == kept
        assert int.from_bytes(value[k].tobytes(), "little") == bits


@given(st.data())
def test_put_slices_puts_every_weight_where_the_definition_says(data):
    order = data.draw(st.sampled_from(ORDERS))
    per_slice = data.draw(st.integers(1, 300))
    weights = data.draw(st.integers(1, 20_000))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(weights) < 0.5
    slices = slices_of(order, weights, per_slice)
    packed = np.zeros((len(slices), -(-per_slice // 64) * 64), np.uint8)
    for e, places in enumerate(slices):
        packed[e, : len(places)] = mask[places]
    words = np.packbits(packed, axis=1, bitorder="little").view(np.uint64)
    out = np.zeros((1, -(-len(slices) * per_slice // 64) + 2), np.uint64)
    cut = data.draw(st.integers(0, len(slices) // 64)) * 64
    where = lanes(order, weights, per_slice)
    put_slices(words[:cut], where, 0, out)
    put_slices(words[cut:], where, cut, out)
    found = np.unpackbits(out.view(np.uint8), bitorder="little")
    assert found[:weights].tolist() == mask.astype(int).tolist()
    assert not found[weights:].any()


@given(st.integers(1, 3), st.integers(0, 200), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_turned_bits_are_those_of_the_transpose(planes, rows, columns, seed):
    bits = np.random.default_rng(seed).integers(0, 2, (planes, rows, columns), dtype=np.uint8)

    def packed(matrices):
        size = -(-rows * columns // 64) * 8 + 16
        data = np.packbits(matrices.reshape(planes, -1), axis=1, bitorder="little")
        return np.pad(data, ((0, 0), (0, size - data.shape[1]))).view(np.uint64)

    found = turned_bits(packed(bits), rows, columns)
    assert found.tolist() == packed(bits.transpose(0, 2, 1)).tolist()
