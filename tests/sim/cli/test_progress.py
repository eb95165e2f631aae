# SPDX-License-Identifier: Apache-2.0
"""Progress of long commands: rate and time left."""

import io
import sys

import pytest
from xorloom.sim.cli.console.output import progress_bar, rate_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("done", "then", "now", "text"),
    [
        (0, 0.0, 5.0, ""),
        (2_000_000, 4.0, 4.0, "0.5 Mweights/s, 0:00:12 left"),
        (2_000_000, 4.0, 10.0, "0.5 Mweights/s, 0:00:06 left"),  # falls between the steps
        (2_000_000, 4.0, 99.0, "0.5 Mweights/s, 0:00:00 left"),
        (4_000, 4.0, 4.0, "0.0 Mweights/s, 2:13:16 left"),
    ],
)
def test_rate_and_time_left(done: int, then: float, now: float, text: str) -> None:
    assert rate_text(done, 8_000_000, then, now) == text


@pytest.mark.parametrize("weights", [(), ({"a": 1_000_000}, {"a": 1_000_000, "b": 3_000_000})])
def test_a_terminal_sees_tensors_rate_and_time(
    weights: tuple[dict[str, int], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("compress", None if weights else 3, weights) as step:
        for done in (("search", "a"), ("encode", "a"), ("encode", "b")):
            step(*done)
    last = shown.getvalue().split("compress: encode b")[-1]
    assert "3/3" in last
    assert ("Mweights/s, 0:00:00 left" in last) == bool(weights)
