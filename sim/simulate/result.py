# SPDX-License-Identifier: Apache-2.0
"""Result of a simulation, and the names of stall patterns."""

from dataclasses import asdict, dataclass
from typing import Any

from xorloom.sw.base.errors import ConfigError

__all__ = ["STALLS", "SimulationResult", "check_pattern"]

STALLS = ("none", "random", "bursts", "slow")
"""Named stall patterns, see :func:`xorloom.sim.testbenches.agents.bench.stalls`."""


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
