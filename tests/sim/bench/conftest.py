# SPDX-License-Identifier: Apache-2.0
"""Sweeps of explore that run in the test's process, with no synthesis."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from xorloom.hw.flow.synth import SynthReport
from xorloom.sim.bench.explore import sweep as explore
from xorloom.sim.bench.explore.sweep import Sweep, cut_rows
from xorloom.sw.tensors.checkpoint import from_arrays
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.weights import clustered_weights


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    model = from_arrays({"w": clustered_weights(96, 128, 1), "v": clustered_weights(80, 64, 2)})
    path = tmp_path / "weights.npz"
    cut_rows(model, ["w", "v"], None, path)
    return Sweep(path, 0.1, Quantizer(), "ecp5", 1)


def fake_synthesis(text: str, top: str, target: str, *, seeds: int) -> SynthReport:
    """LUTs and a clock that follow from the top's name."""
    known = {"xorloom_window_value": (900, 200.0), "xorloom_trellis_core": (400, 150.0)}
    lut, fmax = known.get(top, (1000, 100.0))
    return SynthReport(top, target, lut, 10, None, fmax, fmax, seeds)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs run here, with no synthesis; yields the kinds of those that were run."""
    done: list[str] = []

    class Here:
        def submit(self, function: Any, job: Any) -> Any:
            done.append(job.key.partition("-")[0])
            future: Future[Any] = Future()
            future.set_result(function(job))
            return future

    @contextmanager
    def here(count: int) -> Iterator[Here]:
        yield Here()

    monkeypatch.setattr(explore, "_workers", here)
    monkeypatch.setattr(explore, "synthesize", fake_synthesis)
    return done
