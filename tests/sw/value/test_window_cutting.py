# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.tensors.orders import ORDERS, lanes
from xorloom.sw.value.window.cutting import cut_slices, pack_planes

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
