# SPDX-License-Identifier: Apache-2.0
"""Samples of slices, and what a density comes to."""

import numpy as np
import pytest
from xorloom.sw.index.density import is_met, wanted_count
from xorloom.sw.index.sample import slices_from_everywhere


@pytest.mark.parametrize("slices", [1000, 1024, 5003])
def test_sample_is_of_runs_from_all_quarters(slices):
    rows = np.arange(slices * 4).reshape(slices, 4)
    sample, live = slices_from_everywhere(rows, rows.size - 3, 32, 300)
    assert sample.shape == (9 * 32, 4)
    assert live == sample.size
    first = sample[::32, 0] // 4
    assert (np.diff(first) >= 32).all()
    assert (sample.reshape(9, 32, 4) == rows[first[:, None] + np.arange(32)]).all()
    assert sample.max() < rows.size - 4, "no slice that is not full"
    assert set(4 * first // slices) == {0, 1, 2, 3}
    assert len(set(first % 16)) > 4, "places do not fall in with a period"


@pytest.mark.parametrize("slices", [0, 1, 40, 288])
def test_sample_of_few_slices_is_all_of_them(slices):
    rows = np.arange(slices * 4).reshape(slices, 4)
    sample, live = slices_from_everywhere(rows, rows.size, 32, 300)
    assert sample is rows
    assert live == rows.size


def test_wanted_count_is_a_share_of_all_but_no_zeros():
    importance = np.array([0, 3, 0, 1, 2, 0, 0, 0, 5, 4], np.float32)
    counts = {density: wanted_count(importance, density) for density in (0.01, 0.2, 0.5, 0.9)}
    assert counts == {0.01: 1, 0.2: 2, 0.5: 5, 0.9: 5}
    assert wanted_count(np.zeros(10), 0.5) == 0
    assert wanted_count(np.zeros(0), 0.5) == 0


@pytest.mark.parametrize(
    ("found", "wanted", "met"),
    [(9, 10, True), (12, 10, False), (98, 100, True), (97, 100, False), (1021, 1000, False)],
)
def test_density_is_met_within_two_per_cent_or_one_weight(found, wanted, met):
    assert is_met(found, wanted) is met
