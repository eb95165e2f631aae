# SPDX-License-Identifier: Apache-2.0
"""Shared by all tests: Hypothesis runs the same examples every time; costs are watched."""

import gc
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.tiers import Guard

settings.register_profile(
    "xorloom",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("xorloom")

_GUARD = Guard()


@pytest.fixture
def rng():
    return np.random.default_rng(20260117)


def pytest_configure() -> None:
    # A run in the background ignores these, and so would the commands that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "proofs":
            item.add_marker(pytest.mark.proof)


def pytest_collection_finish() -> None:
    # The tests and all that they import stay: no collection has to look through them again.
    # What tests make dies young, by the million where a design is elaborated.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    _GUARD.start(item)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Iterator[None]:
    result = yield
    _GUARD.stop()
    return result
