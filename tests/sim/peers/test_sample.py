# SPDX-License-Identifier: Apache-2.0
"""Samples: int8 values are what the quantizer says of codes."""

import numpy as np
import pytest
from xorloom.sim.peers.sample import Clock, Sample, check_planes, levels, values_of
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.quantize import Quantized, Quantizer, dequantize

from tests.helpers.weights import clustered_weights


@pytest.mark.parametrize("planes", range(1, 8))
def test_values_are_levels_of_scale_1(planes: int, rng: np.random.Generator) -> None:
    mask = rng.random((40, 50)) < 0.5
    codes = rng.integers(0, 1 << planes, mask.shape, np.uint8)
    codes[~mask] = 0
    made = Quantized(mask, codes, np.ones((1, 1), np.float32))
    values = values_of(mask, codes, planes)
    assert values.dtype == np.int8
    assert (values == dequantize(made, Quantizer("uniform", planes, "tensor"))).all()
    assert (levels(planes)[codes][mask] == values[mask]).all()


def test_eight_planes_and_a_zero_do_not_fit_int8() -> None:
    assert levels(7).tolist() == [*range(-1, -65, -1), *range(1, 65)]
    for planes in (0, 8):
        with pytest.raises(
            ConfigError, match=f"planes must be between 1 and 7, not {planes}: peers"
        ):
            check_planes(planes)


def test_entropy_is_that_of_mask_and_codes() -> None:
    mask = np.zeros((8, 8), np.bool_)
    mask[:2] = True
    codes = np.zeros((8, 8), np.uint8)
    codes[0] = 1
    sample = Sample(codes.astype(np.float32), mask, codes, codes.view(np.int8), 0.75, Quantizer())
    quarter = 0.25 * 2 + 0.75 * np.log2(4 / 3)
    assert sample.entropy_bits == pytest.approx(64 * quarter + 16)


def test_sample_is_pruned_and_quantized() -> None:
    weights = clustered_weights(96, 128, seed=1)
    sample = Sample.of(weights, 0.9, 4, "row")
    assert np.count_nonzero(sample.mask) == pytest.approx(0.1 * weights.size, abs=2)
    assert np.abs(weights)[sample.mask].min() >= np.abs(weights)[~sample.mask].max()
    assert (np.sign(sample.values) == np.sign(weights) * sample.mask).all()
    assert np.abs(sample.values).max() <= 8
    assert sample.planes == 4


def test_clock_adds_up_what_runs_inside() -> None:
    clock = Clock()
    for _ in range(2):
        before = clock.seconds
        with clock:
            sum(range(100_000))
        assert clock.seconds > before
    after = clock.seconds
    sum(range(100_000))
    assert clock.seconds == after
