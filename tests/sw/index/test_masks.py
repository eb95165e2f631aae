# SPDX-License-Identifier: Apache-2.0
"""Choices of masks: mask and seeds from one call, for tensors of any size and rank, and files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError, DensityError, FormatError
from xorloom.sw.index.masks import check_choice, choose_mask, load_choices, save_choices
from xorloom.sw.index.plane import decode_index
from xorloom.sw.spec.config import BlockConfig, WindowConfig

WINDOW = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)
CODECS = ("trellis", "lowrank", "hashed")


def decoded(choice):
    facts = choice.index, choice.order, choice.slices_per_stream
    return decode_index(choice.seeds, choice.mask.shape, *facts, "w")


def quick(weights, codec, density=0.2, **options):
    return choose_mask(
        weights, density=density, codec=codec, value=WINDOW, window=6, threads=1, **options
    )


@given(
    st.lists(st.integers(0, 12), max_size=4),
    st.sampled_from(CODECS),
    st.sampled_from([1, 2, 5]),
    st.floats(0.02, 0.45),
    st.integers(0, 1 << 20),
)
def test_seeds_decode_to_the_mask_of_any_shape(shape, codec, planes, density, seed):
    weights = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    try:
        choice = quick(weights, codec, density, planes=planes)
    except DensityError as error:  # of the small ones
        assert codec in str(error)
        assert "use --index entropy or bitmap" in str(error)
        return
    assert choice.mask.shape == weights.shape
    assert (decoded(choice) == choice.mask).all()
    assert choice.index.n_out == WINDOW.n_out // planes
    if codec != "hashed":
        assert abs(choice.count - density * weights.size) <= max(1.5, 0.021 * weights.size)
