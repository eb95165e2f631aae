# SPDX-License-Identifier: Apache-2.0
"""Result of a simulation, and the names of stall patterns."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from xorloom.sw.base.errors import ConfigError

__all__ = ["STALLS", "SimulationResult", "check_pattern", "stalls"]

STALLS = ("none", "random", "bursts", "slow")
"""Named stall patterns, see :func:`stalls`."""


def check_pattern(side: str, pattern: str) -> None:
    """Check a stall pattern.

    Raises
    ------
    ConfigError
        If there is no such pattern.
    """
    if pattern not in STALLS and (set(pattern) - {".", "x"} or "." not in pattern):
        names = ", ".join(STALLS)
        raise ConfigError(
            f"{side} pattern must be {names}, or of . (go) and x (wait) with at least one ., "
            f"not {pattern!r}"
        )


def stalls(pattern: str, seed: int) -> Iterator[bool] | None:
    """Return a generator of pauses, one value per clock; ``None``: no pauses.

    ``none``; ``random`` (half of the clocks); ``bursts`` (runs of up to 20 either way); ``slow``
    (one clock in eight goes); or a string of ``.`` (go) and ``x`` (wait) that is repeated.
    """
    source = random.Random(seed)
    if pattern == "none":
        return None
    if pattern == "random":
        return iter(lambda: source.random() < 0.5, None)
    if pattern == "bursts":
        return itertools.chain.from_iterable(
            itertools.repeat(bool(n & 1), source.randint(1, 20)) for n in itertools.count()
        )
    if pattern == "slow":
        return itertools.cycle([True] * 7 + [False])
    return itertools.cycle([c == "x" for c in pattern])


@dataclass(frozen=True)
class SimulationResult:
    """Cycles of one simulation run, from first input transfer to last output transfer.

    ``input_waits``: the bus offered a word and the decoder did not take it; ``starved``: the
    decoder was ready and the bus had nothing; ``output_waits``: the consumer was not ready.
    ``timeline``: signals of the window decoder, one character per clock, if asked for.
    """

    cycles: int
    words: int
    input_waits: int
    starved: int
    output_waits: int
    bits_checked: int
    timeline: dict[str, str] | None = None

    @property
    def bus_utilisation(self) -> float:
        """Bus words transferred per cycle."""
        return self.words / self.cycles

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        values = {key: value for key, value in asdict(self).items() if value is not None}
        return values | {"bus_utilisation": self.bus_utilisation}
