# SPDX-License-Identifier: Apache-2.0
"""Drivers for the tests: the compiled C driver, and either driver on a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xorloom.hw.ip.driver.c import CDriver, compile_driver

from tests.hw.ip.driver_model import Blocking, Model


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_driver(tmp_path_factory.mktemp("driver_c"))


@pytest.fixture(params=["python", "c"])
def connect(request: pytest.FixtureRequest, library: Path) -> Callable[..., Any]:
    """Return a function that puts a driver on a model; the driver has looked at the ID."""

    def make(model: Model, polls: int = 1000) -> Any:
        if request.param == "python":
            driver: Any = Blocking(model, polls)
        else:
            driver = CDriver(library, model.read, model.write, polls=polls)
        driver.probe()
        return driver

    return make
