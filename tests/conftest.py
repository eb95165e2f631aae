# SPDX-License-Identifier: Apache-2.0
"""Shared by all tests: Hypothesis runs the same examples every time."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "xorloom",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("xorloom")


@pytest.fixture
def rng():
    return np.random.default_rng(20260117)
